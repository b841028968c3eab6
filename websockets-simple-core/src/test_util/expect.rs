//! Expectations of what comes next, with a deadline.

use std::{fmt, time::Duration};

use crate::{
    events::{
        ConnectionEventKind, Direction, Disconnect, ErrorEvent, ErrorStage, EventPart, EventType, Events,
    },
    message::Packet,
    protocol::Message,
};

/// Longer than anything in a test takes; one that waits so long has failed. In paused time it passes at once when nothing
/// else is to come: what takes longer, such as a heartbeat, is given its time by `tokio::time::sleep` before it is expected.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The result of a future that has to be done within [`PATIENCE`].
///
/// # Panics
///
/// When it is not.
///
/// # Cancel safety
///
/// That of the future.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("this takes too long")
}

/// What is expected of a stream of events, of a client or of a server. Each waits at most [`PATIENCE`] for one kind of
/// event, passes over all others, and panics with a list of them if it does not come.
///
/// None of them is cancel safe: events that were passed over are gone.
#[expect(async_fn_in_trait, reason = "it is for tests, which await it where it is called")]
pub trait Expect<E: EventType> {
    /// The first event that `pick` takes.
    ///
    /// # Panics
    ///
    /// When none comes in time, or the stream ends.
    async fn expect_next<T>(&mut self, what: &str, pick: impl FnMut(E) -> Option<T>) -> T;

    /// No event for so long.
    ///
    /// # Panics
    ///
    /// When one comes.
    async fn expect_silence(&mut self, time: Duration);

    /// The next received message.
    ///
    /// # Panics
    ///
    /// When none comes in time.
    async fn expect_message(&mut self) -> Message {
        self.expect_next("a message", |event| match event.into_part() {
            EventPart::Message(event) if event.direction == Direction::Received => Some(event.message),
            _ => None,
        })
        .await
    }

    /// The next received message is this text.
    ///
    /// # Panics
    ///
    /// When it is not, or none comes in time.
    async fn expect_text(&mut self, text: &str) {
        let message = self.expect_message().await;
        assert_eq!(message.as_text(), Some(text), "{message:?}");
    }

    /// The next received message, decoded.
    ///
    /// # Panics
    ///
    /// When it is no such packet, or none comes in time.
    async fn expect_packet<P: Packet>(&mut self) -> P {
        let message = self.expect_message().await;
        match message.packet() {
            Ok(packet) => packet,
            Err(error) => panic!("{error}: {message:?}"),
        }
    }

    /// The next connection that opens.
    ///
    /// # Panics
    ///
    /// When none does in time.
    async fn expect_connected(&mut self) -> E::Connection {
        self.expect_next("Connected", |event| match event.into_part() {
            EventPart::Connection(event) => match event.kind {
                ConnectionEventKind::Connected(connection) => Some(connection),
                _ => None,
            },
            _ => None,
        })
        .await
    }

    /// How the next connection that ends has ended.
    ///
    /// # Panics
    ///
    /// When none does in time.
    async fn expect_disconnected(&mut self) -> Disconnect {
        self.expect_next("Disconnected", |event| match event.into_part() {
            EventPart::Connection(event) => match event.kind {
                ConnectionEventKind::Disconnected(_, end) => Some(end),
                _ => None,
            },
            _ => None,
        })
        .await
    }

    /// The next connection that ends does so with this code, or without any.
    ///
    /// # Panics
    ///
    /// When it ends otherwise, or none does in time.
    async fn expect_closed(&mut self, code: impl Into<Option<u16>>) -> Disconnect {
        let end = self.expect_disconnected().await;
        assert_eq!(end.code, code.into(), "{end:?}");
        end
    }

    /// The next failure is of this stage.
    ///
    /// # Panics
    ///
    /// When it is of another one, or none comes in time.
    async fn expect_error(&mut self, stage: ErrorStage) -> ErrorEvent<E::Connection> {
        let error = self
            .expect_next("an error", |event| match event.into_part() {
                EventPart::Error(event) => Some(event),
                _ => None,
            })
            .await;
        assert_eq!(error.stage, stage, "{}", error.error);
        error
    }
}

impl<E: EventType + fmt::Debug> Expect<E> for Events<E> {
    async fn expect_next<T>(&mut self, what: &str, mut pick: impl FnMut(E) -> Option<T>) -> T {
        let mut passed = Vec::new();
        let picked = tokio::time::timeout(PATIENCE, async {
            loop {
                let event = self.recv().await?;
                passed.push(event.clone());
                if let Some(picked) = pick(event) {
                    return Some(picked);
                }
            }
        })
        .await;
        match picked {
            Ok(Some(picked)) => picked,
            Ok(None) => panic!("the events ended, and {what} was expected after {passed:?}"),
            Err(_) => panic!("{what} was expected, and nothing followed {passed:?}"),
        }
    }

    async fn expect_silence(&mut self, time: Duration) {
        if let Ok(event) = tokio::time::timeout(time, self.recv()).await {
            panic!("silence was expected, and there was {event:?}");
        }
    }
}
