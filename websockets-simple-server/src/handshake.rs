//! The opening handshake: reads the request, judges it, answers it.
//!
//! The request is judged asynchronously before the 101, so that whoever is not admitted gets a real HTTP answer.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{
        CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION, UPGRADE,
    },
    request::Parts,
};
use http_body_util::{Either, Full};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::service_fn,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use websockets_simple_core::{Attempt, ErrorStage, EventError, SUBPROTOCOL};

use crate::{
    addressing::Placement,
    config::{ServerParams, UnauthorizedDelivery},
    handshake::reclaim_io::ReclaimableIo,
    net::{Peer, RequestHead},
    users::{Admission, AdmissionError, Authenticated, Credentials, HandshakeRequest, Identity},
};

pub(crate) use context::HandshakeContext;
#[cfg(feature = "rustls")]
pub(crate) use reclaim_io::linger;
pub(crate) use refusal::Refusal;
pub(crate) use timeout::{HandshakeTimeout, ResponseGuard, TimeoutPhase};
pub(crate) use tokens::ParsedRequest;

mod context;
mod reclaim_io;
mod refusal;
mod timeout;
mod tokens;

/// Tells clients of this library that nothing but a farewell follows the 101.
const VERDICT: &str = "websockets-simple-verdict";

/// Why a request that was read got no answer.
pub(crate) const HUNG_UP: &str = "the peer hung up before the answer";

/// What is known of a request before it is judged, where somebody else has looked at it.
pub(crate) struct UpgradeOverrides<I: Identity> {
    /// The path was for a router, and is no token.
    pub(crate) routed: bool,
    /// Whose request it is; nobody else is parsed then.
    pub(crate) user: Option<Authenticated<I::Id>>,
    /// Where it belongs; nobody else is parsed then.
    pub(crate) placement: Option<Placement>,
}

impl<I: Identity> Default for UpgradeOverrides<I> {
    fn default() -> Self {
        Self { routed: false, user: None, placement: None }
    }
}

/// What a handshake needs of the server around it.
pub(crate) trait Front<I: Identity>: Send + Sync + 'static {
    /// A place for the user, given back when it is dropped.
    type UserPermit: Send + 'static;
    /// Where the connection belongs.
    type Place: Send + 'static;

    fn params(&self) -> &ServerParams;
    fn admission(&self) -> &dyn Admission<I>;
    /// Why nobody is admitted now, if so.
    fn overloaded(&self) -> Option<Refusal>;
    /// Resolves when the server stops.
    fn stopping(&self) -> impl Future<Output = ()> + Send;
    /// Tells Connecting; waits for room for it.
    fn connecting(&self, attempt: Attempt) -> impl Future<Output = ()> + Send;
    /// Counts the connection for this client, the real one where the peer is a proxy.
    fn count(&self, client: Option<IpAddr>) -> Result<(), Refusal>;
    /// Takes a place for the user.
    fn user_permit(&self, user: Option<&I::Id>) -> Result<Option<Self::UserPermit>, Refusal>;
    /// Takes the connection's place and tells the client of it.
    fn place(
        &self,
        request: &HandshakeRequest<'_>,
        user: Option<&Authenticated<I::Id>>,
        said: Option<Placement>,
        routed: bool,
        response: &mut HeaderMap,
    ) -> Result<Self::Place, Refusal>;
    /// Tells a failure.
    fn failed(&self, stage: ErrorStage, error: EventError) -> impl Future<Output = ()> + Send;
}

/// A connection that was admitted.
pub(crate) struct Opened<S, I: Identity, UserPermit, Place> {
    pub(crate) stream: S,
    /// Bytes that came behind the request.
    pub(crate) leftover: Bytes,
    pub(crate) head: RequestHead,
    pub(crate) subprotocol: Option<Arc<str>>,
    pub(crate) user: Option<Authenticated<I::Id>>,
    pub(crate) user_permit: Option<UserPermit>,
    /// Only for those who are authorized.
    pub(crate) place: Option<Place>,
    /// The peer is not authorized: it is told this and closed.
    pub(crate) farewell: Option<String>,
    pub(crate) client: Option<IpAddr>,
}

impl<S, I: Identity, UserPermit, Place> Opened<S, I, UserPermit, Place> {
    /// The stream, and the rest.
    pub(crate) fn split(self) -> (S, Opened<(), I, UserPermit, Place>) {
        let Self { stream, leftover, head, subprotocol, user, user_permit, place, farewell, client } = self;
        (
            stream,
            Opened { stream: (), leftover, head, subprotocol, user, user_permit, place, farewell, client },
        )
    }
}

/// A handshake that came to nothing.
#[derive(Debug)]
pub(crate) enum Ended {
    /// There was no complete request.
    NoRequest,
    /// The request was refused, and why.
    Refused(Attempt, String),
}

/// What was decided about a request.
pub(crate) struct Accepted<I: Identity, UserPermit, Place> {
    head: RequestHead,
    subprotocol: Option<Arc<str>>,
    user: Option<Authenticated<I::Id>>,
    user_permit: Option<UserPermit>,
    place: Option<Place>,
    farewell: Option<String>,
    client: Option<IpAddr>,
    upgrade: OnUpgrade,
}

impl<I: Identity, UserPermit, Place> Accepted<I, UserPermit, Place> {
    /// Waits until the HTTP library has sent the 101 and lets go of its stream, from which `take` gets ours.
    pub(crate) async fn open<S>(
        self,
        take: impl FnOnce(Upgraded) -> Option<(S, Bytes)>,
    ) -> Result<Opened<S, I, UserPermit, Place>, &'static str> {
        let Self { head, subprotocol, user, user_permit, place, farewell, client, upgrade } = self;
        let upgraded = upgrade.await.map_err(|_| HUNG_UP)?;
        let (stream, leftover) = take(upgraded).ok_or("the stream was lost")?;
        Ok(Opened { stream, leftover, head, subprotocol, user, user_permit, place, farewell, client })
    }
}

type Verdict<I, UserPermit, Place> = Arc<Mutex<Option<Result<Accepted<I, UserPermit, Place>, Ended>>>>;

/// Shakes hands over `stream`. The caller sets the deadline.
pub(crate) async fn handshake<S, I, F>(
    stream: S,
    front: Arc<F>,
    peer: &Peer,
    deadline: &Arc<HandshakeTimeout>,
) -> Result<Opened<S, I, F::UserPermit, F::Place>, Ended>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    I: Identity,
    F: Front<I>,
{
    let fallback = front.params().fallback.as_ref();
    let verdict: Verdict<I, F::UserPermit, F::Place> = Arc::default();
    let (io, reclaim) = reclaim_io::reclaimable(stream);
    let service = service_fn(|request: Request<Incoming>| {
        let (front, verdict) = (Arc::clone(&front), Arc::clone(&verdict));
        async move {
            if let Some(fallback) = fallback {
                if !asks_for_websocket(request.headers()) {
                    let response = fallback.answer(request, &*front, peer, deadline).await;
                    return Ok::<_, Infallible>(response.map(Either::Right));
                }
                // It may come after others, which had their time.
                deadline.handshaking();
            }
            // The body, empty as it should be, stays until the answer: hyper looks whether anybody wants it.
            let (parts, _body) = request.into_parts();
            let decide = |decided| *verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(decided);
            let response = answer(parts, &*front, peer, UpgradeOverrides::default(), decide).await;
            Ok(response.unwrap_or_else(Refusal::into_response).map(Either::Left))
        }
    });
    let limits = &front.params().limits;
    let connection = http1::Builder::new()
        // The caller's deadline is the only one: two would tell the same failure twice.
        .header_read_timeout(None)
        .max_headers(limits.headers)
        .max_buf_size(limits.head_size)
        .auto_date_header(fallback.is_some())
        .title_case_headers(true)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    // In a block of its own: what is io comes back when the connection is dropped.
    let served = {
        let mut connection = pin!(connection);
        let stopping = async {
            match fallback {
                Some(_) => front.stopping().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            served = &mut connection => served,
            // Without a request it ends at once, otherwise with the answer.
            () = stopping => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    let decided = verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
    let accepted = match decided {
        Some(Ok(accepted)) => accepted,
        Some(Err(ended)) => {
            Box::pin(reclaim.linger()).await;
            return Err(ended);
        }
        None => {
            if let Err(error) = served
                && deadline.waiting() != TimeoutPhase::Request
            {
                front.failed(ErrorStage::Handshake, EventError::new(error)).await;
            }
            Box::pin(reclaim.linger()).await;
            return Err(Ended::NoRequest);
        }
    };
    let attempt = Attempt::new(peer.addr, accepted.head.channel()).of_client(accepted.client);
    let keep = |upgraded: Upgraded| {
        let parts = upgraded.downcast::<TokioIo<ReclaimableIo<S>>>().ok()?;
        Some((parts.io.into_inner().keep()?, parts.read_buf))
    };
    accepted.open(keep).await.map_err(|why| Ended::Refused(attempt, why.to_owned()))
}

/// Decides on a request and words the answer. `decide` is told first what stands if nobody waits for it any longer.
pub(crate) async fn answer<I: Identity, F: Front<I>>(
    mut parts: Parts,
    front: &F,
    peer: &Peer,
    overrides: UpgradeOverrides<I>,
    decide: impl Fn(Result<Accepted<I, F::UserPermit, F::Place>, Ended>),
) -> Result<Response<Full<Bytes>>, Refusal> {
    let read = front.admission().read(&parts.uri, &mut parts.headers, front.params(), overrides.routed);
    // The path of a request that could not be taken apart may be a token.
    let path = read.as_ref().map_or("/", |parsed| parsed.head.channel());
    let client = peer.client_of(&front.params().trusted_proxies, &parts.headers);
    let attempt = Attempt::new(peer.addr, path).of_client(client);
    decide(Err(Ended::Refused(attempt.clone(), HUNG_UP.to_owned())));
    front.connecting(attempt.clone()).await;
    let judged = match read {
        Ok(parsed) => judge(parts, parsed, front, peer, client, overrides).await,
        Err(refusal) => Err(front.overloaded().unwrap_or(refusal)),
    };
    match judged {
        Ok((accepted, response)) => {
            decide(Ok(accepted));
            Ok(response)
        }
        Err(refusal) => {
            decide(Err(Ended::Refused(attempt, refusal.why())));
            Err(refusal)
        }
    }
}

async fn judge<I: Identity, F: Front<I>>(
    mut parts: Parts,
    parsed: ParsedRequest,
    front: &F,
    peer: &Peer,
    client: Option<IpAddr>,
    overrides: UpgradeOverrides<I>,
) -> Result<(Accepted<I, F::UserPermit, F::Place>, Response<Full<Bytes>>), Refusal> {
    let params = front.params();
    let overloaded = || front.overloaded().map_or(Ok(()), Err);
    overloaded()?;
    front.count(client)?;
    let mut response = switching_protocols(&parts)?;
    let upgrade = parts.extensions.remove::<OnUpgrade>().ok_or_else(Refusal::no_stream)?;
    let headers = &parts.headers;
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Refusal::bad_request("one Host header is needed"));
    };
    let host = host.to_str().unwrap_or_default();
    if let Some(origin) = headers.get(ORIGIN)
        && !origin.to_str().is_ok_and(|origin| params.allows_origin(origin, host))
    {
        return Err(Refusal::wrong_origin());
    }
    let subprotocol = choose(&parsed.offered, params)?;
    let credentials = Credentials {
        token: parsed.token,
        #[cfg(feature = "rustls")]
        certificate: peer.certificate.clone(),
    };
    let question = peer.question(&parsed.head, client);
    let admitted = match overrides.user {
        Some(user) => Ok(Some(user)),
        None => tokio::select! {
            biased;
            admitted = front.admission().admit(&credentials, &question, params) => admitted,
            () = front.stopping() => return Err(Refusal::stopping(params)),
        },
    };
    let (user, farewell) = match admitted {
        Ok(user) => (user, None),
        Err(AdmissionError::Unauthorized) => match params.unauthorized_delivery {
            UnauthorizedDelivery::UpgradeAndClose => (None, Some(params.unauthorized_text.to_owned())),
            UnauthorizedDelivery::Http401 => return Err(Refusal::unauthorized(params)),
        },
        Err(AdmissionError::Failed(error)) => {
            front.failed(ErrorStage::UserService, error).await;
            return Err(Refusal::unavailable(params));
        }
    };
    overloaded()?;
    let user_permit = front.user_permit(user.as_ref().map(Authenticated::id))?;
    let place = match farewell {
        None => Some(front.place(
            &question,
            user.as_ref(),
            overrides.placement,
            overrides.routed,
            response.headers_mut(),
        )?),
        Some(_) => None,
    };
    if let Some(chosen) = &subprotocol
        && let Ok(chosen) = HeaderValue::from_str(chosen)
    {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chosen);
    }
    if farewell.is_some() {
        response.headers_mut().insert(VERDICT, HeaderValue::from_static("unauthorized"));
    }
    Ok((
        Accepted { head: parsed.head, subprotocol, user, user_permit, place, farewell, client, upgrade },
        response,
    ))
}

/// The 101 of RFC 6455 section 4.2.2, if the request is one of section 4.2.1.
fn switching_protocols(parts: &Parts) -> Result<Response<Full<Bytes>>, Refusal> {
    if parts.version != Version::HTTP_11 {
        return Err(Refusal::bad_request("HTTP/1.1 is needed"));
    }
    if parts.method != Method::GET {
        return Err(Refusal::wrong_method());
    }
    if !asks_for_websocket(&parts.headers) {
        return Err(Refusal::no_upgrade());
    }
    if parts.headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refusal::wrong_version());
    }
    let key = parts.headers.get(SEC_WEBSOCKET_KEY).map_or(&[][..], HeaderValue::as_bytes);
    if key.len() != 24 || !matches!(STANDARD.decode_slice(key, &mut [0; 18]), Ok(16)) {
        return Err(Refusal::bad_request("a Sec-WebSocket-Key of 16 bytes in base64 is needed"));
    }
    let accept = HeaderValue::try_from(derive_accept_key(key))
        .map_err(|_| Refusal::bad_request("the key has no answer"))?;
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.reserve(4);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

fn asks_for_websocket(headers: &HeaderMap) -> bool {
    names(headers, CONNECTION, "upgrade") && names(headers, UPGRADE, "websocket")
}

/// Whether a list of tokens, which may be spread over several lines (RFC 9110 section 5.3), has this one.
fn names(headers: &HeaderMap, list: HeaderName, token: &str) -> bool {
    let lines = headers.get_all(list).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|held| held.trim().eq_ignore_ascii_case(token))
}

/// The first of ours among those offered; none if none was offered. That of the library can always be agreed on: a
/// browser that carries its token in the list of subprotocols fails a handshake that selects none.
fn choose(offered: &[String], params: &ServerParams) -> Result<Option<Arc<str>>, Refusal> {
    if offered.is_empty() {
        return Ok(None);
    }
    let ours = params.subprotocols.iter().map(String::as_str).chain([SUBPROTOCOL]);
    let mut ours = ours.filter(|ours| offered.iter().any(|offer| offer == ours));
    ours.next().map(|chosen| Some(Arc::from(chosen))).ok_or_else(Refusal::no_subprotocol)
}

#[cfg(test)]
mod tests;
