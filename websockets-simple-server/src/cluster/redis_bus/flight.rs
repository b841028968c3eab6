//! What was sent and is not answered yet.

use std::{collections::VecDeque, future::poll_fn, pin::Pin, task::Poll, time::Duration};

use bytes::Bytes;
use redis::{Pipeline, RedisResult, Value, aio::MultiplexedConnection};
use tokio::{task::unconstrained, time::Instant};

use crate::cluster::{
    bus::Subject,
    redis_bus::{watched::Seen, wording},
};

/// How many batches may wait for their answers.
pub(super) const MOST_BATCHES: usize = 16;
/// How many bytes of them, but for one batch more.
const MOST_BYTES: usize = 1024 * 1024;
/// How many commands there are in a batch.
const BATCH_COMMANDS: usize = 128;
/// How many bytes, but for one message more.
const BATCH_BYTES: usize = 256 * 1024;

/// A connection without anything to do is asked for a sign of life so often.
const PING_EVERY: Duration = Duration::from_secs(1);
/// How long an answer may take while nothing moves.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Commands that are sent at once. Each has one answer.
pub(super) struct Batch {
    pipeline: Pipeline,
    names: Vec<&'static str>,
    bytes: usize,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { pipeline: Pipeline::new(), names: Vec::new(), bytes: 0 }
    }

    /// How the connection is called at the server, whether it wants to know or not.
    pub(super) fn named(name: &str) -> Self {
        let mut batch = Self::new();
        batch.pipeline.cmd("CLIENT").arg("SETNAME").arg(name);
        batch.names.push("CLIENT");
        batch
    }

    fn ping() -> Self {
        let mut batch = Self::new();
        batch.pipeline.cmd("PING");
        batch.names.push("PING");
        batch
    }

    pub(super) fn publish(&mut self, subject: &Subject, message: &Bytes) {
        self.pipeline.cmd("PUBLISH").arg(subject.as_str()).arg(&message[..]);
        self.names.push("PUBLISH");
        self.bytes += message.len();
    }

    /// One subject for each command: the server answers a command that names several with several answers.
    pub(super) fn subscribe(&mut self, subject: &Subject) {
        self.pipeline.cmd("SUBSCRIBE").arg(subject.as_str());
        self.names.push("SUBSCRIBE");
    }

    pub(super) fn unsubscribe(&mut self, subject: &Subject) {
        self.pipeline.cmd("UNSUBSCRIBE").arg(subject.as_str());
        self.names.push("UNSUBSCRIBE");
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.names.len() >= BATCH_COMMANDS || self.bytes >= BATCH_BYTES
    }
}

type Answers = Pin<Box<dyn Future<Output = RedisResult<Vec<Value>>> + Send>>;

struct Sent {
    at: Instant,
    names: Vec<&'static str>,
    bytes: usize,
    answers: Answers,
}

/// The batches of a connection that are not answered yet, the oldest first.
pub(super) struct Flight {
    connection: MultiplexedConnection,
    sent: VecDeque<Sent>,
    bytes: usize,
    /// When it was last found to be alive.
    answered: Instant,
}

impl Flight {
    pub(super) fn new(connection: MultiplexedConnection) -> Self {
        Self { connection, sent: VecDeque::with_capacity(MOST_BATCHES), bytes: 0, answered: Instant::now() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.sent.len() < MOST_BATCHES && self.bytes < MOST_BYTES
    }

    /// Hands a batch to the driver, behind all before it.
    pub(super) async fn send(&mut self, batch: Batch) -> Result<(), String> {
        let Batch { pipeline, names, bytes } = batch;
        let (mut connection, count) = (self.connection.clone(), names.len());
        let answers = async move { connection.send_packed_commands(&pipeline, 0, count).await };
        // The first poll puts it into the queue of the driver, which has room: nothing else may make it wait.
        let mut answers: Answers = Box::pin(unconstrained(answers));
        if let Poll::Ready(result) = poll_fn(|cx| Poll::Ready(answers.as_mut().poll(cx))).await {
            return check(&names, result);
        }
        self.bytes += bytes;
        self.sent.push_back(Sent { at: Instant::now(), names, bytes, answers });
        Ok(())
    }

    pub(super) async fn ping(&mut self) -> Result<(), String> {
        self.send(Batch::ping()).await
    }

    /// Waits for the answers to the oldest batch; for ever, if there is none.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub(super) async fn answer(&mut self) -> Result<(), String> {
        let result = poll_fn(|cx| match self.sent.front_mut() {
            Some(oldest) => oldest.answers.as_mut().poll(cx),
            None => Poll::Pending,
        })
        .await;
        self.answered = Instant::now();
        match self.sent.pop_front() {
            Some(Sent { names, bytes, .. }) => {
                self.bytes -= bytes;
                check(&names, result)
            }
            None => Ok(()),
        }
    }

    /// When something is to be done, if nothing happens until then: a sign of life is to be asked for, or the
    /// connection is to be given up.
    pub(super) fn due(&self, seen: &Seen) -> Instant {
        match self.sent.front() {
            Some(oldest) => oldest.at.max(self.answered).max(seen.moved()) + ANSWER_WITHIN,
            None => self.answered + PING_EVERY,
        }
    }
}

/// That nothing was refused which has to be done.
fn check(names: &[&str], result: RedisResult<Vec<Value>>) -> Result<(), String> {
    let Ok(answers) = result else { return Err(wording::unreadable()) };
    for (name, answer) in names.iter().zip(&answers) {
        if let Value::ServerError(error) = answer
            // An answer is a sign of life, whatever it says.
            && !matches!(*name, "PING" | "CLIENT")
        {
            return Err(wording::command(name, error));
        }
    }
    Ok(())
}
