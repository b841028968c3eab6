//! The load generator: one thread, epoll, no WebSocket library. It verifies every message it gets.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::bail;
use clap::Args;
use hdrhistogram::Histogram;

use crate::{
    machine::{Usage, resident},
    sample::{Sample, Seen},
    scenario::Scenario,
};

pub mod connect;
pub mod echo;
pub mod fanout;
pub mod idle;
pub mod peer;

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

/// Puts load on the target for one window.
pub fn run(target: &Target) -> anyhow::Result<Sample> {
    let mut meter = Meter::new(target)?;
    match target.scenario {
        Scenario::Echo { connections, depth, size } => echo::run(&mut meter, connections, depth, size)?,
        Scenario::Fanout { receivers, window, size } => {
            fanout::run(&mut meter, 1, receivers, window, size, false)?
        }
        Scenario::SlowReader { receivers, window, size } => {
            fanout::run(&mut meter, 1, receivers, window, size, true)?;
        }
        Scenario::Chat { publishers, receivers, size } => {
            fanout::run(&mut meter, publishers, receivers, 1, size, false)?;
        }
        Scenario::Connect { concurrent } => connect::run(&mut meter, concurrent)?,
        Scenario::Idle { connections } => idle::run(&mut meter, connections)?,
        Scenario::ClientEcho { .. } | Scenario::Clients { .. } | Scenario::IdleTls { .. } => {
            bail!("this is work for a client")
        }
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
                self.operations = 0;
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

    fn usage(&self) -> anyhow::Result<(Usage, Usage)> {
        Ok((Usage::of(self.target.process)?, Usage::of(std::process::id())?))
    }

    pub fn took(&mut self, since: Instant, now: Instant) {
        let micros = u64::try_from((now - since).as_micros()).unwrap_or(u64::MAX);
        self.latency.saturating_record(micros.max(1));
    }

    pub fn sample(self) -> anyhow::Result<Sample> {
        let (window, server, own) = self.ended.unwrap_or_default();
        if self.operations == 0 {
            bail!("nothing was completed within {window:?}");
        }
        let seconds = window.as_secs_f64();
        let share = |time: Duration| if seconds > 0.0 { time.as_secs_f64() / seconds } else { 0.0 };
        Ok(Sample {
            server: String::new(),
            scenario: self.target.scenario,
            seen: Seen {
                operations: self.operations,
                seconds,
                p50_us: self.latency.value_at_quantile(0.5) as f64,
                p99_us: self.latency.value_at_quantile(0.99) as f64,
                frames_per_read: self.frames as f64 / self.reads.max(1) as f64,
            },
            cpu_ns_per_operation: server.cpu.as_nanos() as f64 / self.operations as f64,
            waited: share(server.waited).max(share(own.waited)),
            generator_busy: share(own.cpu),
            rss_bytes: self.rss_bytes,
            bytes_per_connection: self.bytes_per_connection,
        })
    }
}
