//! Connections that do nothing.

use std::{rc::Rc, thread, time::Duration};

use anyhow::ensure;
use mio::{Events, Poll};

use crate::{
    load::{Meter, peer::Peer, template::Template},
    machine::resident,
};

/// Time for a server to finish what a connection or a message began.
const SETTLING: Duration = Duration::from_millis(500);

/// Connections before the first look at the memory: what the first ones cost is the server's own.
const FIRST: usize = 10;

/// Opens `connections` and looks at the server's memory, before and after one message each.
pub fn run(meter: &mut Meter, connections: usize) -> anyhow::Result<()> {
    ensure!(connections > FIRST, "too few connections");
    let template = Template::text(1024)?;
    let (door, process) = (meter.target.door()?, meter.target.process);
    let mut poll = Poll::new()?;
    let mut peers = Vec::with_capacity(connections);
    let open = |peers: &mut Vec<Peer>, poll: &Poll, upto: usize, template: &Rc<Template>| {
        for at in peers.len()..upto {
            let mut peer = Peer::connect(&door, "/echo", at, template, None)?;
            peer.register(poll.registry(), at)?;
            peers.push(peer);
        }
        anyhow::Ok(())
    };
    open(&mut peers, &poll, FIRST, &template)?;
    echo(&mut peers, &mut poll)?;
    thread::sleep(SETTLING);
    let base = resident(process)?;
    open(&mut peers, &poll, connections, &template)?;
    thread::sleep(SETTLING);
    let per_connection = |now: u64| now.saturating_sub(base) as f64 / (connections - FIRST) as f64;
    let idle = per_connection(resident(process)?);
    echo(&mut peers, &mut poll)?;
    thread::sleep(SETTLING);
    meter.rss_bytes = resident(process)?;
    meter.bytes_per_connection = Some((idle, per_connection(meter.rss_bytes)));
    meter.operations = connections as u64;
    Ok(())
}

/// One message there and back on every connection.
fn echo(peers: &mut [Peer], poll: &mut Poll) -> anyhow::Result<()> {
    for peer in peers.iter_mut() {
        peer.push(7);
        peer.flush()?;
    }
    let mut left = peers.len();
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 64 * 1024];
    while left > 0 {
        poll.poll(&mut events, Some(Duration::from_secs(10)))?;
        ensure!(!events.is_empty(), "{left} echoes did not come within 10 s");
        for event in events.iter().filter(|event| event.is_readable()) {
            let (_, messages) = peers[event.token().0].read(&mut buffer, |_, tag| {
                ensure!(tag == 7, "message {tag} came instead of 7");
                Ok(())
            })?;
            left -= messages as usize;
        }
    }
    Ok(())
}
