//! How a stop closes the open connections: all at once, or one batch after the other.

use std::{num::NonZeroUsize, time::Duration};

use websockets_simple_core::{Control, EndCause};

use crate::{
    connection::Connection,
    run::{shared::Shared, stop::Stop},
    users::Identity,
};

/// Clients that come back within a second, unless the application says otherwise.
const COMING_BACK: usize = 1000;

/// How [`Server::stop_with`](crate::Server::stop_with) closes the open connections, so that their clients do not come back
/// all at once, to this server or to the next one. The default is that of [`Server::stop`](crate::Server::stop): all at
/// once, with a spread of a second for each 1,000 of them.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use websockets_simple_server::{Drain, ServerParams, WebsocketServer};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = WebsocketServer::new(ServerParams::local());
/// server.start().await?;
/// // Of 10,000 clients this closes the last after 20 s, and each of them comes back within 5 s of its end.
/// let drain = Drain::new().batch(500, Duration::from_secs(1)).spread(Duration::from_secs(5));
/// let report = server.stop_with(drain).await;
/// assert_eq!(report.unclean, 0);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Drain {
    spread: Option<Duration>,
    batch: Option<(NonZeroUsize, Duration)>,
}

impl Drain {
    /// The default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets over how long the clients should come back, each at a random time within it. Clients that agreed on
    /// [control messages](crate::Connection::has_controls) are told, before they are closed. It is rounded up to whole
    /// seconds, and clients take an hour at most. Default: a second for each 1,000 connections that are closed at the same
    /// time, at least one.
    #[must_use]
    pub fn spread(mut self, time: Duration) -> Self {
        self.spread = Some(time);
        self
    }

    /// Closes this many connections at a time (at least one), and the next ones that much later, instead of all at once.
    /// Those that are not closed yet go on as before; new handshakes are refused with 503.
    #[must_use]
    pub fn batch(mut self, connections: usize, per: Duration) -> Self {
        self.batch = Some((NonZeroUsize::new(connections).unwrap_or(NonZeroUsize::MIN), per));
        self
    }

    pub(super) fn is_gradual(&self) -> bool {
        self.batch.is_some()
    }

    /// The spread for that many clients, in whole seconds.
    fn spread_of(&self, clients: usize) -> Duration {
        let by_number = || Duration::from_secs(clients.div_ceil(COMING_BACK).max(1) as u64);
        self.spread.map_or_else(by_number, |spread| {
            Duration::from_secs(spread.as_secs().saturating_add(u64::from(spread.subsec_nanos() > 0)))
        })
    }
}

/// Closes the connections batch by batch, until none is left, or all others are to be closed at once.
pub(super) async fn drain<I: Identity>(shared: &Shared<I>, stop: &Stop, drain: Drain) {
    let Some((most, pause)) = drain.batch else { return };
    let mut left: Vec<_> = shared.registry.all().iter().cloned().chain(shared.unlisted.all()).collect();
    loop {
        // Those that have ended meanwhile make no batch smaller.
        left.retain(Connection::is_open);
        let batch = left.split_off(left.len().saturating_sub(most.get()));
        close(&batch, drain);
        drop(batch);
        if left.is_empty() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.closes_all() => return,
        }
    }
}

/// Closes all connections that are open.
pub(super) fn close_all<I: Identity>(shared: &Shared<I>, drain: Drain) {
    let (open, local) = (shared.registry.all(), shared.unlisted.all());
    let open = open.iter().chain(&local).filter(|connection| connection.is_open()).cloned();
    close(&open.collect::<Vec<_>>(), drain);
}

/// Clients that understand it are told to come back one after the other.
fn close<I: Identity>(connections: &[Connection<I>], drain: Drain) {
    let spread = drain.spread_of(connections.len());
    for connection in connections {
        connection.0.core.send_control(&Control::Closing { spread });
        connection.0.core.outbox.close(EndCause::ServerStopped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_for_each_thousand_clients_and_what_was_said_in_whole_seconds() {
        let spread = |drain: Drain, clients| drain.spread_of(clients).as_secs();
        for (clients, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (10_000, 10)] {
            assert_eq!(spread(Drain::new(), clients), seconds, "{clients}");
            assert_eq!(spread(Drain::new().batch(7, Duration::ZERO), clients), seconds, "{clients}");
        }
        for (said, seconds) in [(0, 0), (1, 1), (1000, 1), (1001, 2)] {
            assert_eq!(spread(Drain::new().spread(Duration::from_millis(said)), 10_000), seconds, "{said}");
        }
        assert_eq!(Drain::new().spread(Duration::MAX).spread_of(1).as_secs(), u64::MAX);
        assert_eq!(Drain::new().batch(0, Duration::ZERO), Drain::new().batch(1, Duration::ZERO));
    }
}
