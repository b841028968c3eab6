//! What a node makes of any messages, for the fuzz target alone.

use tokio::time::Instant;

use crate::cluster::{
    BusEvent, ClusterParams, MemoryBus, NodeId,
    envelope::{Opened, Sealing},
    head::{Close, Send},
    lane::Lane,
    node::{Local, Node},
    revoked::NewRevocation,
    state::ClusterState,
};

/// A server that takes what it is told.
struct Nobody;

impl Local for Nobody {
    fn send(&self, _send: &Send<'_>, opened: &Opened) -> bool {
        opened.payload.first() != Some(&0)
    }

    fn close(&self, close: &Close<'_>) -> bool {
        close.code < 5000
    }

    fn revoke(&self, _revocation: &NewRevocation) -> bool {
        true
    }

    fn close_users(&self, _before: Instant) -> usize {
        0
    }
}

/// Lets a node hear messages: the first as it is, the others of four nodes, with heads and payloads out of the bytes.
pub(crate) fn node_hears(bytes: &[u8]) {
    let state = ClusterState::new(ClusterParams::new("fuzz", MemoryBus::new()));
    let mut node = Node::new(&state, &Nobody);
    let now = Instant::now();
    node.heard(BusEvent::Message(bytes.to_vec().into()), now);
    let others: Vec<_> = (1..5).map(|n| Sealing::new(NodeId::from_bytes([n; 16]), Vec::new())).collect();
    for message in bytes.split(|byte| *byte == 0xff) {
        let [of, number, lane, rest @ ..] = message else { continue };
        let sealing = &others[usize::from(*of) % others.len()];
        let lane = Lane::heard(u16::from(*lane), state.node.id).unwrap_or(Lane::All);
        let (head, payload) = rest.split_at(rest.len() - rest.len() / 8);
        let draft = sealing.draft_of(lane, head, payload);
        node.heard(BusEvent::Message(sealing.seal(draft, u64::from(*number))), now);
        node.tick(now);
        while state.next_to_tell(now).is_ok() {}
    }
    state.forget_all(now);
    while state.next_to_tell(now + state.params.linger).is_ok() {}
    assert_eq!(state.directory().view.online(), 0, "all that was said of others is forgotten with them");
}
