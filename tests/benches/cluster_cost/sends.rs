//! What a message to nobody takes of the thread that sends it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use websockets_simple_server::{
    Audience, ClusterParams, MemoryBus, MemoryUsers, Message, NatsBus, Remote, ServerParams, User,
    WebsocketServerAuth,
};
use websockets_simple_tests::{
    bus_server::{BusServer, BusServerKind},
    cluster::{NodeServer, all_ready, eventually, token},
    raw::RawPeer,
    started, within,
};

/// In a row, fewer than fit in the queue to the bus.
const SENDS: usize = 1000;

/// Rounds, in each of which all take turns.
const ROUNDS: usize = 41;

/// Whom a message is for.
type Choose = fn(&NodeServer) -> Audience<User<String>>;

/// Two nodes, of which the first one sends, and a client at the other one.
struct Pair {
    name: &'static str,
    nodes: Vec<NodeServer>,
    ben: Option<RawPeer>,
    /// To a channel, to a user who is nowhere, and to one who is at the other node.
    taken: [Vec<Duration>; 3],
}

impl Pair {
    async fn new(name: &'static str, params: &[ClusterParams]) -> Self {
        let server = || {
            let users = MemoryUsers::new();
            users.add(token("ben"), "ben".to_owned());
            WebsocketServerAuth::new(ServerParams::local().outbox(16 << 20), users)
        };
        let mut nodes: Vec<_> = params.iter().map(|params| server().with_cluster(params.clone())).collect();
        if nodes.is_empty() {
            nodes.push(server());
        }
        let mut addrs = Vec::new();
        for node in &nodes {
            addrs.push(started(node).await);
        }
        let mut ben = None;
        if let [one, _] = &nodes[..] {
            all_ready(&nodes).await;
            let header = format!("Authorization: Bearer {}\r\n", token("ben"));
            ben = Some(RawPeer::open(addrs[1], "/elsewhere", &header).await);
            eventually(|| *one.presence().is_online("ben")).await;
        }
        Self { name, nodes, ben, taken: Default::default() }
    }

    async fn round(&mut self) {
        let node = &self.nodes[0];
        let audiences: [(_, Choose); 3] = [
            (true, |node| node.to_channel("/room/7")),
            (true, |node| node.to_user("ann")),
            (self.ben.is_some(), |node| node.to_user("ben")),
        ];
        for ((is_there, audience), taken) in audiences.into_iter().zip(&mut self.taken) {
            if !is_there {
                continue;
            }
            let message = Message::text("x".repeat(128));
            let expected = if self.ben.is_some() { Remote::Handed } else { Remote::Alone };
            let before = thread_time();
            for _ in 0..SENDS {
                let report = audience(node).send(message.clone()).unwrap();
                assert_eq!(report.remote, expected);
            }
            taken.push((thread_time() - before) / SENDS as u32);
            within(node.cluster().settled()).await.unwrap();
        }
        if let Some(ben) = &mut self.ben {
            for _ in 0..SENDS {
                assert_eq!(within(ben.next()).await.unwrap().payload.len(), 128);
            }
        }
    }
}

/// Prints the table.
pub(crate) async fn measure() {
    let server = BusServer::start(BusServerKind::Nats29).await;
    let memory = |app| ClusterParams::new(app, MemoryBus::new());
    let nats = |app| ClusterParams::new(app, NatsBus::new(server.url()).unwrap());
    let key = "a key of sixteen bytes or more";
    // Nodes of one process have a bus in common, by what they clone.
    let both = |params: ClusterParams| [params.clone(), params];
    let mut pairs = vec![
        Pair::new("without a cluster", &[]).await,
        Pair::new("MemoryBus", &both(memory("a"))).await,
        Pair::new("MemoryBus, signed", &both(memory("b").key(key))).await,
        Pair::new("NATS", &both(nats("c"))).await,
        Pair::new("NATS, signed", &both(nats("d").key(key))).await,
    ];
    for _ in 0..ROUNDS {
        for pair in &mut pairs {
            pair.round().await;
        }
    }
    println!(
        "CPU time of the sender for a text of 128 bytes, ns: the least, and the middle of {ROUNDS} rounds"
    );
    println!("{:<24} {:>16} {:>16} {:>22}", "", "to a channel", "to a user", "to a user elsewhere");
    for pair in &mut pairs {
        let shown = pair.taken.each_mut().map(|taken| {
            taken.sort_unstable();
            let middle = taken.get(taken.len() / 2)?;
            Some(format!("{} / {}", taken[0].as_nanos(), middle.as_nanos()))
        });
        let [channel, user, elsewhere] = shown.map(|shown| shown.unwrap_or_default());
        println!("{:<24} {channel:>16} {user:>16} {elsewhere:>22}", pair.name);
    }
}

fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
