//! The load generator: one thread, epoll, no WebSocket library. It verifies every message it gets.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use hdrhistogram::Histogram;

use self::{fanout::Fanout, peer::Door, template::Template};
use crate::{
    machine::{Usage, resident},
    sample::{Churned, Sample, Seen},
    scenario::Scenario,
    servers::certificate_of,
    wire,
};

pub mod churn;
pub mod connect;
pub mod echo;
pub mod fanout;
pub mod idle;
pub mod inflated;
pub mod peer;
pub mod template;

/// With more receivers than that a broadcast takes so long that a window with churn has to be longer, and how much.
const MANY: usize = 5000;
const LONGER: u32 = 3;

/// Whom to put under which load.
#[derive(Args, Clone, Debug)]
pub struct Target {
    #[arg(long)]
    pub addr: SocketAddr,
    /// The process whose CPU time and memory count.
    #[arg(long)]
    pub process: u32,
    /// As JSON.
    #[arg(long, value_parser = scenario)]
    pub scenario: Scenario,
    #[arg(long, value_parser = milliseconds)]
    pub warm_up: Duration,
    #[arg(long, value_parser = milliseconds)]
    pub window: Duration,
}

fn scenario(json: &str) -> Result<Scenario, serde_json::Error> {
    serde_json::from_str(json)
}

fn milliseconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_millis)
}

impl Target {
    /// Where the server is, and whom it is trusted by.
    pub fn door(&self) -> anyhow::Result<Door> {
        let tls = self.scenario.needs().tls.then(|| {
            let certificate = std::fs::read(certificate_of(self.process)).context("the certificate")?;
            wire::client_config(&certificate)
        });
        Ok(Door { addr: self.addr, tls: tls.transpose()? })
    }
}

/// Puts load on the target for one window.
pub fn run(target: &Target) -> anyhow::Result<Sample> {
    let mut meter = Meter::new(target)?;
    let one = Fanout { publishers: 1, ..Fanout::default() };
    match target.scenario {
        Scenario::Echo { connections, depth, size } | Scenario::TlsEcho { connections, depth, size } => {
            echo::run(&mut meter, connections, depth, &Template::text(size)?)?;
        }
        Scenario::FragmentedEcho { connections, depth, size, fragments } => {
            echo::run(&mut meter, connections, depth, &Template::fragmented(size, fragments)?)?;
        }
        Scenario::Fanout { receivers, window, size } | Scenario::TlsFanout { receivers, window, size } => {
            fanout::run(&mut meter, Fanout { receivers, window, ..one }, &Template::text(size)?)?;
        }
        Scenario::DeflateFanout { receivers, plain, window, size } => {
            let work = Fanout { receivers, window, plain: Some(plain), ..one };
            fanout::run(&mut meter, work, &Template::json(size)?)?;
        }
        Scenario::GroupFanout { receivers, channel, window, size } => {
            let work = Fanout { receivers, window, outside: channel.checked_sub(receivers), ..one };
            fanout::run(&mut meter, work, &Template::text(size)?)?;
        }
        Scenario::Churn { receivers, window, size, rate } => {
            if receivers > MANY {
                meter.target.window *= LONGER;
            }
            let work = Fanout { receivers, window, churn: Some(rate), ..one };
            fanout::run(&mut meter, work, &Template::text(size)?)?;
        }
        Scenario::SlowReader { receivers, window, size } => {
            let work = Fanout { receivers, window, stalled: true, ..one };
            fanout::run(&mut meter, work, &Template::text(size)?)?;
        }
        Scenario::Chat { publishers, receivers, size } => {
            let work = Fanout { publishers, receivers, window: 1, ..one };
            fanout::run(&mut meter, work, &Template::text(size)?)?;
        }
        Scenario::Connect { concurrent } => connect::run(&mut meter, concurrent)?,
        Scenario::Idle { connections } | Scenario::IdleTls { connections } => {
            idle::run(&mut meter, connections)?;
        }
        Scenario::ClientEcho { .. } | Scenario::Clients { .. } => bail!("this is work for a client"),
    }
    meter.sample()
}

/// Counts what happens inside the window, and what it costs.
pub struct Meter {
    pub target: Target,
    begun: Option<(Instant, Usage, Usage)>,
    warm_at: Instant,
    ended: Option<(Duration, Usage, Usage)>,
    pub operations: u64,
    /// Connections that came and went.
    pub joins: u64,
    /// Windows that are over, where there are several.
    passed: Vec<Window>,
    latency: Histogram<u64>,
    pub reads: u64,
    pub frames: u64,
    pub bytes_per_connection: Option<(f64, f64)>,
    pub rss_bytes: u64,
}

impl Meter {
    pub fn new(target: &Target) -> anyhow::Result<Self> {
        Ok(Self {
            target: target.clone(),
            begun: None,
            warm_at: Instant::now() + target.warm_up,
            ended: None,
            operations: 0,
            joins: 0,
            passed: Vec::new(),
            latency: Histogram::new_with_bounds(1, 60_000_000, 3)?,
            reads: 0,
            frames: 0,
            bytes_per_connection: None,
            rss_bytes: 0,
        })
    }

    /// Everything is connected: the warm-up begins.
    pub fn ready(&mut self) {
        self.warm_at = Instant::now() + self.target.warm_up;
    }

    /// To be called now and then. True when the window is over.
    pub fn is_over(&mut self) -> anyhow::Result<bool> {
        let now = Instant::now();
        match self.begun {
            None if now < self.warm_at => Ok(false),
            None => {
                (self.operations, self.joins) = (0, 0);
                (self.reads, self.frames) = (0, 0);
                self.latency.reset();
                let (server, own) = self.usage()?;
                self.begun = Some((Instant::now(), server, own));
                Ok(false)
            }
            Some((begun, _, _)) if now - begun < self.target.window => Ok(false),
            Some((begun, server_before, own_before)) => {
                if self.ended.is_none() {
                    let (server, own) = self.usage()?;
                    self.ended = Some((now - begun, server.since(server_before), own.since(own_before)));
                    self.rss_bytes = resident(self.target.process)?;
                }
                Ok(true)
            }
        }
    }

    /// The window that is over was one of several; another begins, after a warm-up of its own. Answers how many are over.
    pub fn next_window(&mut self) -> anyhow::Result<usize> {
        let (seconds, server, own) = self.ended.take().context("a window that is not over")?;
        let (operations, joins) = (self.operations, self.joins);
        self.passed.push(Window { seconds, server, own, operations, joins });
        self.begun = None;
        self.ready();
        Ok(self.passed.len())
    }

    fn usage(&self) -> anyhow::Result<(Usage, Usage)> {
        Ok((Usage::of(self.target.process)?, Usage::of(std::process::id())?))
    }

    pub fn took(&mut self, since: Instant, now: Instant) {
        let micros = u64::try_from((now - since).as_micros()).unwrap_or(u64::MAX);
        self.latency.saturating_record(micros.max(1));
    }

    pub fn sample(mut self) -> anyhow::Result<Sample> {
        if self.passed.is_empty() {
            let (seconds, server, own) = self.ended.unwrap_or_default();
            return self.sample_of(&Window { seconds, server, own, operations: self.operations, joins: 0 });
        }
        let passed = std::mem::take(&mut self.passed);
        let sum = |begin: usize| passed.iter().skip(begin).step_by(2).fold(Window::default(), Window::and);
        let (quiet, churned) = (sum(0), sum(1));
        ensure!(quiet.operations > 0, "nothing was completed within {:?}", quiet.seconds);
        let mut sample = self.sample_of(&churned)?;
        let quiet_cpu_ns_per_operation = quiet.cpu_ns() / quiet.operations as f64;
        let more = churned.cpu_ns() - quiet_cpu_ns_per_operation * churned.operations as f64;
        sample.waited = sample.waited.max(quiet.waited());
        sample.churn = Some(Churned {
            quiet_cpu_ns_per_operation,
            joins_per_second: churned.joins as f64 / churned.seconds.as_secs_f64(),
            cpu_us_per_join: (churned.joins > 0).then(|| more / churned.joins as f64 / 1000.0),
        });
        Ok(sample)
    }

    fn sample_of(&self, window: &Window) -> anyhow::Result<Sample> {
        ensure!(window.operations > 0, "nothing was completed within {:?}", window.seconds);
        Ok(Sample {
            server: String::new(),
            scenario: self.target.scenario,
            seen: Seen {
                operations: window.operations,
                seconds: window.seconds.as_secs_f64(),
                p50_us: self.latency.value_at_quantile(0.5) as f64,
                p99_us: self.latency.value_at_quantile(0.99) as f64,
                frames_per_read: self.frames as f64 / self.reads.max(1) as f64,
            },
            cpu_ns_per_operation: window.cpu_ns() / window.operations as f64,
            waited: window.waited(),
            generator_busy: share(window.own.cpu, window.seconds),
            rss_bytes: self.rss_bytes,
            bytes_per_connection: self.bytes_per_connection,
            churn: None,
        })
    }
}

/// What a window cost, the server and the generator.
#[derive(Clone, Copy, Default)]
struct Window {
    seconds: Duration,
    server: Usage,
    own: Usage,
    operations: u64,
    joins: u64,
}

impl Window {
    fn and(self, other: &Self) -> Self {
        Self {
            seconds: self.seconds + other.seconds,
            server: self.server.and(other.server),
            own: self.own.and(other.own),
            operations: self.operations + other.operations,
            joins: self.joins + other.joins,
        }
    }

    fn cpu_ns(&self) -> f64 {
        self.server.cpu.as_nanos() as f64
    }

    fn waited(&self) -> f64 {
        share(self.server.waited, self.seconds).max(share(self.own.waited, self.seconds))
    }
}

fn share(time: Duration, window: Duration) -> f64 {
    if window.is_zero() { 0.0 } else { time.as_secs_f64() / window.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(cpu_ms: u64, operations: u64, joins: u64) -> Window {
        let used = Usage { cpu: Duration::from_millis(cpu_ms), waited: Duration::ZERO };
        Window { seconds: Duration::from_secs(1), server: used, own: used, operations, joins }
    }

    #[test]
    fn a_join_is_what_windows_with_joins_took_beyond_the_quiet_ones_between_them() {
        let scenario = Scenario::Churn { receivers: 10, window: 8, size: 128, rate: 500 };
        let (warm_up, length) = (Duration::ZERO, Duration::from_secs(1));
        let addr = ([127, 0, 0, 1], 1).into();
        let target = Target { addr, process: 1, scenario, warm_up, window: length };
        let mut meter = Meter::new(&target).unwrap();
        // 1 us per delivery, then half the deliveries and 500 joins in the same time.
        meter.passed = vec![
            window(1000, 1_000_000, 0),
            window(1000, 500_000, 500),
            window(500, 500_000, 0),
            window(500, 0, 500),
        ];
        let sample = meter.sample().unwrap();
        let churn = sample.churn.unwrap();
        assert_eq!((churn.quiet_cpu_ns_per_operation, churn.joins_per_second), (1000.0, 500.0));
        assert_eq!((churn.cpu_us_per_join, sample.cpu_ns_per_operation), (Some(1000.0), 3000.0));
    }
}
