//! Receivers that connect and hang up, at a pace.

use std::{net::SocketAddr, time::Instant};

use mio::Registry;

use crate::load::connect::Opening;

/// Handshakes on their way at once at most; where the server is slower than the pace, they are fewer.
const MOST: usize = 1000;

/// See the module.
pub struct Churn {
    addr: SocketAddr,
    rate: usize,
    /// Since when, and how many since then; `None` in a pause.
    since: Option<Instant>,
    begun: u128,
    /// The token of the first.
    first: usize,
    openings: Vec<Option<Opening>>,
    free: Vec<usize>,
}

impl Churn {
    /// `first` and those behind it are tokens that nobody else has.
    pub fn new(addr: SocketAddr, rate: usize, first: usize) -> Self {
        Self { addr, rate, since: None, begun: 0, first, openings: Vec::new(), free: Vec::new() }
    }

    /// From here on they come.
    pub fn go_on(&mut self) {
        (self.since, self.begun) = (Some(Instant::now()), 0);
    }

    /// No more come.
    pub fn pause(&mut self) {
        self.since = None;
    }

    /// Begins as many as are due.
    pub fn open(&mut self, registry: &Registry) -> anyhow::Result<()> {
        let Some(since) = self.since else { return Ok(()) };
        let due = since.elapsed().as_micros() * self.rate as u128 / 1_000_000;
        while self.begun < due {
            if self.free.is_empty() && self.openings.len() == MOST {
                return Ok(());
            }
            let place = self.free.pop().unwrap_or(self.openings.len());
            let opening = Opening::begin(self.addr, registry, self.first + place, place, "/sub")?;
            if place == self.openings.len() {
                self.openings.push(Some(opening));
            } else {
                self.openings[place] = Some(opening);
            }
            self.begun += 1;
        }
        Ok(())
    }

    /// Something happened to the one with this token. Whoever has its answer hangs up: one has come and gone.
    pub fn progress(&mut self, token: usize) -> anyhow::Result<u64> {
        let place = token - self.first;
        let Some(opening) = self.openings.get_mut(place).and_then(Option::as_mut) else { return Ok(0) };
        if !opening.go_on(place)? {
            return Ok(0);
        }
        self.openings[place] = None;
        self.free.push(place);
        Ok(1)
    }
}
