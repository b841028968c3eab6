//! axum, as its examples `websockets` (an echo) and `chat` have it.

use std::{io, net::SocketAddr};

use axum::{
    Router,
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    response::Response,
    routing::any,
    serve::{Listener, ListenerExt},
};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::broadcast,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::servers::{BROADCASTS, Listening};

/// Serves for ever.
pub(super) async fn serve(listening: Listening) -> anyhow::Result<()> {
    let (listener, tls) = listening.into_async()?;
    let app = Router::new()
        .route("/echo", any(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo)))
        .route("/pub", any(publisher))
        .route("/sub", any(subscriber))
        .with_state(broadcast::channel(BROADCASTS).0);
    match tls {
        Some(tls) => axum::serve(TlsListener { listener, tls }, app).await?,
        None => {
            let listener = listener.tap_io(|stream| {
                let _ = stream.set_nodelay(true);
            });
            axum::serve(listener, app).await?;
        }
    }
    Ok(())
}

/// Accepts TLS, one handshake after the other.
struct TlsListener {
    listener: TcpListener,
    tls: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, addr) = Listener::accept(&mut self.listener).await;
            let _ = stream.set_nodelay(true);
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, addr);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

async fn publisher(upgrade: WebSocketUpgrade, State(sender): State<broadcast::Sender<Message>>) -> Response {
    upgrade.on_upgrade(|socket| publish(socket, sender))
}

/// Subscribes before it answers, so that a peer misses nothing that is sent once it is connected.
async fn subscriber(upgrade: WebSocketUpgrade, State(sender): State<broadcast::Sender<Message>>) -> Response {
    let receiver = sender.subscribe();
    upgrade.on_upgrade(|socket| subscribe(socket, receiver))
}

/// The default limits, 64 MiB a message and 16 MiB a frame, are large enough.
async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if is_data(&message) && socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn publish(mut socket: WebSocket, sender: broadcast::Sender<Message>) {
    while let Some(Ok(message)) = socket.recv().await {
        if is_data(&message) {
            let _ = sender.send(message);
        }
    }
}

async fn subscribe(socket: WebSocket, mut broadcasts: broadcast::Receiver<Message>) {
    let (mut sender, mut receiver) = socket.split();
    let mut send_task = tokio::spawn(async move {
        while let Ok(message) = broadcasts.recv().await {
            if sender.send(message).await.is_err() {
                break;
            }
        }
    });
    let mut recv_task = tokio::spawn(async move { while let Some(Ok(_)) = receiver.next().await {} });
    tokio::select! {
        _ = &mut send_task => recv_task.abort(),
        _ = &mut recv_task => send_task.abort(),
    }
}

fn is_data(message: &Message) -> bool {
    matches!(message, Message::Text(_) | Message::Binary(_))
}
