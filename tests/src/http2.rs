//! Clients that open WebSockets over HTTP/2 (RFC 8441): hyper's, and h2 itself, which can do what is not allowed.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    client::conn::http2::{Builder, SendRequest},
    ext::Protocol,
    header::SEC_WEBSOCKET_VERSION,
    upgrade::Upgraded,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
};

use crate::{raw::RawPeer, within};

/// A WebSocket that is a stream of HTTP/2.
pub type Http2Peer = RawPeer<TokioIo<Upgraded>>;

/// An HTTP/2 connection of a client.
#[derive(Debug)]
pub struct Http2Client {
    sender: SendRequest<Empty<Bytes>>,
    /// Ends when the connection has ended.
    pub connection: JoinHandle<hyper::Result<()>>,
}

#[expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "for tests")]
impl Http2Client {
    /// Connects over TCP, with prior knowledge.
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream).await
    }

    /// Waits until the server has announced the extended CONNECT.
    pub async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let client = Builder::new(TokioExecutor::new());
        let (sender, connection) = within(client.handshake(TokioIo::new(stream))).await.unwrap();
        // hyper runs the streams in a task of its own, which tells nothing.
        within(async {
            while !connection.is_extended_connect_protocol_enabled() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        Self { sender, connection: tokio::spawn(connection) }
    }

    /// A request for a WebSocket.
    #[must_use]
    pub fn asking(addr: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("http://{addr}{target}"))
            .extension(Protocol::from_static("websocket"))
            .header(SEC_WEBSOCKET_VERSION, "13");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Empty::new()).unwrap()
    }

    /// Sends a request.
    ///
    /// # Errors
    ///
    /// When the stream or the connection ends before the response.
    pub async fn send(&self, request: Request<Empty<Bytes>>) -> hyper::Result<Response<Incoming>> {
        let mut sender = self.sender.clone();
        within(async {
            sender.ready().await?;
            sender.send_request(request).await
        })
        .await
    }

    /// The status and text of the answer to a request that is refused.
    pub async fn refused(&self, request: Request<Empty<Bytes>>) -> (Response<()>, String) {
        let (head, body) = self.send(request).await.unwrap().into_parts();
        let body = within(body.collect()).await.unwrap().to_bytes();
        (Response::from_parts(head, ()), String::from_utf8_lossy(&body).into_owned())
    }

    /// Opens a WebSocket, with the answer.
    pub async fn open(
        &self,
        addr: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
    ) -> (Http2Peer, Response<()>) {
        let mut response = self.send(Self::asking(addr, target, headers)).await.unwrap();
        assert_eq!(response.status(), 200);
        let upgraded = within(hyper::upgrade::on(&mut response)).await.unwrap();
        (RawPeer::new(TokioIo::new(upgraded)), response.map(|_| ()))
    }
}

/// A client of h2 itself, whose streams can be reset and whose window for a stream is of this size.
#[expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "for tests")]
pub async fn frames(addr: SocketAddr, window: u32) -> h2::client::SendRequest<Bytes> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(window.max(65_535));
    let (sender, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(connection);
    within(async {
        while !sender.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    within(sender.ready()).await.unwrap()
}

/// The head of a request for a WebSocket, for h2 itself.
#[must_use]
pub fn head(addr: SocketAddr) -> Request<()> {
    let (mut head, _) = Http2Client::asking(addr, "/", &[]).into_parts();
    head.extensions.clear();
    head.extensions.insert(h2::ext::Protocol::from_static("websocket"));
    Request::from_parts(head, ())
}

/// A WebSocket as a stream of h2 itself.
#[expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "for tests")]
pub async fn stream(
    sender: &mut h2::client::SendRequest<Bytes>,
    addr: SocketAddr,
) -> (h2::SendStream<Bytes>, h2::RecvStream) {
    let (response, sending) = sender.send_request(head(addr), false).unwrap();
    let response = within(response).await.unwrap();
    assert_eq!(response.status(), 200);
    (sending, response.into_body())
}
