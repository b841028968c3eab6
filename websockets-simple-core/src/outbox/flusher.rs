//! Writes the frames that a scheduler round of broadcasts queued in many outboxes: once per socket.

use std::{collections::VecDeque, fmt, sync::Arc};

use tokio::sync::Notify;

use crate::outbox::{
    Outbox, budget,
    coalesce::Coalesced,
    sync::{Mutex, PoisonError},
};

/// Sockets written to before other tasks run.
const WRITES_PER_BATCH: usize = 250;

/// A list with a capacity above this gives its memory back once it is empty.
const KEPT: usize = 1024;

/// Writes broadcasts to many connections, once per socket: a list of connections, and a loop that writes to them. The
/// owner spawns [`run`](Self::run).
pub struct Flusher<C> {
    listed: Mutex<Vec<Arc<C>>>,
    wake: Arc<Notify>,
}

impl<C: AsRef<Outbox>> Flusher<C> {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self { listed: Mutex::new(Vec::new()), wake: Arc::default() }
    }

    /// Adds connections whose outbox asked for it, and wakes the loop: at the end of the poll if a connection is polled
    /// on this thread, so that no other thread writes only a part of what this poll broadcasts.
    pub fn list(&self, connections: &mut Vec<Arc<C>>) {
        if connections.is_empty() {
            return;
        }
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).append(connections);
        budget::wake_after_poll(&self.wake);
    }

    /// Writes to all listed connections, for ever.
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves listed connections to a later `run`.
    pub async fn run(&self) {
        let mut coalesced = Coalesced::default();
        loop {
            match self.write_listed(&mut coalesced) {
                0 => {
                    coalesced.forget();
                    self.wake.notified().await;
                    // Other tasks that are ready to broadcast run first: their messages leave in the same write.
                    tokio::task::yield_now().await;
                }
                WRITES_PER_BATCH => tokio::task::yield_now().await,
                _ => {}
            }
        }
    }

    /// Writes to the connections that have been listed longest, and returns their number: at most
    /// [`WRITES_PER_BATCH`].
    pub(super) fn write_listed(&self, coalesced: &mut Coalesced) -> usize {
        let mut batch = Batch { list: &self.listed, connections: VecDeque::new() };
        batch.fill();
        let number = batch.connections.len();
        while let Some(connection) = batch.connections.pop_front() {
            connection.as_ref().as_ref().flush_round(coalesced);
        }
        number
    }
}

/// Connections that were taken off a list to be written to. Those that were not, because a write panicked, go back.
struct Batch<'a, C> {
    list: &'a Mutex<Vec<Arc<C>>>,
    connections: VecDeque<Arc<C>>,
}

impl<C> Batch<'_, C> {
    /// Takes the oldest connections off the list, as many as are written to at once.
    fn fill(&mut self) {
        let mut listed = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = listed.len().min(WRITES_PER_BATCH);
        self.connections.extend(listed.drain(..turn));
        if listed.is_empty() && listed.capacity() > KEPT {
            *listed = Vec::new();
        }
    }
}

impl<C> Drop for Batch<'_, C> {
    fn drop(&mut self) {
        if !self.connections.is_empty() {
            let mut listed = self.list.lock().unwrap_or_else(PoisonError::into_inner);
            listed.splice(..0, self.connections.drain(..));
        }
    }
}

impl<C: AsRef<Outbox>> Default for Flusher<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> fmt::Debug for Flusher<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flusher").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests {
    use std::{
        io::{self, IoSlice},
        panic::{AssertUnwindSafe, catch_unwind},
        task::{Context, Poll, Waker},
        time::Duration,
    };

    use super::*;
    use crate::{
        outbox::{BroadcastReport, Encoding, OutboxConfig, budget::PollBudget, send::OverflowPolicy},
        protocol::{Message, Side},
        transport::{WriteNow, Writer},
    };

    struct Connection {
        outbox: Outbox,
        writes: Arc<Mutex<Vec<Vec<u8>>>>,
    }

    impl AsRef<Outbox> for Connection {
        fn as_ref(&self) -> &Outbox {
            &self.outbox
        }
    }

    /// A wire on which this was written last panics.
    const PANIC: &[u8] = b"panic";

    struct Wire(Arc<Mutex<Vec<Vec<u8>>>>);

    impl WriteNow for Wire {
        fn write_now(&mut self, _driver: &Waker, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
            let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.to_vec()).collect();
            let taken = bytes.len();
            let mut writes = self.0.lock().unwrap();
            let panics = writes.last().is_some_and(|last| last == PANIC);
            if panics {
                drop(writes);
                panic!("the stream");
            }
            writes.push(bytes);
            Poll::Ready(Ok(taken))
        }

        fn flush_now(&mut self, _driver: &Waker) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn end(&mut self, _driver: &Waker) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn connections(number: usize) -> Vec<Arc<Connection>> {
        let config = OutboxConfig::new(1024, OverflowPolicy::Disconnect);
        let connection = |_| {
            let writes = Arc::default();
            let outbox = Outbox::new(Side::Server, config);
            outbox.open(Writer::alone(Wire(Arc::clone(&writes))));
            outbox.begin_round(Waker::noop());
            outbox.end_round();
            Arc::new(Connection { outbox, writes })
        };
        (0..number).map(connection).collect()
    }

    fn broadcast(
        text: &str,
        connections: &[Arc<Connection>],
        flusher: &Flusher<Connection>,
    ) -> BroadcastReport {
        let encoding = Encoding::new(Message::text(text), false).unwrap();
        let mut report = BroadcastReport::default();
        let listed = |connection: &&Arc<Connection>| connection.outbox.broadcast(&encoding, &mut report);
        let mut listed: Vec<_> = connections.iter().filter(listed).cloned().collect();
        flusher.list(&mut listed);
        report
    }

    fn poll(run: std::pin::Pin<&mut impl Future<Output = ()>>) {
        assert!(run.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    #[test]
    fn broadcasts_of_one_round_leave_in_one_write_per_connection() {
        let flusher = Flusher::new();
        let connections = connections(3);
        let mut run = Box::pin(flusher.run());
        poll(run.as_mut());
        for text in ["1", "2"] {
            assert_eq!(broadcast(text, &connections, &flusher).accepted, 3);
        }
        poll(run.as_mut());
        assert!(connections[0].writes.lock().unwrap().is_empty(), "others who are ready go first");
        assert_eq!(broadcast("3", &connections, &flusher).accepted, 3);
        poll(run.as_mut());
        for connection in &connections {
            assert_eq!(*connection.writes.lock().unwrap(), [b"\x81\x011\x81\x012\x81\x013"]);
        }
        broadcast("4", &connections, &flusher);
        poll(run.as_mut());
        poll(run.as_mut());
        assert_eq!(connections[0].writes.lock().unwrap().len(), 2, "listed again");
    }

    #[test]
    fn during_the_turn_of_a_connection_the_loop_is_not_woken() {
        let flusher = Flusher::new();
        let connections = connections(1);
        let mut run = Box::pin(flusher.run());
        poll(run.as_mut());
        let turn = PollBudget::begin(None);
        broadcast("1", &connections, &flusher);
        (0..3).for_each(|_| poll(run.as_mut()));
        assert!(connections[0].writes.lock().unwrap().is_empty(), "in the turn");
        drop(turn);
        (0..3).for_each(|_| poll(run.as_mut()));
        assert_eq!(connections[0].writes.lock().unwrap().len(), 1, "after it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_goes_on_in_its_next_turn_keeps_the_loop_waiting_but_not_for_long() {
        let flusher = Flusher::new();
        let connections = connections(1);
        let mut run = Box::pin(flusher.run());
        let mut written = || {
            (0..3).for_each(|_| poll(run.as_mut()));
            connections[0].writes.lock().unwrap().len()
        };
        assert_eq!(written(), 0);
        let turn = |kept, text| {
            let turn = PollBudget::begin(kept);
            broadcast(text, &connections, &flusher);
            budget::yield_to_others(&mut Context::from_waker(Waker::noop()));
            turn.end()
        };
        let kept = turn(None, "1");
        assert_eq!(written(), 0, "between two turns");
        let kept = turn(kept, "2");
        tokio::time::advance(Duration::from_millis(10)).await;
        assert_eq!(written(), 0, "nobody has looked at the clock");
        assert!(turn(kept, "3").is_none());
        assert_eq!(written(), 1, "all three in one");
        let kept = turn(None, "4");
        drop(PollBudget::begin(kept));
        assert_eq!(written(), 2, "the next turn was the last one");
        drop(turn(None, "5"));
        assert_eq!(written(), 3, "the connection is gone");
    }

    #[test]
    fn a_write_that_panics_takes_no_other_connection_off_the_list() {
        let flusher = Flusher::new();
        let connections = connections(4);
        connections[1].writes.lock().unwrap().push(PANIC.to_vec());
        broadcast("1", &connections, &flusher);
        let mut run = Box::pin(flusher.run());
        let panicked = catch_unwind(AssertUnwindSafe(|| poll(run.as_mut())));
        assert!(panicked.is_err());
        drop(run);
        let written = || [0, 2, 3].map(|n: usize| connections[n].writes.lock().unwrap().len());
        assert_eq!(written(), [1, 0, 0]);
        poll(Box::pin(flusher.run()).as_mut());
        assert_eq!(written(), [1, 1, 1]);
    }

    #[test]
    fn a_large_audience_is_written_to_in_turns_and_a_dropped_run_forgets_nobody() {
        let flusher = Flusher::new();
        let connections = connections(2 * WRITES_PER_BATCH + 1);
        let written = || connections.iter().filter(|c| !c.writes.lock().unwrap().is_empty()).count();
        broadcast("1", &connections, &flusher);
        let mut run = Box::pin(flusher.run());
        poll(run.as_mut());
        assert_eq!(written(), WRITES_PER_BATCH);
        drop(run);
        let mut run = Box::pin(flusher.run());
        poll(run.as_mut());
        poll(run.as_mut());
        assert_eq!(written(), connections.len());
    }
}
