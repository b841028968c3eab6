//! Many clients that lose their server at the same moment, and all come back.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use websockets_simple_core::{Happened, Next, ReconnectPolicy, ReconnectState, Reconnector};

/// Clients of the simulation.
const CLIENTS: usize = 10_000;

/// What attempts are counted in.
const BIN: Duration = Duration::from_millis(100);

/// Random numbers from 0 up to 1 (SplitMix64 of Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn waits_until(client: &Reconnector) -> Duration {
    match client.state() {
        ReconnectState::Waiting { until } => until,
        other => panic!("a client waits for nothing: {other:?}"),
    }
}

/// What a server sees of its clients, all of which it has lost at once in the way that `next` follows, and which it is back
/// for after `outage`: most attempts in 100 ms, and after how long the last one was back.
fn simulated(next: Next, outage: Duration, seed: u64) -> (usize, Duration) {
    let mut random = Random(seed);
    let lost_at = Duration::from_secs(60);
    let mut timers = BinaryHeap::new();
    let mut clients: Vec<Reconnector> = (0..CLIENTS)
        .map(|_| {
            let mut client = Reconnector::new(ReconnectPolicy::default());
            client.step(Happened::Connect, Duration::ZERO, 0.0);
            client.step(Happened::Opened, Duration::ZERO, 0.0);
            client
        })
        .collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.step(Happened::Lost(next), lost_at, random.next());
        timers.push(Reverse((waits_until(client), number)));
    }
    let mut attempts: Vec<usize> = Vec::new();
    let mut last = Duration::ZERO;
    while let Some(Reverse((now, number))) = timers.pop() {
        let since = now - lost_at;
        let bin = usize::try_from(since.as_millis() / BIN.as_millis()).unwrap();
        attempts.resize(attempts.len().max(bin + 1), 0);
        attempts[bin] += 1;
        let client = &mut clients[number];
        client.step(Happened::PauseOver, now, 0.0);
        if since >= outage {
            client.step(Happened::Opened, now, 0.0);
            last = since;
        } else {
            client.step(Happened::Lost(Next::Again), now, random.next());
            timers.push(Reverse((waits_until(client), number)));
        }
    }
    assert!(clients.iter().all(|client| matches!(client.state(), ReconnectState::Open { .. })));
    (attempts.into_iter().max().unwrap(), last)
}

#[test]
fn ten_thousand_clients_come_back_within_the_spread_at_no_more_than_200_attempts_in_100_ms() {
    let spread = Duration::from_secs(10);
    for seed in 0..20 {
        let (peak, last) = simulated(Next::Spread(spread), Duration::ZERO, seed);
        assert!(peak <= 150, "{peak} of seed {seed}");
        assert!(last <= spread, "{last:?} of seed {seed}");
        // Those that come too early climb a ladder that begins at 4 s.
        for (outage, most) in [(1, 200), (2, 220)] {
            let outage = Duration::from_secs(outage);
            let (peak, last) = simulated(Next::Spread(spread), outage, seed);
            assert!(peak <= most, "{peak} of seed {seed}, after {outage:?}");
            assert!(last <= outage + ReconnectPolicy::default().most, "{last:?} of seed {seed}");
        }
    }
    let (peak, _) = simulated(Next::Again, Duration::ZERO, 0);
    assert!(peak > 1000, "{peak}: the simulation has to show what the spread is for");
}

/// Real clients in this process, and a server in another one.
#[cfg(target_os = "linux")]
mod real {
    use std::{
        collections::{HashMap, HashSet},
        net::SocketAddr,
        sync::Arc,
    };

    use tokio::{sync::watch, time::timeout};
    use websockets_simple_client::{ClientParams, Reconnect, WebsocketClient};
    use websockets_simple_tests::server_process::{ServerProcess, resident};

    use super::*;

    const PROGRAM: &str = env!("CARGO_BIN_EXE_fleet-server");

    /// Time for all clients to be back. Much more than they need.
    const LONGEST: Duration = Duration::from_secs(120);

    /// Clients that have heard of each server, by the number of its process.
    type Heard = watch::Sender<HashMap<u32, HashSet<usize>>>;

    /// As both ends of each connection are files, and one end is in this process.
    fn enough_files(clients: usize) {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let most: usize = line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX);
        assert!(most > clients + 100, "{clients} clients need more open files than {most}: `ulimit -n 4096`");
    }

    fn client(addr: SocketAddr, number: usize, heard: &Arc<Heard>) -> WebsocketClient {
        let reconnect =
            Reconnect::new().first(true).delays(Duration::from_millis(100), Duration::from_secs(1));
        let params = ClientParams::new(addr.ip().to_string(), addr.port()).reconnect(reconnect);
        let client = WebsocketClient::new(params).unwrap();
        let heard = Arc::clone(heard);
        client.on_message(move |_, message| {
            let server = message.to_string().parse().unwrap();
            heard.send_modify(|heard| _ = heard.entry(server).or_default().insert(number));
            std::future::ready(())
        });
        client.start();
        client
    }

    /// Kills the server so many times and starts it again at the same address. All clients are back each time. Answers how
    /// much memory the clients and the server had then.
    async fn survive(clients: usize, rounds: usize) -> Vec<[u64; 2]> {
        // With another address than their own, clients that look for the server while it is gone do not find themselves.
        let mut server = ServerProcess::start(PROGRAM, ([127, 0, 0, 2], 0).into()).await;
        let heard: Arc<Heard> = Arc::new(watch::Sender::new(HashMap::new()));
        let fleet: Vec<_> = (0..clients).map(|number| client(server.addr, number, &heard)).collect();
        let mut memory = Vec::new();
        for round in 0..=rounds {
            if round > 0 {
                let addr = server.kill().await;
                server = ServerProcess::start(PROGRAM, addr).await;
            }
            let mut all = heard.subscribe();
            let is_complete = |heard: &HashMap<u32, HashSet<usize>>| {
                heard.get(&server.number).is_some_and(|heard| heard.len() == clients)
            };
            let back = timeout(LONGEST, all.wait_for(is_complete)).await.is_ok();
            let number = heard.borrow().get(&server.number).map_or(0, HashSet::len);
            assert!(back, "{number} of {clients} are back after round {round}");
            heard.send_modify(HashMap::clear);
            if round > 0 {
                memory.push([resident(std::process::id()), resident(server.number)]);
            }
        }
        for client in fleet {
            assert!(client.connection().is_some_and(|connection| connection.end().is_none()));
        }
        memory
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn clients_come_back_to_a_server_that_is_killed_and_started_again() {
        survive(50, 3).await;
    }

    /// `.ci/slow fleet`, which is
    /// `cargo test --release -p websockets-simple-tests --all-features --test fleet -- --ignored --nocapture` with 4,096
    /// open files.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes minutes: .ci/slow runs it"]
    async fn a_thousand_clients_survive_twenty_kills_and_no_memory_is_left_behind() {
        const CLIENTS: usize = 1000;
        enough_files(CLIENTS);
        let memory = survive(CLIENTS, 20).await;
        for (end, name) in ["clients", "server"].into_iter().enumerate() {
            let all: Vec<_> = memory.iter().map(|both| both[end] / 1024).collect();
            println!("KiB of the {name} after each round: {all:?}");
            // What a burst takes for a moment differs from round to round; what is left behind is in each of them.
            let (second, last) = (all[1], *all[all.len() - 5..].iter().min().unwrap());
            assert!(
                last <= second + second / 20,
                "{last} KiB of the {name}, {second} after the second round"
            );
        }
    }
}
