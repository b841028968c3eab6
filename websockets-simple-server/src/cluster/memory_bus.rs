//! A bus between the servers of one process.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::cluster::{
    bus::{Bus, BusCommand, Subject},
    port::{BusInbox, BusLink},
};

/// A [`Bus`] between the servers of one process, for tests, and for servers that share a machine without a bus beside
/// them. Clones are the same bus.
#[derive(Clone, Default)]
pub struct MemoryBus(Arc<Hub>);

#[derive(Default)]
struct Hub {
    subjects: Mutex<HashMap<Subject, HashMap<u64, BusInbox>>>,
    next: AtomicU64,
}

/// One node that is connected, until it is dropped.
struct Member<'a> {
    hub: &'a Hub,
    number: u64,
    inbox: BusInbox,
}

impl MemoryBus {
    /// A bus to which nobody is connected.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// On how many subjects somebody listens.
    #[must_use]
    pub fn subjects(&self) -> usize {
        self.0.lock().len()
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn run(&self, mut link: BusLink) {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let member = Member { hub: &self.0, number, inbox: link.inbox() };
        link.up(usize::MAX);
        loop {
            match link.next().await {
                BusCommand::Publish { subject, message } => self.0.publish(&subject, &message),
                BusCommand::Subscribe(subject) => member.subscribe(subject),
                BusCommand::Unsubscribe(subject) => member.unsubscribe(&subject),
                BusCommand::Reconnect => {
                    member.leave();
                    link.up(usize::MAX);
                }
                BusCommand::Close => return,
            }
            tokio::task::consume_budget().await;
        }
    }
}

impl Hub {
    fn publish(&self, subject: &Subject, message: &Bytes) {
        let subjects = self.lock();
        for inbox in subjects.get(subject).into_iter().flat_map(HashMap::values) {
            inbox.deliver(message.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, HashMap<u64, BusInbox>>> {
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member<'_> {
    fn subscribe(&self, subject: Subject) {
        self.hub.lock().entry(subject).or_default().insert(self.number, self.inbox.clone());
    }

    fn unsubscribe(&self, subject: &Subject) {
        let mut subjects = self.hub.lock();
        if let Some(members) = subjects.get_mut(subject) {
            members.remove(&self.number);
            if members.is_empty() {
                subjects.remove(subject);
            }
        }
    }

    fn leave(&self) {
        self.hub.lock().retain(|_, members| {
            members.remove(&self.number);
            !members.is_empty()
        });
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for MemoryBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBus").field("subjects", &self.subjects()).finish()
    }
}
