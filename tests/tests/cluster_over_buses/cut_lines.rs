//! The line between a node and its bus is cut, for both ways or for one of them, in a network namespace: it needs root,
//! `ip` and `nft`.

use std::{
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::process::Command;
use websockets_simple_tests::{
    bus_server::{
        BusServer,
        BusServerKind::{self, Nats29, Nats215, Redis7, Valkey9},
    },
    cluster::process::NodeProcess,
};

use crate::{
    S, over_each,
    trio::{Trio, eventually, named, sleep_from},
};

over_each! {
    #[ignore = "needs root and takes minutes: .ci/slow runs it"] a_node_whose_line_is_cut_for_both_ways_judges_nobody
    #[ignore = "needs root and takes minutes: .ci/slow runs it"] a_node_whose_bus_is_mute_judges_nobody
    #[ignore = "needs root and takes minutes: .ci/slow runs it"] a_node_whose_bus_is_deaf_judges_nobody
}

const LEASE: Duration = Duration::from_secs(4);

/// How long a line is cut.
const CUT: Duration = Duration::from_secs(12);

async fn a_node_whose_line_is_cut_for_both_ways_judges_nobody(kind: BusServerKind) {
    cut(kind, &["dport", "sport"]).await;
}

async fn a_node_whose_bus_is_mute_judges_nobody(kind: BusServerKind) {
    cut(kind, &["sport"]).await;
}

async fn a_node_whose_bus_is_deaf_judges_nobody(kind: BusServerKind) {
    cut(kind, &["dport"]).await;
}

/// A network of its own, with a line to the one of the tests, until it is dropped.
struct Namespace {
    name: String,
    /// The address of the tests, and its own.
    addresses: [String; 2],
}

impl Namespace {
    async fn new() -> Self {
        for (program, package) in [("ip", "iproute2"), ("nft", "nftables")] {
            let found = Command::new(program).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
            assert!(found.await.is_ok(), "{program} is missing: sudo apt-get install {package}");
        }
        assert!(
            rustix::process::geteuid().is_root(),
            "network namespaces are for root: sudo .ci/slow cluster"
        );
        // One for each process and test.
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = std::process::id() * 16 + NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("node-{number}");
        let (ours, theirs) = (format!("o{number}"), format!("t{number}"));
        // Of the addresses that are for tests (RFC 2544).
        let net = format!("198.18.{}", number % 256);
        let addresses = [format!("{net}.1"), format!("{net}.2")];
        let space = Self { name: name.clone(), addresses };
        let [our_address, their_address] = &space.addresses;
        run(&format!("ip netns add {name}")).await;
        run(&format!("ip link add {ours} type veth peer name {theirs} netns {name}")).await;
        run(&format!("ip address add {our_address}/24 dev {ours}")).await;
        run(&format!("ip link set {ours} up")).await;
        run(&format!("ip -n {name} address add {their_address}/24 dev {theirs}")).await;
        run(&format!("ip -n {name} link set {theirs} up")).await;
        run(&format!("ip -n {name} link set lo up")).await;
        for rule in [
            "add table inet line",
            "add chain inet line in { type filter hook input priority 0 ; }",
            "add chain inet line out { type filter hook output priority 0 ; }",
        ] {
            space.nft(rule).await;
        }
        space
    }

    async fn nft(&self, rule: &str) {
        run(&format!("ip netns exec {} nft {rule}", self.name)).await;
    }

    /// Drops what goes to, or comes from a port, without a word to anybody.
    async fn cut(&self, ways: &[&str], port: u16) {
        for way in ways {
            let chain = if *way == "dport" { "out" } else { "in" };
            self.nft(&format!("add rule inet line {chain} tcp {way} {port} drop")).await;
        }
    }

    async fn mend(&self) {
        self.nft("flush table inet line").await;
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The line ends with it.
        let _ = std::process::Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

/// Runs a program, whose arguments have no spaces.
async fn run(command: &str) {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).stdin(Stdio::null()).output().await.unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {complaint}");
}

async fn cut(kind: BusServerKind, ways: &[&str]) {
    let space = Namespace::new().await;
    let extra: &[&str] = match kind {
        Nats29 | Nats215 => &["-a", "0.0.0.0"],
        Redis7 | Valkey9 => &["--bind", "0.0.0.0", "--protected-mode", "no"],
    };
    let bus = BusServer::start_with(kind, extra).await;
    let url = bus.url().replace("127.0.0.1", &space.addresses[0]);
    let program = env!("CARGO_BIN_EXE_cluster-node");
    let mut inside = Command::new("ip");
    inside.args(["netns", "exec", &space.name, program]);
    let address = format!("{}:0", space.addresses[1]);
    let nodes = [
        NodeProcess::start(program, &bus.url(), "a", LEASE).await,
        NodeProcess::start(program, &bus.url(), "b", LEASE).await,
        NodeProcess::start_by(inside, &url, "c", &address, LEASE).await,
    ];
    let trio = Trio { bus, nodes: nodes.map(Arc::new) };
    trio.all_ready().await;
    let [a, b, c] = &trio.nodes;
    let mut listeners = Vec::new();
    for node in &trio.nodes {
        listeners.push(node.listener(&format!("of-{}", node.name), "/").await);
    }
    for node in &trio.nodes {
        for user in ["of-a", "of-b", "of-c"] {
            node.until(0, &json!({ "event": "Joined", "user": user })).await;
        }
    }
    let marks = trio.marks();
    space.cut(ways, trio.bus.port()).await;
    let begun = Instant::now();
    let down = c.until(marks[2], &json!({ "event": "Down" })).await.at - begun;
    let send = |text: &str| json!({ "do": "send", "text": text });
    assert_eq!(c.ask(send("cut off")).await, json!({ "accepted": 1, "remote": "down" }));
    let mut gone = Vec::new();
    for (node, mark) in [a, b].into_iter().zip(marks) {
        gone.push(node.until(mark, &json!({ "event": "NodeLeft", "node": "c" })).await.at - begun);
    }
    sleep_from(begun, CUT).await;
    assert!(c.is_online("of-a").await && c.is_online("of-b").await, "it is the one that is cut off");
    let marks_then = trio.marks();
    space.mend().await;
    let mended = Instant::now();
    let up = c.until(marks_then[2], &json!({ "event": "Up" })).await.at - mended;
    let mut back = Vec::new();
    for (node, mark) in [a, b].into_iter().zip(marks_then) {
        back.push(node.until(mark, &json!({ "event": "NodeJoined", "node": "c" })).await.at - mended);
    }
    println!(
        "{kind:?}, no {ways:?} for {CUT:?}: down after {down:.1?}, gone after {gone:.1?}, up {up:.1?} after it was mended, back after {back:.1?}"
    );
    assert!(down <= 4 * S && up <= 4 * S, "{down:?}, {up:?}");
    trio.all_ready().await;
    assert_eq!(c.ask(send("mended")).await["remote"], "handed");
    for listener in &listeners {
        eventually(async || listener.heard().iter().any(|text| text == "mended")).await;
    }
    assert!(listeners[..2].iter().all(|listener| listener.heard() == ["mended"]));
    sleep_from(mended, LEASE + S).await;
    let told = c.told(marks[2]);
    assert_eq!(named(&told, "NodeLeft", "node"), Vec::<String>::new());
    assert_eq!(named(&told, "Left", "user"), Vec::<String>::new());
}
