//! A bus with faults, over any bus.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{sync::watch, time::Instant};

use crate::{
    cluster::{Bus, BusCommand, BusEvent, BusLink, BusPort, Subject},
    test_util::{
        BusFaults,
        bus_faults::{Fate, Plan},
    },
};

/// Bytes on the way in each direction. What comes beyond them is lost.
const ROOM: usize = 64 * 1024 * 1024;

/// Bytes that a message on the way takes beside its own.
const OVERHEAD: usize = 128;

/// Why it is down.
const CUT: &str = "the connection was cut by a test";

/// A bus that loses, doubles, delays and reorders messages, and is cut off, as its [`BusFaults`] say. Without faults it is
/// like the bus below. It follows tokio's clock.
#[derive(Debug)]
pub struct FaultyBus<B> {
    bus: B,
    faults: BusFaults,
}

impl<B> FaultyBus<B> {
    /// A bus over another one.
    #[must_use]
    pub fn new(bus: B, faults: BusFaults) -> Self {
        Self { bus, faults }
    }
}

#[async_trait]
impl<B: Bus> Bus for FaultyBus<B> {
    async fn run(&self, link: BusLink) {
        let below = BusPort::new(ROOM, ROOM);
        let mut running = self.bus.run(below.link());
        let mut wire = Wire {
            link,
            below,
            faults: &self.faults,
            plan: self.faults.plan(),
            subscribed: BTreeSet::new(),
            is_below_up: false,
            is_up: false,
            cut_until: None,
            sending: OnTheWay::new(),
            coming: OnTheWay::new(),
        };
        loop {
            wire.adjust();
            let next_due = wire.next_due();
            tokio::select! {
                biased;
                () = &mut running => return,
                // The faults live as long as this bus.
                _ = wire.plan.changed() => {}
                () = due(next_due) => wire.pass(),
                event = wire.below.next_event() => wire.hear(event),
                command = wire.link.next() => if wire.obey(command) { break },
            }
            // It is all ready in a flood.
            tokio::task::consume_budget().await;
        }
        wire.below.close();
        running.await;
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Between one node and the bus below.
struct Wire<'a> {
    link: BusLink,
    below: BusPort,
    faults: &'a BusFaults,
    plan: watch::Receiver<Plan>,
    /// What the bus below was told.
    subscribed: BTreeSet<Subject>,
    is_below_up: bool,
    /// What the node was told.
    is_up: bool,
    /// When an interruption ends.
    cut_until: Option<Instant>,
    sending: OnTheWay<(Subject, Bytes)>,
    coming: OnTheWay<Bytes>,
}

impl Wire<'_> {
    /// Connects or disconnects the node, as it is by now.
    fn adjust(&mut self) {
        if self.cut_until.is_some_and(|until| until <= Instant::now()) {
            self.cut_until = None;
        }
        let is_cut = self.plan.borrow_and_update().cut || self.cut_until.is_some();
        if is_cut {
            self.disconnect(CUT);
        } else if !self.is_up
            && self.is_below_up
            && let Some(largest) = self.below.largest()
        {
            self.is_up = true;
            self.link.up(largest);
        }
    }

    fn disconnect(&mut self, why: impl fmt::Display) {
        if !std::mem::take(&mut self.is_up) {
            return;
        }
        self.link.down(why);
        (self.sending, self.coming) = (OnTheWay::new(), OnTheWay::new());
        // The node tells them again, with what it has changed meanwhile.
        for subject in std::mem::take(&mut self.subscribed) {
            self.below.unsubscribe(&subject);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        [self.sending.next_due(), self.coming.next_due(), self.cut_until].into_iter().flatten().min()
    }

    /// Passes on what was late.
    fn pass(&mut self) {
        let now = Instant::now();
        while let Some((subject, message)) = self.sending.pop(|at| at <= now) {
            self.send(&subject, message);
        }
        while let Some(message) = self.coming.pop(|at| at <= now) {
            self.link.deliver(message);
        }
    }

    fn send(&self, subject: &Subject, message: Bytes) {
        // It is lost where the bus below has lost its connection, or takes no more.
        let _ = self.below.publish(subject, message);
    }

    fn hear(&mut self, event: BusEvent) {
        match event {
            BusEvent::Up => self.is_below_up = true,
            BusEvent::Down(why) => {
                self.is_below_up = false;
                self.disconnect(why);
            }
            BusEvent::Missed(messages) if self.is_up => self.link.inbox().missed(messages),
            BusEvent::Message(message) if self.is_up && !self.plan.borrow().deaf => {
                let fate = self.faults.fate();
                if !self.is_interrupted_by(fate) {
                    let size = message.len();
                    for _ in 0..fate.times {
                        if let Some(message) = self.coming.push(message.clone(), size, fate) {
                            self.link.deliver(message);
                        }
                    }
                }
            }
            BusEvent::Missed(_) | BusEvent::Message(_) => {}
        }
    }

    /// Whether this is the end.
    fn obey(&mut self, command: BusCommand) -> bool {
        match command {
            BusCommand::Subscribe(subject) => {
                self.below.subscribe(&subject);
                self.subscribed.insert(subject);
            }
            BusCommand::Unsubscribe(subject) => {
                self.below.unsubscribe(&subject);
                self.subscribed.remove(&subject);
            }
            BusCommand::Publish { .. } if self.plan.borrow().mute => {}
            BusCommand::Publish { subject, message } => {
                let fate = self.faults.fate();
                if self.is_interrupted_by(fate) {
                    return false;
                }
                let size = message.len() + subject.as_str().len();
                for _ in 0..fate.times {
                    let message = (subject.clone(), message.clone());
                    if let Some((subject, message)) = self.sending.push(message, size, fate) {
                        self.send(&subject, message);
                    }
                }
            }
            BusCommand::Reconnect => {
                self.disconnect("a new connection was asked for");
                // It is up again with the connection that the bus below makes now.
                self.is_below_up = false;
                self.below.reconnect();
            }
            BusCommand::Close => {
                while let Some((subject, message)) = self.sending.pop(|_| true) {
                    self.send(&subject, message);
                }
                return true;
            }
        }
        false
    }

    fn is_interrupted_by(&mut self, fate: Fate) -> bool {
        let Some(time) = fate.cut else { return false };
        self.cut_until = Some(Instant::now() + time);
        true
    }
}

/// Messages that are late, by when they come.
struct OnTheWay<T> {
    messages: BTreeMap<(Instant, u64), Late<T>>,
    bytes: usize,
    number: u64,
    /// How many of them are in order, and when the last one of these comes.
    in_order: usize,
    last: Option<Instant>,
}

struct Late<T> {
    message: T,
    size: usize,
    is_in_order: bool,
}

impl<T> OnTheWay<T> {
    fn new() -> Self {
        Self { messages: BTreeMap::new(), bytes: 0, number: 0, in_order: 0, last: None }
    }

    /// Takes a message of this size. Gives it back if it comes at once.
    fn push(&mut self, message: T, size: usize, fate: Fate) -> Option<T> {
        let now = Instant::now();
        let mut at = self.last.map_or(now, |last| last.max(now)).max(now + fate.delay);
        let is_in_order = fate.passed.is_none();
        if is_in_order && at == now && self.in_order == 0 {
            return Some(message);
        }
        let size = size + OVERHEAD;
        if size > ROOM - self.bytes {
            return None;
        }
        if is_in_order {
            self.in_order += 1;
            self.last = Some(at);
        }
        at += fate.passed.unwrap_or(Duration::ZERO);
        self.bytes += size;
        self.number += 1;
        self.messages.insert((at, self.number), Late { message, size, is_in_order });
        None
    }

    fn next_due(&self) -> Option<Instant> {
        self.messages.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next message, if it comes then.
    fn pop(&mut self, comes: impl FnOnce(Instant) -> bool) -> Option<T> {
        let next = self.messages.first_entry().filter(|entry| comes(entry.key().0))?.remove();
        self.bytes -= next.size;
        self.in_order -= usize::from(next.is_in_order);
        Some(next.message)
    }
}

#[cfg(test)]
mod tests;
