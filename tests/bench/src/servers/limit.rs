//! The least that the kernel asks for: one thread, epoll, one read for what there is and one write for what that
//! brings. Frames are unmasked in place and sent on; nothing is checked. What a publisher brought goes to every receiver
//! in one write. Messages in fragments are joined, and what is compressed is so once for all.

use std::collections::HashMap;

use mio::{Events, Interest, Poll, Token};

use self::peer::{Output, Peer, Role};
use crate::{
    servers::{Listening, Setup},
    wire,
};

mod peer;

const LISTENER: Token = Token(usize::MAX);

/// Bytes of one read.
const READ: usize = 256 * 1024;

/// Serves for ever.
pub(super) fn serve(listening: Listening, setup: Setup) -> anyhow::Result<()> {
    let Listening { listener, tls } = listening;
    let mut listener = mio::net::TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut peers: HashMap<usize, Peer> = HashMap::new();
    let mut receivers: Vec<usize> = Vec::new();
    let mut next = 0;
    let mut events = Events::with_capacity(1024);
    let (mut input, mut output) = (vec![0; READ], Output::new(2 * READ, setup.needs.deflate));
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let tls = tls.as_ref().map(wire::server).transpose()?;
                    let mut peer = Peer::new(wire::Wire::new(stream, tls));
                    peer.wire.register(poll.registry(), next)?;
                    peers.insert(next, peer);
                    next += 1;
                }
                continue;
            }
            let token = event.token().0;
            let Some(peer) = peers.get_mut(&token) else { continue };
            if event.is_writable() && peer.write(&[]).is_err() {
                peers.remove(&token);
                continue;
            }
            if !event.is_readable() {
                continue;
            }
            output.clear();
            let before = peer.role;
            let open = peer.read(&mut input, &mut output).unwrap_or(false);
            let role = peer.role;
            if open && before != role && role == Role::Receiver {
                receivers.push(token);
            }
            if !output.plain.is_empty() {
                match role {
                    Role::Publisher if before == Role::Publisher => {
                        receivers.retain(|receiver| {
                            peers
                                .get_mut(receiver)
                                .is_some_and(|peer| peer.write(output.of(peer.deflate)).is_ok())
                        });
                    }
                    _ => {
                        let _ = peer.write(&output.plain);
                    }
                }
            }
            if !open {
                peers.remove(&token);
            }
        }
    }
}
