//! One connection of a measurement: it is opened, sends its messages, and counts what comes back.

use std::{collections::VecDeque, sync::Arc};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, Sleep, sleep_until},
};
use websockets_simple_client::{
    ClientConnection, ClientEvent, ClientParams, Events, Message, WebsocketClient,
};

use crate::{
    chat::wire::one_line,
    in_one_line,
    ws::{
        bench::{plan::Plan, tally::Tally},
        exit::Exit,
    },
};

/// What all connections do at a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// They connect, and wait.
    Connect,
    /// They send messages until then.
    Send { from: Instant, until: Instant },
    /// They end early.
    Stop,
}

/// One connection, and where it counts.
pub(super) struct Visitor {
    pub(super) number: usize,
    pub(super) params: ClientParams,
    pub(super) plan: Plan,
    pub(super) tally: Arc<Tally>,
    pub(super) phase: watch::Receiver<Phase>,
    /// Is told once, when the connection is open or has failed.
    pub(super) settled: mpsc::Sender<()>,
}

/// The messages of an open connection.
struct Exchange<'a> {
    plan: &'a Plan,
    tally: &'a Tally,
    connection: ClientConnection,
    from: Instant,
    until: Instant,
    /// Number of the next message.
    next: u64,
    /// Messages that are not answered, with the time from which their latency counts.
    under_way: VecDeque<(u64, Instant)>,
}

/// The connection is gone.
struct Lost;

impl Visitor {
    pub(super) async fn visit(mut self, begun: Instant) {
        let opened = self.open(begun).await;
        // The receiver is there until all have settled, or nobody waits any more.
        let _ = self.settled.try_send(());
        let Some((client, mut events, connection)) = opened else { return };
        self.exchange(connection, &mut events).await;
        // What still comes is nobody's.
        drop(events);
        client.disconnect().await;
    }

    async fn open(
        &mut self,
        begun: Instant,
    ) -> Option<(WebsocketClient, Events<ClientEvent>, ClientConnection)> {
        let client = match WebsocketClient::new(self.params.clone()) {
            Ok(client) => client,
            Err(error) => {
                self.tally.fail(Exit::Usage, in_one_line(&error));
                return None;
            }
        };
        let events = client.events();
        let turn = begun + self.plan.begins_after(self.number);
        let connected = tokio::select! {
            _ = self.phase.wait_for(|phase| *phase == Phase::Stop) => return None,
            connected = async {
                sleep_until(turn).await;
                client.connect().await
            } => connected,
        };
        match connected {
            Ok(connection) => {
                self.tally.opened.add(1);
                Some((client, events, connection))
            }
            Err(error) => {
                self.tally.fail(Exit::of(&error), one_line(&in_one_line(&error)));
                None
            }
        }
    }

    async fn exchange(&mut self, connection: ClientConnection, events: &mut Events<ClientEvent>) {
        // Until it begins, nothing is expected of the server but that it keeps the connection.
        let phase = loop {
            tokio::select! {
                phase = self.phase.wait_for(|phase| *phase != Phase::Connect) => match phase {
                    Ok(phase) => break *phase,
                    Err(_) => return,
                },
                event = events.recv() => {
                    if heard(event, &self.tally).is_err() {
                        return;
                    }
                }
            }
        };
        let Phase::Send { from, until } = phase else { return };
        let (plan, tally) = (&self.plan, &*self.tally);
        let mut exchange =
            Exchange { plan, tally, connection, from, until, next: 0, under_way: VecDeque::new() };
        let done = exchange.run(self.number, events, &mut self.phase).await;
        tally.unanswered.add(exchange.under_way.len() as u64);
        // What a lost connection can no longer send is not counted a second time.
        if done.is_ok() {
            tally.overdue.add(exchange.overdue(self.number));
        }
    }
}

impl Exchange<'_> {
    async fn run(
        &mut self,
        visitor: usize,
        events: &mut Events<ClientEvent>,
        phase: &mut watch::Receiver<Phase>,
    ) -> Result<(), Lost> {
        let due = sleep_until(self.from);
        let end = sleep_until(self.until);
        tokio::pin!(due, end);
        let mut is_sending = true;
        while is_sending || !self.under_way.is_empty() {
            if is_sending && self.plan.rate.is_none() && self.under_way.is_empty() {
                self.send(Instant::now())?;
            }
            let has_room = self.under_way.len() < self.plan.most_under_way();
            tokio::select! {
                biased;
                event = events.recv() => {
                    if let Some(message) = heard(event, self.tally)? {
                        self.answered(&message);
                    }
                }
                () = &mut end => {
                    if !is_sending {
                        // Who has not answered by now does not count any more.
                        break;
                    }
                    is_sending = false;
                    // What was due within the last tick of the clock.
                    while self.overdue(visitor) > 0 && self.under_way.len() < self.plan.most_under_way() {
                        self.send_due(visitor, due.as_mut())?;
                    }
                    end.as_mut().reset(Instant::now() + self.plan.patience);
                }
                _ = phase.wait_for(|phase| *phase == Phase::Stop), if is_sending => {
                    is_sending = false;
                    self.until = Instant::now();
                    end.as_mut().reset(Instant::now() + self.plan.patience);
                }
                () = &mut due, if is_sending && has_room && self.plan.rate.is_some() => {
                    self.send_due(visitor, due.as_mut())?;
                }
            }
        }
        Ok(())
    }

    /// Sends the message that is due, and winds the clock for the next one.
    fn send_due(&mut self, visitor: usize, clock: std::pin::Pin<&mut Sleep>) -> Result<(), Lost> {
        let now = Instant::now();
        let due = |message| self.plan.due_after(visitor, message).map(|after| self.from + after);
        let this = due(self.next).unwrap_or(now);
        if this > now {
            // The first turn of this connection.
            clock.reset(this);
            return Ok(());
        }
        let next = due(self.next + 1).unwrap_or(self.until);
        self.tally.delays.add(now - this);
        self.send(this)?;
        clock.reset(next);
        Ok(())
    }

    fn send(&mut self, counted_from: Instant) -> Result<(), Lost> {
        let message = self.plan.message(self.next);
        if let Err(error) = self.connection.try_send(message) {
            self.tally.lose(in_one_line(&error));
            return Err(Lost);
        }
        self.under_way.push_back((self.next, counted_from));
        self.next += 1;
        self.tally.sent.add(1);
        Ok(())
    }

    fn answered(&mut self, message: &Message) {
        let oldest = self.under_way.front().copied();
        match oldest.filter(|(number, _)| self.plan.is_echo(message, *number)) {
            None => self.tally.unexpected.add(1),
            Some((_, counted_from)) => {
                let now = Instant::now();
                self.under_way.pop_front();
                self.tally.latencies.add(now - counted_from);
                self.tally.answered.add(1);
                if now <= self.until {
                    self.tally.answered_in_time.add(1);
                }
            }
        }
    }

    /// How many messages should have been sent, and were not.
    fn overdue(&self, visitor: usize) -> u64 {
        let Some(rate) = self.plan.rate else { return 0 };
        let is_due = |message: u64| {
            self.plan.due_after(visitor, message).is_some_and(|after| self.from + after < self.until)
        };
        // Without the turn of this connection, which makes it one less at most.
        let mut due = ((self.until - self.from).as_secs_f64() * rate) as u64 + 1;
        while due > 0 && !is_due(due - 1) {
            due -= 1;
        }
        due.saturating_sub(self.next)
    }
}

/// A message, if that is what came. A connection that ended is counted.
fn heard(event: Option<ClientEvent>, tally: &Tally) -> Result<Option<Message>, Lost> {
    let Some(event) = event else { return Err(Lost) };
    if let Some((_, end)) = event.disconnected() {
        tally.lose(one_line(&end.to_string()));
        return Err(Lost);
    }
    Ok(event.into_message())
}
