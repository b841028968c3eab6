//! What the events of a client tell, and when a value is dropped.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use websockets_simple_client::{ClientEvent, ConnectionEventKind, Disconnect, Events};

use crate::within;

/// The connection events that a stream holds, by name.
#[must_use]
pub fn story(events: &mut Events<ClientEvent>) -> Vec<String> {
    let mut story = Vec::new();
    while let Some(event) = events.try_recv() {
        match event {
            ClientEvent::Connection(event) => story.push(match event.kind {
                ConnectionEventKind::Connecting(_) => "connecting".to_owned(),
                ConnectionEventKind::Connected(_) => "connected".to_owned(),
                ConnectionEventKind::Refused(_, why) => format!("refused: {why}"),
                ConnectionEventKind::Disconnected(..) => "disconnected".to_owned(),
                other => format!("{other:?}"),
            }),
            ClientEvent::Error(event) => story.push(format!("{:?}: {}", event.stage, event.error)),
            _ => {}
        }
    }
    story
}

/// How the next connection of a client ends.
///
/// # Panics
///
/// When the client ends first.
pub async fn client_ended(events: &mut Events<ClientEvent>) -> Disconnect {
    within(async {
        loop {
            if let ClientEvent::Connection(event) = events.recv().await.expect("the client lives")
                && let ConnectionEventKind::Disconnected(_, end) = event.kind
            {
                return end;
            }
        }
    })
    .await
}

/// Says that it was dropped.
#[derive(Debug)]
pub struct OnDrop(pub Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
