//! Buses with one bug each: every rule has to find its own.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::cluster::{Bus, BusCommand, BusInbox, BusLink, Subject};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Bug {
    None,
    NotToItself,
    ToAll,
    SwapsTwoOfThousands,
    CutsLongMessages,
    TakesAndLosesLongMessages,
    SubscribesBehindTheNext,
    StaysSubscribed,
    SubscribesByPrefix,
    HasThousandSubjects,
    HasOneNodeEach,
    KeepsTheConnection,
    ForgetsAtReconnect,
    SendsAgainAfterReconnect,
    KeepsQuietInAnOutage,
    HangsUpOnSlowReaders,
    LosesTheEnd,
    NeverEnds,
    NeverEndsInAnOutage,
    IsBrokenByDrops,
    LeavesNodes,
}

/// What all nodes are connected to.
#[derive(Default)]
pub(super) struct Hub {
    nodes: Mutex<HashMap<u64, Node>>,
    next: AtomicU64,
    down: watch::Sender<bool>,
}

struct Node {
    inbox: BusInbox,
    subjects: HashSet<Subject>,
    heard: usize,
}

impl Hub {
    pub(super) fn nodes(&self) -> usize {
        self.nodes.lock().unwrap().len()
    }

    pub(super) fn set_down(&self, down: bool) {
        self.down.send_replace(down);
    }
}

/// The bus of one node.
pub(super) struct BuggyBus {
    bug: Bug,
    hub: Arc<Hub>,
    /// Runs that go on, or were dropped.
    unfinished: AtomicUsize,
}

impl BuggyBus {
    pub(super) fn new(bug: Bug, hub: &Arc<Hub>) -> Self {
        Self { bug, hub: Arc::clone(hub), unfinished: AtomicUsize::new(0) }
    }
}

/// Whether it is one of those that the checks number: they begin with a small number, where others are words.
fn is_numbered(message: &Bytes) -> bool {
    message.len() == 6 && message[0] < 8
}

/// One run.
struct Run<'a> {
    bus: &'a BuggyBus,
    number: u64,
    subscribing: Option<Subject>,
    held: Option<(Subject, Bytes)>,
    connections: usize,
    is_new: bool,
    subscriptions: usize,
    published: usize,
}

#[async_trait]
impl Bus for BuggyBus {
    async fn run(&self, mut link: BusLink) {
        let number = self.hub.next.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let is_too_often = match self.bug {
            Bug::IsBrokenByDrops => unfinished > 5,
            Bug::HasOneNodeEach => unfinished > 0,
            _ => false,
        };
        if is_too_often {
            return link.closing().await;
        }
        let (mut run, mut down) = (
            Run {
                bus: self,
                number,
                subscribing: None,
                held: None,
                connections: 0,
                is_new: true,
                subscriptions: 0,
                published: 0,
            },
            self.hub.down.subscribe(),
        );
        loop {
            if *down.borrow_and_update() && self.bug != Bug::KeepsQuietInAnOutage {
                run.leave();
                link.down("an outage");
                tokio::select! {
                    _ = down.changed() => continue,
                    () = link.closing(), if self.bug != Bug::NeverEndsInAnOutage => break,
                }
            }
            if run.run(&mut link, &mut down).await {
                break;
            }
        }
        self.unfinished.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Run<'_> {
    /// Until the connection is lost; whether this is the end.
    async fn run(&mut self, link: &mut BusLink, down: &mut watch::Receiver<bool>) -> bool {
        let node = Node { inbox: link.inbox(), subjects: HashSet::new(), heard: 0 };
        self.bus.hub.nodes.lock().unwrap().insert(self.number, node);
        self.connections += 1;
        self.is_new = self.connections > 1;
        let bug = self.bus.bug;
        link.up(if bug == Bug::None { 1_500_000 } else { usize::MAX });
        loop {
            let command = tokio::select! {
                biased;
                _ = down.changed() => {
                    if bug == Bug::KeepsQuietInAnOutage { continue }
                    return false;
                }
                command = link.next() => command,
            };
            match command {
                BusCommand::Subscribe(_) if bug == Bug::ForgetsAtReconnect && self.connections > 1 => {}
                BusCommand::Subscribe(subject) => {
                    self.subscribe();
                    self.subscribing = Some(subject);
                    self.subscriptions += 1;
                    if bug != Bug::SubscribesBehindTheNext || self.subscriptions < 40 {
                        self.subscribe();
                    }
                }
                BusCommand::Unsubscribe(_) if bug == Bug::StaysSubscribed => {}
                BusCommand::Unsubscribe(subject) => {
                    self.bus
                        .hub
                        .nodes
                        .lock()
                        .unwrap()
                        .get_mut(&self.number)
                        .unwrap()
                        .subjects
                        .remove(&subject);
                }
                BusCommand::Publish { .. } if bug == Bug::LosesTheEnd && link.is_closing() => {}
                BusCommand::Publish { subject, message } => {
                    self.publish(subject, message);
                }
                BusCommand::Reconnect if bug == Bug::KeepsTheConnection => {}
                BusCommand::Reconnect => {
                    self.leave();
                    link.down("a new connection");
                    return false;
                }
                BusCommand::Close if bug == Bug::NeverEnds => std::future::pending().await,
                BusCommand::Close => return true,
            }
            tokio::task::consume_budget().await;
        }
    }

    fn subscribe(&mut self) {
        if let Some(subject) = self.subscribing.take() {
            let mut nodes = self.bus.hub.nodes.lock().unwrap();
            let subjects = &mut nodes.get_mut(&self.number).unwrap().subjects;
            if self.bus.bug != Bug::HasThousandSubjects || subjects.len() < 1000 {
                subjects.insert(subject);
            }
        }
    }

    fn publish(&mut self, subject: Subject, message: Bytes) {
        self.published += 1;
        match self.bus.bug {
            Bug::SwapsTwoOfThousands if self.published % 5000 == 4999 => self.held = Some((subject, message)),
            Bug::SendsAgainAfterReconnect if is_numbered(&message) => {
                self.send(&subject, &message);
                // It does not know whether the last one of the connection before came.
                let before = self.held.replace((subject, message));
                if let Some((subject, message)) = before.filter(|_| std::mem::take(&mut self.is_new)) {
                    self.send(&subject, &message);
                }
            }
            Bug::SwapsTwoOfThousands => {
                self.send(&subject, &message);
                if let Some((subject, message)) = self.held.take_if(|(held, _)| *held == subject) {
                    self.send(&subject, &message);
                }
            }
            _ => self.send(&subject, &message),
        }
    }

    fn send(&self, subject: &Subject, message: &Bytes) {
        let bug = self.bus.bug;
        if bug == Bug::TakesAndLosesLongMessages && message.len() > 1024 * 1024 {
            return;
        }
        let most = if bug == Bug::CutsLongMessages { 65_535 } else { usize::MAX };
        let message = message.slice(..message.len().min(most));
        for (number, node) in &mut *self.bus.hub.nodes.lock().unwrap() {
            let is_subscribed = match bug {
                Bug::NotToItself => *number != self.number && node.subjects.contains(subject),
                Bug::ToAll => node.subjects.contains(subject) || is_numbered(&message),
                Bug::SubscribesByPrefix => {
                    node.subjects.iter().any(|one| subject.as_str().starts_with(one.as_str()))
                }
                _ => node.subjects.contains(subject),
            };
            if is_subscribed {
                node.heard += usize::from(message.len() == 1024);
                if bug != Bug::HangsUpOnSlowReaders || node.heard < 500 {
                    node.inbox.deliver(message.clone());
                }
            }
        }
    }

    fn leave(&self) {
        self.bus.hub.nodes.lock().unwrap().remove(&self.number);
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if self.bus.bug != Bug::LeavesNodes {
            self.leave();
        }
    }
}
