//! What a measurement came to.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;

use crate::ws::bench::{
    plan::Plan,
    tally::{Tally, Times},
};

/// Connections, messages and times of a measurement.
#[derive(Debug, Serialize)]
pub struct Report {
    connections: Connections,
    messages: Messages,
    /// How long messages were sent.
    seconds: f64,
    messages_per_second: f64,
    /// Payload bytes that came back in a second; as many were sent.
    bytes_per_second: f64,
    /// From when a message was due, or with no rate from when it was sent, until its echo came.
    latency_ms: Percentiles,
    /// How long after it was due a message was sent, where there is a rate. It is part of the latency.
    #[serde(skip_serializing_if = "Option::is_none")]
    send_delay_ms: Option<Percentiles>,
    /// Whether it was ended early.
    interrupted: bool,
}

#[derive(Debug, Serialize)]
struct Connections {
    asked: u64,
    opened: u64,
    failed: u64,
    failures: BTreeMap<String, u64>,
    lost: u64,
    losses: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
struct Messages {
    size: usize,
    sent: u64,
    answered: u64,
    unanswered: u64,
    /// Came, and were no echo.
    unexpected: u64,
    /// Were due, and could not be sent in time.
    overdue: u64,
}

/// Times in milliseconds.
#[derive(Debug, Serialize)]
struct Percentiles {
    count: u64,
    p50: f64,
    p90: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p99_9: f64,
    max: f64,
}

impl Percentiles {
    fn of(times: &Times) -> Self {
        times.read(|times| {
            let at = |quantile| milliseconds(times.value_at_quantile(quantile).min(times.max()));
            Self {
                count: times.len(),
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                p99_9: at(0.999),
                max: milliseconds(times.max()),
            }
        })
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let all = [
            ("p50", self.p50),
            ("p90", self.p90),
            ("p99", self.p99),
            ("p99.9", self.p99_9),
            ("max", self.max),
        ];
        all.into_iter().try_for_each(|(name, value)| writeln!(out, "  {name:<6} {value:>12.3} ms"))
    }
}

fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1e3
}

impl Report {
    pub(super) fn new(plan: &Plan, tally: &Tally, sending: Duration, interrupted: bool) -> Self {
        let seconds = sending.as_secs_f64();
        let answered = tally.answered_in_time.now() as f64;
        let per_second = if seconds > 0.0 { answered / seconds } else { 0.0 };
        Self {
            connections: Connections {
                asked: plan.connections as u64,
                opened: tally.opened.now(),
                failed: tally.failed.now(),
                failures: tally.failures.all(),
                lost: tally.lost.now(),
                losses: tally.losses.all(),
            },
            messages: Messages {
                size: plan.size,
                sent: tally.sent.now(),
                answered: tally.answered.now(),
                unanswered: tally.unanswered.now(),
                unexpected: tally.unexpected.now(),
                overdue: tally.overdue.now(),
            },
            seconds,
            messages_per_second: per_second,
            bytes_per_second: per_second * plan.size as f64,
            latency_ms: Percentiles::of(&tally.latencies),
            send_delay_ms: plan.rate.map(|_| Percentiles::of(&tally.delays)),
            interrupted,
        }
    }

    /// Whether there was no connection.
    pub(super) fn is_empty(&self) -> bool {
        self.connections.opened == 0
    }

    /// Whether every connection opened and stayed, and every message came back.
    pub(super) fn is_flawless(&self) -> bool {
        let Connections { failed, lost, .. } = self.connections;
        let Messages { unanswered, overdue, .. } = self.messages;
        failed == 0 && lost == 0 && unanswered == 0 && overdue == 0
    }

    /// Writes the report for people.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let Connections { asked, opened, failed, failures, lost, losses } = &self.connections;
        let early = if self.interrupted { ", ended early" } else { "" };
        writeln!(out, "{opened} of {asked} connections opened, {failed} failed, {lost} were lost{early}")?;
        for (reason, count) in failures.iter().chain(losses) {
            writeln!(out, "  {count} x {reason}")?;
        }
        let Messages { size, sent, answered, unanswered, unexpected, overdue } = &self.messages;
        writeln!(
            out,
            "{sent} messages of {size} bytes sent in {:.1} s, {answered} came back, {unanswered} did not",
            self.seconds
        )?;
        if *overdue > 0 {
            writeln!(out, "{overdue} more were due and could not be sent, as too many were under way")?;
        }
        if *unexpected > 0 {
            writeln!(out, "{unexpected} other messages came: is this a server that echoes?")?;
        }
        if self.latency_ms.count == 0 {
            return Ok(());
        }
        let megabytes = self.bytes_per_second / 1e6;
        writeln!(out, "{:.1} messages/s, {megabytes:.3} MB/s each way", self.messages_per_second)?;
        let Some(delays) = &self.send_delay_ms else {
            writeln!(out, "latency, from when a message was sent:")?;
            return self.latency_ms.write(out);
        };
        writeln!(out, "latency, from when a message was due:")?;
        self.latency_ms.write(out)?;
        writeln!(out, "of that, until it was sent:")?;
        delays.write(out)
    }
}
