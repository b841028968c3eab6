//! `WebsocketClient` with a handler.

use std::sync::{Arc, Mutex, PoisonError};

use websockets_simple_client::{ClientEvent, ClientParams, Message, MessageEvent, WebsocketClient};

use super::Round;

/// Connects one client and sends what it has to send first.
pub(super) async fn open(round: &Arc<Round>) -> anyhow::Result<()> {
    let params = ClientParams::new(round.addr.ip().to_string(), round.addr.port())
        .path("/echo")
        .message_size(crate::servers::MAX_MESSAGE);
    let client = WebsocketClient::new(params)?;
    let seat = Mutex::new(round.seat());
    client.on(move |event| {
        let back = match event {
            ClientEvent::Message(MessageEvent { message: Message::Text(text), connection, .. }) => {
                let mut seat = seat.lock().unwrap_or_else(PoisonError::into_inner);
                seat.came(&text).then_some((text, connection))
            }
            _ => None,
        };
        async move {
            if let Some((text, connection)) = back {
                let _ = connection.send(Message::Text(text)).await;
            }
        }
    });
    let connection = client.connect().await?;
    for text in &round.texts {
        connection.send(Message::text(text.as_str())).await?;
    }
    tokio::spawn(async move {
        let _client = client;
        std::future::pending::<()>().await;
    });
    Ok(())
}
