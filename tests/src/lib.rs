//! Helpers shared by the tests of whole clients and servers.

pub mod authority;
pub mod bus_node;
pub mod bus_server;
pub mod captured;
pub mod client_story;
pub mod cluster;
pub mod crowd;
pub mod dotnet_v6_server;
pub mod dotnet_v7_peer;
pub mod echo;
pub mod http2;
pub mod issuer;
pub mod openssl;
pub mod postgres;
pub mod raw;
pub mod relay;
#[cfg(unix)]
pub mod server_process;
pub mod traces;
pub mod way;

use std::net::SocketAddr;

use websockets_simple_client::{ClientEvent, ClientParams, WebsocketClient};
use websockets_simple_core::test_util::Expect;
use websockets_simple_server::{
    Connection, Disconnect, ErrorStage, Event, Events, Identity, Message, Server,
};

pub use websockets_simple_core::test_util::{PATIENCE, within};

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
    pick: impl FnMut(Event<I>) -> Option<T>,
) -> T {
    events.expect_next("an event", pick).await
}

/// The next connection that is opened.
///
/// # Panics
///
/// When none is in time.
pub async fn opened<I: Identity>(events: &mut Events<Event<I>>) -> Connection<I> {
    events.expect_connected().await
}

/// How the next connection that ends has ended.
///
/// # Panics
///
/// When none does in time.
pub async fn ended<I: Identity>(events: &mut Events<Event<I>>) -> Disconnect {
    events.expect_disconnected().await
}

/// The next message that a server receives.
///
/// # Panics
///
/// When none comes in time.
pub async fn received<I: Identity>(events: &mut Events<Event<I>>) -> Message {
    events.expect_message().await
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
    events.expect_message().await
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
#[doc = include_str!("../../docs/cluster.md")]
#[doc = include_str!("../../docs/compression.md")]
#[doc = include_str!("../../docs/control.md")]
#[doc = include_str!("../../docs/dialing.md")]
#[doc = include_str!("../../docs/guide.md")]
#[doc = include_str!("../../docs/http.md")]
#[doc = include_str!("../../docs/pode.md")]
#[doc = include_str!("../../docs/proxies.md")]
#[doc = include_str!("../../docs/reconnecting.md")]
#[doc = include_str!("../../docs/test-kit.md")]
#[doc = include_str!("../../docs/tls.md")]
#[doc = include_str!("../../websockets-simple-client/README.md")]
#[doc = include_str!("../../websockets-simple-server/README.md")]
pub mod readmes {}
