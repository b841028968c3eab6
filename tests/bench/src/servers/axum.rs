//! axum, as its examples `websockets` (an echo) and `chat` have it.

use axum::{
    Router,
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    response::Response,
    routing::any,
    serve::ListenerExt,
};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::broadcast;

use crate::servers::BROADCASTS;

/// Serves for ever.
pub(super) async fn serve(listener: std::net::TcpListener) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let app = Router::new()
        .route("/echo", any(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo)))
        .route("/pub", any(publisher))
        .route("/sub", any(subscriber))
        .with_state(broadcast::channel(BROADCASTS).0);
    Ok(axum::serve(listener, app).await?)
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
