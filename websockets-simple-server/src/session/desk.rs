//! The server as one handshake sees it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use http::HeaderMap;
use tokio_util::sync::CancellationToken;
use websockets_simple_core::{
    Attempt, ConnectionEvent, ConnectionEventKind, ErrorEvent, ErrorStage, EventError, Moment,
};

use crate::{
    Authenticated, Event, HandshakeRequest, Identity, ServerParams, admission::Admission, handshake::Front,
    limits::Full, placement::Placed, refusal::Refusal, registry::Seat, shared::Shared,
};

/// The server as one handshake sees it.
pub(super) struct Desk<I: Identity> {
    pub(super) shared: Arc<Shared<I>>,
    pub(super) peer_addr: SocketAddr,
    pub(super) stop: CancellationToken,
    pub(super) surplus: Option<Full>,
    /// What Connecting was told of, until it is Connected or Refused.
    pub(super) connecting: Mutex<Option<Attempt>>,
}

impl<I: Identity> Front<I> for Desk<I> {
    type Seat = Seat<I>;
    type Place = Placed<I>;

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

    fn seat(&self, user: Option<&I::Id>) -> Result<Option<Seat<I>>, Refusal> {
        let Some(user) = user else { return Ok(None) };
        let limit = self.shared.params.limits.connections_per_user;
        match self.shared.registry.seat(user, limit) {
            Some(seat) => Ok(Some(seat)),
            None => Err(Refusal::too_many_of_user(&self.shared.params)),
        }
    }

    fn place(
        &self,
        request: &HandshakeRequest<'_>,
        user: Option<&Authenticated<I::Id>>,
        response: &mut HeaderMap,
    ) -> Result<Placed<I>, Refusal> {
        let placed = self.shared.place(request, user).ok_or_else(Refusal::id_is_taken)?;
        let params = &self.shared.params;
        if let Some(headers) = &params.place_headers {
            let head = request.head();
            let id = match &params.id_signing {
                Some(signing) => {
                    signing.sign(&placed.id, request.peer_addr().ip(), head.header("user-agent"))
                }
                None => placed.id.to_string(),
            };
            let channel = placed.channel.as_deref().unwrap_or_else(|| head.channel());
            headers.tell(response, &id, channel, &placed.groups);
        }
        Ok(placed)
    }

    async fn failed(&self, stage: ErrorStage, error: EventError) {
        let event = ErrorEvent::new(stage, error, Some(self.peer_addr), None, Moment::now().utc);
        self.tell(Event::Error(event)).await;
    }
}

impl<I: Identity> Desk<I> {
    pub(super) async fn tell_refused(&self, attempt: Attempt, why: String) {
        let event = ConnectionEvent::new(ConnectionEventKind::Refused(attempt, why), Moment::now().utc);
        self.tell(Event::Connection(event)).await;
    }

    /// The handshake was cut: an error, and the end of what Connecting began.
    pub(super) async fn ran_out_of_time(&self) {
        const WHY: &str = "the handshake took too long";
        self.failed(ErrorStage::Handshake, EventError::new(WHY)).await;
        let begun = self.connecting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(attempt) = begun {
            self.tell_refused(attempt, WHY.to_owned()).await;
        }
    }

    async fn tell(&self, event: Event<I>) {
        if let Some(telling) = self.shared.subscriptions.tell(event) {
            telling.await;
        }
    }
}
