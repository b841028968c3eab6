//! The pending group requests of a connection.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use websockets_simple_core::{ConnectionShared, Control, GroupName, Subscriptions};

use crate::{error::GroupError, event::ClientEvent};

/// Requests that may be pending at a time; further ones wait.
const AT_ONCE: usize = 64;

/// The pending requests, in order: the server answers in that order.
pub(crate) struct GroupRequests {
    places: Arc<Semaphore>,
    patience: Duration,
    waiting: Mutex<VecDeque<Request>>,
}

/// A pending request. Once sent it stays until the server answers, even if the caller has given up: the next answer
/// belongs to it.
struct Request {
    ask: Control,
    asked: bool,
    answer: oneshot::Sender<Result<(), GroupError>>,
    _place: OwnedSemaphorePermit,
}

impl GroupRequests {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), patience, waiting: Mutex::default() }
    }

    /// Asks the server for what `ask` makes of a group, and waits for the answer.
    pub(crate) async fn ask(
        &self,
        core: &ConnectionShared,
        events: &Subscriptions<ClientEvent>,
        ask: fn(GroupName) -> Control,
        group: &str,
    ) -> Result<(), GroupError> {
        let ask = ask(GroupName::new(group).map_err(|_| GroupError::Name)?);
        let mut question = core.ask();
        let stalled = async {
            loop {
                question.stalled().await;
                // Whoever is to take what is in front of the answer waits for it, here or in the loop over a stream.
                if question.is_inside() || events.is_stuck().await {
                    return Err(GroupError::Stalled);
                }
            }
        };
        let answered = async {
            let places = Arc::clone(&self.places);
            let place = places.acquire_owned().await.map_err(|_| GroupError::Ended)?;
            let answer = self.begin(core, ask, place)?;
            answer.await.unwrap_or(Err(GroupError::Ended))
        };
        tokio::select! {
            biased;
            answered = tokio::time::timeout(self.patience, answered) => {
                answered.unwrap_or(Err(GroupError::Timeout))
            }
            stalled = stalled => stalled,
        }
    }

    fn begin(
        &self,
        core: &ConnectionShared,
        ask: Control,
        place: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Result<(), GroupError>>, GroupError> {
        let (answer, answered) = oneshot::channel();
        let given_up = {
            let mut waiting = self.lock();
            if self.places.is_closed() {
                return Err(GroupError::Ended);
            }
            waiting.push_back(Request { ask, asked: false, answer, _place: place });
            say(&mut waiting, core)
        };
        drop(given_up);
        Ok(answered)
    }

    /// Sends the requests that had to wait for the server's hello.
    pub(crate) fn hello(&self, core: &ConnectionShared) {
        let given_up = say(&mut self.lock(), core);
        drop(given_up);
    }

    /// Passes an answer of the server to the request that waits for it.
    pub(crate) fn answered(&self, answer: &Control) {
        let (group, result) = match answer {
            Control::Joined(group) | Control::Left(group) => (group, Ok(())),
            Control::GroupRefused { group, reason } => {
                (group, Err(GroupError::Refused { reason: reason.clone() }))
            }
            _ => return,
        };
        let is_of = |request: &Request| match (&request.ask, answer) {
            (Control::Join(asked), Control::Joined(_) | Control::GroupRefused { .. })
            | (Control::Leave(asked), Control::Left(_) | Control::GroupRefused { .. }) => asked == group,
            _ => false,
        };
        let request = {
            let mut waiting = self.lock();
            let place = waiting.iter().position(|request| request.asked && is_of(request));
            place.and_then(|place| waiting.remove(place))
        };
        if let Some(Request { answer, .. }) = request {
            let _ = answer.send(result);
        }
    }

    /// Fails all pending and later requests, as the connection has ended.
    pub(crate) fn end(&self) {
        // Before the queue is taken, so that no request comes later.
        self.places.close();
        let waiting = std::mem::take(&mut *self.lock());
        drop(waiting);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Request>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends the requests that were not sent yet, in order, if the server takes control messages. Requests whose caller has
/// given up are returned, to be dropped outside of the lock: their places wake those who wait for one.
fn say(waiting: &mut VecDeque<Request>, core: &ConnectionShared) -> VecDeque<Request> {
    if !core.has_controls() {
        return VecDeque::new();
    }
    let (kept, given_up) =
        waiting.drain(..).partition(|request| request.asked || !request.answer.is_closed());
    *waiting = kept;
    for request in waiting.iter_mut().filter(|request| !request.asked) {
        request.asked = core.send_control(&request.ask);
    }
    given_up
}

impl fmt::Debug for GroupRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupRequests").field("waiting", &self.lock().len()).finish_non_exhaustive()
    }
}
