//! From nothing to a connection of its own client, which never makes another one.
//!
//! `async-nats` connects again by itself, and sends then what it was given before: behind what was published since, or into
//! the void. It cannot be told not to, but it can be told, once it is connected, that the only server is one that no
//! connection leads to. Its task ends then, and all that it held is gone with it.

use std::{future::ready, time::Duration};

use async_nats::{Client, ConnectOptions, Event};
use tokio::{
    sync::mpsc::{self, Receiver},
    time::timeout,
};

use crate::cluster::{
    bus_tls::BusTls,
    nats::{NatsBus, address::Server, wording},
    port::BusInbox,
};

/// How long it may take until the server has answered.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A connection on which nothing comes is asked for a sign of life so often, and lost at the third time.
const PING_EVERY: Duration = Duration::from_secs(2);

/// What the crate may hold of commands. It is never reached: what it is handed is bounded by [`WINDOW`](super::connection).
const COMMANDS: usize = 4096;

/// Messages that a subscription may hold until they are fetched, which is whenever some came: a bound that is not reached.
/// In one go of the crate, [`READ_AT_ONCE`] comes up to 128 times.
const UNREAD: usize = 64 * 1024;

/// What is read of the connection at once. Half a megabyte in one go is some thousand messages, as many as are fetched in one.
const READ_AT_ONCE: u16 = 4 * 1024;

/// Nobody can listen there.
const NOWHERE: &str = "nats://127.0.0.1:0";

/// A connection that is ready.
pub(crate) struct Open {
    pub(super) client: Client,
    pub(super) watch: Watch,
}

/// Tells when a connection is at its end.
pub(super) struct Watch(Receiver<String>);

impl Watch {
    /// Waits for the end of the connection, and says why. At the latest it is when the tasks of the client have ended.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub(super) async fn end(&mut self) -> String {
        let why = self.0.recv().await;
        why.unwrap_or_else(|| "the connection was lost".to_owned())
    }

    /// Waits until the tasks of the client have ended.
    pub(super) async fn gone(mut self) {
        while self.0.recv().await.is_some() {}
    }
}

/// Connects. What is lost on our side is told to the inbox.
pub(super) async fn dial(bus: &NatsBus, inbox: BusInbox) -> Result<Open, String> {
    let failed = |why| format!("no connection to {:?}: {why}", Shown(&bus.servers));
    open(bus, inbox).await.map_err(failed)
}

async fn open(bus: &NatsBus, inbox: BusInbox) -> Result<Open, String> {
    let servers: Vec<_> = bus.servers.iter().map(|server| server.0.clone()).collect();
    let (ends, watch) = mpsc::channel(1);
    let has_others = servers.len() > 1;
    let options = ConnectOptions::new()
        .name(&bus.name)
        .connection_timeout(CONNECT_WITHIN)
        .ping_interval(PING_EVERY)
        .client_capacity(COMMANDS)
        .subscription_capacity(UNREAD)
        .read_buffer_capacity(READ_AT_ONCE)
        // Each of them once.
        .max_reconnects(servers.len())
        .reconnect_delay_callback(|_| Duration::ZERO)
        .ignore_discovered_servers()
        .require_tls(bus.wants_tls())
        // Without one, the crate takes the cryptography of the process, and panics where there are two.
        .tls_client_config(if bus.wants_tls() { bus.tls.config().await? } else { BusTls::of_nobody()? })
        .event_callback(move |event| {
            if let Event::SlowConsumer(_) = event {
                inbox.missed(1);
            } else if let Some(why) = wording::event(&event, has_others) {
                // The first reason is the one that counts.
                let _ = ends.try_send(why);
            }
            ready(())
        });
    let options = bus.credentials.add_to(options).await?;
    let client = options.connect(servers).await;
    let client = client.map_err(|error| wording::connecting(&error, bus.wants_tls()))?;
    // Nothing was handed to it yet that it could send again.
    let told = timeout(CONNECT_WITHIN, client.set_server_pool(NOWHERE)).await;
    match told {
        Ok(Ok(())) => Ok(Open { client, watch: Watch(watch) }),
        _ => Err("the connection was lost".to_owned()),
    }
}

/// One server as it is, several with commas.
struct Shown<'a>(&'a [Server]);

impl std::fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, server) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{server:?}")?;
        }
        Ok(())
    }
}
