//! One connection, from the first command to its end.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::cluster::{
    bus::BusCommand,
    connecting::End,
    port::BusLink,
    redis_bus::{
        dial::Open,
        flight::{Batch, Flight},
        wording,
    },
};

/// The size of the largest message. Servers take 512 MB (`proto-max-bulk-len`), but hang up on each subscriber for whom
/// more than 32 MB wait, or 8 MB for a minute (`client-output-buffer-limit pubsub`).
const LARGEST: usize = 8 * 1024 * 1024;

/// How long what is queued may take once the end is asked for.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// How often at least the clock is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Does what the link says, in this order, until the connection ends.
pub(super) async fn run(open: Open, link: &mut BusLink) -> End {
    let Open { connection, mut driver, seen, name } = open;
    let mut flight = Flight::new(connection);
    let mut timer = pin!(sleep_until(Instant::now()));
    let (mut until, mut is_done) = (None, false);
    link.up(LARGEST);
    if let Err(why) = flight.send(Batch::named(&name)).await {
        return End::Lost(why);
    }
    while !(is_done && flight.is_empty()) {
        if until.is_none() && link.is_closing() {
            until = Some(Instant::now() + CLOSE_WITHIN);
        }
        let has_room = flight.has_room();
        let faults = tokio::select! {
            biased;
            () = &mut driver => Err(wording::unreadable()),
            answer = flight.answer() => answer,
            () = &mut timer => {
                let now = Instant::now();
                if until.is_some_and(|until| until <= now) {
                    return End::Closed;
                }
                let is_due = flight.due(&seen) <= now;
                match is_due {
                    true if flight.is_empty() => flight.ping().await,
                    true => Err("the server does not answer".to_owned()),
                    false => Ok(()),
                }
            }
            command = next(link, has_room), if !is_done && (has_room || until.is_none()) => match command {
                BusCommand::Reconnect => return End::replaced(),
                BusCommand::Close if !has_room => Ok(()),
                command => {
                    let Some(batch) = batch(command, link, &mut is_done) else { return End::replaced() };
                    if batch.is_empty() { Ok(()) } else { flight.send(batch).await }
                }
            },
        };
        if let Err(why) = faults {
            // An end of the stream is behind most faults, and says more.
            return End::Lost(seen.fault().map_or(why, str::to_owned));
        }
        let now = Instant::now();
        let wake = until.unwrap_or(now + LOOK_EVERY).min(now + LOOK_EVERY).min(flight.due(&seen));
        if timer.is_elapsed() || wake < timer.deadline() {
            timer.as_mut().reset(wake);
        }
    }
    End::Closed
}

/// What is next to do; of what is urgent, if nothing else can be done for now.
async fn next(link: &mut BusLink, has_room: bool) -> BusCommand {
    if has_room { link.next().await } else { link.urgent().await }
}

/// This command and what waits behind it. `None` if another connection is asked for.
fn batch(first: BusCommand, link: &mut BusLink, is_done: &mut bool) -> Option<Batch> {
    let mut batch = Batch::new();
    let mut command = Some(first);
    while let Some(next) = command {
        match next {
            BusCommand::Publish { subject, message } => batch.publish(&subject, &message),
            BusCommand::Subscribe(subject) => batch.subscribe(&subject),
            BusCommand::Unsubscribe(subject) => batch.unsubscribe(&subject),
            BusCommand::Reconnect => return None,
            BusCommand::Close => {
                *is_done = true;
                break;
            }
        }
        command = if batch.is_full() { None } else { link.try_next() };
    }
    Some(batch)
}
