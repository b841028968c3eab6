//! The clients that are measured. Each sends back what an echo server sends, so that the same messages go round.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use tokio::sync::mpsc;

use crate::{
    load::{Meter, Target},
    machine::resident,
    sample::Sample,
    scenario::Scenario,
};

mod ours;
mod tokio_tungstenite;

/// A client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Client {
    /// tokio-tungstenite used well: one task, a small read buffer, one flush for all that is ready.
    TokioTungstenite,
    /// `WebsocketClient`.
    Ours,
}

impl Client {
    /// Runs the work of the target and measures this process.
    pub fn run(self, target: &Target) -> anyhow::Result<Sample> {
        let mut target = target.clone();
        target.process = std::process::id();
        let meter = Meter::new(&target)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match target.scenario {
            Scenario::ClientEcho { connections, depth, size } => {
                runtime.block_on(self.echo(meter, connections, depth, size))
            }
            Scenario::Clients { connections } => runtime.block_on(self.idle(meter, connections)),
            _ => bail!("this is work for the load generator"),
        }
    }

    async fn open(self, round: &Arc<Round>, count: usize) -> anyhow::Result<()> {
        for _ in 0..count {
            match self {
                Self::TokioTungstenite => tokio_tungstenite::open(round).await?,
                Self::Ours => ours::open(round).await?,
            }
        }
        Ok(())
    }

    async fn echo(
        self,
        meter: Meter,
        connections: usize,
        depth: usize,
        size: usize,
    ) -> anyhow::Result<Sample> {
        let (round, mut news) = Round::new(meter, depth, size, false);
        self.open(&round, connections).await?;
        round.with_meter(|meter| {
            meter.ready();
            Ok(false)
        })?;
        news.recv().await.context("no client is left")??;
        let meter = round.take_meter()?;
        meter.sample()
    }

    /// What a client costs that has had one message and waits for the next.
    async fn idle(self, meter: Meter, connections: usize) -> anyhow::Result<Sample> {
        const FIRST: usize = 10;
        ensure!(connections > FIRST, "too few connections");
        let own = std::process::id();
        let (round, mut news) = Round::new(meter, 1, 1024, true);
        let mut before = None;
        for count in [FIRST, connections - FIRST] {
            self.open(&round, count).await?;
            for _ in 0..count {
                news.recv().await.context("no client is left")??;
            }
            before.get_or_insert(resident(own)?);
        }
        let base = before.context("no client")?;
        let mut meter = round.take_meter()?;
        meter.rss_bytes = resident(own)?;
        let bytes = meter.rss_bytes.saturating_sub(base) as f64 / (connections - FIRST) as f64;
        meter.bytes_per_connection = Some((bytes, bytes));
        meter.operations = connections as u64;
        meter.sample()
    }
}

/// Messages that go round between all clients of this process and the server.
struct Round {
    addr: SocketAddr,
    depth: usize,
    size: usize,
    /// Each message comes back once and is news then; otherwise the end of the window is.
    once: bool,
    texts: Vec<String>,
    meter: Mutex<Option<Meter>>,
    news: mpsc::UnboundedSender<anyhow::Result<()>>,
}

/// What one client expects.
struct Seat {
    round: Arc<Round>,
    due: usize,
    sent_at: Vec<Instant>,
}

impl Round {
    fn new(
        meter: Meter,
        depth: usize,
        size: usize,
        once: bool,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<anyhow::Result<()>>) {
        let (news, told) = mpsc::unbounded_channel();
        let filler: String = (16..size).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
        let texts = (0..depth).map(|tag| format!("{tag:016x}{filler}")).collect();
        let addr = meter.target.addr;
        (Arc::new(Self { addr, depth, size, once, texts, meter: Mutex::new(Some(meter)), news }), told)
    }

    fn with_meter(&self, f: impl FnOnce(&mut Meter) -> anyhow::Result<bool>) -> anyhow::Result<bool> {
        match &mut *self.meter.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(meter) => f(meter),
            None => Ok(false),
        }
    }

    fn take_meter(&self) -> anyhow::Result<Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner).take().context("the meter is gone")
    }

    /// A client that is to send all of `texts` first.
    fn seat(self: &Arc<Self>) -> Seat {
        Seat { round: Arc::clone(self), due: 0, sent_at: vec![Instant::now(); self.depth] }
    }
}

impl Seat {
    /// A message came. Whether it is to be sent back.
    fn came(&mut self, text: &str) -> bool {
        let came = self.try_came(text);
        let round = &self.round;
        match came {
            Ok(false) => !round.once,
            Ok(true) => {
                let _ = round.news.send(Ok(()));
                false
            }
            Err(error) => {
                let _ = round.news.send(Err(error));
                false
            }
        }
    }

    /// True when there is news.
    fn try_came(&mut self, text: &str) -> anyhow::Result<bool> {
        ensure!(text == self.round.texts[self.due], "another message came than was due");
        let now = Instant::now();
        let since = std::mem::replace(&mut self.sent_at[self.due], now);
        self.due = (self.due + 1) % self.round.depth;
        self.round.with_meter(|meter| {
            meter.took(since, now);
            meter.operations += 1;
            Ok(self.round.once || meter.is_over()?)
        })
    }
}
