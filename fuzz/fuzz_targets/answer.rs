//! Whatever a server answers to a handshake, or a proxy to the request for a connection, and however it is cut, there is one
//! end of the attempt in time, and nothing panics.
#![no_main]

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use libfuzzer_sys::fuzz_target;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::{Builder, Runtime},
};
use websockets_simple_client::{ClientParams, ConnectError, WebsocketClient, fuzzing};

/// Answers with these bytes, so many at a time, and takes everything.
struct Answer {
    bytes: Vec<u8>,
    used: usize,
    piece: usize,
}

impl AsyncRead for Answer {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let rest = &this.bytes[this.used..];
        let given = rest.len().min(this.piece).min(buf.remaining());
        buf.put_slice(&rest[..given]);
        this.used += given;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Answer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().unwrap();
}

fuzz_target!(|input: &[u8]| {
    let [kind, piece, bytes @ ..] = input else { return };
    let answer = Answer { bytes: bytes.to_vec(), used: 0, piece: usize::from(*piece) + 1 };
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            if kind % 4 != 0 {
                let _ = fuzzing::proxy_answer(answer, kind % 4 == 1, kind % 8 >= 4).await;
                return;
            }
            let answer = std::sync::Mutex::new(Some(answer));
            let params = ClientParams::new("server", 80).connector(move |_| {
                let answer = answer.lock().unwrap().take();
                std::future::ready(answer.ok_or(io::ErrorKind::NotFound.into()))
            });
            let client = WebsocketClient::new(params).unwrap();
            let error = client.connect().await.expect_err("nobody guesses the key");
            assert!(!matches!(error, ConnectError::Timeout), "it reads on after the end");
        });
    });
});
