//! The context of one handshake.

use std::{mem, net::IpAddr, pin::pin, sync::Arc};

use http::HeaderMap;
use tokio::io::AsyncRead;
use tracing::Span;
use websockets_simple_core::{Attempt, ConnectionEvent, ConnectionEventKind, ErrorStage, EventError, Moment};

use crate::{
    addressing::PlacedConnection,
    config::ClientId,
    connection::Event,
    figures::{Handshaking, RefusalReason},
    handshake::{
        decision::UpgradeOverrides,
        refusal::{Refusal, Why},
        timeout::HandshakeTimeout,
    },
    net::{
        Admittance, ConnectionPermit, HandshakeRequest, Peer, Place,
        proxy_protocol::{self, HeaderError, Source},
    },
    run::{Shared, Stop},
    users::Identity,
};

/// The context of one handshake: the server, the peer, and the permits that the handshake holds.
pub(crate) struct HandshakeContext<I: Identity> {
    pub(crate) shared: Arc<Shared<I>>,
    pub(crate) peer: Peer,
    pub(crate) stop: Stop,
    /// Shared with the body of a response, which has its own deadline.
    pub(crate) timeout: Arc<HandshakeTimeout>,
    place: Place,
    /// Boxed, as most handshakes have none.
    overrides: Option<Box<UpgradeOverrides<I>>>,
    /// The attempt of the Connecting event, until Connected or Refused is raised.
    connecting: Option<Attempt>,
    /// That of the request, until there is an answer.
    pub(super) span: Span,
    /// Counts it, for as long as it is one.
    _handshaking: Option<Handshaking>,
}

impl<I: Identity> HandshakeContext<I> {
    /// The context of a handshake that begins now.
    pub(crate) fn new(shared: Arc<Shared<I>>, peer: Peer, admittance: Admittance, stop: Stop) -> Self {
        Self::in_place(shared, peer, Place::new(admittance), stop)
    }

    /// The same in a place that may be lent.
    pub(crate) fn in_place(shared: Arc<Shared<I>>, peer: Peer, place: Place, stop: Stop) -> Self {
        let timeout = HandshakeTimeout::new(shared.params.limits.handshake);
        let span = Span::none();
        Self {
            _handshaking: Some(shared.totals.handshake()),
            shared,
            peer,
            stop,
            timeout,
            place,
            overrides: None,
            connecting: None,
            span,
        }
    }

    /// With what the application sets for its request.
    pub(crate) fn with_overrides(mut self, overrides: UpgradeOverrides<I>) -> Self {
        self.overrides = Some(Box::new(overrides));
        self
    }

    /// What the application sets for the request that is judged.
    pub(super) fn take_overrides(&mut self) -> UpgradeOverrides<I> {
        self.overrides.take().map(|overrides| *overrides).unwrap_or_default()
    }

    /// The refusal, if the server stops or a connection limit is reached.
    pub(crate) fn overloaded(&self) -> Option<Refusal> {
        let params = &self.shared.params;
        if self.stop.has_begun() {
            return Some(Refusal::stopping(params));
        }
        self.place.overflow().map(|limit| Refusal::full(limit, params))
    }

    /// Raises Connecting, and waits for room in event streams. False if a handler panicked.
    pub(crate) async fn connecting(&mut self, path: &str, client: Option<IpAddr>) -> bool {
        let attempt = Attempt::new(self.peer.addr, path).of_client(client);
        self.connecting = Some(attempt.clone().unannounced());
        let handled = self.raise(ConnectionEventKind::Connecting(attempt)).await;
        if let Some(attempt) = &mut self.connecting {
            attempt.announce();
        }
        handled
    }

    /// Whether Connecting was raised, and neither Connected nor Refused since.
    pub(crate) fn is_connecting(&self) -> bool {
        self.connecting.is_some()
    }

    /// Counts the connection for this client, which is not the peer if that is a proxy.
    pub(crate) fn count(&mut self, client: Option<IpAddr>) -> Result<(), Refusal> {
        let (Some(permit), Some(client)) = (self.place.permit(), client) else {
            return Ok(());
        };
        permit.count_for(client).map_err(|limit| Refusal::full(limit, &self.shared.params))
    }

    /// Adds headers with the client's id, channel and groups.
    pub(crate) fn add_identity_headers(
        &self,
        request: &HandshakeRequest<'_>,
        place: &PlacedConnection<I>,
        headers: &mut HeaderMap,
    ) {
        let params = &self.shared.params;
        let head = request.head();
        let id = match &params.id_signing {
            Some(signing) => signing.sign(&place.id, request.client_addr(), head.header("user-agent")),
            None => place.id.to_string(),
        };
        let channel = place.channel.as_deref().unwrap_or_else(|| head.channel());
        params.identity_headers.add(headers, &id, channel, &place.groups);
    }

    /// Reads the PROXY protocol header, in which a proxy names its client. If the connection must be dropped, the answer
    /// is an error, with what is to be raised.
    pub(crate) async fn read_proxy_header<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
    ) -> Result<(), Option<EventError>> {
        let shared = Arc::clone(&self.shared);
        let proxies = &shared.params.trusted_proxies;
        if !self.peer.is_trusted(proxies) {
            let error = EventError::new("the PROXY protocol is accepted only from trusted proxies");
            return Err(Some(error));
        }
        match proxy_protocol::read(stream).await {
            Ok(Source::Client(client)) => self.peer.client = Some(client),
            Ok(Source::Proxy) => {}
            // The HTTP headers of an unknown client are not trustworthy.
            Ok(Source::Unknown) => self.peer.hides_client = true,
            // A health check.
            Err(HeaderError::Ended(0)) => return Err(None),
            Err(error) => return Err(Some(EventError::new(error))),
        }
        let client = self.peer.client.filter(|client| !proxies.contains(*client));
        if client.is_none_or(|client| self.count_early(client)) { Ok(()) } else { Err(None) }
    }

    /// Counts the connection for a client that is known before its request. False if its limit is reached and too many
    /// others are being refused now.
    fn count_early(&mut self, client: IpAddr) -> bool {
        let Some(permit) = self.place.permit() else { return true };
        let Err(limit) = permit.count_for(client) else { return true };
        match self.shared.limiter.overflow(limit) {
            Some(overflow) => {
                self.place.overflows(overflow);
                true
            }
            None => false,
        }
    }

    /// Says in its span which connection it has become. `None` for a peer that is told that it is not authorized.
    pub(crate) fn becomes(&self, id: Option<&ClientId>) {
        match id {
            Some(id) => self.span.record("connection", tracing::field::display(id)),
            None => self.span.record("refused", RefusalReason::Unauthorized.label()),
        };
    }

    /// The parts that the connection keeps: the server, the peer, its permit, the stop.
    pub(crate) fn into_parts(self) -> (Arc<Shared<I>>, Peer, Option<ConnectionPermit>, Stop) {
        (self.shared, self.peer, self.place.into_permit(), self.stop)
    }

    /// Its place in the limits, for another owner.
    #[cfg(feature = "http2")]
    pub(crate) fn take_place(&mut self) -> Place {
        self.place.take()
    }

    /// Raises an error.
    pub(crate) async fn failed(&self, stage: ErrorStage, error: EventError) {
        let raised = self.shared.subscriptions.raise_error(stage, error, self.peer.addr);
        self.stop.run_until_aborted(pin!(raised)).await;
    }

    /// It is not one any more: it carries others.
    #[cfg(feature = "http2")]
    pub(crate) fn carries_others(&mut self) {
        self._handshaking = None;
    }

    /// Raises the error of a handshake that has failed before there was a request.
    pub(crate) async fn failed_early(&self, stage: ErrorStage, error: EventError) {
        self.shared.totals.failed();
        self.failed(stage, error).await;
    }

    /// Counts a refusal, and raises Refused if Connecting was raised.
    pub(crate) async fn refused(&mut self, why: Why) {
        let attempt = self.connecting.take();
        let client = attempt.as_ref().map_or(self.peer.client, |attempt| attempt.client_addr);
        self.shared.refused(why.reason, client);
        mem::replace(&mut self.span, Span::none()).record("refused", why.reason.label());
        if let Some(attempt) = attempt {
            self.raise_refused(attempt, why.text).await;
        }
    }

    /// Raises Refused for a request that could not be read, and has no Connecting.
    pub(crate) async fn unreadable(&self, why: Why) {
        self.shared.refused(why.reason, self.peer.client);
        let attempt = Attempt::new(self.peer.addr, "/").of_client(self.peer.client);
        self.raise_refused(attempt.unannounced(), why.text).await;
    }

    /// Raises an error for a timeout of the handshake, and Refused if Connecting was raised.
    pub(crate) async fn timed_out(&mut self) {
        let why = Why::too_slow();
        let error = EventError::new(why.text.as_str());
        if !self.is_connecting() {
            return self.failed_early(ErrorStage::Handshake, error).await;
        }
        self.failed(ErrorStage::Handshake, error).await;
        self.refused(why).await;
    }

    /// Raises Refused if Connecting was raised: the server has stopped before there was an answer.
    pub(crate) async fn stopped(&mut self) {
        if !self.is_connecting() {
            return self.shared.totals.failed();
        }
        self.refused(Refusal::stopping(&self.shared.params).why()).await;
    }

    async fn raise_refused(&self, attempt: Attempt, why: String) {
        tracing::debug!(peer = ?self.peer.addr, %why, "refused");
        self.raise(ConnectionEventKind::Refused(attempt, why)).await;
    }

    /// False if a handler panicked. Handlers are dropped when a stop has no more time for them.
    async fn raise(&self, kind: ConnectionEventKind<crate::connection::Connection<I>>) -> bool {
        let event = ConnectionEvent::new(kind, Moment::now().utc);
        let raised = self.shared.subscriptions.raise(Event::Connection(event));
        self.stop.run_until_aborted(pin!(raised)).await.unwrap_or(true)
    }

    #[cfg(test)]
    pub(crate) fn attempt(&self) -> Option<&Attempt> {
        self.connecting.as_ref()
    }
}
