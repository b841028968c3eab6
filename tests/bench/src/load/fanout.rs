//! Messages that go to everybody, or to a group.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use mio::{Events, Poll};

use crate::load::{Meter, churn::Churn, inflated::Inflated, peer::Peer, template::Template};

/// Where the publisher is in the tag of a message.
const PUBLISHER: u32 = 48;

/// Windows of a row with churn: quiet ones and others in turn, so that what drifts disturbs both.
const WINDOWS: usize = 4;

/// Who sends what to whom.
#[derive(Clone, Copy, Default)]
pub struct Fanout {
    pub publishers: usize,
    pub receivers: usize,
    /// Broadcasts of each publisher that are on their way.
    pub window: usize,
    /// One more receiver connects and then never reads.
    pub stalled: bool,
    /// Receivers get compressed messages, but for so many.
    pub plain: Option<usize>,
    /// The receivers are a group; the channel has so many more members, which get nothing.
    pub outside: Option<usize>,
    /// Several windows, in every second of which so many further receivers per second come and go.
    pub churn: Option<usize>,
}

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

/// Keeps `window` broadcasts of each publisher on their way to all receivers, in order and complete.
pub fn run(meter: &mut Meter, work: Fanout, template: &Rc<Template>) -> anyhow::Result<()> {
    let mut poll = Poll::new()?;
    let mut peers = work.connect(meter, &poll, template)?;
    let door = meter.target.door()?;
    let _stalled =
        work.stalled.then(|| Peer::connect(&door, "/sub", peers.len(), template, None)).transpose()?;
    meter.ready();
    let mut churn: Option<Churn> = None;
    let mut due = vec![vec![0u64; work.publishers]; work.receivers];
    let mut sources: Vec<Publisher> = Vec::new();
    sources.resize_with(work.publishers, Publisher::default);
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 512 * 1024];
    loop {
        if meter.is_over()? {
            let Some(rate) = work.churn else { return Ok(()) };
            match meter.next_window()? {
                WINDOWS => return Ok(()),
                over if over % 2 == 1 => {
                    churn.get_or_insert_with(|| Churn::new(door.addr, rate, peers.len())).go_on();
                }
                _ => churn.iter_mut().for_each(Churn::pause),
            }
        }
        for (at, source) in sources.iter_mut().enumerate() {
            while source.on_their_way.len() < work.window {
                peers[at].push((at as u64) << PUBLISHER | source.next);
                source.next += 1;
                source.on_their_way.push_back((work.receivers, Instant::now()));
            }
            peers[at].flush()?;
        }
        if let Some(churn) = &mut churn {
            churn.open(poll.registry())?;
        }
        poll.poll(&mut events, Some(Duration::from_millis(if churn.is_some() { 1 } else { 10 })))?;
        for event in &events {
            let at = event.token().0;
            let Some(receiver) = at.checked_sub(work.publishers) else { continue };
            if let (Some(churn), true) = (&mut churn, at >= peers.len()) {
                meter.joins += churn.progress(at)?;
                continue;
            }
            if !event.is_readable() {
                continue;
            }
            let now = Instant::now();
            let Some(due) = due.get_mut(receiver) else {
                peers[at].read(&mut buffer, |_, _| bail!("a message to somebody who is not in the group"))?;
                continue;
            };
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
}

impl Fanout {
    /// Publishers, then receivers, then those outside of the group.
    fn connect(self, meter: &Meter, poll: &Poll, template: &Rc<Template>) -> anyhow::Result<Vec<Peer>> {
        let door = meter.target.door()?;
        let inflated = Rc::new(RefCell::new(Inflated::new()));
        let all = self.publishers + self.receivers + self.outside.unwrap_or_default();
        let mut peers = Vec::with_capacity(all);
        for at in 0..all {
            let path = match (at, self.outside) {
                (at, None) if at < self.publishers => "/pub",
                (at, Some(_)) if at < self.publishers => "/pub?group=g",
                (_, None) => "/sub",
                (at, Some(_)) if at < self.publishers + self.receivers => "/sub?group=g",
                _ => "/sub?outside",
            };
            let receiver = at.checked_sub(self.publishers);
            let compressed = self.plain.zip(receiver).is_some_and(|(plain, receiver)| {
                // Those of both kinds take turns.
                let upto = |receiver: usize| receiver * plain / self.receivers;
                upto(receiver) == upto(receiver + 1)
            });
            let mut peer = Peer::connect(&door, path, at, template, compressed.then_some(&inflated))
                .with_context(|| format!("connection {at} of {all}"))?;
            peer.register(poll.registry(), at)?;
            peers.push(peer);
        }
        Ok(peers)
    }
}
