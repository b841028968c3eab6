//! Between a server and its bus: what is to be sent, what was heard, and the subscriptions, bounded in bytes.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::cluster::bus::{BusCommand, BusEvent, PublishError, Subject};

/// Bytes that each message takes beside its own.
const OVERHEAD: usize = 96;

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
}

/// Takes what a bus has heard, from any task or thread. Of an earlier [`BusLink`] it takes nothing.
#[derive(Clone)]
pub struct BusInbox {
    port: Arc<Port>,
    number: u64,
}

struct Port {
    out: Mutex<Outgoing>,
    /// For the link.
    commanded: Notify,
    heard: Mutex<Heard>,
    /// For the server.
    told: Notify,
    most_out: usize,
    most_heard: usize,
}

/// What the server wants of the bus.
struct Outgoing {
    /// The number of the link that is in use.
    link: u64,
    /// The size of the largest message, while connected.
    up: Option<usize>,
    wanted: HashSet<Subject>,
    commands: VecDeque<BusCommand>,
    bytes: usize,
    reconnect: bool,
    close: bool,
}

/// What the bus tells the server.
struct Heard {
    link: u64,
    status: Status,
    /// What the server was told last.
    told: Status,
    messages: VecDeque<Bytes>,
    bytes: usize,
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

impl BusPort {
    /// A port that holds up to so many bytes that are to be sent, and so many that were heard.
    #[must_use]
    pub fn new(outgoing: usize, incoming: usize) -> Self {
        let down = Status::Down(NOT_RUNNING.into());
        let out = Outgoing {
            link: 0,
            up: None,
            wanted: HashSet::new(),
            commands: VecDeque::new(),
            bytes: 0,
            reconnect: false,
            close: false,
        };
        let heard = Heard {
            link: 0,
            status: down.clone(),
            told: down,
            messages: VecDeque::new(),
            bytes: 0,
            missed: 0,
            connections: 0,
        };
        Self(Arc::new(Port {
            out: Mutex::new(out),
            commanded: Notify::new(),
            heard: Mutex::new(heard),
            told: Notify::new(),
            most_out: outgoing,
            most_heard: incoming,
        }))
    }

    /// A link to run a bus with. The one before it, if there is one, is cut off.
    #[must_use]
    pub fn link(&self) -> BusLink {
        let number = {
            let mut out = self.0.out();
            out.disconnect();
            out.link += 1;
            out.close = false;
            out.link
        };
        let link = BusLink { port: Arc::clone(&self.0), number };
        self.0.heard().link = number;
        self.0.tell_down(number, NOT_RUNNING);
        link
    }

    /// Publishes a message, without waiting.
    ///
    /// # Errors
    ///
    /// [`PublishError`]: nothing was sent.
    pub fn publish(&self, subject: &Subject, message: Bytes) -> Result<(), PublishError> {
        let size = message.len() + OVERHEAD;
        {
            let mut out = self.0.out();
            let largest = out.up.ok_or(PublishError::Down)?;
            if message.len() > largest || size > self.0.most_out {
                return Err(PublishError::TooLarge);
            }
            if out.bytes + size > self.0.most_out {
                return Err(PublishError::Full);
            }
            out.bytes += size;
            out.commands.push_back(BusCommand::Publish { subject: subject.clone(), message });
        }
        self.0.commanded.notify_one();
        Ok(())
    }

    /// Subscribes to a subject, also after each new connection.
    pub fn subscribe(&self, subject: &Subject) {
        self.change(subject, true);
    }

    /// Subscribes to a subject no more.
    pub fn unsubscribe(&self, subject: &Subject) {
        self.change(subject, false);
    }

    fn change(&self, subject: &Subject, wanted: bool) {
        {
            let mut out = self.0.out();
            let changed = match wanted {
                true => out.wanted.insert(subject.clone()),
                false => out.wanted.remove(subject.as_str()),
            };
            if !changed || out.up.is_none() {
                return;
            }
            out.bytes += OVERHEAD;
            let subject = subject.clone();
            let command =
                if wanted { BusCommand::Subscribe(subject) } else { BusCommand::Unsubscribe(subject) };
            out.commands.push_back(command);
            // A bus that takes nothing is told all of them again, once it is there.
            out.reconnect |= out.bytes > self.0.most_out * 2;
        }
        self.0.commanded.notify_one();
    }

    /// How many subjects are subscribed to.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.0.out().wanted.len()
    }

    /// Asks the bus for a new connection.
    pub fn reconnect(&self) {
        self.0.out().reconnect = true;
        self.0.commanded.notify_one();
    }

    /// Asks the bus to send what is queued, and to end.
    pub fn close(&self) {
        self.0.out().close = true;
        self.0.commanded.notify_one();
    }

    /// Waits for the next event. Whether there is a connection is told before messages that wait, and of several changes
    /// meanwhile the last one.
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
        {
            let mut out = self.port.out();
            if out.link != self.number {
                return;
            }
            out.disconnect();
            out.up = Some(largest);
            let wanted: Vec<_> = out.wanted.iter().cloned().map(BusCommand::Subscribe).collect();
            out.bytes = wanted.len() * OVERHEAD;
            out.commands.extend(wanted);
        }
        {
            let mut heard = self.port.heard();
            heard.connections += 1;
            heard.status = Status::Up(heard.connections);
        }
        self.port.told.notify_one();
        self.port.commanded.notify_one();
    }

    /// Says that there is no connection, and why, without any secret. What is queued is dropped, and nothing is queued
    /// until the next [`up`](Self::up).
    pub fn down(&self, why: impl fmt::Display) {
        {
            let mut out = self.port.out();
            if out.link != self.number {
                return;
            }
            out.disconnect();
        }
        self.port.tell_down(self.number, &why.to_string());
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
            self.port.commanded.notified().await;
        }
    }

    /// The next thing to do, if there is one: to send several messages at once.
    pub fn try_next(&mut self) -> Option<BusCommand> {
        let mut out = self.port.out();
        if out.link != self.number {
            return Some(BusCommand::Close);
        }
        if std::mem::take(&mut out.reconnect) {
            return Some(BusCommand::Reconnect);
        }
        let Some(command) = out.commands.pop_front() else {
            return out.close.then_some(BusCommand::Close);
        };
        let size = if let BusCommand::Publish { message, .. } = &command { message.len() } else { 0 };
        out.bytes -= size + OVERHEAD;
        Some(command)
    }

    /// Waits until a new connection or the end is asked for, past everything that is queued: for a bus that takes nothing
    /// more for now.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn urgent(&mut self) -> BusCommand {
        loop {
            if let Some(command) = self.try_urgent() {
                // For who waits next.
                self.port.commanded.notify_one();
                return command;
            }
            self.port.commanded.notified().await;
        }
    }

    fn try_urgent(&self) -> Option<BusCommand> {
        let mut out = self.port.out();
        if out.close || out.link != self.number {
            return Some(BusCommand::Close);
        }
        std::mem::take(&mut out.reconnect).then_some(BusCommand::Reconnect)
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
            self.port.commanded.notified().await;
        }
        // For who waits next.
        self.port.commanded.notify_one();
    }

    /// Delivers a message that was heard. If there is no room for it, it is lost, and counted.
    pub fn deliver(&self, message: Bytes) {
        self.port.deliver(self.number, message);
    }

    /// What takes messages in other tasks.
    #[must_use]
    pub fn inbox(&self) -> BusInbox {
        BusInbox { port: Arc::clone(&self.port), number: self.number }
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
        self.port.deliver(self.number, message);
    }

    /// Says that at least so many messages were lost on this side of the bus.
    pub fn missed(&self, messages: u64) {
        {
            let mut heard = self.port.heard();
            if heard.link != self.number {
                return;
            }
            heard.missed += messages;
        }
        self.port.told.notify_one();
    }
}

impl Port {
    fn out(&self) -> MutexGuard<'_, Outgoing> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_down(&self, link: u64, why: &str) {
        {
            let mut heard = self.heard();
            if heard.link != link {
                return;
            }
            heard.status = Status::Down(why.into());
        }
        self.told.notify_one();
    }

    fn deliver(&self, link: u64, message: Bytes) {
        {
            let mut heard = self.heard();
            if heard.link != link {
                return;
            }
            let size = message.len() + OVERHEAD;
            if heard.bytes + size > self.most_heard {
                heard.missed += 1;
            } else {
                heard.bytes += size;
                heard.messages.push_back(message);
            }
        }
        self.told.notify_one();
    }
}

impl Outgoing {
    /// What was queued is lost with the connection.
    fn disconnect(&mut self) {
        self.up = None;
        self.bytes = 0;
        self.commands = VecDeque::new();
        self.reconnect = false;
    }
}

impl Heard {
    fn next(&mut self) -> Option<BusEvent> {
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
        if self.messages.is_empty() && self.messages.capacity() > 1024 {
            self.messages = VecDeque::new();
        }
        Some(BusEvent::Message(message))
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
mod tests {
    use super::*;

    fn subject(name: &str) -> Subject {
        Subject::new(name)
    }

    fn publish(port: &BusPort, message: &'static str) -> Result<(), PublishError> {
        port.publish(&subject("a"), message.into())
    }

    fn told(port: &BusPort) -> Vec<BusEvent> {
        std::iter::from_fn(|| port.try_next_event()).collect()
    }

    fn to_do(link: &mut BusLink) -> Vec<BusCommand> {
        std::iter::from_fn(|| link.try_next()).collect()
    }

    #[test]
    fn nothing_is_taken_before_there_is_a_connection_nor_after_it() {
        let port = BusPort::new(1024, 1024);
        assert_eq!(publish(&port, "1"), Err(PublishError::Down));
        let mut link = port.link();
        assert_eq!(publish(&port, "2"), Err(PublishError::Down));
        link.up(10);
        assert_eq!(publish(&port, "3"), Ok(()));
        link.down("gone");
        assert_eq!(publish(&port, "4"), Err(PublishError::Down));
        link.up(10);
        assert_eq!(to_do(&mut link), [], "what was queued is lost with its connection");
    }

    #[test]
    fn what_is_queued_is_bounded_in_bytes_and_a_message_by_what_the_bus_takes() {
        let port = BusPort::new(2 * (OVERHEAD + 5), 1024);
        let mut link = port.link();
        link.up(5);
        assert_eq!(publish(&port, "123456"), Err(PublishError::TooLarge));
        assert_eq!([publish(&port, "12345"), publish(&port, "12345")], [Ok(()), Ok(())]);
        assert_eq!(publish(&port, ""), Err(PublishError::Full));
        assert!(link.try_next().is_some());
        assert_eq!(publish(&port, "12345"), Ok(()));
    }

    #[test]
    fn each_connection_is_told_what_is_subscribed_to_before_anything_else() {
        let port = BusPort::new(1024, 1024);
        let mut link = port.link();
        port.subscribe(&subject("a"));
        port.subscribe(&subject("b"));
        port.subscribe(&subject("b"));
        port.unsubscribe(&subject("a"));
        assert_eq!(to_do(&mut link), [], "there is no connection");
        link.up(10);
        publish(&port, "1").unwrap();
        port.subscribe(&subject("c"));
        port.unsubscribe(&subject("c"));
        port.unsubscribe(&subject("never"));
        let message = BusCommand::Publish { subject: subject("a"), message: "1".into() };
        let c = [BusCommand::Subscribe(subject("c")), BusCommand::Unsubscribe(subject("c"))];
        let expected = [&[BusCommand::Subscribe(subject("b")), message], &c[..]].concat();
        assert_eq!(to_do(&mut link), expected);
        link.up(10);
        assert_eq!(to_do(&mut link), [BusCommand::Subscribe(subject("b"))]);
    }

    #[test]
    fn a_bus_that_takes_no_subscriptions_is_told_all_of_them_again() {
        let port = BusPort::new(1024, 1024);
        let mut link = port.link();
        link.up(10);
        for _ in 0..100 {
            port.subscribe(&subject("a"));
            port.unsubscribe(&subject("a"));
        }
        assert_eq!(link.try_next(), Some(BusCommand::Reconnect));
        link.up(10);
        assert_eq!(to_do(&mut link), []);
    }

    #[test]
    fn the_end_comes_behind_what_is_queued_and_stays() {
        let port = BusPort::new(1024, 1024);
        let mut link = port.link();
        link.up(10);
        publish(&port, "1").unwrap();
        port.close();
        assert!(link.is_closing());
        assert!(matches!(link.try_next(), Some(BusCommand::Publish { .. })));
        assert_eq!([link.try_next(), link.try_next()], [Some(BusCommand::Close), Some(BusCommand::Close)]);
        assert_eq!(port.link().try_next(), None, "another link begins anew");
    }

    #[tokio::test]
    async fn what_is_urgent_is_heard_past_what_is_queued_which_stays() {
        let port = BusPort::new(1024, 1024);
        let mut link = port.link();
        link.up(10);
        publish(&port, "1").unwrap();
        let nothing = tokio::time::timeout(std::time::Duration::from_millis(20), link.urgent()).await;
        assert!(nothing.is_err(), "it took {nothing:?}");
        port.reconnect();
        assert_eq!(link.urgent().await, BusCommand::Reconnect);
        port.close();
        assert_eq!([link.urgent().await, link.urgent().await], [BusCommand::Close, BusCommand::Close]);
        assert!(matches!(link.next().await, BusCommand::Publish { .. }));
        assert_eq!(link.next().await, BusCommand::Close);
    }

    #[test]
    fn what_is_heard_beyond_the_bound_is_counted_and_told_before_the_rest() {
        let port = BusPort::new(1024, 2 * (OVERHEAD + 1));
        let link = port.link();
        link.up(10);
        for message in ["1", "2", "3", "4"] {
            link.deliver(message.into());
        }
        link.inbox().missed(5);
        let message = |text: &'static str| BusEvent::Message(text.into());
        assert_eq!(told(&port), [BusEvent::Up, BusEvent::Missed(7), message("1"), message("2")]);
        link.deliver("5".into());
        assert_eq!(told(&port), [message("5")]);
    }

    #[test]
    fn of_several_changes_the_last_one_is_told_and_no_connection_passes_for_the_one_before() {
        let port = BusPort::new(1024, 1024);
        let link = port.link();
        let down = |why: &str| BusEvent::Down(why.into());
        assert_eq!(told(&port), []);
        link.down("refused");
        assert_eq!(told(&port), [down("refused")]);
        link.up(10);
        link.down("lost");
        link.up(10);
        assert_eq!(told(&port), [BusEvent::Up]);
        link.down("lost");
        link.up(10);
        assert_eq!(told(&port), [down("the connection was replaced"), BusEvent::Up]);
        drop(link);
        assert_eq!(told(&port), [down(NOT_RUNNING)]);
    }

    #[test]
    fn a_link_that_was_replaced_says_and_does_nothing_more() {
        let port = BusPort::new(1024, 1024);
        let mut old = port.link();
        let new = port.link();
        new.up(10);
        old.up(1);
        old.deliver("old".into());
        old.inbox().missed(1);
        assert!(old.is_closing());
        assert_eq!(old.try_next(), Some(BusCommand::Close));
        drop(old);
        assert_eq!(told(&port), [BusEvent::Up]);
        assert_eq!(publish(&port, "larger"), Ok(()));
    }
}
