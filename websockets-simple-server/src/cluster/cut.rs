//! What this node has to learn once it hears the others again: what was revoked meanwhile.

use std::{collections::HashSet, time::Duration};

use tokio::time::Instant;

use crate::cluster::{NodeId, head::Revocations};

/// When others are asked about nodes that have not been heard since.
const ASKED_AFTER: Duration = Duration::from_secs(3);

/// How long nodes that were there before may take to come back. They say themselves what was revoked at them.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The time during which this node did not hear the others.
#[derive(Debug)]
pub(crate) struct Cut {
    /// `None` if nothing is open.
    began: Option<Instant>,
    ended: Option<Instant>,
    /// When it was told that this node hears nothing, while it does not.
    told_at: Option<Instant>,
    /// The nodes that were there, and have not said since that there is nothing new.
    unsettled: HashSet<NodeId>,
    has_gap: bool,
}

impl Cut {
    /// A node that has just started.
    pub(crate) fn new(now: Instant) -> Self {
        Self { began: Some(now), ended: None, told_at: None, unsettled: HashSet::new(), has_gap: false }
    }

    /// Since when it is told that this node hears nothing.
    pub(crate) fn told_since(&self) -> Option<Instant> {
        self.told_at
    }

    pub(crate) fn begin(&mut self, peers: impl Iterator<Item = NodeId>, now: Instant) {
        self.began.get_or_insert(now);
        self.ended = None;
        self.told_at = Some(now);
        self.unsettled.extend(peers);
    }

    pub(crate) fn end(&mut self, now: Instant) {
        self.told_at = None;
        self.ended = Some(now);
        self.close_if_settled();
    }

    /// A node has said that nothing was revoked at it which is not known.
    pub(crate) fn settled(&mut self, node: NodeId) {
        if self.ended.is_some() {
            self.unsettled.remove(&node);
            self.close_if_settled();
        }
    }

    /// A node has said all that it knows.
    pub(crate) fn answered(&mut self, node: NodeId, answer: &Revocations, now: Instant) {
        let (Some(began), Some(_)) = (self.began, self.ended) else { return };
        if answer.has_gap {
            self.has_gap = true;
            return;
        }
        let cut_for = now.saturating_duration_since(began);
        if Duration::from_millis(answer.hears_for) >= cut_for {
            // It has heard all that this node has not.
            self.unsettled.clear();
        }
        self.unsettled.remove(&node);
        self.close_if_settled();
    }

    fn close_if_settled(&mut self) {
        if self.unsettled.is_empty() && !self.has_gap {
            self.began = None;
        }
    }

    /// Whether others are to be asked about nodes that have not been heard since.
    pub(crate) fn is_to_ask(&self, now: Instant) -> bool {
        self.began.is_some() && self.ended.is_some_and(|at| now.saturating_duration_since(at) >= ASKED_AFTER)
    }

    /// Nobody can say any more what was revoked: which connections are concerned, those that were authenticated before.
    pub(crate) fn give_up(&mut self, now: Instant) -> Option<Instant> {
        let ended = self.ended.filter(|_| self.began.is_some())?;
        if !self.has_gap && now.saturating_duration_since(ended) < PATIENCE {
            return None;
        }
        *self = Self { began: None, ended: None, told_at: None, unsettled: HashSet::new(), has_gap: false };
        Some(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(hears_for: Duration, has_gap: bool) -> Revocations {
        Revocations { said: 0, has_gap, hears_for: hears_for.as_millis() as u64, known: Vec::new() }
    }

    const S: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_node_that_was_cut_off_is_certain_once_all_others_have_spoken() {
        let (now, a, b) = (Instant::now(), NodeId::random(), NodeId::random());
        let mut cut = Cut::new(now);
        assert_eq!(cut.told_since(), None);
        cut.end(now);
        assert!(!cut.is_to_ask(now + 99 * S), "there was nobody before");
        cut.begin([a, b].into_iter(), now);
        cut.settled(a);
        cut.end(now + 5 * S);
        assert!(!cut.is_to_ask(now + 5 * S) && cut.is_to_ask(now + 8 * S));
        cut.settled(a);
        cut.answered(b, &answer(S, false), now + 6 * S);
        assert!(!cut.is_to_ask(now + 99 * S));
        assert_eq!(cut.give_up(now + 999 * S), None);
    }

    #[tokio::test(start_paused = true)]
    async fn for_a_node_that_is_gone_another_may_speak_that_has_heard_everything_meanwhile() {
        let (now, a, b) = (Instant::now(), NodeId::random(), NodeId::random());
        let mut cut = Cut::new(now);
        cut.end(now);
        cut.begin([a, b].into_iter(), now);
        cut.end(now + 5 * S);
        cut.answered(b, &answer(5 * S, false), now + 6 * S);
        assert!(cut.is_to_ask(now + 9 * S), "it was cut off itself");
        cut.answered(b, &answer(9 * S, false), now + 9 * S);
        assert!(!cut.is_to_ask(now + 99 * S));
    }

    #[tokio::test(start_paused = true)]
    async fn when_nobody_can_say_it_who_was_there_before_is_concerned_once() {
        let (now, a) = (Instant::now(), NodeId::random());
        let mut cut = Cut::new(now);
        cut.end(now);
        cut.begin([a].into_iter(), now);
        assert_eq!(cut.give_up(now + 999 * S), None, "it still hears nothing");
        cut.end(now + 5 * S);
        assert_eq!(cut.give_up(now + 5 * S + PATIENCE - S), None);
        assert_eq!(cut.give_up(now + 5 * S + PATIENCE), Some(now + 5 * S));
        assert_eq!(cut.give_up(now + 999 * S), None);
        cut.begin([a].into_iter(), now);
        cut.end(now + S);
        cut.answered(a, &answer(S, true), now + 2 * S);
        assert_eq!(cut.give_up(now + 2 * S), Some(now + S), "something was forgotten");
    }
}
