//! What a connection is beside its messages.

use chrono::{DateTime, Utc};

use crate::{
    config::ClientId,
    connection::{CurrentUser, Extras},
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
    pub(super) peer: KeptPeer,
    /// In nanoseconds since 1970.
    since: i64,
    /// Boxed, so that it takes little room on a server without users.
    pub(crate) user: Option<Box<CurrentUser<I::Id>>>,
    pub(super) extras: Extras<I>,
}

impl<I: Identity> Origin<I> {
    pub(crate) fn new(
        id: ClientId,
        head: RequestHead,
        peer: Peer,
        user: Option<CurrentUser<I::Id>>,
        extras: Extras<I>,
    ) -> Box<Self> {
        let since = Utc::now().timestamp_nanos_opt().unwrap_or(i64::MAX);
        Box::new(Self { id, head, peer: KeptPeer::new(peer), since, user: user.map(Box::new), extras })
    }

    /// When the handshake was complete.
    pub(super) fn since(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(self.since)
    }
}
