//! The server as one handshake sees it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use tokio_util::sync::CancellationToken;
use websockets_simple_core::{
    Attempt, ConnectionEvent, ConnectionEventKind, ErrorEvent, ErrorStage, EventError, Moment,
};

use crate::{
    Event, Identity, ServerParams,
    admission::Admission,
    handshake::Front,
    limits::{Full, SlotPermit},
    refusal::Refusal,
    registry::Seat,
    shared::Shared,
};

/// The server as one handshake sees it.
pub(super) struct Desk<I: Identity> {
    pub(super) shared: Arc<Shared<I>>,
    /// As far as it is known.
    pub(super) peer_addr: Option<SocketAddr>,
    pub(super) stop: CancellationToken,
    /// The place of the connection, unless there is none.
    pub(super) slot: Mutex<Option<SlotPermit>>,
    pub(super) surplus: Option<Full>,
    /// What Connecting was told of, until it is Connected or Refused.
    pub(super) connecting: Mutex<Option<Attempt>>,
}

impl<I: Identity> Front<I> for Desk<I> {
    type Seat = Seat<I>;

    fn params(&self) -> &ServerParams {
        &self.shared.params
    }

    fn admission(&self) -> &dyn Admission<I> {
        &*self.shared.admission
    }

    fn overloaded(&self) -> Option<Refusal> {
        if self.stop.is_cancelled() {
            return Some(Refusal::stopping(&self.shared.params));
        }
        self.surplus.map(|full| Refusal::full(full, &self.shared.params))
    }

    async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    async fn connecting(&self, attempt: Attempt) {
        *self.connecting.lock().unwrap_or_else(PoisonError::into_inner) = Some(attempt.clone());
        let event = ConnectionEvent::new(ConnectionEventKind::Connecting(attempt), Moment::now().utc);
        self.tell(Event::Connection(event)).await;
    }

    fn count(&self, client: Option<IpAddr>) -> Result<(), Refusal> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(slot), Some(client)) = (&mut *slot, client) else { return Ok(()) };
        slot.count_for(client).map_err(|full| Refusal::full(full, &self.shared.params))
    }

    fn seat(&self, user: Option<&I::Id>) -> Result<Option<Seat<I>>, Refusal> {
        let Some(user) = user else { return Ok(None) };
        let limit = self.shared.params.limits.connections_per_user;
        match self.shared.registry.seat(user, limit) {
            Some(seat) => Ok(Some(seat)),
            None => Err(Refusal::too_many_of_user(&self.shared.params)),
        }
    }

    async fn failed(&self, stage: ErrorStage, error: EventError) {
        let event = ErrorEvent::new(stage, error, self.peer_addr, None, Moment::now().utc);
        self.tell(Event::Error(event)).await;
    }
}

impl<I: Identity> Desk<I> {
    /// The place of the connection, which it keeps from now on.
    pub(super) fn take_slot(&self) -> Option<SlotPermit> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) async fn tell_refused(&self, attempt: Attempt, why: String) {
        let event = ConnectionEvent::new(ConnectionEventKind::Refused(attempt, why), Moment::now().utc);
        self.tell(Event::Connection(event)).await;
    }

    /// The handshake was cut: an error, and the end of what Connecting began.
    pub(super) async fn ran_out_of_time(&self) {
        const WHY: &str = "the handshake took too long";
        self.failed(ErrorStage::Handshake, EventError::new(WHY)).await;
        self.give_up(WHY).await;
    }

    /// The end of what Connecting began.
    pub(super) async fn give_up(&self, why: &str) {
        let begun = self.connecting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(attempt) = begun {
            self.tell_refused(attempt, why.to_owned()).await;
        }
    }

    async fn tell(&self, event: Event<I>) {
        if let Some(telling) = self.shared.subscriptions.tell(event) {
            telling.await;
        }
    }
}
