//! What a bus tells its server.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use crate::cluster::{
    bus::BusEvent,
    port::{KEPT, NOT_RUNNING, OVERHEAD},
};

/// Messages that wait to be read, and whether there is a connection.
pub(super) struct Heard {
    /// The number of the link that is heard.
    pub(super) link: u64,
    /// Bytes of messages.
    pub(super) most: usize,
    status: Status,
    /// What the server was told last.
    told: Status,
    messages: VecDeque<Bytes>,
    pub(super) bytes: usize,
    /// Lost since it was told last.
    missed: u64,
    /// How many connections there have been.
    connections: u64,
}

/// Whether a bus is connected, and which connection that is.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Status {
    Down(Arc<str>),
    Up(u64),
}

impl Heard {
    pub(super) fn new(most: usize) -> Self {
        let down = Status::Down(NOT_RUNNING.into());
        Self {
            link: 0,
            most,
            status: down.clone(),
            told: down,
            messages: VecDeque::new(),
            bytes: 0,
            missed: 0,
            connections: 0,
        }
    }

    pub(super) fn up(&mut self) {
        self.connections += 1;
        self.status = Status::Up(self.connections);
    }

    pub(super) fn down(&mut self, why: &str) {
        self.status = Status::Down(why.into());
    }

    pub(super) fn deliver(&mut self, message: &Bytes) {
        let size = message.len() + OVERHEAD;
        if size > self.most - self.bytes {
            return self.miss(1);
        }
        self.bytes += size;
        self.messages.push_back(message.clone());
    }

    pub(super) fn miss(&mut self, messages: u64) {
        self.missed = self.missed.saturating_add(messages);
    }

    pub(super) fn next(&mut self) -> Option<BusEvent> {
        if self.told != self.status {
            // Of a connection that was replaced meanwhile the end is told first.
            if matches!((&self.told, &self.status), (Status::Up(_), Status::Up(_))) {
                let why: Arc<str> = "the connection was replaced".into();
                self.told = Status::Down(Arc::clone(&why));
                return Some(BusEvent::Down(why));
            }
            self.told = self.status.clone();
            return Some(match &self.told {
                Status::Up(_) => BusEvent::Up,
                Status::Down(why) => BusEvent::Down(Arc::clone(why)),
            });
        }
        if self.missed > 0 {
            return Some(BusEvent::Missed(std::mem::take(&mut self.missed)));
        }
        let message = self.messages.pop_front()?;
        self.bytes -= message.len() + OVERHEAD;
        if self.messages.is_empty() && self.messages.capacity() > KEPT {
            self.messages = VecDeque::new();
        }
        Some(BusEvent::Message(message))
    }
}
