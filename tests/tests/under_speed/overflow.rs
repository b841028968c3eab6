//! The overflow policies, exact to the byte: what the socket refused decides, and frames are never torn.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use websockets_simple_server::{
    Anonymous, CloseCode, Connection, EndedBy, Event, Events, Message, OverflowPolicy, SendError, SendStatus,
    ServerParams, Statistics, WebsocketServer,
};
use websockets_simple_tests::{ended, opened, started, within};

use crate::wire::{READ, StrictPeer, frame_len};

const OUTBOX: usize = 50_000;

type ServerEvents = Events<Event<Anonymous>>;

/// A connection whose peer does not read, and what its outbox should hold.
struct Slow {
    server: WebsocketServer,
    events: ServerEvents,
    connection: Connection<Anonymous>,
    peer: StrictPeer,
    /// Numbers of the messages that are not wholly with the kernel, and their bytes that are not.
    queue: VecDeque<(usize, usize)>,
    before: Statistics,
    /// Messages that were accepted and not dropped later.
    expected: Vec<usize>,
    said: usize,
}

impl Slow {
    async fn open(policy: OverflowPolicy) -> Self {
        let server = WebsocketServer::new(ServerParams::local().outbox(OUTBOX).overflow(policy));
        let mut events = server.events();
        let addr = started(&server).await;
        let peer = StrictPeer::open_small(addr, "/").await;
        let connection = opened(&mut events).await;
        let before = connection.statistics();
        let (queue, expected) = (VecDeque::new(), Vec::new());
        Self { server, events, connection, peer, queue, before, expected, said: 0 }
    }

    /// Sends message after message until its socket is full and the outbox holds what it refused.
    fn fill(&mut self) {
        while self.queued() == 0 || self.queued() + frame_len(size(self.said)) <= OUTBOX {
            let accepted = self.say().unwrap();
            assert_ne!(accepted, SendStatus::Dropped);
            self.accepted();
            self.written();
        }
    }

    /// Sends the next message: every third as a broadcast. Does not look at what came of it.
    fn say(&mut self) -> Result<SendStatus, SendError> {
        self.before = self.connection.statistics();
        let message = message(self.said);
        self.said += 1;
        if !self.said.is_multiple_of(3) {
            return self.connection.try_send(message);
        }
        let delivery = self.server.broadcast(message).unwrap();
        match (delivery.accepted, delivery.dropped, delivery.closed) {
            (1, 0, 0) => Ok(SendStatus::Queued),
            (0, 1, 0) => Ok(SendStatus::Dropped),
            (0, 0, 1) => Err(SendError::Overflow),
            _ => panic!("{delivery:?}"),
        }
    }

    /// Takes note that what was said last is in the outbox, or was written.
    fn accepted(&mut self) {
        self.queue.push_back((self.said - 1, self.bytes()));
        self.expected.push(self.said - 1);
    }

    /// Takes note of what the kernel took since the last time, and compares.
    fn written(&mut self) {
        self.take_written();
        assert_eq!(self.queued(), self.model(), "after {} messages", self.said);
    }

    fn take_written(&mut self) {
        let now = self.connection.statistics();
        let mut taken = usize::try_from(now.bytes_sent - self.before.bytes_sent).unwrap();
        self.before = now;
        while taken > 0 {
            let (_, left) = self.queue.front_mut().expect("what was written was queued");
            let part = taken.min(*left);
            *left -= part;
            taken -= part;
            if *left == 0 {
                self.queue.pop_front();
            }
        }
    }

    /// Bytes of what was said last.
    fn bytes(&self) -> usize {
        frame_len(size(self.said - 1))
    }

    fn queued(&self) -> usize {
        self.connection.statistics().queued_bytes
    }

    fn model(&self) -> usize {
        self.queue.iter().map(|(_, left)| left).sum()
    }

    /// Lets others work now and then, so that broadcasts leave and the peer's kernel gets its share.
    async fn pause(&mut self) {
        if self.said.is_multiple_of(5) {
            self.before = self.connection.statistics();
            tokio::task::yield_now().await;
            self.written();
        }
    }

    /// Reads what is expected and nothing else, up to the Close.
    async fn read_all(mut self) -> Statistics {
        self.connection.close(CloseCode::NORMAL, "");
        for n in std::mem::take(&mut self.expected) {
            let frame = self.peer.next().await.expect("all that was kept");
            assert!(frame.payload == payload(n), "message {n}");
        }
        assert_eq!(self.peer.next().await.unwrap().close_code(), Some(1000));
        self.peer.frame(0x88, &1000_u16.to_be_bytes()).await;
        assert_eq!(self.peer.next().await, None);
        assert!(ended(&mut self.events).await.clean);
        self.connection.statistics()
    }
}

/// Sizes without a pattern that the socket could share.
fn size(n: usize) -> usize {
    8 + n * 7919 % 9001
}

fn payload(n: usize) -> Vec<u8> {
    let mut payload = vec![u8::try_from(n % 251).unwrap(); size(n)];
    payload[..8].copy_from_slice(&n.to_be_bytes());
    payload
}

fn message(n: usize) -> Message {
    Message::binary(payload(n))
}

/// Fills an outbox but for `free` bytes, then sends the smallest message there is, which takes two: what came of that
/// one, and the figures after it. `None` if the socket took something meanwhile.
async fn smallest_into(
    free: usize,
    policy: OverflowPolicy,
) -> Option<(Result<SendStatus, SendError>, Statistics)> {
    let slow = Slow::open(policy).await;
    while slow.queued() == 0 {
        slow.connection.try_send(Message::binary(vec![0; 5000])).unwrap();
    }
    let before = slow.connection.statistics();
    let rest = OUTBOX - before.queued_bytes - free;
    let last = Message::binary(vec![0; rest - (frame_len(rest) - rest)]);
    let status = slow.connection.try_send(last).unwrap();
    let full = slow.connection.statistics();
    let outcome = slow.connection.try_send(Message::binary(&b""[..]));
    let after = slow.connection.statistics();
    if before.bytes_sent != after.bytes_sent {
        return None;
    }
    assert_eq!((status, full.queued_bytes, full.dropped), (SendStatus::Queued, OUTBOX - free, 0));
    Some((outcome, after))
}

#[tokio::test]
async fn a_message_that_fills_the_outbox_to_its_last_byte_is_taken_and_one_byte_more_meets_the_policy() {
    let outcome = async |free, policy| {
        for _ in 0..100 {
            if let Some((outcome, after)) = smallest_into(free, policy).await {
                return (outcome, after.dropped, after.queued_bytes);
            }
        }
        panic!("the socket never refuses for good");
    };
    let wait = OverflowPolicy::Wait(Duration::from_secs(20));
    for policy in [OverflowPolicy::DropNewest, OverflowPolicy::DropOldest, OverflowPolicy::Disconnect, wait] {
        let taken = outcome(2, policy).await;
        assert!(matches!(taken, (Ok(SendStatus::Queued), 0, OUTBOX)), "{policy:?} {taken:?}");
    }
    let newest = outcome(1, OverflowPolicy::DropNewest).await;
    assert!(matches!(newest, (Ok(SendStatus::Dropped), 1, queued) if queued == OUTBOX - 1), "{newest:?}");
    let oldest = outcome(1, OverflowPolicy::DropOldest).await;
    assert!(matches!(oldest, (Ok(SendStatus::Queued), 1, 2..OUTBOX)), "{oldest:?}");
    let disconnect = outcome(1, OverflowPolicy::Disconnect).await;
    assert!(matches!(disconnect, (Err(SendError::Overflow), 0, _)), "{disconnect:?}");
    let wait = outcome(1, wait).await;
    assert!(matches!(wait, (Err(SendError::Full), 0, queued) if queued == OUTBOX - 1), "{wait:?}");
}

#[tokio::test]
async fn drop_newest_keeps_what_was_there_and_drops_exactly_what_does_not_fit() {
    let mut slow = Slow::open(OverflowPolicy::DropNewest).await;
    slow.fill();
    let mut dropped = 0;
    while dropped < 200 {
        let status = slow.say().unwrap();
        if status == SendStatus::Dropped {
            dropped += 1;
            slow.written();
            assert!(slow.queued() + slow.bytes() > OUTBOX, "it would have fitted");
        } else {
            slow.accepted();
            slow.written();
            assert!(slow.queued() <= OUTBOX);
        }
        assert_eq!(slow.connection.statistics().dropped, dropped);
        slow.pause().await;
    }
    let said = slow.said as u64;
    let statistics = slow.read_all().await;
    assert_eq!((statistics.messages_sent, statistics.dropped), (said - dropped, dropped));
    assert_eq!(statistics.queued_bytes, 0);
}

#[tokio::test]
async fn drop_oldest_keeps_the_newest_drops_no_more_than_it_must_and_tears_no_frame() {
    let mut slow = Slow::open(OverflowPolicy::DropOldest).await;
    slow.fill();
    let mut dropped = 0;
    while dropped < 300 {
        assert_ne!(slow.say().unwrap(), SendStatus::Dropped, "the newest is never the one to go");
        let mut now = slow.connection.statistics().dropped - dropped;
        dropped += now;
        if now > 0 {
            // The socket was tried before the policy; what it took by that left the model's queue first.
            slow.take_written();
            // A frame that has begun to leave stays.
            let begun = slow.queue.front().is_some_and(|(n, left)| *left < frame_len(size(*n)));
            while now > 0 {
                assert!(slow.model() + slow.bytes() > OUTBOX, "no more than it must");
                let (oldest, _) = slow.queue.remove(usize::from(begun)).expect("what was dropped was queued");
                slow.expected.retain(|n| *n != oldest);
                now -= 1;
            }
            assert!(slow.model() + slow.bytes() <= OUTBOX, "until it fits");
        }
        slow.accepted();
        slow.written();
        assert!(slow.queued() <= OUTBOX);
        slow.pause().await;
    }
    let said = slow.said;
    let newest: Vec<usize> = slow.queue.iter().skip(1).map(|(n, _)| *n).collect();
    assert_eq!(newest, (said - newest.len()..said).collect::<Vec<_>>(), "the newest, without a gap");
    let statistics = slow.read_all().await;
    assert_eq!((statistics.messages_sent, statistics.dropped), (said as u64, dropped));
    assert_eq!(statistics.queued_bytes, 0);
}

#[tokio::test]
async fn disconnect_ends_at_the_first_byte_too_many_and_the_peer_reads_whole_frames_and_4001() {
    let mut slow = Slow::open(OverflowPolicy::Disconnect).await;
    slow.fill();
    let refused = loop {
        match slow.say() {
            Ok(_) => {
                slow.accepted();
                slow.written();
                assert!(slow.queued() <= OUTBOX);
            }
            Err(error) => break error,
        }
    };
    let since = Instant::now();
    assert!(matches!(refused, SendError::Overflow), "{refused}");
    slow.written();
    assert!(slow.queued() + slow.bytes() > OUTBOX, "it would have fitted");
    assert!(matches!(slow.connection.try_send("late"), Err(SendError::Closed)));
    // What has not begun to leave is given up.
    let given_up = slow.queue.iter().filter(|(n, left)| *left == frame_len(size(*n))).count();
    let left = slow.expected.len() - given_up;
    let mut read = 0;
    let closed = loop {
        match slow.peer.next_unless_cut(READ).await {
            Some(frame) if frame.first == 0x82 => {
                assert!(frame.payload == payload(read), "message {read}");
                read += 1;
            }
            Some(close) => break close.close_code(),
            None => break None,
        }
    };
    match closed {
        Some(code) => {
            assert_eq!((code, read), (4001, left));
            slow.peer.frame(0x88, &4001_u16.to_be_bytes()).await;
        }
        None => assert!(since.elapsed() >= Duration::from_secs(1), "the peer has a second to read the Close"),
    }
    let end = ended(&mut slow.events).await;
    assert_eq!((end.by, end.code), (EndedBy::Overflow, Some(4001)));
    assert_eq!(slow.connection.statistics().dropped, given_up as u64);
}

#[tokio::test]
async fn the_waiting_policy_delivers_everything_in_the_order_in_which_senders_began_to_wait() {
    const WAITING: usize = 60;
    let mut slow = Slow::open(OverflowPolicy::Wait(Duration::from_secs(20))).await;
    // A send says that it would have to wait, a broadcast drops.
    while !matches!(slow.say(), Err(SendError::Full) | Ok(SendStatus::Dropped)) {
        slow.accepted();
        slow.written();
        assert!(slow.queued() <= OUTBOX);
    }
    slow.said -= 1;
    let first = slow.said;
    let dropped = slow.connection.statistics().dropped;
    let mut senders = tokio::task::JoinSet::new();
    for n in first..first + WAITING {
        let connection = slow.connection.clone();
        senders.spawn(async move {
            let status = connection.send(message(n)).await;
            (status, connection.statistics().queued_bytes)
        });
        slow.expected.push(n);
    }
    // Each of them has its turn.
    tokio::task::yield_now().await;
    assert!(senders.try_join_next().is_none(), "there is no room");
    let reading = async {
        for n in std::mem::take(&mut slow.expected) {
            let frame = slow.peer.next().await.expect("everything is delivered");
            assert!(frame.payload == payload(n), "message {n}");
        }
    };
    let (sent, ()) = within(async { tokio::join!(senders.join_all(), reading) }).await;
    for (status, queued) in sent {
        assert!(matches!(status, Ok(SendStatus::Sent | SendStatus::Queued)), "{status:?}");
        assert!(queued <= OUTBOX, "{queued}");
    }
    let statistics = slow.connection.statistics();
    assert_eq!((statistics.dropped, statistics.queued_bytes), (dropped, 0));
    assert_eq!(statistics.messages_sent, (first + WAITING) as u64);
}
