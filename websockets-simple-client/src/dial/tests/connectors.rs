//! Dials on byte streams of the application.

use std::sync::{Arc, Mutex};

use super::*;
use crate::config::{Connector, Io, Target};

/// A connector whose streams end here, and the targets that it was asked for.
fn in_memory(
    params: ClientParams,
) -> (ClientParams, tokio::sync::mpsc::UnboundedReceiver<(Target, DuplexStream)>) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let connector = move |target: Target| {
        let (near, far) = duplex(64);
        let sent = sender.send((target, far)).map_err(io::Error::other);
        async move { sent.map(|()| near) }
    };
    (params.connector(connector), receiver)
}

#[tokio::test(start_paused = true)]
async fn the_handshake_is_done_on_the_stream_of_the_connector() {
    for (params, host, port) in [
        (ClientParams::new("chat.example", 8080).path("/room"), "chat.example", 8080),
        (ClientParams::new("[FE80::1%eth0]", 80), "fe80::1%eth0", 80),
    ] {
        let (params, mut opened) = in_memory(params);
        let server = async {
            let (target, mut stream) = opened.recv().await.unwrap();
            let head = read_head(&mut stream).await;
            stream.write_all(switching(&accept_key(&head), "").as_bytes()).await.unwrap();
            stream.write_all(&text("early")).await.unwrap();
            (target, head, stream)
        };
        let ((target, head, _stream), dialed) = tokio::join!(server, dial(params));
        assert_eq!(target, Target::new(host, port, false));
        assert!(head.starts_with("GET /"), "{head}");
        let info = dialed.ok().unwrap().info;
        assert_eq!((info.local_addr, info.peer_addr, info.tls), (None, None, None));
    }
}

#[cfg(feature = "rustls")]
#[tokio::test(start_paused = true)]
async fn tls_is_done_on_the_stream_of_the_connector_with_the_name_of_the_server() {
    let (params, mut opened) = in_memory(ClientParams::new("chat.example", 443).secured(true));
    let server = async {
        let (target, mut stream) = opened.recv().await.unwrap();
        let mut hello = vec![0; 512];
        let mut read = 0;
        while !hello.windows(12).any(|bytes| bytes == b"chat.example") {
            read += stream.read(&mut hello[read..]).await.unwrap();
        }
        (target, hello[0])
    };
    let ((target, first), dialed) = tokio::join!(server, dial(params));
    // A record of the TLS handshake (RFC 8446 section 5.1).
    assert_eq!((target, first), (Target::new("chat.example", 443, true), 22));
    let error = dialed.err().unwrap();
    assert!(matches!(error, ConnectError::Tls(crate::error::TlsFailure::HungUp)), "{error:?}");
}

#[tokio::test]
async fn a_connector_that_fails_is_a_connect_that_fails() {
    let params = ClientParams::new("localhost", 80)
        .connector(async |_: Target| Err::<DuplexStream, _>(io::Error::other("no tunnel")));
    let error = dial(params).await.err().unwrap();
    let ConnectError::Connect(source) = &error else { panic!("{error:?}") };
    assert_eq!((source.to_string(), error.is_worth_retrying()), ("no tunnel".to_owned(), true));
}

/// A connector that panics before its future is polled, in it, when it is dropped, or in its stream.
struct Panics(&'static str);

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("{SECRET}");
    }
}

struct PanickingStream;

impl AsyncRead for PanickingStream {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        panic!("{SECRET}");
    }
}

impl AsyncWrite for PanickingStream {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        panic!("{SECRET}");
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        panic!("{SECRET}");
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        panic!("{SECRET}");
    }
}

#[async_trait::async_trait]
impl Connector for Panics {
    async fn connect(&self, _: &Target) -> io::Result<Box<dyn Io>> {
        let _dropped = (self.0 == "drop").then_some(PanicsOnDrop);
        assert!(self.0 != "poll", "{SECRET}");
        Ok(Box::new(PanickingStream))
    }
}

#[tokio::test]
async fn a_connector_that_panics_is_one_that_fails() {
    for at in ["poll", "drop", "stream"] {
        let error = dial(ClientParams::new("localhost", 80).connector(Panics(at))).await.err().unwrap();
        let ConnectError::Connect(source) = &error else { panic!("{error:?}") };
        assert_eq!(source.to_string(), "code that opens the byte stream panicked", "{at}");
    }
    let before_the_future =
        |_: Target| -> std::future::Ready<io::Result<DuplexStream>> { panic!("{SECRET}") };
    let error = dial(ClientParams::new("localhost", 80).connector(before_the_future)).await.err().unwrap();
    assert!(matches!(error, ConnectError::Connect(_)), "{error:?}");
}

#[tokio::test]
async fn a_dial_that_is_given_up_drops_its_connector() {
    let held = Arc::new(());
    let in_connector = Mutex::new(Some(Arc::clone(&held)));
    let params = ClientParams::new("localhost", 80).connector(move |_: Target| {
        let held = in_connector.lock().unwrap().take();
        async move {
            let _held = held;
            std::future::pending::<io::Result<DuplexStream>>().await
        }
    });
    assert!(tokio::time::timeout(Duration::from_millis(1), dial(params)).await.is_err());
    assert_eq!(Arc::strong_count(&held), 1);
}
