//! A server that sends back what it receives, and those who talk to it.

use websockets_simple_client::{ClientEvent, ConnectionEventKind, Events, WebsocketClient};
use websockets_simple_core::test_util::Expect;
use websockets_simple_server::{ServerParams, WebsocketServer};

use crate::{text, within};

/// A server that sends messages back. It does not run yet.
#[must_use]
pub fn echoing(params: ServerParams) -> WebsocketServer {
    let server = WebsocketServer::new(params);
    server.on_message(|connection, message| async move {
        let _ = connection.send(message).await;
    });
    server
}

/// Sends a text and awaits its echo.
///
/// # Panics
///
/// When it does not come.
pub async fn assert_echo(client: &WebsocketClient) {
    let mut events = client.events();
    client.send_text("over there").await.expect("it is connected");
    assert_eq!(text(&mut events).await, "over there");
}

/// Says each text until it has come back: again where a connection of a client that reconnects was lost meanwhile.
///
/// # Panics
///
/// When one does not come back.
pub async fn talk(client: &WebsocketClient, heard: &mut Events<ClientEvent>, texts: &[&str]) {
    for text in texts {
        loop {
            // What was on the way when a connection is lost is lost.
            let _ = within(client.send_text(*text)).await;
            let answered = heard
                .expect_next("an answer or an end", |event| match event {
                    ClientEvent::Message(event) => Some(event.message.as_text() == Some(*text)),
                    ClientEvent::Connection(event) => {
                        matches!(event.kind, ConnectionEventKind::Disconnected(..)).then_some(false)
                    }
                    _ => None,
                })
                .await;
            if answered {
                break;
            }
        }
    }
}
