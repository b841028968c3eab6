//! How far a measurement is: a bar on a terminal, otherwise a line each second. Both are on standard error.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::ws::bench::{plan::Plan, tally::Tally};

/// How often a bar is drawn, and a line is written.
const BAR: Duration = Duration::from_millis(100);
const LINE: Duration = Duration::from_secs(1);

/// A bar, or lines.
pub(super) struct Progress {
    bar: ProgressBar,
    ticks: Interval,
}

impl Progress {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let pace = if bar.is_hidden() { LINE } else { BAR };
        let mut ticks = interval_at(Instant::now() + pace, pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
            bar.set_style(style);
        }
        Self { bar, ticks }
    }

    /// Awaits the time to show something.
    pub(super) async fn tick(&mut self) {
        self.ticks.tick().await;
    }

    pub(super) fn connecting(&self, plan: &Plan, tally: &Tally) {
        let (opened, failed) = (tally.opened.now(), tally.failed.now());
        self.bar.set_length(plan.connections as u64);
        self.bar.set_position(opened + failed);
        self.show(format!("{opened} of {} connections open, {failed} failed", plan.connections));
    }

    pub(super) fn sending(&self, plan: &Plan, tally: &Tally, passed: Duration) {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.bar.set_length(milliseconds(plan.duration));
        self.bar.set_position(milliseconds(passed));
        let (sent, answered) = (tally.sent.now(), tally.answered.now());
        self.show(format!("{:.0} s: {sent} messages sent, {answered} came back", passed.as_secs_f64()));
    }

    /// Leaves the terminal to the report.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn show(&self, line: String) {
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.set_message(line);
        }
    }
}
