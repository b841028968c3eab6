//! Helpers shared by the tests of whole clients and servers.

pub mod authority;
pub mod captured;
pub mod client_story;
pub mod dotnet_v6_server;
pub mod dotnet_v7_peer;
pub mod http2;
pub mod issuer;
pub mod openssl;
pub mod postgres;
pub mod raw;
pub mod traces;
pub mod way;

use std::{net::SocketAddr, time::Duration};

use websockets_simple_client::{ClientEvent, ClientParams, WebsocketClient};
use websockets_simple_server::{
    Connection, ConnectionEventKind, Disconnect, ErrorStage, Event, Events, Identity, Message, Server,
};

/// Longer than anything here takes; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The result of a future that has to be done in time.
///
/// # Panics
///
/// When it is not.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("this takes too long")
}

/// The address of a server that has started.
///
/// # Panics
///
/// When it does not start.
pub async fn started<I: Identity>(server: &Server<I>) -> SocketAddr {
    server.start().await.expect("the server starts");
    server.local_addr().expect("it listens")
}

/// Parameters of a client for this address.
#[must_use]
pub fn params(addr: SocketAddr) -> ClientParams {
    ClientParams::new(addr.ip().to_string(), addr.port())
}

/// A client that is connected.
///
/// # Panics
///
/// When it cannot be.
pub async fn connected(params: ClientParams) -> WebsocketClient {
    let client = WebsocketClient::new(params).expect("the parameters are right");
    client.connect().await.expect("it connects");
    client
}

/// The first server event that `pick` takes; others are passed over.
///
/// # Panics
///
/// When none comes in time.
pub async fn next<I: Identity, T>(
    events: &mut Events<Event<I>>,
    mut pick: impl FnMut(Event<I>) -> Option<T>,
) -> T {
    within(async {
        loop {
            if let Some(picked) = pick(events.recv().await.expect("the server lives")) {
                return picked;
            }
        }
    })
    .await
}

/// The next connection that is opened.
///
/// # Panics
///
/// When none is in time.
pub async fn opened<I: Identity>(events: &mut Events<Event<I>>) -> Connection<I> {
    next(events, |event| match event {
        Event::Connection(event) => match event.kind {
            ConnectionEventKind::Connected(connection) => Some(connection),
            _ => None,
        },
        _ => None,
    })
    .await
}

/// How the next connection that ends has ended.
///
/// # Panics
///
/// When none does in time.
pub async fn ended<I: Identity>(events: &mut Events<Event<I>>) -> Disconnect {
    next(events, |event| match event {
        Event::Connection(event) => match event.kind {
            ConnectionEventKind::Disconnected(_, end) => Some(end),
            _ => None,
        },
        _ => None,
    })
    .await
}

/// The next message that a server receives.
///
/// # Panics
///
/// When none comes in time.
pub async fn received<I: Identity>(events: &mut Events<Event<I>>) -> Message {
    next(events, |event| match event {
        Event::Message(event) => Some(event.message),
        _ => None,
    })
    .await
}

/// The stage of the next failure that a server tells.
///
/// # Panics
///
/// When none is told in time.
pub async fn failed<I: Identity>(events: &mut Events<Event<I>>) -> ErrorStage {
    next(events, |event| match event {
        Event::Error(event) => Some(event.stage),
        _ => None,
    })
    .await
}

/// The next message that a client receives.
///
/// # Panics
///
/// When none comes in time.
pub async fn message(events: &mut Events<ClientEvent>) -> Message {
    within(async {
        loop {
            if let ClientEvent::Message(event) = events.recv().await.expect("the client lives") {
                return event.message;
            }
        }
    })
    .await
}

/// The text of the next message that a client receives.
///
/// # Panics
///
/// When none comes in time, or it is binary.
pub async fn text(events: &mut Events<ClientEvent>) -> String {
    message(events).await.as_text().expect("a text").to_owned()
}

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[doc = include_str!("../../docs/authentication.md")]
#[doc = include_str!("../../docs/compression.md")]
#[doc = include_str!("../../docs/control.md")]
#[doc = include_str!("../../docs/dialing.md")]
#[doc = include_str!("../../docs/guide.md")]
#[doc = include_str!("../../docs/http.md")]
#[doc = include_str!("../../docs/pode.md")]
#[doc = include_str!("../../docs/proxies.md")]
#[doc = include_str!("../../docs/reconnecting.md")]
#[doc = include_str!("../../docs/tls.md")]
#[doc = include_str!("../../websockets-simple-client/README.md")]
#[doc = include_str!("../../websockets-simple-server/README.md")]
pub mod readmes {}
