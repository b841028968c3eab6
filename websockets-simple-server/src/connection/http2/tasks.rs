//! The tasks that hyper runs for the streams of an HTTP/2 connection.

use std::sync::Arc;

use hyper::rt::Executor;
use websockets_simple_core::{ErrorStage, EventError};

use crate::{
    connection::{
        http2::{
            Line,
            stream::{Http2Stream, STREAM},
        },
        session::NO_ANSWER,
    },
    users::Identity,
};

/// Spawns what hyper runs for streams among the tasks of the run, each with the deadline of its stream: what answers the
/// request, and what writes for an open connection.
pub(super) struct StreamTasks<I: Identity>(Arc<Line<I>>);

impl<I: Identity> StreamTasks<I> {
    pub(super) fn new(line: &Arc<Line<I>>) -> Self {
        Self(Arc::clone(line))
    }
}

impl<I: Identity> Clone for StreamTasks<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I, F> Executor<F> for StreamTasks<I>
where
    I: Identity,
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let line = Arc::clone(&self.0);
        // What writes is spawned by the task that has answered.
        match STREAM.try_with(Arc::clone) {
            Ok(stream) => drop(self.0.sessions.spawn(in_time(line, stream, task))),
            Err(_) => {
                let stream = Http2Stream::new(&line.tally, line.shared.params.limits.handshake);
                let task = STREAM.scope(Arc::clone(&stream), in_time(line, stream, task));
                drop(self.0.sessions.spawn(task));
            }
        }
    }
}

/// Runs a task until it is done or its stream is late, which resets the stream.
async fn in_time<I: Identity>(line: Arc<Line<I>>, stream: Arc<Http2Stream>, task: impl Future<Output = ()>) {
    let was_page = {
        tokio::select! {
            biased;
            () = task => return,
            was_page = stream.late(&line.stop) => was_page,
        }
    };
    if was_page {
        let error = EventError::new(NO_ANSWER);
        line.shared.raise_in_background(&line.sessions, &line.stop, ErrorStage::Handshake, error);
    }
}
