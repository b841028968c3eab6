//! Whether a peer is alive, asked out of turn, for who wants the place of its connection: pure state, on which the driver
//! acts.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::connection::shared::ConnectionShared;

/// How long a peer has for a sign of life.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a peer that has given one is not asked again: who is refused over and over causes few pings.
const KNOWN: Duration = Duration::from_secs(10);

/// What is known of the peer of one connection, and who waits to know.
#[derive(Debug, Default)]
pub(super) struct SignOfLife(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    question: Question,
    waiting: Vec<Arc<Notify>>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Question {
    #[default]
    None,
    /// The driver has not sent it: it is ending the connection, or a handler does not let it go on.
    Pending { until: Instant },
    /// It is on its way. `stuck` are the bytes that the transport had taken, if it took no more then.
    Sent { until: Instant, stuck: Option<u64> },
    /// Something came, or the peer cannot be asked.
    Answered { at: Instant },
}

impl SignOfLife {
    /// Begins a question, or joins the one that is under way. Until when the peer has time, and whether the driver has to
    /// send it; `None` if there is nothing to ask.
    fn ask(&self, told: &Arc<Notify>, now: Instant) -> Option<(Instant, bool)> {
        let mut state = self.lock();
        let under_way = match state.question {
            Question::Answered { at } if now.saturating_duration_since(at) < KNOWN => return None,
            Question::Pending { until } | Question::Sent { until, .. } if now < until => Some(until),
            _ => None,
        };
        state.waiting.push(Arc::clone(told));
        Some(match under_way {
            Some(until) => (until, false),
            None => {
                let until = now + PATIENCE;
                state.question = Question::Pending { until };
                (until, true)
            }
        })
    }

    /// The driver has sent it.
    fn sent(&self, stuck: Option<u64>) {
        let mut state = self.lock();
        if let Question::Pending { until } = state.question {
            state.question = Question::Sent { until, stuck };
        }
    }

    /// Whether the driver has to send it.
    pub(super) fn is_pending(&self) -> bool {
        matches!(self.lock().question, Question::Pending { .. })
    }

    fn answered(&self, now: Instant) {
        let waiting = {
            let mut state = self.lock();
            state.question = Question::Answered { at: now };
            mem::take(&mut state.waiting)
        };
        waiting.iter().for_each(|told| told.notify_one());
    }

    /// Whether the question was sent and nothing has come. `taken` are all bytes that the transport has taken: one that
    /// was stuck and takes more has a peer that reads.
    fn is_open(&self, taken: u64) -> bool {
        match self.lock().question {
            Question::Sent { stuck, .. } => stuck.is_none_or(|before| before == taken),
            Question::None | Question::Pending { .. } | Question::Answered { .. } => false,
        }
    }

    /// Whether there is an answer.
    fn is_answered(&self) -> bool {
        matches!(self.lock().question, Question::Answered { .. })
    }

    /// Who no longer waits is not told.
    fn forget(&self, told: &Arc<Notify>) {
        let mut state = self.lock();
        state.waiting.retain(|waiting| !Arc::ptr_eq(waiting, told));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question whether the peer of a connection is alive. Any byte that comes answers it.
///
/// There is one question under way per connection, which those who ask share, and a peer that has answered is not asked
/// again for 10 s. A peer that need not answer what it can be asked (a .NET v6 peer without the text heartbeat) counts as
/// alive, and so does one that waits for our own handlers.
#[derive(Debug)]
pub struct LifeQuestion<'a> {
    shared: &'a ConnectionShared,
    told: Arc<Notify>,
    until: Instant,
}

impl ConnectionShared {
    /// Asks the peer for a sign of life, for which it has two seconds: by a ping frame (RFC 6455 section 5.5.2), unless .NET
    /// v6 peers are expected, and by the text `ping` if its heartbeat is text. `told` is notified of an answer. `None` if
    /// the peer is known to be alive.
    pub fn ask_for_life(&self, told: &Arc<Notify>) -> Option<LifeQuestion<'_>> {
        let (until, begins) = self.sign_of_life_or_new().ask(told, Instant::now())?;
        if begins {
            self.outbox.ask_for_life();
        }
        Some(LifeQuestion { shared: self, told: Arc::clone(told), until })
    }

    /// The driver has sent the question.
    pub(super) fn asked_for_life(&self, stuck: Option<u64>) {
        self.sign_of_life().into_iter().for_each(|life| life.sent(stuck));
    }

    /// The peer is alive, or cannot be asked.
    pub(super) fn shows_life(&self) {
        self.sign_of_life().into_iter().for_each(|life| life.answered(Instant::now()));
    }
}

impl LifeQuestion<'_> {
    /// Until when the peer has time.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Whether the peer is alive, or cannot be asked.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.shared.sign_of_life().is_some_and(SignOfLife::is_answered)
    }

    /// Whether the question has left and nothing has come of it: beyond [`until`](Self::until), the peer is lost. False as
    /// well if the connection is ending.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        let taken = self.shared.outbox.statistics().bytes;
        self.shared.sign_of_life().is_some_and(|life| life.is_open(taken))
    }
}

impl Drop for LifeQuestion<'_> {
    fn drop(&mut self) {
        self.shared.sign_of_life().into_iter().for_each(|life| life.forget(&self.told));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_question_is_under_way_and_who_has_answered_is_not_asked_for_ten_seconds() {
        let (life, told) = (SignOfLife::default(), Arc::new(Notify::new()));
        let begun = Instant::now();
        assert_eq!(life.ask(&told, begun), Some((begun + PATIENCE, true)));
        let second = Duration::from_secs(1);
        assert_eq!(life.ask(&told, begun + second), Some((begun + PATIENCE, false)), "it joins");
        assert!(!life.is_open(0), "it was not sent");
        life.sent(None);
        assert!(life.is_open(7) && !life.is_answered());
        assert_eq!(life.ask(&told, begun + 2 * second), Some((begun + 4 * second, true)), "the next one");
        life.answered(begun + 3 * second);
        told.notified().await;
        assert!(life.is_answered() && !life.is_open(0) && life.lock().waiting.is_empty());
        assert_eq!(life.ask(&told, begun + 12 * second), None);
        assert!(life.lock().waiting.is_empty());
        assert!(life.ask(&told, begun + 13 * second).is_some_and(|(_, begins)| begins));
        life.forget(&told);
        assert!(life.lock().waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_transport_that_was_stuck_and_takes_more_has_a_peer_that_reads() {
        let (life, told) = (SignOfLife::default(), Arc::new(Notify::new()));
        life.ask(&told, Instant::now());
        life.sent(Some(100));
        assert!(life.is_open(100) && !life.is_open(101));
    }
}
