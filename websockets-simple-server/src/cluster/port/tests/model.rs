//! A port against a slow model of one, for any sequence of calls.

use std::collections::{BTreeSet, VecDeque};

use proptest::{collection::vec, prelude::*};

use super::*;

const NAMES: [&str; 5] = ["a", "a.b", "ab", "a.b.c", "b"];

#[derive(Clone, Debug)]
enum Call {
    Publish(usize, usize),
    Subscribe(usize),
    Unsubscribe(usize),
    Reconnect,
    Close,
    NextEvent,
    Link,
    Up(usize),
    Down,
    Next,
    Urgent,
    Deliver(usize),
    Missed(u64),
    /// What a link does that was replaced.
    UpOfOld,
    DownOfOld,
    DeliverOfOld,
    NextOfOld,
}

fn call() -> impl Strategy<Value = Call> {
    let name = || 0..NAMES.len();
    prop_oneof![
        8 => (name(), 0_usize..200).prop_map(|(name, size)| Call::Publish(name, size)),
        5 => name().prop_map(Call::Subscribe),
        5 => name().prop_map(Call::Unsubscribe),
        1 => Just(Call::Reconnect),
        1 => Just(Call::Close),
        8 => Just(Call::NextEvent),
        1 => Just(Call::Link),
        3 => (0_usize..300).prop_map(Call::Up),
        1 => Just(Call::Down),
        10 => Just(Call::Next),
        2 => Just(Call::Urgent),
        8 => (0_usize..300).prop_map(Call::Deliver),
        1 => (0_u64..10).prop_map(Call::Missed),
        1 => Just(Call::UpOfOld),
        1 => Just(Call::DownOfOld),
        1 => Just(Call::DeliverOfOld),
        1 => Just(Call::NextOfOld),
    ]
}

/// What a port has to do, in the simplest words.
struct Model {
    most: [usize; 2],
    largest: Option<usize>,
    wanted: BTreeSet<&'static str>,
    /// Those that are told first, in any order, and what all of them took.
    first: BTreeSet<&'static str>,
    told_first: usize,
    commands: VecDeque<BusCommand>,
    reconnect: bool,
    close: bool,
    /// The connection, if there is one, and the one that was told last.
    connection: Option<u32>,
    connections: u32,
    told: Option<u32>,
    /// A reason that was not told.
    why: Option<&'static str>,
    told_why: &'static str,
    heard: VecDeque<Bytes>,
    missed: u64,
}

fn size(command: &BusCommand) -> (usize, usize) {
    match command {
        BusCommand::Publish { subject, message } => (OVERHEAD + subject.as_str().len() + message.len(), 0),
        BusCommand::Subscribe(subject) | BusCommand::Unsubscribe(subject) => {
            (0, OVERHEAD + subject.as_str().len())
        }
        _ => (0, 0),
    }
}

impl Model {
    fn new(most: [usize; 2]) -> Self {
        Self {
            most,
            largest: None,
            wanted: BTreeSet::new(),
            first: BTreeSet::new(),
            told_first: 0,
            commands: VecDeque::new(),
            reconnect: false,
            close: false,
            connection: None,
            connections: 0,
            told: None,
            why: None,
            told_why: NOT_RUNNING,
            heard: VecDeque::new(),
            missed: 0,
        }
    }

    /// Bytes of messages and of changes that wait to be sent.
    fn waiting(&self) -> (usize, usize) {
        let first: usize = self.first.iter().map(|name| OVERHEAD + name.len()).sum();
        let sum = |(a, b), (c, d)| (a + c, b + d);
        self.commands.iter().map(size).fold((0, first), sum)
    }

    fn heard_bytes(&self) -> usize {
        self.heard.iter().map(|message| message.len() + OVERHEAD).sum()
    }

    fn lose(&mut self) {
        self.largest = None;
        self.told_first = 0;
        self.first.clear();
        self.commands.clear();
        self.reconnect = false;
    }

    fn down(&mut self, why: &'static str) {
        self.lose();
        self.connection = None;
        self.why = Some(why);
    }

    fn publish(&mut self, name: &'static str, message: &Bytes) -> Result<(), PublishError> {
        let Some(largest) = self.largest.filter(|_| !self.close) else { return Err(PublishError::Down) };
        let command = BusCommand::Publish { subject: subject(name), message: message.clone() };
        let (taken, _) = size(&command);
        if message.len() > largest || taken > self.most[0] {
            return Err(PublishError::TooLarge);
        }
        if self.waiting().0 + taken > self.most[0] {
            return Err(PublishError::Full);
        }
        self.commands.push_back(command);
        Ok(())
    }

    fn change(&mut self, name: &'static str, wanted: bool) {
        let changed = if wanted { self.wanted.insert(name) } else { self.wanted.remove(name) };
        if !changed || self.largest.is_none() || self.close {
            return;
        }
        if self.waiting().1 + OVERHEAD + name.len() > self.most[0] + self.told_first {
            self.lose();
            self.reconnect = true;
            return;
        }
        let subject = subject(name);
        let command = if wanted { BusCommand::Subscribe(subject) } else { BusCommand::Unsubscribe(subject) };
        self.commands.push_back(command);
    }

    /// Whether this is what comes next.
    fn takes(&mut self, taken: Option<&BusCommand>) -> bool {
        if std::mem::take(&mut self.reconnect) {
            return taken == Some(&BusCommand::Reconnect);
        }
        if !self.first.is_empty() {
            return matches!(taken, Some(BusCommand::Subscribe(name)) if self.first.remove(name.as_str()));
        }
        let next = self.commands.pop_front().or(self.close.then_some(BusCommand::Close));
        taken == next.as_ref()
    }

    fn next_event(&mut self) -> Option<BusEvent> {
        if self.told != self.connection {
            let (told, connection) = (self.told, self.connection);
            if told.is_some() && connection.is_some() {
                self.told = None;
                self.told_why = "the connection was replaced";
                return Some(BusEvent::Down(self.told_why.into()));
            }
            self.told = connection;
            if connection.is_some() {
                return Some(BusEvent::Up);
            }
            self.told_why = self.why.take().unwrap();
            return Some(BusEvent::Down(self.told_why.into()));
        }
        // Another reason for none.
        if self.connection.is_none()
            && let Some(why) = self.why.take()
            && why != self.told_why
        {
            self.told_why = why;
            return Some(BusEvent::Down(why.into()));
        }
        if self.missed > 0 {
            return Some(BusEvent::Missed(std::mem::take(&mut self.missed)));
        }
        self.heard.pop_front().map(BusEvent::Message)
    }
}

/// A message of this size that no other one is like.
fn message(number: u32, size: usize) -> Bytes {
    let mut message = vec![0; size.max(4)];
    message[..4].copy_from_slice(&number.to_be_bytes());
    message.into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_port_does_what_its_model_does(
        out in 100_usize..1500,
        heard in 100_usize..1500,
        calls in vec(call(), 0..150),
    ) {
        let (port, mut model) = (BusPort::new(out, heard), Model::new([out, heard]));
        let (mut old, mut link) = (port.link(), port.link());
        let (mut delivered, mut lost, mut told_missed, mut read) = (0_u64, 0, 0, 0);
        for (number, call) in (0..).zip(calls) {
            match call {
                Call::Publish(name, size) => {
                    let message = message(number, size);
                    let given = port.publish(&subject(NAMES[name]), message.clone());
                    prop_assert_eq!(given, model.publish(NAMES[name], &message));
                }
                Call::Subscribe(name) => {
                    port.subscribe(&subject(NAMES[name]));
                    model.change(NAMES[name], true);
                }
                Call::Unsubscribe(name) => {
                    port.unsubscribe(&subject(NAMES[name]));
                    model.change(NAMES[name], false);
                }
                Call::Reconnect => {
                    port.reconnect();
                    model.lose();
                    model.reconnect = true;
                }
                Call::Close => {
                    port.close();
                    model.close = true;
                }
                Call::NextEvent => {
                    let event = port.try_next_event();
                    prop_assert_eq!(&event, &model.next_event());
                    match event {
                        Some(BusEvent::Missed(messages)) => told_missed += messages,
                        Some(BusEvent::Message(_)) => read += 1,
                        _ => {}
                    }
                }
                Call::Link => {
                    old = std::mem::replace(&mut link, port.link());
                    model.down(NOT_RUNNING);
                    model.close = false;
                }
                Call::Up(largest) => {
                    link.up(largest);
                    model.lose();
                    model.largest = Some(largest);
                    model.first = model.wanted.clone();
                    model.told_first = model.waiting().1;
                    model.connections += 1;
                    model.connection = Some(model.connections);
                    model.why = None;
                }
                Call::Down => {
                    link.down("lost");
                    model.down("lost");
                }
                Call::Next => {
                    let taken = link.try_next();
                    prop_assert!(model.takes(taken.as_ref()), "{:?} was not to come", taken);
                }
                Call::Urgent => {
                    let urgent = if model.close {
                        Some(BusCommand::Close)
                    } else {
                        std::mem::take(&mut model.reconnect).then_some(BusCommand::Reconnect)
                    };
                    prop_assert_eq!(link.try_urgent(), urgent);
                }
                Call::Deliver(size) => {
                    let message = message(number, size);
                    link.deliver(message.clone());
                    delivered += 1;
                    if model.heard_bytes() + message.len() + OVERHEAD > heard {
                        model.missed += 1;
                    } else {
                        model.heard.push_back(message);
                    }
                }
                Call::Missed(messages) => {
                    link.inbox().missed(messages);
                    lost += messages;
                    model.missed += messages;
                }
                Call::UpOfOld => old.up(1000),
                Call::DownOfOld => old.down("old"),
                Call::DeliverOfOld => old.deliver("old".into()),
                Call::NextOfOld => prop_assert_eq!(old.try_next(), Some(BusCommand::Close)),
            }
            prop_assert_eq!(port.subscriptions(), model.wanted.len());
            prop_assert_eq!((link.is_closing(), old.is_closing()), (model.close, true));
            let waiting = { let out = port.0.out(); (out.bytes, out.changes) };
            prop_assert_eq!(waiting, model.waiting());
            prop_assert!(waiting.0 <= out && waiting.1 <= out + model.told_first, "{:?}", waiting);
            let held = port.0.heard().bytes;
            prop_assert_eq!(held, model.heard_bytes());
            prop_assert!(held <= heard, "{} bytes", held);
        }
        for event in told(&port) {
            match event {
                BusEvent::Missed(messages) => told_missed += messages,
                BusEvent::Message(_) => read += 1,
                _ => {}
            }
        }
        prop_assert_eq!(told_missed + read, delivered + lost, "each message is read or missed");
    }
}
