//! A program as a service: what the service manager that starts it gives and is told, and a stop that its clients hardly
//! notice.

use std::{convert::Infallible, io, net::TcpListener, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use websockets_simple_server::{Drain, Identity, Server, StopReport};

use crate::stop_request;

/// The pause between two batches of connections that are closed.
const STEP: Duration = Duration::from_millis(100);

/// Connections of a batch, unless there are so many that it takes more.
const BATCH: usize = 10;

/// How often a stop says how far it is.
const SECOND: Duration = Duration::from_secs(1);

/// The listener that the service manager has opened for this program, if it has: socket activation, as systemd does it
/// (`sd_listen_fds(3)`). Call this before there are other threads, as it takes variables out of the environment.
///
/// # Errors
///
/// When what it gives is no TCP listener.
pub fn given_listener() -> io::Result<Option<TcpListener>> {
    #[cfg(unix)]
    return listenfd::ListenFd::from_env().take_tcp_listener(0);
    #[cfg(not(unix))]
    Ok(None)
}

/// Tells the service manager that the program does its work: systemd starts what waits for it.
pub fn is_ready(status: &str) {
    tell(&[Told::Ready, Told::Status(status)]);
}

/// Stops a server so that no client is refused and they do not come back at the same moment. For `notice` it is not ready, and
/// serves all the same; then it closes its connections one batch after the other, the last of them after `over` or earlier.
/// `say` hears what it does, and every second how many are left. A second signal closes all of them at once.
///
/// # Errors
///
/// When the signal handlers cannot be installed.
///
/// # Cancel safety
///
/// Dropped before it resolves, the server goes on stopping, and nobody hears of it.
pub async fn drain<I: Identity>(
    server: &Server<I>,
    notice: Duration,
    over: Duration,
    say: impl Fn(&str),
) -> io::Result<StopReport> {
    let again = stop_request()?;
    tokio::pin!(again);
    tell(&[Told::Stopping]);
    if !notice.is_zero() {
        server.set_ready(false);
        say(&format!("stopping: withdrawn, {} s until the first connection is closed", notice.as_secs()));
        tokio::select! {
            () = &mut again => return Ok(server.stop().await),
            () = sleep(notice) => {}
        }
    }
    let left = || {
        let figures = server.figures().connections;
        figures.open + figures.local
    };
    let all = left();
    let drain = Drain::new().batch(batch(all, over), STEP);
    let at_once = async {
        again.await;
        server.stop().await
    };
    let progress = every_second(|| {
        let status = format!("stopping: {} of {all} connections are left", left());
        tell(&[Told::Status(&status)]);
        say(&status);
    });
    Ok(tokio::select! {
        report = server.stop_with(drain) => report,
        report = at_once => report,
        never = progress => match never {},
    })
}

/// The same without a notice and over ten seconds, told on standard error.
///
/// # Cancel safety
///
/// As [`drain`].
pub async fn stop<I: Identity>(server: &Server<I>) -> StopReport {
    match drain(server, Duration::ZERO, Duration::from_secs(10), |status| eprintln!("{status}")).await {
        Ok(report) => report,
        Err(error) => {
            tracing::warn!(%error, "no second signal can be heard");
            server.stop().await
        }
    }
}

async fn every_second(f: impl Fn()) -> Infallible {
    let mut seconds = interval_at(Instant::now() + SECOND, SECOND);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        f();
    }
}

/// How many connections are closed at a time, so that the last of them is after that time.
fn batch(connections: usize, over: Duration) -> usize {
    let steps = over.as_millis() / STEP.as_millis();
    connections.div_ceil(usize::try_from(steps).unwrap_or(usize::MAX).max(1)).max(BATCH)
}

enum Told<'a> {
    Ready,
    Stopping,
    Status(&'a str),
}

/// Tells the service manager, if there is one that listens.
fn tell(told: &[Told<'_>]) {
    #[cfg(unix)]
    {
        use sd_notify::NotifyState;
        let states: Vec<_> = told
            .iter()
            .map(|told| match told {
                Told::Ready => NotifyState::Ready,
                Told::Stopping => NotifyState::Stopping,
                Told::Status(status) => NotifyState::Status(status),
            })
            .collect();
        if let Err(error) = sd_notify::notify(&states) {
            tracing::warn!(%error, "the service manager was not told");
        }
    }
    #[cfg(not(unix))]
    let _ = told;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_connections_are_closed_soon_and_many_over_the_whole_time() {
        for (connections, seconds, expected) in
            [(0, 10, 10), (3, 10, 10), (1000, 10, 10), (1001, 10, 11), (50_000, 10, 500), (50_000, 0, 50_000)]
        {
            assert_eq!(batch(connections, Duration::from_secs(seconds)), expected, "{connections}");
        }
        assert_eq!(batch(usize::MAX, Duration::MAX), BATCH);
    }
}
