//! Messages that nodes send to each other without end, and users that come and go.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use websockets_simple_tests::cluster::process::{Listener, NodeProcess};

use crate::trio::{Trio, eventually};

/// The time between two messages of a node.
const PAUSE: Duration = Duration::from_millis(5);

/// A listener in one channel at each node, and what each node sends to it.
pub(crate) struct Load {
    listeners: Vec<Listener>,
    ends: Arc<AtomicBool>,
    /// What became of the messages of each node.
    sending: JoinSet<(usize, Vec<String>)>,
}

/// What a load has come to.
pub(crate) struct Loaded {
    /// How many messages the bus has taken, and how many it has not.
    pub(crate) handed: usize,
    pub(crate) down: usize,
    /// How often one was missed.
    pub(crate) missed: i64,
}

impl Load {
    pub(crate) async fn begin(trio: &Trio) -> Self {
        let (mut listeners, mut sending) = (Vec::new(), JoinSet::new());
        for node in &trio.nodes {
            listeners.push(node.listener(&format!("listener-{}", node.name), "/load").await);
        }
        let ends = Arc::new(AtomicBool::new(false));
        for (number, node) in trio.nodes.iter().enumerate() {
            let (node, ends) = (Arc::clone(node), Arc::clone(&ends));
            sending.spawn(async move { (number, send(&node, &ends).await) });
        }
        Self { listeners, ends, sending }
    }

    /// Ends it. Each message has come where it should, once and in order, or is counted.
    pub(crate) async fn end(mut self, trio: &Trio) -> Loaded {
        self.ends.store(true, Relaxed);
        let mut became = HashMap::new();
        while let Some(sent) = self.sending.join_next().await {
            let (number, sent) = sent.unwrap();
            became.insert(number, sent);
        }
        let count = |kind: &str| became.values().flatten().filter(|remote| *remote == kind).count();
        let (handed, down) = (count("handed"), count("down"));
        assert_eq!(handed + down, became.values().flatten().count(), "{became:?}");
        // The last ones that are missed are known once beats have announced them.
        eventually(async || balance(trio).await == 0).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(balance(trio).await, 0, "nothing is counted twice");
        let mut heard = 0;
        for (at, listener) in self.listeners.iter().enumerate() {
            for (of, became) in &became {
                heard +=
                    usize::from(at != *of) * heard_of(listener, Trio::NAMES[*of], became, at == *of).await;
            }
        }
        let missed = sum(trio, "missed").await;
        let known = i64::try_from(2 * handed - heard).unwrap();
        assert_eq!(missed, known, "what was told as missed is what nobody has heard");
        Loaded { handed, down, missed }
    }
}

/// How many messages of a node a listener has heard: all, if it is its own.
async fn heard_of(listener: &Listener, of: &str, became: &[String], is_own: bool) -> usize {
    let numbers = || -> Vec<usize> {
        let heard = listener.heard();
        let of = heard.iter().filter_map(|text| text.strip_prefix(of)?.strip_prefix(':'));
        of.map(|number| number.parse().unwrap()).collect()
    };
    if is_own {
        eventually(async || numbers().len() >= became.len()).await;
        assert_eq!(numbers(), (0..became.len()).collect::<Vec<_>>(), "its own connections hear all of it");
    }
    let numbers = numbers();
    assert!(numbers.is_sorted_by(|one, next| one < next), "of {of}, in order and once: {numbers:?}");
    let was_down = numbers.iter().find(|number| became[**number] == "down");
    assert!(is_own || was_down.is_none(), "of {of}, {was_down:?} was not sent");
    numbers.len()
}

/// Numbered messages, until it ends. Answers what became of each.
async fn send(node: &NodeProcess, ends: &AtomicBool) -> Vec<String> {
    let mut became = Vec::new();
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !ends.load(Relaxed) {
        let text = format!("{}:{}", node.name, became.len());
        let sent = node.ask(json!({ "do": "send", "channel": "/load", "text": text })).await;
        assert_eq!(sent["accepted"], 1, "{sent}");
        became.push(sent["remote"].as_str().unwrap().to_owned());
        ticks.tick().await;
    }
    became
}

/// How many messages were neither heard nor are known to be missed, by the figures of the nodes.
async fn balance(trio: &Trio) -> i64 {
    2 * sum(trio, "handed").await - sum(trio, "heard").await - sum(trio, "missed").await
}

pub(crate) async fn sum(trio: &Trio, figure: &str) -> i64 {
    let mut sum = 0;
    for node in &trio.nodes {
        sum += node.figure(figure).await;
    }
    sum
}

/// Users that connect and disconnect all the time.
pub(crate) struct Hoppers {
    ends: Arc<AtomicBool>,
    connects: Arc<AtomicUsize>,
    hopping: JoinSet<()>,
}

impl Hoppers {
    pub(crate) fn new() -> Self {
        Self { ends: Arc::default(), connects: Arc::default(), hopping: JoinSet::new() }
    }

    /// A user who goes from one of these nodes to the next so often, until the node is gone.
    pub(crate) fn add(&mut self, user: &str, nodes: &[Arc<NodeProcess>], every: Duration) {
        let devices: Vec<_> = nodes.iter().map(|node| node.device(user, "/hops")).collect();
        let (ends, connects) = (Arc::clone(&self.ends), Arc::clone(&self.connects));
        self.hopping.spawn(async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for device in devices.iter().cycle() {
                ticks.tick().await;
                if ends.load(Relaxed) || device.connect().await.is_err() {
                    return;
                }
                connects.fetch_add(1, Relaxed);
                device.disconnect().await;
            }
        });
    }

    /// How often users have connected so far.
    pub(crate) fn connects(&self) -> usize {
        self.connects.load(Relaxed)
    }

    pub(crate) async fn end(mut self) {
        self.ends.store(true, Relaxed);
        while let Some(ended) = self.hopping.join_next().await {
            ended.unwrap();
        }
    }
}
