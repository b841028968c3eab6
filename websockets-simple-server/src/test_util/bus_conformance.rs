//! What every bus has to do, as checks that a bus can be held to.

use std::{
    fmt,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use uuid::Uuid;
use websockets_simple_core::test_util::PATIENCE;

use crate::{
    cluster::{Bus, Subject},
    test_util::bus_conformance::node::{Node, Nodes},
};

mod connections;
mod messages;
mod node;
mod subscriptions;

/// How long a rule listens for what must not come.
const SILENCE: Duration = Duration::from_millis(100);

/// What a check has seen, where it is not what the rule says.
type Seen<T = ()> = Result<T, String>;

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Outage = dyn Fn(bool) -> Later<()> + Send + Sync;
type Left = dyn Fn() -> Later<usize> + Send + Sync;

/// The rules that a [`Bus`] is held to.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum BusRule {
    /// A node hears its own messages.
    Own,
    /// A message comes to every subscribed node exactly once, and to no other.
    ExactlyOnce,
    /// Messages of one node on one subject come in order.
    Order,
    /// A message comes as it was published, of any size and content.
    Unchanged,
    /// What the bus does not take is refused before it is sent.
    TooLarge,
    /// A message that a node publishes to itself comes back when its earlier subscriptions are in effect.
    Barrier,
    /// Nothing of a subject comes once it is unsubscribed from.
    Unsubscribe,
    /// Subjects that begin alike are different subjects.
    Alike,
    /// A bus serves several nodes of one process.
    SeveralNodes,
    /// A new connection is told, and has all subscriptions.
    Reconnect,
    /// A node can be subscribed to more than a thousand subjects.
    ManySubjects,
    /// What was published before a new connection never comes behind what was published later.
    NoInversion,
    /// While it is not connected nothing is published; it connects again by itself.
    Outage,
    /// A node that does not read is told what it missed, and holds up no other.
    SlowReader,
    /// It ends when it is asked to, within two seconds, with all that was published before.
    Close,
    /// It can be dropped at any time, and run again.
    Restart,
    /// Nodes that have gone leave nothing.
    NothingLeft,
}

impl BusRule {
    /// All rules, in the order in which they are checked.
    pub const ALL: [Self; 17] = [
        Self::Own,
        Self::ExactlyOnce,
        Self::Order,
        Self::Unchanged,
        Self::TooLarge,
        Self::Barrier,
        Self::Unsubscribe,
        Self::Alike,
        Self::SeveralNodes,
        Self::Reconnect,
        Self::ManySubjects,
        Self::NoInversion,
        Self::Outage,
        Self::SlowReader,
        Self::Close,
        Self::Restart,
        Self::NothingLeft,
    ];
}

/// Holds a bus to the rules that a server relies on.
///
/// `make` gives the bus of one node; all that it gives have to be connected with each other. The names of the subjects are
/// new in each run, so that a bus can be tested beside others, on a server that is in use.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{MemoryBus, test_util::{BusRule, bus_conformance}};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let bus = MemoryBus::new();
/// let all = bus.clone();
/// bus_conformance(move || bus.clone())
///     .left(move || std::future::ready(all.subjects()))
/// #   .only([BusRule::Own, BusRule::NothingLeft])
///     .run()
///     .await;
/// # }
/// ```
pub fn bus_conformance<B: Bus>(make: impl Fn() -> B + Send + Sync + 'static) -> BusConformance<B> {
    BusConformance {
        make: Box::new(make),
        outage: None,
        left: None,
        rules: BusRule::ALL.to_vec(),
        patience: PATIENCE,
        run: Uuid::new_v4(),
        subjects: AtomicU64::new(0),
    }
}

/// The checks of [`bus_conformance`].
#[must_use = "nothing is checked until it is run"]
pub struct BusConformance<B> {
    make: Box<dyn Fn() -> B + Send + Sync>,
    outage: Option<Box<Outage>>,
    left: Option<Box<Left>>,
    rules: Vec<BusRule>,
    patience: Duration,
    run: Uuid,
    subjects: AtomicU64,
}

impl<B: Bus> BusConformance<B> {
    /// How to cut all nodes off, with `true`, and to let them connect again, with `false`: such as by stopping and starting
    /// the server behind the bus. Without it the rules about outages are held only to what a test can do by itself.
    pub fn outage<F>(mut self, outage: impl Fn(bool) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.outage = Some(Box::new(move |down| Box::pin(outage(down))));
        self
    }

    /// How much there is of what nodes bring and have to take with them: subscriptions, connections. Without it
    /// [`BusRule::NothingLeft`] is not checked.
    pub fn left<F>(mut self, left: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = usize> + Send + 'static,
    {
        self.left = Some(Box::new(move || Box::pin(left())));
        self
    }

    /// Checks only these rules.
    pub fn only(mut self, rules: impl IntoIterator<Item = BusRule>) -> Self {
        self.rules = rules.into_iter().collect();
        self
    }

    /// How long whatever has to happen may take, 20 s if it is not said.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Checks the rules one after the other. It takes some seconds.
    ///
    /// # Panics
    ///
    /// When the bus breaks a rule, with its name and what was seen. Outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, so are all of its nodes. An outage that it began goes on.
    pub async fn run(self) {
        for rule in &self.rules {
            if let Err(seen) = self.check(*rule).await {
                panic!("the bus breaks the rule {rule:?} ({rule}): {seen}");
            }
        }
    }

    async fn check(&self, rule: BusRule) -> Seen {
        match rule {
            BusRule::Own => messages::own(self).await,
            BusRule::ExactlyOnce => messages::exactly_once(self).await,
            BusRule::Order => messages::order(self).await,
            BusRule::Unchanged => messages::unchanged(self).await,
            BusRule::TooLarge => messages::too_large(self).await,
            BusRule::SlowReader => messages::slow_reader(self).await,
            BusRule::Barrier => subscriptions::barrier(self).await,
            BusRule::Unsubscribe => subscriptions::unsubscribe(self).await,
            BusRule::Alike => subscriptions::alike(self).await,
            BusRule::ManySubjects => subscriptions::many_subjects(self).await,
            BusRule::SeveralNodes => subscriptions::several_nodes(self).await,
            BusRule::Reconnect => connections::reconnect(self).await,
            BusRule::NoInversion => connections::no_inversion(self).await,
            BusRule::Outage => connections::outage(self).await,
            BusRule::Close => connections::close(self).await,
            BusRule::Restart => connections::restart(self).await,
            BusRule::NothingLeft => connections::nothing_left(self).await,
        }
    }

    /// A subject that no other check has.
    fn subject(&self, name: &str) -> Subject {
        let number = self.subjects.fetch_add(1, Ordering::Relaxed);
        Subject::new(format!("conformance-{}.{number}.{name}", self.run.simple()))
    }

    /// Nodes that are connected.
    async fn nodes<const N: usize>(&self) -> Seen<[Node; N]> {
        let mut nodes = Vec::new();
        for _ in 0..N {
            nodes.push(self.node(Nodes::ROOM).await?);
        }
        nodes.try_into().map_err(|_| "there are too few nodes".to_owned())
    }

    /// A node that is connected, with so much room for what it hears.
    async fn node(&self, incoming: usize) -> Seen<Node> {
        let mut node = Node::new((self.make)(), incoming, self.subject("own"), self.patience);
        node.run();
        node.connected().await?;
        Ok(node)
    }

    /// The bus is there no more, or again.
    async fn set_down(&self, down: bool) {
        if let Some(outage) = &self.outage {
            outage(down).await;
        }
    }
}

impl fmt::Display for BusRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "a node hears its own messages",
            Self::ExactlyOnce => "a message comes to every subscribed node exactly once, and to no other",
            Self::Order => "messages of one node on one subject come in order",
            Self::Unchanged => "a message comes as it was published",
            Self::TooLarge => "what the bus does not take is refused before it is sent",
            Self::Barrier => "a message to oneself comes back when earlier subscriptions are in effect",
            Self::Unsubscribe => "nothing of a subject comes once it is unsubscribed from",
            Self::Alike => "subjects that begin alike are different subjects",
            Self::ManySubjects => "a node can be subscribed to more than a thousand subjects",
            Self::SeveralNodes => "a bus serves several nodes of one process",
            Self::Reconnect => "a new connection is told, and has all subscriptions",
            Self::NoInversion => {
                "what was published before a new connection never comes behind later messages"
            }
            Self::Outage => "while it is not connected nothing is published; it connects again by itself",
            Self::SlowReader => "a node that does not read is told what it missed, and holds up no other",
            Self::Close => "it ends when it is asked to, with all that was published before",
            Self::Restart => "it can be dropped at any time, and run again",
            Self::NothingLeft => "nodes that have gone leave nothing",
        })
    }
}

impl<B> fmt::Debug for BusConformance<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusConformance").field("rules", &self.rules).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
