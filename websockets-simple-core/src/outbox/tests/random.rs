//! For any operations in any order, the wire carries whole frames, in order, and no frame is lost unreported.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Offer { len: usize, round: bool },
    Part,
    EndParts,
    Pong,
    HeartbeatText,
    Control,
    Take(usize),
    LinkRound(Vec<InRound>),
    FlusherRound,
}

/// What happens within a round of the driver.
#[derive(Clone, Debug)]
enum InRound {
    Send(usize),
    Broadcast(usize),
    Pong,
    Statistics,
}

fn in_round() -> impl Strategy<Value = InRound> {
    prop_oneof![
        6 => (0usize..100).prop_map(InRound::Send),
        1 => (0usize..100).prop_map(InRound::Broadcast),
        1 => Just(InRound::Pong),
        1 => Just(InRound::Statistics),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0usize..200, any::<bool>()).prop_map(|(len, round)| Step::Offer { len, round }),
        2 => Just(Step::Part),
        2 => Just(Step::EndParts),
        1 => Just(Step::Pong),
        1 => Just(Step::HeartbeatText),
        1 => Just(Step::Control),
        6 => (1usize..300).prop_map(Step::Take),
        3 => prop::collection::vec(in_round(), 0..6).prop_map(Step::LinkRound),
        2 => Just(Step::FlusherRound),
    ]
}

/// Puts the wire together again: the number of each message of ours, what the connection itself says left out.
fn read(bytes: &[u8]) -> Vec<usize> {
    let mut numbers = Vec::new();
    let mut open: Option<Vec<u8>> = None;
    for (first, payload) in frames(bytes) {
        match first & 0x0F {
            0xA => continue,
            0x0 => open.as_mut().expect("a continuation of nothing").extend(payload),
            0x1 => {
                assert!(open.is_none(), "a message inside another");
                open = Some(payload);
            }
            opcode => panic!("nobody sent opcode {opcode}"),
        }
        if first & 0x80 != 0 {
            let text = String::from_utf8(open.take().unwrap()).unwrap();
            if text != "ping" && text != "control" {
                numbers.push(text.trim_end_matches('x').trim_end_matches('-').parse().unwrap());
            }
        }
    }
    assert!(open.is_none(), "half a message");
    numbers
}

#[derive(Default)]
struct Run {
    next: usize,
    accepted: Vec<usize>,
    refused: u64,
    /// Number of the message in parts, and where it stands in `accepted`.
    parts: Option<(usize, usize)>,
    behind: Vec<usize>,
}

impl Run {
    fn offer(&mut self, outbox: &Outbox, len: usize, when: FlushWhen) {
        let number = self.next;
        self.next += 1;
        let text = format!("{number}-{}", "x".repeat(len));
        let offer = match when {
            FlushWhen::Now => outbox.offer_message(message(&text), true, None).unwrap(),
            FlushWhen::Round => outbox.offer(frame(&text), when, None),
        };
        match offer {
            Offer::Sent | Offer::Queued | Offer::List if self.parts.is_some() => self.behind.push(number),
            Offer::Sent | Offer::Queued | Offer::List => self.accepted.push(number),
            Offer::Dropped => self.refused += 1,
            other => panic!("{other:?}"),
        }
    }

    fn part(&mut self, outbox: &Outbox) {
        let first = self.parts.is_none();
        let (number, _) = *self.parts.get_or_insert_with(|| {
            assert!(outbox.begin_parts().unwrap());
            self.next += 1;
            (self.next - 1, 0)
        });
        let text = if first { format!("{number}-") } else { "xx".to_owned() };
        let waited = outbox.poll_part(&mut part(&text, first, false), Waker::noop()).is_pending();
        if waited && first {
            outbox.give_up_parts();
            self.parts = None;
        } else if first {
            self.accepted.push(number);
        }
    }

    fn end_parts(&mut self, outbox: &Outbox) {
        if self.parts.is_some() && outbox.poll_part(&mut part("", false, true), Waker::noop()).is_ready() {
            self.parts = None;
            self.accepted.append(&mut self.behind);
        }
    }

    fn step(&mut self, outbox: &Outbox, wire: &Wire, step: Step) {
        match step {
            Step::Offer { len, round } => {
                self.offer(outbox, len, if round { FlushWhen::Round } else { FlushWhen::Now })
            }
            Step::Part => self.part(outbox),
            Step::EndParts => self.end_parts(outbox),
            Step::Pong => outbox.push_internal(pong("p"), InternalFrame::Pong),
            Step::HeartbeatText => outbox.push_internal(frame("ping"), InternalFrame::Text),
            Step::Control => outbox.push_internal(frame("control"), InternalFrame::Control),
            Step::Take(room) => {
                wire.allow(room);
                round(outbox);
            }
            Step::LinkRound(steps) => {
                outbox.begin_round(Waker::noop());
                for step in steps {
                    match step {
                        InRound::Send(len) => self.offer(outbox, len, FlushWhen::Now),
                        InRound::Broadcast(len) => self.offer(outbox, len, FlushWhen::Round),
                        InRound::Pong => outbox.push_internal(pong("p"), InternalFrame::Pong),
                        InRound::Statistics => assert!(outbox.statistics().queued <= 1000),
                    }
                }
                outbox.end_round();
            }
            Step::FlusherRound => outbox.flush_round(&mut Coalesced::default()),
        }
    }

    /// The running sums are those of the queue.
    fn check(outbox: &Outbox) {
        let mut state = outbox.lock();
        let sum = |parts: bool| -> (usize, usize) {
            let all = state.queue.iter().enumerate();
            let of_kind = all.filter(|(_, queued)| queued.internal.is_none() && (queued.part || !parts));
            let left = |(at, queued): (usize, &QueuedFrame)| {
                queued.frame.len() - if at == 0 { state.written } else { 0 }
            };
            of_kind.map(left).fold((0, 0), |(bytes, frames), left| (bytes + left, frames + 1))
        };
        let (all, parts) = (sum(false), sum(true));
        assert_eq!(state.bytes, all.0);
        state.cold();
        let state = &*state;
        let Some(cold) = &state.cold else { unreachable!("there is one") };
        assert_eq!((cold.part_bytes, cold.part_frames), parts);
        let behind = cold.parts.as_ref().map(|parts| parts.behind.iter());
        let behind_bytes = behind.clone().into_iter().flatten().filter(|queued| queued.internal.is_none());
        let behind_bytes: usize = behind_bytes.map(|queued| queued.frame.len()).sum();
        let internals =
            state.queue.iter().chain(behind.into_iter().flatten()).filter_map(|queued| queued.internal);
        let internals: Vec<_> = internals.collect();
        assert_eq!(state.behind_bytes(), behind_bytes);
        assert_eq!(state.internals.total(), internals.len());
        for kind in [InternalFrame::Control, InternalFrame::Ping, InternalFrame::Pong, InternalFrame::Text] {
            assert_eq!(state.waiting(kind), internals.iter().filter(|internal| **internal == kind).count());
        }
    }

    fn finish(&mut self, outbox: &Outbox, wire: &Wire) {
        wire.allow(usize::MAX / 2);
        round(outbox);
        self.end_parts(outbox);
        assert!(self.parts.is_none());
        assert_eq!(round(outbox), FlushOutcome::Nothing);
        assert_eq!(outbox.statistics().queued, 0);
    }
}

proptest! {
    #[test]
    fn drop_newest_loses_and_reorders_nothing_it_accepted(steps in prop::collection::vec(step(), 0..120)) {
        let (outbox, wire) = opened(config(500, OverflowPolicy::DropNewest));
        let mut run = Run::default();
        for step in steps {
            run.step(&outbox, &wire, step);
            Run::check(&outbox);
            // The bound applies to a message in parts and to what waits behind it separately.
            prop_assert!(outbox.statistics().queued <= 1000);
        }
        run.finish(&outbox, &wire);
        prop_assert_eq!(read(&wire.bytes()), run.accepted);
        prop_assert_eq!(outbox.statistics().dropped, run.refused);
    }

    #[test]
    fn drop_oldest_reorders_nothing_and_counts_what_it_drops(steps in prop::collection::vec(step(), 0..120)) {
        let (outbox, wire) = opened(config(500, OverflowPolicy::DropOldest));
        let mut run = Run::default();
        for step in steps {
            run.step(&outbox, &wire, step);
            Run::check(&outbox);
            // The bound applies to a message in parts and to what waits behind it separately.
            prop_assert!(outbox.statistics().queued <= 1000);
        }
        run.finish(&outbox, &wire);
        let read = read(&wire.bytes());
        let mut accepted = run.accepted.iter();
        prop_assert!(read.iter().all(|number| accepted.any(|other| other == number)), "{:?}", read);
        let lost = (run.accepted.len() - read.len()) as u64;
        prop_assert_eq!(outbox.statistics().dropped, lost + run.refused);
    }
}
