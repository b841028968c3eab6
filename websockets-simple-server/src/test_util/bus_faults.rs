//! Faults between a node and its bus.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::sync::watch;

/// How much later a message comes that others are to pass, at most.
const PASSED: Duration = Duration::from_millis(50);

/// The faults between a node and its bus, for a [`FaultyBus`](crate::test_util::FaultyBus). Clones are the same faults:
/// those of one node, or of several that share its fate.
///
/// What happens by chance is the same for the same seed, as long as the messages come in the same order. It concerns
/// messages of both ways, each for itself. Subscriptions always get through while the bus is connected.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{
///     Bus, BusEvent, BusPort, MemoryBus, Subject,
///     test_util::{BusFaults, FaultyBus},
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let faults = BusFaults::new(7);
/// let bus = FaultyBus::new(MemoryBus::new(), faults.clone());
/// let port = BusPort::new(64 * 1024, 64 * 1024);
/// let link = port.link();
/// let running = tokio::spawn(async move { bus.run(link).await });
/// assert_eq!(port.next_event().await, BusEvent::Up);
/// faults.cut();
/// assert!(matches!(port.next_event().await, BusEvent::Down(_)));
/// assert!(port.publish(&Subject::new("news"), "hello".into()).is_err());
/// faults.mend();
/// assert_eq!(port.next_event().await, BusEvent::Up);
/// port.close();
/// running.await.unwrap();
/// # }
/// ```
#[derive(Clone)]
pub struct BusFaults(Arc<Shared>);

struct Shared {
    plan: watch::Sender<Plan>,
    random: Mutex<SmallRng>,
}

/// What is asked of a bus with faults.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plan {
    pub(super) cut: bool,
    pub(super) mute: bool,
    pub(super) deaf: bool,
    lose: f64,
    double: f64,
    reorder: f64,
    delay: Duration,
    interrupt: f64,
    interruption: Duration,
}

/// What becomes of one message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fate {
    /// How often it comes: not at all, once, twice.
    pub(super) times: usize,
    /// How much later it comes.
    pub(super) delay: Duration,
    /// How much later than that, while others pass it.
    pub(super) passed: Option<Duration>,
    /// For how long the connection is cut.
    pub(super) cut: Option<Duration>,
}

impl BusFaults {
    /// No faults, so far.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let random = Mutex::new(SmallRng::seed_from_u64(seed));
        Self(Arc::new(Shared { plan: watch::Sender::new(Plan::default()), random }))
    }

    /// Cuts the connection: the node is told that the bus is down, what is on the way is lost, and so are the
    /// subscriptions, until [`mend`](Self::mend).
    pub fn cut(&self) {
        self.change(|plan| plan.cut = true);
    }

    /// Loses all that the node publishes, though its bus is up.
    pub fn mute(&self) {
        self.change(|plan| plan.mute = true);
    }

    /// Loses all that the node should hear, though its bus is up.
    pub fn deafen(&self) {
        self.change(|plan| plan.deaf = true);
    }

    /// Ends what [`cut`](Self::cut), [`mute`](Self::mute) and [`deafen`](Self::deafen) began. What was lost stays lost.
    pub fn mend(&self) {
        self.change(|plan| (plan.cut, plan.mute, plan.deaf) = (false, false, false));
    }

    /// Loses a message with this chance, of 0 to 1.
    pub fn lose(&self, chance: f64) {
        self.change(|plan| plan.lose = probability(chance));
    }

    /// Lets a message come twice with this chance, of 0 to 1.
    pub fn double(&self, chance: f64) {
        self.change(|plan| plan.double = probability(chance));
    }

    /// Holds a message back with this chance, of 0 to 1, for up to 50 ms: what comes meanwhile passes it.
    pub fn reorder(&self, chance: f64) {
        self.change(|plan| plan.reorder = probability(chance));
    }

    /// Lets every message come later, by up to so much, in order.
    pub fn delay(&self, most: Duration) {
        self.change(|plan| plan.delay = most);
    }

    /// With each message, cuts the connection of its node with this chance, of 0 to 1, for so long. The message is lost.
    pub fn interrupt(&self, chance: f64, time: Duration) {
        self.change(|plan| (plan.interrupt, plan.interruption) = (probability(chance), time));
    }

    fn change(&self, change: impl FnOnce(&mut Plan)) {
        self.0.plan.send_modify(change);
    }

    pub(super) fn plan(&self) -> watch::Receiver<Plan> {
        self.0.plan.subscribe()
    }

    /// What becomes of the next message.
    pub(super) fn fate(&self) -> Fate {
        let plan = *self.0.plan.borrow();
        let mut random = self.0.random.lock().unwrap_or_else(PoisonError::into_inner);
        let mut happens = |chance: f64| chance > 0.0 && random.random_bool(chance);
        let (lost, doubled) = (happens(plan.lose), happens(plan.double));
        let (passed, cut) = (happens(plan.reorder), happens(plan.interrupt));
        let delay =
            if plan.delay.is_zero() { plan.delay } else { random.random_range(Duration::ZERO..=plan.delay) };
        Fate {
            times: usize::from(!lost) + usize::from(!lost && doubled),
            delay,
            passed: passed.then(|| random.random_range(PASSED / 10..=PASSED)),
            cut: cut.then_some(plan.interruption),
        }
    }
}

/// A number that is a probability.
fn probability(chance: f64) -> f64 {
    if chance.is_nan() { 0.0 } else { chance.clamp(0.0, 1.0) }
}

impl fmt::Debug for BusFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BusFaults").field(&*self.0.plan.borrow()).finish()
    }
}
