//! One connection, from its beginning to its end.

use std::{collections::HashMap, convert::Infallible, future::pending, pin::pin, time::Duration};

use async_nats::{Client, PublishErrorKind, SubscribeErrorKind, Subscriber};
use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{AbortHandle, Abortable, SelectAll},
};
use tokio::{
    task::{unconstrained, yield_now},
    time::{Instant, sleep_until, timeout},
};

use crate::cluster::{
    bus::{BusCommand, Subject},
    connecting::End,
    nats::dial::{Open, Watch},
    port::{BusInbox, BusLink},
};

/// The crate is handed so many bytes until they are on their way. What waits longer is in the port, which is bounded.
const WINDOW: usize = 256 * 1024;

/// What a command counts beside its message.
const OVERHEAD: usize = 256;

/// How long what is still to be sent may take at the end.
const FLUSHED_WITHIN: Duration = Duration::from_secs(1);

/// How long the tasks of a connection that was lost are waited for, so that what is sent on the next one comes later.
const GONE_WITHIN: Duration = Duration::from_secs(1);

/// A message of up to so many bytes is copied: a slice of it would keep all of the buffer that it was read into.
const COPIED: usize = 4 * 1024;

/// Messages that are fetched from the client in one go.
const FETCHED_AT_ONCE: usize = 16 * 1024;

/// A subscription that was told to the server.
type Subscribed = (Subject, Subscriber);

/// What this node is subscribed to, and where it goes.
struct Subscriptions {
    all: SelectAll<Abortable<Subscriber>>,
    ends: HashMap<Subject, AbortHandle>,
    inbox: BusInbox,
}

/// Does what the link says until the connection ends. When it returns nothing is sent on it any more, unless the server took
/// nothing for longer than is waited for.
pub(super) async fn run(Open { client, mut watch }: Open, link: &mut BusLink) -> End {
    link.up(client.max_payload());
    let mut subscriptions =
        Subscriptions { all: SelectAll::new(), ends: HashMap::new(), inbox: link.inbox() };
    let end = serve(&client, &mut watch, &mut subscriptions, link).await;
    let patience = match &end {
        End::Closed => GONE_WITHIN / 4,
        End::Lost(why) => {
            // Before what may take a moment.
            link.down(why);
            GONE_WITHIN
        }
    };
    drop((client, subscriptions));
    let _ = timeout(patience, watch.gone()).await;
    end
}

async fn serve(
    client: &Client,
    watch: &mut Watch,
    subscriptions: &mut Subscriptions,
    link: &mut BusLink,
) -> End {
    let mut handed = 0;
    let mut deadline = None;
    loop {
        let command = tokio::select! {
            biased;
            why = watch.end() => return End::Lost(why),
            never = subscriptions.hear() => match never {},
            command = link.next() => command,
        };
        let is_last = command == BusCommand::Close;
        if is_last {
            deadline.get_or_insert_with(|| Instant::now() + FLUSHED_WITHIN);
        }
        if let BusCommand::Unsubscribe(subject) = &command {
            subscriptions.remove(subject);
        }
        let mut obeying = pin!(obey(client, command, &mut handed));
        let done = loop {
            tokio::select! {
                biased;
                done = &mut obeying => break done,
                why = watch.end() => return End::Lost(why),
                never = subscriptions.hear() => match never {},
                () = passed(deadline) => return End::Closed,
                // It may take nothing more at all.
                urgent = link.urgent(), if deadline.is_none() => match urgent {
                    BusCommand::Reconnect => return End::replaced(),
                    _ => deadline = Some(Instant::now() + FLUSHED_WITHIN),
                },
            }
        };
        match done {
            Err(end) => return end,
            Ok(_) if is_last => return End::Closed,
            Ok(None) => {}
            Ok(Some(subscribed)) => subscriptions.add(subscribed),
        }
    }
}

/// Hands a command to the client. It waits where too much of what it was handed is not on its way yet.
async fn obey(client: &Client, command: BusCommand, handed: &mut usize) -> Result<Option<Subscribed>, End> {
    let mut subscribed = None;
    *handed += OVERHEAD;
    match command {
        BusCommand::Publish { subject, message } => {
            *handed += message.len();
            publish(client, &subject, message).await?;
        }
        BusCommand::Subscribe(subject) => subscribed = subscribe(client, subject).await?,
        BusCommand::Unsubscribe(_) => {}
        BusCommand::Reconnect => return Err(End::replaced()),
        BusCommand::Close => *handed = WINDOW,
    }
    if *handed >= WINDOW {
        *handed = 0;
        client.flush().await.map_err(|_| ended())?;
    }
    Ok(subscribed)
}

async fn publish(client: &Client, subject: &Subject, message: Bytes) -> Result<(), End> {
    let published = client.publish(subject.as_str().to_owned(), message).await;
    match published.map_err(|error| error.kind()) {
        Ok(()) => Ok(()),
        Err(PublishErrorKind::Send) => Err(ended()),
        Err(why @ (PublishErrorKind::InvalidSubject | PublishErrorKind::MaxPayloadExceeded)) => {
            tracing::warn!(%subject, %why, "NATS takes no such message");
            Ok(())
        }
    }
}

async fn subscribe(client: &Client, subject: Subject) -> Result<Option<Subscribed>, End> {
    let subscribed = client.subscribe(subject.as_str().to_owned()).await;
    match subscribed.map_err(|error| error.kind()) {
        Ok(subscriber) => Ok(Some((subject, subscriber))),
        Err(SubscribeErrorKind::Other) => Err(ended()),
        Err(why) => {
            tracing::warn!(%subject, %why, "NATS has no such subject");
            Ok(None)
        }
    }
}

fn ended() -> End {
    End::Lost("the connection was lost".to_owned())
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

impl Subscriptions {
    fn add(&mut self, (subject, subscriber): Subscribed) {
        let (end, registration) = AbortHandle::new_pair();
        self.all.push(Abortable::new(subscriber, registration));
        if let Some(before) = self.ends.insert(subject, end) {
            before.abort();
        }
    }

    /// Nothing of it is delivered after this. The server is told when it is dropped, by [`hear`](Self::hear).
    fn remove(&mut self, subject: &Subject) {
        if let Some(end) = self.ends.remove(subject) {
            end.abort();
        }
    }

    /// Delivers what comes.
    async fn hear(&mut self) -> Infallible {
        loop {
            for _ in 0..FETCHED_AT_ONCE {
                // The budget of tokio is 128 messages a go, and the client's task reads thousands in one of its own.
                let Some(message) = unconstrained(self.all.next()).await else { pending().await };
                self.deliver(message.payload);
            }
            // Commands have their turn.
            yield_now().await;
        }
    }

    fn deliver(&self, message: Bytes) {
        let is_small = message.len() <= COPIED;
        self.inbox.deliver(if is_small { Bytes::copy_from_slice(&message) } else { message });
    }
}
