//! Messages that a client keeps while it is not connected.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use websockets_simple_core::{Message, SendError, SendStatus};

use crate::connection::ClientConnection;

/// The kept messages of a client, in order.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<(Message, Instant)>,
    /// Of payload.
    bytes: usize,
    /// Whether there will be another connection.
    is_open: bool,
    /// Whether they are being sent: a new one has to wait behind them.
    is_sending: bool,
}

/// What became of kept messages, apart from those that were sent.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    /// Older than they may be.
    pub(crate) old: u64,
    /// Failed, with the last error.
    pub(crate) failed: u64,
    pub(crate) error: Option<SendError>,
}

impl Kept {
    /// There will be a connection.
    pub(crate) fn open(&self) {
        self.lock().is_open = true;
    }

    /// There will be no further connection. Returns how many messages are not sent.
    pub(crate) fn close(&self) -> usize {
        let queue = std::mem::take(&mut *self.lock());
        queue.messages.len()
    }

    /// Whether a message may be sent at once, as none waits.
    pub(crate) fn is_empty(&self) -> bool {
        let queue = self.lock();
        queue.messages.is_empty() && !queue.is_sending
    }

    /// Keeps a message behind the others.
    pub(crate) fn push(&self, message: Message, most: usize) -> Result<SendStatus, SendError> {
        let mut queue = self.lock();
        if !queue.is_open {
            return Err(SendError::Closed);
        }
        if message.len() > most.saturating_sub(queue.bytes) {
            return Err(SendError::Full);
        }
        queue.bytes += message.len();
        queue.messages.push_back((message, Instant::now()));
        Ok(SendStatus::Kept)
    }

    /// Sends what is kept, until nothing is left or the connection has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropped while a message waits for room in the outbox, that one is kept.
    pub(crate) async fn send(&self, connection: &ClientConnection, age: Duration, unsent: &mut Unsent) {
        let _sending = Sending::begin(self);
        while let Some((message, since)) = self.first() {
            if since.elapsed() > age {
                unsent.old += 1;
            } else {
                match connection.send(&message).await {
                    Ok(_) => {}
                    Err(SendError::Closed) => break,
                    Err(error) => {
                        unsent.failed += 1;
                        unsent.error = Some(error);
                    }
                }
            }
            self.pop();
        }
    }

    /// The first message; if there is none, later ones are sent at once.
    fn first(&self) -> Option<(Message, Instant)> {
        let mut queue = self.lock();
        let first = queue.messages.front().cloned();
        queue.is_sending = first.is_some();
        first
    }

    fn pop(&self) {
        let popped = {
            let mut queue = self.lock();
            let popped = queue.messages.pop_front();
            queue.bytes -= popped.as_ref().map_or(0, |(message, _)| message.len());
            popped
        };
        drop(popped);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The kept messages are being sent. Dropped, what is left of them waits for the next connection.
struct Sending<'a>(&'a Kept);

impl<'a> Sending<'a> {
    fn begin(kept: &'a Kept) -> Self {
        kept.lock().is_sending = true;
        Self(kept)
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.lock().is_sending = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_kept_up_to_so_many_bytes_and_only_while_there_will_be_a_connection() {
        let kept = Kept::default();
        assert!(matches!(kept.push(Message::text("early"), 10), Err(SendError::Closed)));
        kept.open();
        assert!(matches!(kept.push(Message::text("123456"), 10), Ok(SendStatus::Kept)));
        assert!(matches!(kept.push(Message::text("12345"), 10), Err(SendError::Full)));
        assert!(matches!(kept.push(Message::text("1234"), 10), Ok(SendStatus::Kept)));
        assert!(!kept.is_empty());
        kept.pop();
        assert!(kept.push(Message::text("123456"), 10).is_ok(), "there is room again");
        assert_eq!(kept.close(), 2);
        assert!(kept.is_empty() && kept.push(Message::text("late"), 10).is_err());
    }
}
