//! Messages that go to everybody.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use mio::{Events, Poll};

use crate::load::{
    Meter,
    peer::{Peer, Template},
};

/// Where the publisher is in the tag of a message.
const PUBLISHER: u32 = 48;

/// The next message a publisher sends, and those that somebody still has to get.
#[derive(Default)]
struct Publisher {
    next: u64,
    on_their_way: VecDeque<(usize, Instant)>,
}

impl Publisher {
    /// The oldest message that is still on its way.
    fn oldest(&self) -> u64 {
        self.next - self.on_their_way.len() as u64
    }
}

/// Keeps `window` broadcasts of each publisher on their way to all receivers, in order and complete. A `stalled`
/// receiver more connects and then never reads.
pub fn run(
    meter: &mut Meter,
    publishers: usize,
    receivers: usize,
    window: usize,
    size: usize,
    stalled: bool,
) -> anyhow::Result<()> {
    let template = Template::new(size)?;
    let addr = meter.target.addr;
    let mut poll = Poll::new()?;
    let mut peers = Vec::with_capacity(publishers + receivers);
    for at in 0..publishers + receivers {
        let path = if at < publishers { "/pub" } else { "/sub" };
        let mut peer = Peer::connect(addr, path, at, &template)?;
        peer.register(poll.registry(), at)?;
        peers.push(peer);
    }
    let _stalled = stalled.then(|| Peer::connect(addr, "/sub", peers.len(), &template)).transpose()?;
    meter.ready();
    let mut due = vec![vec![0u64; publishers]; receivers];
    let mut sources: Vec<Publisher> = Vec::new();
    sources.resize_with(publishers, Publisher::default);
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 512 * 1024];
    while !meter.is_over()? {
        for (at, source) in sources.iter_mut().enumerate() {
            while source.on_their_way.len() < window {
                peers[at].push((at as u64) << PUBLISHER | source.next);
                source.next += 1;
                source.on_their_way.push_back((receivers, Instant::now()));
            }
            peers[at].flush()?;
        }
        poll.poll(&mut events, Some(Duration::from_millis(10)))?;
        for event in &events {
            let at = event.token().0;
            let (Some(receiver), true) = (at.checked_sub(publishers), event.is_readable()) else { continue };
            let now = Instant::now();
            let due = &mut due[receiver];
            let (reads, messages) = peers[at].read(&mut buffer, |_, tag| {
                let (publisher, number) = ((tag >> PUBLISHER) as usize, tag & ((1 << PUBLISHER) - 1));
                let expected = due.get_mut(publisher).context("a message of nobody")?;
                ensure!(number == *expected, "message {number} of {publisher} came instead of {expected}");
                *expected += 1;
                let source = &mut sources[publisher];
                let place = (number - source.oldest()) as usize;
                let (left, sent_at) = &mut source.on_their_way[place];
                *left -= 1;
                meter.took(*sent_at, now);
                while source.on_their_way.front().is_some_and(|(left, _)| *left == 0) {
                    source.on_their_way.pop_front();
                }
                Ok(())
            })?;
            meter.operations += messages;
            meter.reads += reads;
            meter.frames += messages;
        }
    }
    Ok(())
}
