//! What a connection is beside its messages.

use chrono::{DateTime, Utc};

use crate::{
    config::ClientId,
    connection::Extras,
    net::{KeptPeer, Peer, RequestHead},
    users::Identity,
};

/// What a connection is from its handshake on, and what few connections have besides.
///
/// In memory of its own, apart from what messages need: it fits into the gaps that allocators leave around the tasks and
/// registrations of the runtime, which begin at multiples of 128 bytes.
pub(crate) struct Origin<I: Identity> {
    pub(super) id: ClientId,
    pub(super) head: RequestHead,
    /// Its [number](crate::ServerParams::subprotocol).
    pub(super) subprotocol: Option<u32>,
    pub(super) peer: KeptPeer,
    /// In nanoseconds since 1970.
    since: i64,
    pub(super) extras: Extras<I>,
}

impl<I: Identity> Origin<I> {
    pub(crate) fn new(
        id: ClientId,
        head: RequestHead,
        subprotocol: Option<u32>,
        peer: Peer,
        extras: Extras<I>,
    ) -> Box<Self> {
        let since = Utc::now().timestamp_nanos_opt().unwrap_or(i64::MAX);
        Box::new(Self { id, head, subprotocol, peer: KeptPeer::new(peer), since, extras })
    }

    /// When the handshake was complete.
    pub(super) fn since(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(self.since)
    }
}
