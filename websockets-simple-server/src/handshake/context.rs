//! The server as one handshake sees it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::HeaderMap;
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;
use websockets_simple_core::{Attempt, ConnectionEvent, ConnectionEventKind, ErrorStage, EventError, Moment};

use crate::{
    addressing::{PlacedConnection, Placement, UserPermit},
    config::{ConnectionPermit, ServerParams},
    connection::Event,
    handshake::{Front, refusal::Refusal, timeout::HandshakeTimeout},
    net::{
        Peer,
        proxy_protocol::{self, HeaderError, Source},
    },
    run::Shared,
    users::{Admission, Authenticated, HandshakeRequest, Identity},
};

use crate::connection::Admittance;

/// The server as one handshake sees it.
pub(crate) struct HandshakeContext<I: Identity> {
    pub(crate) shared: Arc<Shared<I>>,
    pub(crate) peer_addr: Option<SocketAddr>,
    pub(crate) stop: CancellationToken,
    pub(crate) deadline: Arc<HandshakeTimeout>,
    /// The place of the connection, until it is open.
    pub(crate) admittance: Mutex<Option<Admittance>>,
    /// What Connecting was told of, until it is Connected or Refused.
    pub(crate) connecting: Mutex<Option<Attempt>>,
}

impl<I: Identity> Front<I> for HandshakeContext<I> {
    type UserPermit = UserPermit<I>;
    type Place = PlacedConnection<I>;

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
        match &*self.admittance() {
            Some(Admittance::Overflow(overflow)) => Some(Refusal::full(overflow.full, &self.shared.params)),
            Some(Admittance::Admitted(_)) | None => None,
        }
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
        let mut admittance = self.admittance();
        let (Some(Admittance::Admitted(permit)), Some(client)) = (&mut *admittance, client) else {
            return Ok(());
        };
        permit.count_for(client).map_err(|full| Refusal::full(full, &self.shared.params))
    }

    fn user_permit(&self, user: Option<&I::Id>) -> Result<Option<UserPermit<I>>, Refusal> {
        let Some(user) = user else { return Ok(None) };
        let limit = self.shared.params.limits.connections_per_user;
        match self.shared.registry.user_permit(user, limit) {
            Some(user_permit) => Ok(Some(user_permit)),
            None => Err(Refusal::too_many_of_user(&self.shared.params)),
        }
    }

    fn place(
        &self,
        request: &HandshakeRequest<'_>,
        user: Option<&Authenticated<I::Id>>,
        said: Option<Placement>,
        routed: bool,
        response: &mut HeaderMap,
    ) -> Result<PlacedConnection<I>, Refusal> {
        let placed = self.shared.place(request, user, said).ok_or_else(Refusal::id_is_taken)?;
        let params = &self.shared.params;
        if params.sends_identity_headers || routed {
            let head = request.head();
            let id = match &params.id_signing {
                Some(signing) => signing.sign(&placed.id, request.client_addr(), head.header("user-agent")),
                None => placed.id.to_string(),
            };
            let channel = placed.channel.as_deref().unwrap_or_else(|| head.channel());
            params.identity_headers.tell(response, &id, channel, &placed.groups);
        }
        Ok(placed)
    }

    async fn failed(&self, stage: ErrorStage, error: EventError) {
        if let Some(raised) = self.shared.subscriptions.dispatch_error(stage, error, self.peer_addr) {
            raised.await;
        }
    }
}

impl<I: Identity> HandshakeContext<I> {
    /// The place of the connection, which it keeps from now on.
    pub(crate) fn take_permit(&self) -> Option<ConnectionPermit> {
        match self.admittance().take() {
            Some(Admittance::Admitted(permit)) => Some(permit),
            Some(Admittance::Overflow(_)) | None => None,
        }
    }

    /// Counts the connection for a client that is known before its request is. False if there is no place for it,
    /// and nobody to tell it so.
    fn count_early(&self, client: IpAddr) -> bool {
        let mut admittance = self.admittance();
        if let Some(Admittance::Admitted(permit)) = &mut *admittance
            && let Err(full) = permit.count_for(client)
        {
            *admittance = self.shared.slots.overflow(full).map(Admittance::Overflow);
        }
        admittance.is_some()
    }

    fn admittance(&self) -> MutexGuard<'_, Option<Admittance>> {
        self.admittance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a proxy say whose connection it is. False if that is nobody who may go on.
    pub(crate) async fn introduce<S: AsyncRead + Unpin>(&self, stream: &mut S, peer: &mut Peer) -> bool {
        let proxies = &self.shared.params.trusted_proxies;
        if !peer.is_trusted(proxies) {
            let error = EventError::new("the PROXY protocol is taken from trusted proxies alone");
            self.failed(ErrorStage::Handshake, error).await;
            return false;
        }
        match proxy_protocol::read(stream).await {
            Ok(Source::Client(client)) => peer.client = Some(client),
            Ok(Source::Proxy) => {}
            // Whoever it is may write what it likes into a header.
            Ok(Source::Unknown) => peer.hides_client = true,
            // Somebody looked whether we are there.
            Err(HeaderError::Ended(0)) => return false,
            Err(error) => {
                self.failed(ErrorStage::Handshake, EventError::new(error)).await;
                return false;
            }
        }
        match peer.client {
            Some(client) if !proxies.contains(client) => self.count_early(client),
            _ => true,
        }
    }

    pub(crate) async fn tell_refused(&self, attempt: Attempt, why: String) {
        let event = ConnectionEvent::new(ConnectionEventKind::Refused(attempt, why), Moment::now().utc);
        self.tell(Event::Connection(event)).await;
    }

    /// The handshake was cut: an error, and the end of what Connecting began.
    pub(crate) async fn ran_out_of_time(&self) {
        const WHY: &str = "the handshake took too long";
        self.failed(ErrorStage::Handshake, EventError::new(WHY)).await;
        self.give_up(WHY).await;
    }

    /// The end of what Connecting began.
    pub(crate) async fn give_up(&self, why: &str) {
        let begun = self.connecting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(attempt) = begun {
            self.tell_refused(attempt, why.to_owned()).await;
        }
    }

    async fn tell(&self, event: Event<I>) {
        self.shared.subscriptions.raise(event).await;
    }
}
