//! One line in the log when a connection begins, one when it ends, and the spans of handlers. Nothing in them is of the
//! peer's writing but the path of its request, which is cut and quoted.

use websockets_simple_core::{Disconnect, EndedBy};

use crate::{
    connection::{Connection, Event},
    handshake::cut,
    users::Identity,
};

pub(super) fn opened<I: Identity>(connection: &Connection<I>) {
    tracing::info!(
        id = %connection.id(),
        channel = channel(connection),
        client = connection.client_addr().map(tracing::field::display),
        user = user(connection).map(tracing::field::debug),
        "connected"
    );
}

pub(super) fn ended<I: Identity>(connection: &Connection<I>, end: &Disconnect) {
    let reason = Some(&end.reason).filter(|reason| end.by != EndedBy::Peer && !reason.is_empty());
    tracing::info!(
        id = %connection.id(),
        channel = channel(connection),
        client = connection.client_addr().map(tracing::field::display),
        user = user(connection).map(tracing::field::debug),
        by = ?end.by,
        code = end.code,
        reason,
        clean = end.clean,
        "disconnected"
    );
}

/// The span of a handler's call.
pub(super) fn handler_span<I: Identity>(event: &Event<I>) -> tracing::Span {
    let connection = event.connection();
    tracing::info_span!(
        target: "websockets_simple_server",
        "ws.handler",
        event = event.label(),
        connection = connection.map(|connection| tracing::field::display(connection.id())),
        channel = connection.map(channel),
        user = connection.and_then(user).map(tracing::field::debug),
    )
}

fn channel<I: Identity>(connection: &Connection<I>) -> &str {
    cut(connection.channel())
}

/// The id of the user, if the parameters ask for it.
fn user<I: Identity>(connection: &Connection<I>) -> Option<&I::Id> {
    let user = connection.0.origin.user.as_ref().filter(|_| connection.0.shared.params.logs_users)?;
    Some(user.id())
}
