//! What a run has shown.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

use websockets_simple_tests::crowd::{Asked, Counted};

use crate::{
    clients::Hall,
    memory::Memory,
    plan::Plan,
    quantiles::Quantiles,
    server::{Log, Row},
};

/// What pools and tables may keep of the heap once all have left.
const KEPT: usize = 2 << 20;

/// What a run has shown. Times are of the clock of all processes.
pub(crate) struct Report {
    plan: Plan,
    /// While all were connected, and some left and others came.
    steady: Range<u64>,
    rows: Vec<Row>,
    asked: Vec<Asked>,
    counted: Counted,
    hall: Arc<Hall>,
    /// Microseconds of each health check over HTTP.
    checks: Vec<u32>,
    /// By the number of the broadcast.
    latencies: BTreeMap<u64, Vec<u32>>,
    pub(crate) points: Vec<Point>,
    alone: u64,
    /// Resident, and of the heap.
    memory: [Memory; 2],
}

/// A broadcast of the run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    /// Since the first one.
    pub(crate) seconds: f64,
    pub(crate) connections: usize,
    /// Memory of the server beyond what it had without connections, for each connection.
    pub(crate) bytes: f64,
    /// The same of the heap that is in use.
    pub(crate) heap: f64,
    /// Microseconds to its receivers.
    pub(crate) latency: Quantiles,
    is_steady: bool,
}

impl Report {
    /// `alone` is what the server had without connections.
    pub(crate) fn new(
        plan: &Plan,
        alone: u64,
        steady: Range<u64>,
        log: Log,
        hall: Arc<Hall>,
        checks: Vec<u32>,
    ) -> Self {
        let Log { rows, asked, counted } = log;
        let latencies = hall.receipts.take();
        let first = rows.first().expect("broadcasts").broadcast.at;
        // Asked for as often as there is a broadcast.
        let heap = |at: u64| {
            let nearest = asked.iter().min_by_key(|asked| asked.at.abs_diff(at)).expect("it was asked");
            nearest.heap.saturating_sub(asked[0].heap) as f64 / nearest.open.max(1) as f64
        };
        let points: Vec<_> = rows
            .iter()
            .map(|Row { broadcast, resident, .. }| Point {
                seconds: seconds(broadcast.at - first),
                connections: broadcast.accepted,
                bytes: resident.saturating_sub(alone) as f64 / broadcast.accepted.max(1) as f64,
                heap: heap(broadcast.at),
                latency: Quantiles::of(latencies.get(&broadcast.number).into_iter().flatten().copied()),
                is_steady: steady.contains(&broadcast.at),
            })
            .collect();
        let resident =
            points.iter().filter(|point| point.is_steady).map(|point| (point.seconds, point.bytes));
        let resident = Memory::new("resident", 2, resident.collect());
        let heap = points.iter().filter(|point| point.is_steady).map(|point| (point.seconds, point.heap));
        let heap = Memory::new("heap in use", 5, heap.collect());
        Self {
            plan: *plan,
            alone,
            memory: [resident, heap],
            steady,
            rows,
            asked,
            counted: counted.expect("the server has counted"),
            hall,
            checks,
            latencies,
            points,
        }
    }

    /// That nothing was lost, doubled or disordered.
    pub(crate) fn check(&self) {
        self.hall.failures.check();
        let lives = self.hall.handshakes().len() as u64;
        let Counted { dropped, errors, heap, .. } = self.counted;
        let expected = Counted {
            connected: lives,
            disconnected: lives,
            greeted: lives,
            opened: lives,
            closed: lives,
            messages: self.hall.said.load(Ordering::Relaxed),
            // What was still to be sent to those who hang up without a word is dropped.
            dropped,
            errors,
            heap,
            unopened: self.checks.len() as u64,
            ..Counted::default()
        };
        assert_eq!(self.counted, expected, "{lives} clients were greeted");
        for asked in &self.asked {
            assert!(asked.is_ready && asked.missed == 0, "{asked:?}");
        }
        let last = self.asked.last().expect("it was asked");
        assert!(self.plan.is_shorter_than_a_heartbeat() || last.beating > 0, "no ping was answered");
        for Row { broadcast, .. } in &self.rows {
            let received = self.latencies.get(&broadcast.number).map_or(0, Vec::len);
            assert!(received <= broadcast.accepted, "{received} have received {broadcast:?}");
        }
        // None has left before the last one but those that were told to. Some of these may hear it as well.
        let last = self.rows.last().expect("broadcasts").broadcast.number;
        let received = self.latencies.get(&last).map_or(0, Vec::len);
        assert!(received >= self.plan.connections, "{received} have received the last one");
    }

    pub(crate) fn check_memory(&self) {
        // Of each connection that has ever been there less than a pointer: pools and tables are all that is kept.
        let lives = self.hall.handshakes().len();
        let (before, after) = (self.asked[0].heap, self.counted.heap);
        assert!(after <= before + KEPT + lives * 4, "{after} bytes of the heap in the end, {before} before");
        self.memory.iter().for_each(Memory::check);
    }

    pub(crate) fn print(&self) {
        let Plan { connections, churn, .. } = self.plan;
        let steady: Vec<_> = self.rows.iter().filter(|row| self.steady.contains(&row.broadcast.at)).collect();
        let time = seconds(self.steady.end - self.steady.start);
        let handshakes = self.hall.handshakes();
        let came = handshakes.iter().filter(|handshake| self.steady.contains(&handshake.from)).count();
        println!(
            "{connections} connections for {time:.0} s, {:.0} of {churn} came and went per second, {} in all",
            came as f64 / time,
            handshakes.len()
        );
        println!(
            "{} KiB of the server without connections, {} KiB of them of the heap; {} KiB of the heap once all have left",
            self.alone / 1024,
            self.asked[0].heap / 1024,
            self.counted.heap / 1024
        );
        self.memory.iter().for_each(Memory::print);
        self.print_points();

        let all = |number: &u64| self.latencies.get(number).into_iter().flatten().copied();
        let numbers = |beside: Option<bool>| {
            let rows = steady.iter().map(|row| row.broadcast);
            let rows =
                rows.filter(|row| beside.is_none_or(|beside| self.is_beside_figures(row.at) == beside));
            rows.map(|row| row.number).collect::<Vec<_>>()
        };
        for (beside, name) in [
            (None, "broadcast, send to receipt"),
            (Some(true), "- with figures at the same moment"),
            (Some(false), "- without"),
        ] {
            println!("{name}: {}", Quantiles::of(numbers(beside).iter().flat_map(all)).millis());
        }
        let (accepted, received) = steady.iter().fold((0, 0), |(accepted, received), row| {
            (accepted + row.broadcast.accepted, received + all(&row.broadcast.number).count())
        });
        println!(
            "deliveries: {accepted} taken by outboxes, {received} received; the others were for clients that had left"
        );
        let calls = steady.iter().map(|row| micros(row.broadcast.until - row.broadcast.at));
        println!("the call of a broadcast: {}", Quantiles::of(calls).millis());

        let of = |took: fn(&Asked) -> u64, beside| {
            let asked = self.asked.iter().filter(|asked| self.steady.contains(&asked.at));
            let asked = asked.filter(|asked| asked.beside_broadcast == beside);
            Quantiles::of(asked.map(|asked| micros(took(asked)))).millis()
        };
        println!("figures(): {}", of(|asked| asked.figures - asked.at, false));
        println!("- at the same moment as a broadcast: {}", of(|asked| asked.figures - asked.at, true));
        println!("- CPU time of it: {}", of(|asked| asked.cpu, false));
        let bytes = self.asked.iter().map(|asked| asked.bytes).max().unwrap_or_default();
        println!("prometheus() of {bytes} bytes: {}", of(|asked| asked.text - asked.figures, false));
        println!("/readyz over HTTP: {}", Quantiles::of(self.checks.iter().copied()).millis());
        println!("health(): {}", of(|asked| asked.health - asked.text, false));

        let begun = |shift: u64| {
            let windows: Vec<_> = self
                .asked
                .iter()
                .filter(|asked| !asked.beside_broadcast && self.steady.contains(&asked.at))
                .map(|asked| asked.at + shift..asked.text + shift)
                .collect();
            let is_in = |from: u64| windows.iter().any(|window| window.contains(&from));
            let begun = handshakes.iter().filter(|handshake| is_in(handshake.from));
            Quantiles::of(begun.map(|handshake| micros(handshake.until - handshake.from))).millis()
        };
        println!("handshakes that begin while figures are asked for: {}", begun(0));
        // There, in the middle between two broadcasts as well, nothing is asked for.
        println!("handshakes that begin one second later: {}", begun(nanos(self.plan.pace)));
        let churned = handshakes.iter().filter(|handshake| self.steady.contains(&handshake.from));
        println!(
            "all handshakes: {}",
            Quantiles::of(churned.map(|handshake| micros(handshake.until - handshake.from))).millis()
        );

        if let [first, .., last] = &*steady {
            let wall = (last.broadcast.at - first.broadcast.at) as f64;
            println!(
                "CPU seconds per second: {:.3} of the server, {:.3} of the clients",
                (last.broadcast.cpu - first.broadcast.cpu) as f64 / wall,
                (last.clients_cpu - first.clients_cpu) as f64 / wall
            );
        }
        println!("{:?}", self.counted);
    }

    /// Ten rows, each of the broadcasts of a tenth of the time: the least memory, and medians of the latencies.
    fn print_points(&self) {
        let steady: Vec<_> = self.points.iter().filter(|point| point.is_steady).collect();
        println!("| s | connections | resident, bytes per connection | heap | p50, ms | p99, ms | max, ms |");
        println!("|---:|---:|---:|---:|---:|---:|---:|");
        for part in steady.chunks(steady.len().div_ceil(10).max(1)) {
            let [.., last] = part else { continue };
            let median = |which: fn(&Quantiles) -> u32| {
                let mut values: Vec<_> = part.iter().map(|point| which(&point.latency)).collect();
                values.sort_unstable();
                f64::from(values[values.len() / 2]) / 1000.0
            };
            // Handshakes and messages on their way take some for a moment.
            let least =
                |which: fn(&Point) -> f64| part.iter().map(|point| which(point)).fold(f64::MAX, f64::min);
            println!(
                "| {:.0} | {} | {:.0} | {:.0} | {:.1} | {:.1} | {:.1} |",
                last.seconds,
                last.connections,
                least(|point| point.bytes),
                least(|point| point.heap),
                median(|latency| latency.p50),
                median(|latency| latency.p99),
                median(|latency| latency.max)
            );
        }
    }

    fn is_beside_figures(&self, at: u64) -> bool {
        let near = nanos(self.plan.pace) / 4;
        self.asked.iter().any(|asked| asked.beside_broadcast && asked.at.abs_diff(at) < near)
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn nanos(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("less than 584 years")
}

fn micros(nanos: u64) -> u32 {
    u32::try_from(nanos / 1000).unwrap_or(u32::MAX)
}
