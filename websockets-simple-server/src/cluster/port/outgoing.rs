//! What a server wants of its bus, in order.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::cluster::{
    bus::{BusCommand, PublishError, Subject},
    port::{KEPT, OVERHEAD},
};

/// The commands for one link, and what is wanted of each connection.
pub(super) struct Outgoing {
    /// The number of the link that is in use.
    pub(super) link: u64,
    /// Wakes that link.
    pub(super) commanded: Arc<Notify>,
    /// Bytes of messages, and of changes beyond those that a connection is told first.
    pub(super) most: usize,
    /// The size of the largest message, while connected.
    pub(super) largest: Option<usize>,
    pub(super) wanted: HashSet<Subject>,
    commands: VecDeque<BusCommand>,
    /// Those that were lost with a connection, to be dropped without the lock.
    pub(super) dropped: VecDeque<BusCommand>,
    /// What the messages among them take.
    pub(super) bytes: usize,
    /// What the changes of subscriptions among them take.
    pub(super) changes: usize,
    /// What the subscriptions took that the connection was told first.
    pub(super) told_first: usize,
    reconnect: bool,
    pub(super) close: bool,
}

impl Outgoing {
    pub(super) fn new(most: usize) -> Self {
        Self {
            link: 0,
            commanded: Arc::default(),
            most,
            largest: None,
            wanted: HashSet::new(),
            commands: VecDeque::new(),
            dropped: VecDeque::new(),
            bytes: 0,
            changes: 0,
            told_first: 0,
            reconnect: false,
            close: false,
        }
    }

    /// Begins anew for another link. Gives what wakes the one before.
    pub(super) fn relink(&mut self) -> Arc<Notify> {
        self.disconnect();
        self.link += 1;
        self.close = false;
        std::mem::take(&mut self.commanded)
    }

    pub(super) fn up(&mut self, largest: usize) {
        self.disconnect();
        self.largest = Some(largest);
        self.told_first = self.wanted.iter().map(change_size).sum();
        self.changes = self.told_first;
        self.commands.extend(self.wanted.iter().cloned().map(BusCommand::Subscribe));
    }

    /// What was queued is lost with the connection.
    pub(super) fn disconnect(&mut self) {
        self.largest = None;
        (self.bytes, self.changes, self.told_first) = (0, 0, 0);
        self.dropped.append(&mut self.commands);
        self.commands = VecDeque::new();
        self.reconnect = false;
    }

    /// Asks for a new connection. Nothing is queued for the one that is given up.
    pub(super) fn reconnect(&mut self) {
        self.disconnect();
        self.reconnect = true;
    }

    pub(super) fn publish(&mut self, subject: &Subject, message: &Bytes) -> Result<(), PublishError> {
        let size = message_size(subject, message);
        let largest = self.largest.filter(|_| !self.close).ok_or(PublishError::Down)?;
        if message.len() > largest || size > self.most {
            return Err(PublishError::TooLarge);
        }
        if size > self.most - self.bytes {
            return Err(PublishError::Full);
        }
        self.bytes += size;
        self.commands.push_back(BusCommand::Publish { subject: subject.clone(), message: message.clone() });
        Ok(())
    }

    pub(super) fn change(&mut self, subject: &Subject, wanted: bool) {
        let changed = match wanted {
            true => self.wanted.insert(subject.clone()),
            false => self.wanted.remove(subject.as_str()),
        };
        if !changed || self.largest.is_none() || self.close {
            return;
        }
        self.changes += change_size(subject);
        // Those that a connection is told first do not count: however many they are, the next one is told them too.
        if self.changes > self.most.saturating_add(self.told_first) {
            // A bus that takes nothing is told all of them again, once it is there.
            return self.reconnect();
        }
        let subject = subject.clone();
        let command = if wanted { BusCommand::Subscribe(subject) } else { BusCommand::Unsubscribe(subject) };
        self.commands.push_back(command);
    }

    pub(super) fn next_urgent(&mut self) -> Option<BusCommand> {
        if self.close {
            return Some(BusCommand::Close);
        }
        std::mem::take(&mut self.reconnect).then_some(BusCommand::Reconnect)
    }

    pub(super) fn next(&mut self) -> Option<BusCommand> {
        if std::mem::take(&mut self.reconnect) {
            return Some(BusCommand::Reconnect);
        }
        let Some(command) = self.commands.pop_front() else {
            return self.close.then_some(BusCommand::Close);
        };
        match &command {
            BusCommand::Publish { subject, message } => self.bytes -= message_size(subject, message),
            BusCommand::Subscribe(subject) | BusCommand::Unsubscribe(subject) => {
                self.changes -= change_size(subject);
            }
            BusCommand::Reconnect | BusCommand::Close => {}
        }
        if self.commands.is_empty() && self.commands.capacity() > KEPT {
            self.commands = VecDeque::new();
        }
        Some(command)
    }
}

/// What a message takes.
fn message_size(subject: &Subject, message: &Bytes) -> usize {
    change_size(subject) + message.len()
}

/// What a change of the subscriptions takes.
fn change_size(subject: &Subject) -> usize {
    subject.as_str().len() + OVERHEAD
}
