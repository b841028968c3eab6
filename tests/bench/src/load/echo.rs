//! Messages that come back.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use mio::{Events, Poll};

use crate::load::{Meter, peer::Peer, template::Template};

/// Keeps `depth` messages on their way on each of `connections`.
pub fn run(
    meter: &mut Meter,
    connections: usize,
    depth: usize,
    template: &Rc<Template>,
) -> anyhow::Result<()> {
    let door = meter.target.door()?;
    let mut poll = Poll::new()?;
    let mut peers = Vec::with_capacity(connections);
    for at in 0..connections {
        let mut peer = Peer::connect(&door, "/echo", at, template, None)?;
        peer.register(poll.registry(), at)?;
        peers.push((peer, 0u64, depth as u64));
    }
    meter.ready();
    for (peer, _, next) in &mut peers {
        let now = Instant::now();
        for tag in 0..*next {
            peer.push(tag);
            peer.sent_at.push_back(now);
        }
        peer.flush()?;
    }
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 512 * 1024];
    while !meter.is_over()? {
        poll.poll(&mut events, Some(Duration::from_millis(10)))?;
        for event in &events {
            let (peer, due, next) = &mut peers[event.token().0];
            if event.is_readable() {
                let now = Instant::now();
                let (reads, messages) = peer.read(&mut buffer, |peer, tag| {
                    ensure!(tag == *due, "message {tag} came instead of {due}");
                    *due += 1;
                    if let Some(sent_at) = peer.sent_at.pop_front() {
                        meter.took(sent_at, now);
                    }
                    peer.push(*next);
                    peer.sent_at.push_back(now);
                    *next += 1;
                    Ok(())
                })?;
                meter.operations += messages;
                meter.reads += reads;
                meter.frames += messages;
            }
            peer.flush()?;
        }
    }
    Ok(())
}
