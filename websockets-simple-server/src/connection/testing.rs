//! Connections without a transport, for tests of what keeps them.

use std::sync::{Arc, atomic::AtomicBool};

use tokio::time::Instant;
use websockets_simple_core::{ConnectionShared, OutboxConfig, OverflowPolicy, Side};

use super::{Connection, ConnectionState, CurrentUser, Extras, Origin};
use crate::{
    addressing::ListPositions,
    config::{ClientId, Scope, ServerParams},
    net::{LocalEndpoint, Peer, RequestHead},
    run::Shared,
    users::{AdmitUsers, Authenticated, Identity, MemoryUsers, User},
};

/// A server with users that is not started.
pub(crate) fn server() -> Arc<Shared<User<i64>>> {
    Arc::new(Shared::new(ServerParams::local(), Box::new(AdmitUsers::new(MemoryUsers::new()))))
}

/// A connection in the channel `/` that is registered nowhere.
pub(crate) fn unconnected<I: Identity>(
    shared: &Arc<Shared<I>>,
    user: Option<Authenticated<I::Id>>,
) -> Connection<I> {
    let addr = ([192, 0, 2, 1], 80).into();
    let (head, peer) =
        (RequestHead::new("/", "", &http::HeaderMap::new()), Peer::new(Some(addr), LocalEndpoint::Tcp(addr)));
    let outbox = OutboxConfig::new(1024, OverflowPolicy::Disconnect);
    Connection(Arc::new(ConnectionState {
        core: ConnectionShared::new(Side::Server, outbox),
        serial: shared.next_serial(),
        shared: Arc::clone(shared),
        origin: Origin::new(
            ClientId::random(),
            head,
            peer,
            user.map(|user| CurrentUser::new(user, Instant::now())),
            Extras::new(None, Vec::new()),
        ),
        scope: Scope::Global,
        is_summed: AtomicBool::new(false),
        subprotocol: None,
        positions: ListPositions::default(),
    }))
}
