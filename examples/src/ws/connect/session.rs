//! One run of `ws connect`: what is received, what becomes of the connection, and when it is over.

use std::{future::pending, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use websockets_simple_client::{
    ClientConnection, ClientEvent, ClientState, ConnectError, Disconnect, Events, Loss, LossCause, Message,
    SendError, WebsocketClient,
};

use super::{
    ConnectArgs, Wait,
    console::Console,
    said::Speech,
    shown::View,
    typing::{Note, Typing},
};
use crate::{
    in_one_line, stop_request,
    terminal::open_with_prompt,
    ws::exit::{Exit, Failure},
};

/// How long nothing has to come after the end of the input, before the connection is closed.
const QUIET: Duration = Duration::from_secs(1);

/// Notes of the typing that wait to be shown.
const NOTES: usize = 16;

/// A client, and what it is to do.
pub(super) struct Session<'a> {
    args: &'a ConnectArgs,
    client: WebsocketClient,
    speech: Speech,
    first: Vec<Message>,
    view: View,
    /// The connection, once what comes first was sent on it.
    ready: watch::Sender<Option<ClientConnection>>,
    /// How many connections have ended, and how the last one did.
    ended: (u64, Option<Disconnect>),
    /// Why there will be no other connection.
    given_up: Option<Failure>,
}

/// Why a session is over.
enum Over {
    /// There is no more input, nobody waits any longer for answers, or the user has asked for the end.
    Here,
    /// The connection has ended.
    There,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        args: &'a ConnectArgs,
        client: WebsocketClient,
        speech: Speech,
        first: Vec<Message>,
        view: View,
    ) -> Self {
        let (ready, ended) = (watch::Sender::default(), (0, None));
        Self { args, client, speech, first, view, ready, ended, given_up: None }
    }

    pub(super) async fn run(mut self) -> Result<(), Failure> {
        let mut events = self.client.events();
        let stop = stop_request().map_err(|error| Failure::local(error.to_string()))?;
        tokio::pin!(stop);
        tokio::select! {
            connected = self.client.connect() => drop(connected?),
            () = &mut stop => return Err(Failure::new(Exit::Failed, "interrupted")),
        }
        let client = self.client.downgrade();
        let (lines, screen) = open_with_prompt(
            |_| false,
            move || {
                let round_trip = client.upgrade().and_then(|client| client.statistics()?.round_trip);
                prompt(round_trip)
            },
        );
        let mut console = Console::new(screen, self.view, self.args.quiet);
        let (notes, noted) = mpsc::channel(NOTES);
        let typing = Typing {
            lines,
            speech: self.speech,
            groups: self.args.groups.clone(),
            ready: self.ready.subscribe(),
            is_editor: console.is_editor(),
            notes,
        };
        let talked = self.talk(&mut events, &mut console, typing, noted, stop).await;
        let done = match talked {
            Ok(over) => self.end(over, &mut events, &mut console).await,
            Err(failure) => {
                self.client.disconnect().await;
                Err(failure)
            }
        };
        console.restore();
        done
    }

    /// Talks until the session is over.
    async fn talk(
        &mut self,
        events: &mut Events<ClientEvent>,
        console: &mut Console,
        typing: Typing,
        mut noted: mpsc::Receiver<Note>,
        stop: impl Future<Output = ()>,
    ) -> Result<Over, Failure> {
        let mut states = self.client.states();
        let is_editor = typing.is_editor;
        let typing = typing.run();
        tokio::pin!(typing, stop);
        let mut is_typing = true;
        let mut until: Option<Instant> = None;
        loop {
            tokio::select! {
                () = &mut stop => return Ok(Over::Here),
                typed = &mut typing, if is_typing => {
                    typed?;
                    is_typing = false;
                    if is_editor {
                        return Ok(Over::Here);
                    }
                    until = match self.args.wait {
                        None => Some(Instant::now() + QUIET),
                        Some(Wait::For(time)) => Instant::now().checked_add(time),
                        Some(Wait::Forever) => None,
                    };
                }
                Some(note) = noted.recv() => match note {
                    Note::News(text) => console.news(&text)?,
                    Note::Warning(text) => console.warning(&text)?,
                },
                event = events.recv() => {
                    let Some(event) = event else { return Ok(Over::There) };
                    if until.is_some() && self.args.wait.is_none() && event.message().is_some() {
                        until = Some(Instant::now() + QUIET);
                    }
                    self.heard(&event, console)?;
                }
                state = states.recv() => self.is_now(state, console)?,
                () = past(until) => {
                    if self.args.wait.is_none() && self.has_more_to_send() {
                        until = Some(Instant::now() + QUIET);
                    } else {
                        return Ok(Over::Here);
                    }
                }
            }
            if self.is_over() {
                return Ok(Over::There);
            }
        }
    }

    fn heard(&mut self, event: &ClientEvent, console: &mut Console) -> Result<(), Failure> {
        if let Some(message) = event.message() {
            return console.message(message);
        }
        if let Some(connection) = event.connected() {
            console.news(&self.connected(connection))?;
            for message in &self.first {
                let sent = connection.try_send(message);
                // A connection that has ended already is told below, and may be followed by another one.
                if let Err(error) = sent
                    && !matches!(error, SendError::Closed)
                {
                    let said = format!("what comes first is not sent: {}", in_one_line(&error));
                    return Err(Failure::new(Exit::Failed, said));
                }
            }
            self.ready.send_replace(Some(connection.clone()));
        } else if let Some((_, end)) = event.disconnected() {
            self.ready.send_replace(None);
            self.ended = (self.ended.0 + 1, Some(end.clone()));
        } else if let ClientEvent::Error(event) = event
            && event.error.downcast_ref::<ConnectError>().is_none()
        {
            // Failed connects are told with what follows them.
            return console.news(&event.error.to_string());
        }
        Ok(())
    }

    fn is_now(&mut self, state: Option<ClientState>, console: &mut Console) -> Result<(), Failure> {
        match state {
            Some(ClientState::Waiting { pause, why, .. }) => {
                console.news(&format!("{}; again in {pause:.1?}", said(&why)))?;
            }
            Some(ClientState::GivenUp(why)) => {
                self.given_up = Some(match &why.cause {
                    LossCause::Refused(error) => (&**error).into(),
                    _ => Failure::new(Exit::Failed, said(&why)),
                });
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether all connections have ended and been told, and there will be no other.
    fn is_over(&self) -> bool {
        let (ended, _) = self.ended;
        let is_last = !self.args.reconnect || self.given_up.is_some();
        is_last && ended > 0 && ended == self.client.figures().connections
    }

    fn has_more_to_send(&self) -> bool {
        self.client.statistics().is_some_and(|statistics| statistics.queued_bytes > 0)
    }

    /// Closes what is open, shows what is left, and says how it ended.
    async fn end(
        mut self,
        over: Over,
        events: &mut Events<ClientEvent>,
        console: &mut Console,
    ) -> Result<(), Failure> {
        let end = match over {
            Over::There => self.ended.1.take(),
            Over::Here => {
                let end = self.client.disconnect().await;
                while let Some(event) = events.try_recv() {
                    if let Some(message) = event.message() {
                        console.message(message)?;
                    }
                }
                end
            }
        };
        match (end, over) {
            (_, Over::There) if matches!(&self.given_up, Some(failure) if failure.exit() != Exit::Failed) => {
                Err(self.given_up.unwrap_or_else(|| Failure::told(Exit::Failed)))
            }
            (Some(end), over) => {
                console.restore();
                let said = format!("the connection {end}");
                let is_in_order = end.clean && (matches!(over, Over::Here) || end.code == Some(1000));
                if is_in_order { console.news(&said) } else { Err(Failure::new(Exit::Failed, said)) }
            }
            // The user leaves while there is no connection.
            (None, _) if console.is_editor() => Ok(()),
            (None, _) => Err(Failure::new(Exit::Failed, "there is no connection")),
        }
    }

    fn connected(&self, connection: &ClientConnection) -> String {
        let mut said = "connected".to_owned();
        if let Some(addr) = connection.peer_addr() {
            said = format!("{said} to {addr}");
        }
        if let Some(tls) = connection.tls() {
            said = format!("{said}, {}", tls.version);
        }
        if let Some(subprotocol) = connection.subprotocol() {
            said = format!("{said}, subprotocol {subprotocol}");
        }
        if connection.is_compressed() {
            said.push_str(", compressed");
        }
        said
    }
}

/// The prompt, with the round trip of the last ping.
fn prompt(round_trip: Option<Duration>) -> String {
    round_trip.map_or_else(|| "> ".to_owned(), |time| format!("{:.1} ms> ", time.as_secs_f64() * 1000.0))
}

fn said(why: &Loss) -> String {
    match &why.cause {
        LossCause::Refused(error) => Failure::from(&**error).to_string(),
        _ => format!("lost: {why}"),
    }
}

async fn past(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => pending().await,
    }
}
