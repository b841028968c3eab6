//! Between a server and its bus: what is to be sent, what was heard, and the subscriptions, bounded in bytes.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::cluster::{
    bus::{BusCommand, BusEvent, PublishError, Subject},
    port::{heard::Heard, outgoing::Outgoing},
};

mod heard;
mod outgoing;

/// Bytes that a message or a change of the subscriptions takes beside its own.
const OVERHEAD: usize = 96;

/// Places that an empty queue keeps.
const KEPT: usize = 1024;

/// Why there is no connection, before a bus has said it.
const NOT_RUNNING: &str = "the bus is not running";

/// The side of a [`BusLink`] that a server has, or whoever makes a bus of another one.
///
/// # Examples
///
/// A bus is run by hand:
///
/// ```
/// use websockets_simple_server::{Bus, BusEvent, BusPort, MemoryBus, Subject};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let (bus, port) = (MemoryBus::new(), BusPort::new(64 * 1024, 64 * 1024));
/// let link = port.link();
/// let running = tokio::spawn(async move { bus.run(link).await });
/// assert_eq!(port.next_event().await, BusEvent::Up);
/// let subject = Subject::new("news");
/// port.subscribe(&subject);
/// port.publish(&subject, "hello".into()).unwrap();
/// assert_eq!(port.next_event().await, BusEvent::Message("hello".into()));
/// port.close();
/// running.await.unwrap();
/// # }
/// ```
pub struct BusPort(Arc<Port>);

/// What a [`Bus`](crate::Bus) is given to run with. Dropping it is the end of the connection.
pub struct BusLink {
    port: Arc<Port>,
    number: u64,
    /// Its own: what wakes it is not taken by the link before it.
    commanded: Arc<Notify>,
}

/// Takes what a bus has heard, from any task or thread. Of an earlier [`BusLink`] it takes nothing.
#[derive(Clone)]
pub struct BusInbox {
    port: Arc<Port>,
    number: u64,
}

struct Port {
    out: Mutex<Outgoing>,
    heard: Mutex<Heard>,
    /// For the server.
    told: Notify,
}

impl BusPort {
    /// A port that holds up to so many bytes of messages that are to be sent, and so many that were heard. A message takes
    /// some hundred bytes beside its own.
    #[must_use]
    pub fn new(outgoing: usize, incoming: usize) -> Self {
        Self(Arc::new(Port {
            out: Mutex::new(Outgoing::new(outgoing)),
            heard: Mutex::new(Heard::new(incoming)),
            told: Notify::new(),
        }))
    }

    /// A link to run a bus with. The one before it, if there is one, is cut off: it is told to close.
    #[must_use]
    pub fn link(&self) -> BusLink {
        let (link, before) = self.0.with_out(|out| {
            let before = out.relink();
            let (port, commanded) = (Arc::clone(&self.0), Arc::clone(&out.commanded));
            (BusLink { port, number: out.link, commanded }, before)
        });
        before.notify_one();
        {
            let mut heard = self.0.heard();
            heard.link = heard.link.max(link.number);
        }
        self.0.tell(link.number, |heard| heard.down(NOT_RUNNING));
        link
    }

    /// Publishes a message, without waiting.
    ///
    /// # Errors
    ///
    /// [`PublishError`]: nothing was sent. After [`reconnect`](Self::reconnect) and [`close`](Self::close) it is
    /// [`Down`](PublishError::Down) at once.
    pub fn publish(&self, subject: &Subject, message: Bytes) -> Result<(), PublishError> {
        let published = self.0.command(|out| out.publish(subject, &message));
        // What is refused is dropped without the lock.
        drop(message);
        published
    }

    /// Subscribes to a subject, also after each new connection.
    pub fn subscribe(&self, subject: &Subject) {
        self.0.command(|out| out.change(subject, true));
    }

    /// Subscribes to a subject no more.
    pub fn unsubscribe(&self, subject: &Subject) {
        self.0.command(|out| out.change(subject, false));
    }

    /// How many subjects are subscribed to.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.0.out().wanted.len()
    }

    /// The size of the largest message that the bus takes, while it is connected.
    #[must_use]
    pub fn largest(&self) -> Option<usize> {
        self.0.out().largest
    }

    /// Whether less than half of what may wait to be sent does.
    pub(crate) fn has_room(&self) -> bool {
        let out = self.0.out();
        out.bytes <= out.most / 2
    }

    /// Asks the bus for a new connection. What is queued is dropped.
    pub fn reconnect(&self) {
        self.0.command(Outgoing::reconnect);
    }

    /// Asks the bus to send what is queued, and to end. Nothing more is queued. Dropping the port asks for it too.
    pub fn close(&self) {
        self.0.command(|out| out.close = true);
    }

    /// Waits for the next event. Whether there is a connection is told before messages that wait, and of several changes
    /// meanwhile the last one. It is for one reader.
    ///
    /// # Cancel safety
    ///
    /// No event is lost if the future is dropped.
    pub async fn next_event(&self) -> BusEvent {
        loop {
            // Of one reader there is one waiter, and `notify_one` is remembered for it.
            if let Some(event) = self.try_next_event() {
                return event;
            }
            self.0.told.notified().await;
        }
    }

    /// The next event, if there is one.
    #[must_use]
    pub fn try_next_event(&self) -> Option<BusEvent> {
        self.0.heard().next()
    }
}

impl BusLink {
    /// Says that there is a connection, which takes messages of up to `largest` bytes. The subscriptions follow by
    /// [`next`](Self::next), in front of everything else.
    pub fn up(&self, largest: usize) {
        if self.with_out(|out| out.up(largest)) {
            self.port.tell(self.number, Heard::up);
            self.commanded.notify_one();
        }
    }

    /// Says that there is no connection, and why, without any secret. What is queued is dropped, and nothing is queued
    /// until the next [`up`](Self::up).
    pub fn down(&self, why: impl fmt::Display) {
        if self.with_out(Outgoing::disconnect) {
            let why = why.to_string();
            self.port.tell(self.number, |heard| heard.down(&why));
        }
    }

    /// Whether this is the link in use, to which the change was made then.
    fn with_out(&self, change: impl FnOnce(&mut Outgoing)) -> bool {
        self.port.with_out(|out| {
            let in_use = out.link == self.number;
            if in_use {
                change(out);
            }
            in_use
        })
    }

    /// Waits for the next thing to do. After [`Close`](BusCommand::Close) it is `Close` again.
    ///
    /// # Cancel safety
    ///
    /// No command is lost if the future is dropped.
    pub async fn next(&mut self) -> BusCommand {
        loop {
            if let Some(command) = self.try_next() {
                return command;
            }
            self.commanded.notified().await;
        }
    }

    /// The next thing to do, if there is one: to send several messages at once.
    pub fn try_next(&mut self) -> Option<BusCommand> {
        let mut out = self.port.out();
        if out.link != self.number {
            return Some(BusCommand::Close);
        }
        out.next()
    }

    /// Waits until a new connection or the end is asked for, past everything that is queued: for a bus that takes nothing
    /// more for now. The end is told each time, and as long as it is asked for a new connection is not.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn urgent(&mut self) -> BusCommand {
        loop {
            if let Some(command) = self.try_urgent() {
                return command;
            }
            self.commanded.notified().await;
        }
    }

    fn try_urgent(&self) -> Option<BusCommand> {
        let mut out = self.port.out();
        if out.link == self.number { out.next_urgent() } else { Some(BusCommand::Close) }
    }

    /// Whether the end was asked for: there is no use in connecting again.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        let out = self.port.out();
        out.close || out.link != self.number
    }

    /// Resolves when the end is asked for, also while there is no connection.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn closing(&mut self) {
        while !self.is_closing() {
            self.commanded.notified().await;
        }
    }

    /// Delivers a message that was heard. If there is no room for it, it is lost, and counted.
    pub fn deliver(&self, message: Bytes) {
        self.port.tell(self.number, |heard| heard.deliver(&message));
        drop(message);
    }

    /// What takes messages in other tasks.
    #[must_use]
    pub fn inbox(&self) -> BusInbox {
        BusInbox { port: Arc::clone(&self.port), number: self.number }
    }
}

impl Drop for BusPort {
    fn drop(&mut self) {
        self.close();
    }
}

impl Drop for BusLink {
    fn drop(&mut self) {
        self.down(NOT_RUNNING);
    }
}

impl BusInbox {
    /// As [`BusLink::deliver`].
    pub fn deliver(&self, message: Bytes) {
        self.port.tell(self.number, |heard| heard.deliver(&message));
        drop(message);
    }

    /// Says that at least so many messages were lost on this side of the bus.
    pub fn missed(&self, messages: u64) {
        self.port.tell(self.number, |heard| heard.miss(messages));
    }
}

impl Port {
    fn out(&self) -> MutexGuard<'_, Outgoing> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wants something of the bus.
    fn command<T>(&self, command: impl FnOnce(&mut Outgoing) -> T) -> T {
        let (given, commanded) = self.with_out(|out| (command(out), Arc::clone(&out.commanded)));
        commanded.notify_one();
        given
    }

    /// Drops what is queued no more once the lock is released: a message may be the application's.
    fn with_out<T>(&self, change: impl FnOnce(&mut Outgoing) -> T) -> T {
        let (given, _dropped) = {
            let mut out = self.out();
            (change(&mut out), std::mem::take(&mut out.dropped))
        };
        given
    }

    /// Tells the server something, unless the link was replaced.
    fn tell(&self, link: u64, tell: impl FnOnce(&mut Heard)) {
        {
            let mut heard = self.heard();
            if heard.link != link {
                return;
            }
            tell(&mut heard);
        }
        self.told.notify_one();
    }
}

impl fmt::Debug for BusPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusPort").field("subscriptions", &self.subscriptions()).finish_non_exhaustive()
    }
}

impl fmt::Debug for BusLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusLink").field("number", &self.number).finish_non_exhaustive()
    }
}

impl fmt::Debug for BusInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusInbox").field("number", &self.number).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
