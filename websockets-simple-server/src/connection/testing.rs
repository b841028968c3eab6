//! Connections without a transport, for tests of what keeps them.

use std::sync::Arc;

use websockets_simple_core::{ConnectionShared, OutboxConfig, OverflowPolicy, Side};

use super::{Connection, ConnectionState, CurrentUser, Extras};
use crate::{
    addressing::ListPositions,
    config::{ClientId, Scope, ServerParams},
    net::{KeptPeer, LocalEndpoint, Peer, RequestHead},
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
    let outbox = OutboxConfig::new(1024, OverflowPolicy::Disconnect);
    Connection(Arc::new(ConnectionState {
        core: ConnectionShared::new(Side::Server, outbox),
        id: ClientId::random(),
        serial: shared.next_serial(),
        shared: Arc::clone(shared),
        head: RequestHead::new("/", "", &http::HeaderMap::new()),
        subprotocol: None,
        user: user.map(|user| Box::new(CurrentUser::new(user))),
        peer: KeptPeer::new(Peer::new(Some(addr), LocalEndpoint::Tcp(addr))),
        since: chrono::Utc::now().timestamp_nanos_opt().unwrap_or(i64::MAX),
        scope: Scope::Global,
        extras: Extras::new(None, Vec::new()),
        positions: ListPositions::default(),
    }))
}
