//! The numbers of messages between nodes: what is missing is counted, and what comes late or twice is not heard again.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::cluster::{NodeId, lane::Lane};

/// For how long beats repeat the number of a lane that was used. Three beats in a row are hardly lost.
const REPEATED: Duration = Duration::from_secs(4);

/// How long a message may take that a beat has said to exist.
pub(crate) const OVERDUE: Duration = Duration::from_millis(1500);

/// The numbers that this node gives.
#[derive(Debug, Default)]
pub(crate) struct Given(HashMap<Lane, (u64, Instant)>);

impl Given {
    /// Gives the next message on a lane its number. If it is not published, the next one gets it.
    pub(crate) fn give<T, E>(
        &mut self,
        lane: Lane,
        publish: impl FnOnce(u64) -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some((last, at)) = self.0.get_mut(&lane) {
            let published = publish(*last + 1)?;
            (*last, *at) = (*last + 1, Instant::now());
            return Ok(published);
        }
        let published = publish(1)?;
        self.0.insert(lane, (1, Instant::now()));
        Ok(published)
    }

    /// The last numbers of the lanes that were in use lately, and that of `All`, even if it is 0: who hears it before
    /// any message knows what is the first.
    pub(crate) fn recent(&self, now: Instant) -> Vec<(Lane, u64)> {
        let recent =
            self.0.iter().filter(|(lane, (_, at))| **lane != Lane::All && now.duration_since(*at) < REPEATED);
        let all = self.0.get(&Lane::All).map_or(0, |(last, _)| *last);
        recent.map(|(lane, (last, _))| (*lane, *last)).chain([(Lane::All, all)]).collect()
    }

    /// Who has heard nothing for so long has not heard the beats of that time either: they say it again.
    pub(crate) fn repeat(&mut self, deaf_for: Duration, now: Instant) {
        for (_, at) in self.0.values_mut() {
            if now.duration_since(*at) < deaf_for.saturating_add(REPEATED) {
                *at = now;
            }
        }
    }

    /// A node is gone for good.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.0.remove(&Lane::Node(node));
    }
}

/// The numbers of other nodes.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// The last message on a lane of a node that was heard, or given up.
    last: HashMap<(NodeId, Lane), u64>,
    /// What beats say to exist, until when it is waited for.
    announced: Vec<(Instant, NodeId, Lane, u64)>,
}

/// What to do with a numbered message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Turn {
    /// It is the next one, but for so many that were missed.
    After(u64),
    /// It comes twice, or was counted as missed already.
    Late,
}

impl Received {
    /// A numbered message was heard.
    pub(crate) fn heard(&mut self, node: NodeId, lane: Lane, number: u64) -> Turn {
        match self.last.get_mut(&(node, lane)) {
            Some(last) if number <= *last => Turn::Late,
            Some(last) => {
                let missed = number - *last - 1;
                *last = number;
                Turn::After(missed)
            }
            // Nobody knows what was before this node listened.
            None => {
                self.last.insert((node, lane), number);
                Turn::After(0)
            }
        }
    }

    /// A beat says that messages up to this one were published on a lane, which this node listens to.
    pub(crate) fn announced(&mut self, node: NodeId, lane: Lane, number: u64, now: Instant) {
        let last = match self.last.get(&(node, lane)) {
            Some(last) => *last,
            // The first message is still to come.
            None if number == 0 => *self.last.entry((node, lane)).or_default(),
            None => 0,
        };
        let is_new =
            || !self.announced.iter().any(|(_, of, on, last)| (*of, *on) == (node, lane) && *last >= number);
        if last < number && is_new() {
            // Messages on another lane than the beat's may be on their way yet.
            self.announced.push((now + OVERDUE, node, lane, number));
        }
    }

    /// How many messages of which nodes have not come in time.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<(NodeId, u64)> {
        let mut missed = Vec::new();
        let received = &mut self.last;
        self.announced.retain(|(until, node, lane, number)| {
            if *until > now {
                return true;
            }
            // Of a lane on which nothing was heard, nobody knows what was before this node listened.
            let last = received.entry((*node, *lane)).or_insert(*number);
            if *last < *number {
                missed.push((*node, *number - *last));
                *last = *number;
            }
            false
        });
        missed
    }

    /// This node listens to a lane no more, or another node is gone.
    pub(crate) fn forget(&mut self, is_forgotten: impl Fn(NodeId, Lane) -> bool) {
        self.last.retain(|(node, lane), _| !is_forgotten(*node, *lane));
        self.announced.retain(|(_, node, lane, _)| !is_forgotten(*node, *lane));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_counted_and_what_comes_late_or_twice_is_not_heard_again() {
        let (mut received, node) = (Received::default(), NodeId::random());
        let mut heard = |number| received.heard(node, Lane::All, number);
        assert_eq!(
            [heard(5), heard(6), heard(6), heard(5)].map(|turn| turn == Turn::Late),
            [false, false, true, true]
        );
        assert_eq!(
            [heard(9), heard(7), heard(8), heard(10)],
            [Turn::After(2), Turn::Late, Turn::Late, Turn::After(0)]
        );
        assert_eq!(received.heard(node, Lane::Presence, 3), Turn::After(0), "each lane has its own");
        assert_eq!(received.heard(NodeId::random(), Lane::All, 3), Turn::After(0), "and each node");
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_messages_are_missed_as_well_once_a_beat_says_that_they_were_sent() {
        let (mut received, node, now) = (Received::default(), NodeId::random(), Instant::now());
        received.announced(node, Lane::All, 0, now);
        assert_eq!(received.heard(node, Lane::All, 2), Turn::After(1), "the first one was lost");
        received.announced(node, Lane::All, 5, now);
        received.announced(node, Lane::All, 5, now + OVERDUE / 2);
        assert_eq!(received.overdue(now + OVERDUE / 2), []);
        assert_eq!(received.heard(node, Lane::All, 3), Turn::After(0));
        assert_eq!(received.overdue(now + OVERDUE), [(node, 2)]);
        assert_eq!(received.overdue(now + OVERDUE * 2), [], "once");
        assert_eq!(received.heard(node, Lane::All, 5), Turn::Late);
    }

    #[tokio::test(start_paused = true)]
    async fn a_beat_that_overtakes_the_first_message_does_not_make_it_late() {
        let (mut received, node, now) = (Received::default(), NodeId::random(), Instant::now());
        received.announced(node, Lane::Channels(7), 9, now);
        assert_eq!(received.heard(node, Lane::Channels(7), 9), Turn::After(0));
        assert_eq!(received.overdue(now + OVERDUE), []);
        received.announced(node, Lane::Channels(8), 9, now);
        assert_eq!(received.overdue(now + OVERDUE), [], "nothing is known of what was before");
        assert_eq!(received.heard(node, Lane::Channels(8), 11), Turn::After(1));
    }

    #[tokio::test(start_paused = true)]
    async fn beats_say_the_numbers_of_lanes_that_were_used_lately() {
        let (mut given, now, node) = (Given::default(), Instant::now(), NodeId::random());
        assert_eq!(given.recent(now), [(Lane::All, 0)]);
        let mut give = |is_published: bool| {
            given.give(Lane::Node(node), |number| if is_published { Ok(number) } else { Err(number) })
        };
        assert_eq!([give(false), give(true), give(false), give(true)], [Err(1), Ok(1), Err(2), Ok(2)]);
        assert_eq!(given.recent(now), [(Lane::Node(node), 2), (Lane::All, 0)]);
        let later = now + REPEATED;
        assert_eq!(given.recent(later), [(Lane::All, 0)]);
        given.repeat(Duration::ZERO, later);
        assert_eq!(given.recent(later), [(Lane::All, 0)], "it was said before that often enough");
        given.repeat(REPEATED / 2, later);
        assert_eq!(given.recent(later), [(Lane::Node(node), 2), (Lane::All, 0)]);
        assert_eq!(given.recent(later + REPEATED), [(Lane::All, 0)]);
    }
}
