//! Users and channels of other nodes.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use websockets_simple_server::{ClusterParams, MemoryBus};
use websockets_simple_tests::cluster::{NodeServer, eventually, server};

use crate::{HEAP, channels::mebi, fake_node::FakeNode, helper::Helper};

/// Prints what is known of other nodes takes. Each in a process, whose heap nothing else has used.
pub(crate) async fn measure() {
    for (what, count) in [("users", 100_000), ("users", 1_000_000), ("channels", 1_000_000)] {
        let mut process = Helper::start(&["known", what, &count.to_string()]);
        while let line = process.line().await
            && line != "end"
        {
            println!("{line}");
        }
    }
}

/// How long a sender to a user waited for the longest time.
struct Sender {
    begun: Instant,
    /// When the message began that is sent now, in microseconds, and how long the one took that took longest.
    since: AtomicU64,
    longest: AtomicU64,
    is_over: AtomicBool,
}

impl Sender {
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self { begun: Instant::now(), since: zero(), longest: zero(), is_over: AtomicBool::new(false) }
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_micros() as u64
    }

    fn run(&self, node: &NodeServer) {
        // As an application would: others are to have the processor as well.
        while !self.is_over.load(Relaxed) {
            self.since.store(self.now(), Relaxed);
            let _ = node.to_user("nobody").send_text("hello").unwrap();
            let since = self.since.swap(u64::MAX, Relaxed);
            self.longest.fetch_max(self.now().saturating_sub(since), Relaxed);
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Milliseconds since the last time.
    fn take(&self) -> f64 {
        let now = self.now();
        let waits = now.saturating_sub(self.since.load(Relaxed));
        // What it waits from now on is of the next time.
        let _ = self.since.fetch_update(Relaxed, Relaxed, |since| (since != u64::MAX).then_some(now));
        self.longest.swap(0, Relaxed).max(waits) as f64 / 1e3
    }
}

/// The process: a node with so many users or channels comes, comes again, another one comes and goes, and it goes.
pub(crate) async fn known(what: &str, count: usize) {
    let bus = MemoryBus::new();
    let params = ClusterParams::new("bench", bus.clone()).queues(8 << 20, 256 << 20);
    let node = server(params.linger(Duration::ZERO));
    node.start().await.unwrap();
    eventually(|| node.cluster().ready()).await;
    let id = node.cluster().node().unwrap().id;
    let sender = Sender::new();
    let (kind, mark) = if what == "users" { (0, "\"") } else { (1, "") };
    // As long as a UUID.
    let name = |from: usize, number: usize| format!("{mark}/{:035}{mark}", from + number);
    let names = |from: usize, count: usize| (0..count).map(move |number| name(from, number));
    let is_there = |from: usize, number: usize| match kind {
        0 => *node.presence().count() == number,
        _ => (number > 0) == (node.presence().channel(&name(from, count - 1)).connections > 0),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| sender.run(&node));
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                // What the ends of the benchmark take is not the server's.
                tokio::time::sleep(Duration::from_secs(1)).await;
                let mut fake = FakeNode::connect(&bus, 7).await;
                let mut other = FakeNode::connect(&bus, 8).await;
                other.snapshot(id, kind, std::iter::empty()).await;
                let before = HEAP.current_usage();
                sender.take();
                let say = |what: &str, begun: Instant, longest: f64| {
                    println!("  {what:<46} {:>8} ms; a sender waited {longest:.1} ms", begun.elapsed().as_millis());
                };
                println!("{count} {what} with names of 36 bytes:");
                HEAP.reset_peak_usage();
                let bytes = fake.snapshot(id, kind, names(0, count)).await;
                let begun = Instant::now();
                fake.until(|| is_there(0, count)).await;
                say("a snapshot is applied", begun, sender.take());
                let peak = HEAP.peak_usage() - before;
                fake.until(|| begun.elapsed() > Duration::from_secs(5)).await;
                let taken = HEAP.current_usage() - before;
                println!(
                    "  the snapshot has {:.1} MiB, what is known of it takes {:.1} MiB, {} bytes each; {:.1} MiB meanwhile",
                    mebi(bytes),
                    mebi(taken),
                    taken / count,
                    mebi(peak)
                );
                sender.take();
                other.bye();
                let begun = Instant::now();
                fake.until(|| node.presence().nodes().len() == 2).await;
                fake.until(|| begun.elapsed() > Duration::from_millis(500)).await;
                println!("  a node that has nobody goes: a sender waited {:.1} ms", sender.take());
                fake.snapshot(id, kind, names(count / 2, count)).await;
                let begun = Instant::now();
                fake.until(|| is_there(count / 2, count) && (kind == 1 || *node.presence().is_online(&name(count / 2, count - 1)[1..37]))).await;
                say("half of them are replaced by others", begun, sender.take());
                fake.until(|| begun.elapsed() > Duration::from_secs(5)).await;
                sender.take();
                fake.bye();
                let begun = Instant::now();
                eventually(|| is_there(count / 2, 0)).await;
                say("the node goes", begun, sender.take());
                tokio::time::sleep(Duration::from_secs(3)).await;
                println!("  then {:.1} MiB are left", mebi(HEAP.current_usage().saturating_sub(before)));
                sender.is_over.store(true, Relaxed);
            });
        });
    });
    println!("end");
}
