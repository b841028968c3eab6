//! `ws bench`: how many messages a server echoes, and how fast.

use std::{io, num::NonZeroUsize, sync::Arc, time::Duration};

use clap::Args;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};
use websockets_simple_client::ClientParams;

use crate::{
    stop_request,
    ws::{
        exit::{Exit, Failure},
        output,
        target::{Target, seconds},
    },
};

pub use plan::Plan;
pub use report::Report;

use progress::Progress;
use tally::Tally;
use visitor::{Phase, Visitor};

mod plan;
mod progress;
mod report;
mod tally;
mod visitor;

/// Bytes of the largest message.
const LARGEST: u64 = 64 << 20;

/// What to measure.
#[derive(Args, Debug)]
pub struct BenchArgs {
    #[command(flatten)]
    target: Target,
    /// Connections to open.
    #[arg(long, short = 'c', value_name = "COUNT", default_value = "10")]
    connections: NonZeroUsize,
    /// Connections to begin in a second. Without this all begin at once.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    connect_rate: Option<f64>,
    /// Messages in a second on each connection. Without this each connection sends the next message when the last one
    /// came back.
    ///
    /// With a rate, the latency of a message counts from the time at which it was due, not from when it could be sent: a
    /// server that stops for a second is seen in every message of that second, and not in one (coordinated omission).
    /// What the program itself took of that is listed apart.
    #[arg(long, short = 'r', value_name = "RATE", value_parser = rate)]
    rate: Option<f64>,
    /// Payload bytes of a message.
    #[arg(long, value_name = "BYTES", default_value = "64", value_parser = clap::value_parser!(u64).range(1..=LARGEST))]
    size: u64,
    /// Send binary messages in place of texts.
    #[arg(long)]
    binary: bool,
    /// How long to send messages, once all connections are open or have failed.
    #[arg(long, short = 'd', value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    duration: Duration,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Reads how often something happens in a second.
fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "give a number, such as 100 or 0.5".to_owned())?;
    // A pause of more than a day is no rate.
    let is_usable = rate.is_finite() && (1e-5..=1e9).contains(&rate);
    if is_usable { Ok(rate) } else { Err("give a number above zero".to_owned()) }
}

/// Measures, and prints the report.
///
/// # Errors
///
/// A [`Failure`]: an option is not usable; or connections failed or were lost, or messages did not come back, which is in
/// the report.
pub async fn run(args: BenchArgs) -> Result<(), Failure> {
    let params = args.target.params()?;
    let plan = Plan {
        connections: args.connections.get(),
        connect_rate: args.connect_rate,
        rate: args.rate,
        // Below 64 MiB.
        size: usize::try_from(args.size).unwrap_or(usize::MAX),
        is_binary: args.binary,
        duration: args.duration,
        patience: args.target.timeout(),
    };
    let stop =
        stop_request().map_err(|error| Failure::local(format!("cannot listen for Ctrl-C: {error}")))?;
    let (report, first_failure) = measure(plan, &params, stop).await?;
    if args.json {
        let json = serde_json::to_string_pretty(&report);
        output::line(&json.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?)?;
    } else {
        report.write(&mut io::stdout().lock()).map_err(|error| output::closed(&error))?;
    }
    match first_failure {
        _ if report.is_flawless() => Ok(()),
        // Nothing was measured: it is as if one connection had been asked for.
        Some(exit) if report.is_empty() => Err(Failure::told(exit)),
        _ => Err(Failure::told(Exit::Failed)),
    }
}

/// Opens the connections, lets them send, and counts; until the end, or until `stop`. The exit code is that of the first
/// connection that failed.
async fn measure(
    plan: Plan,
    params: &ClientParams,
    stop: impl Future<Output = ()>,
) -> Result<(Report, Option<Exit>), Failure> {
    let tally = Tally::new().map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let tally = Arc::new(tally);
    let params = plan.fit(params.clone());
    let (phase, phases) = watch::channel(Phase::Connect);
    // Each says once that it has settled, so none finds it full.
    let (settling, mut settled) = mpsc::channel(plan.connections);
    let mut visitors = JoinSet::new();
    let begun = Instant::now();
    for number in 0..plan.connections {
        let visitor = Visitor {
            number,
            params: params.clone(),
            plan,
            tally: Arc::clone(&tally),
            phase: phases.clone(),
            settled: settling.clone(),
        };
        visitors.spawn(visitor.visit(begun));
    }
    drop((settling, phases));
    let mut progress = Progress::new();
    tokio::pin!(stop);
    let mut interrupted = false;
    let mut left = plan.connections;
    while left > 0 && !interrupted {
        tokio::select! {
            settled = settled.recv() => left = if settled.is_some() { left - 1 } else { 0 },
            // One that panicked has not settled.
            Some(Err(_)) = visitors.join_next() => left -= 1,
            () = progress.tick() => progress.connecting(&plan, &tally),
            () = &mut stop => interrupted = true,
        }
    }
    let from = Instant::now();
    if !interrupted && tally.opened.now() > 0 {
        let until = from + plan.duration;
        phase.send_replace(Phase::Send { from, until });
        let end = sleep_until(until);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                () = progress.tick() => progress.sending(&plan, &tally, from.elapsed()),
                () = &mut stop => {
                    interrupted = true;
                    break;
                }
                _ = visitors.join_next() => {
                    if visitors.is_empty() {
                        // All connections are lost.
                        break;
                    }
                }
            }
        }
    }
    let sending = from.elapsed().min(plan.duration);
    if interrupted {
        phase.send_replace(Phase::Stop);
    }
    // Those that wait for the last answers; each has a deadline of its own.
    while visitors.join_next().await.is_some() {}
    progress.end();
    Ok((Report::new(&plan, &tally, sending, interrupted), tally.first_failure()))
}
