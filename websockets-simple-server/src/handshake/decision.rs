//! The decision on one request: admitted or refused, and the response.

use std::{net::IpAddr, num::NonZeroU16};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response,
    header::{SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL},
    request::Parts,
};
use http_body_util::Full;
use hyper::upgrade::{OnUpgrade, Upgraded};
use tokio::time::Instant;
use tracing::Instrument;
use websockets_simple_core::{
    Agreement, CatchPanic, ErrorStage, Heartbeat, MessageParts, Panicked, SUBPROTOCOL, Token, catch_panic,
    handshake_words::{VERDICT_HEADER, VERDICT_UNAUTHORIZED, agreed_by},
};

use crate::{
    addressing::{PlacedConnection, Placement, UserPermit},
    config::{ServerParams, UnauthorizedDelivery},
    handshake::{
        context::HandshakeContext,
        extensions,
        refusal::{Refusal, Why},
        request_rules::{self, Opening, RequestFacts},
        span,
        tokens::ParsedRequest,
        vacancy::{self, Claim},
    },
    net::RequestHead,
    users::{AdmissionError, Authenticated, Credentials, Identity, result_of},
};

/// What the application sets for a request to its own HTTP server, or on a stream of its own.
pub(crate) struct UpgradeOverrides<I: Identity> {
    /// The path was used for routing, so it is not a token.
    pub(crate) routed: bool,
    /// The user, instead of that of the user service.
    pub(crate) user: Option<Authenticated<I::Id>>,
    /// The placement, instead of that of the hook.
    pub(crate) placement: Option<Placement>,
}

impl<I: Identity> Default for UpgradeOverrides<I> {
    fn default() -> Self {
        Self { routed: false, user: None, placement: None }
    }
}

/// Who has the stream of a request while it is judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum StreamOwner {
    Handshake,
    /// It comes with the upgrade.
    HttpLibrary,
}

/// An admitted request and its answer: 101, or 200 over HTTP/2.
pub(crate) struct Decision<I: Identity> {
    opening: Opening,
    /// Those of the answer, besides what opens the WebSocket.
    headers: HeaderMap,
    admitted: Box<Admitted<I>>,
    /// `None` if the handshake itself has the stream.
    upgrade: Option<OnUpgrade>,
}

/// The result of an admitted request.
pub(crate) struct Admitted<I: Identity> {
    pub(crate) head: RequestHead,
    /// Its [number](ServerParams::subprotocol).
    pub(crate) subprotocol: Option<NonZeroU16>,
    /// Whether the ends agreed on control messages.
    pub(crate) controls: bool,
    pub(crate) user: Option<Authenticated<I::Id>>,
    pub(crate) user_permit: Option<UserPermit<I>>,
    /// The compression that both ends agreed on.
    pub(crate) compression: Option<Agreement>,
    /// `None` for an unauthorized peer.
    pub(crate) place: Option<PlacedConnection<I>>,
    /// The text that an unauthorized peer is sent before the close.
    pub(crate) farewell: Option<String>,
    /// The address of the client.
    pub(crate) client: Option<IpAddr>,
    /// The heartbeat that the user service or the application chose.
    pub(crate) heartbeat: Option<Heartbeat>,
    /// Whether it receives large messages in parts.
    pub(crate) message_parts: Option<MessageParts>,
    /// The moment just before the user service was asked: of a revocation since then, it may not have known.
    pub(crate) asked: Instant,
}

/// An open WebSocket over `S`.
pub(crate) struct Opened<S, I: Identity> {
    pub(crate) stream: S,
    /// Bytes received after the request.
    pub(crate) leftover: Bytes,
    /// Boxed, as it is passed on several times.
    pub(crate) admitted: Box<Admitted<I>>,
}

impl<I: Identity> Decision<I> {
    /// The response, and the upgrade to open once it is sent.
    pub(crate) fn split(self) -> (Response<Full<Bytes>>, Upgrading<I>) {
        let Self { opening, headers, admitted, upgrade } = self;
        (opening.into_response(headers), Upgrading { admitted, upgrade })
    }

    /// The 101 in bytes, where the handshake itself has the stream.
    pub(super) fn into_head(self) -> (Vec<u8>, Box<Admitted<I>>) {
        (self.opening.into_head(&self.headers), self.admitted)
    }
}

/// An admitted request whose answer is being sent.
pub(crate) struct Upgrading<I: Identity> {
    admitted: Box<Admitted<I>>,
    upgrade: Option<OnUpgrade>,
}

impl<I: Identity> Upgrading<I> {
    /// Waits until the HTTP library has sent the answer and released its stream, which `take` converts.
    pub(crate) async fn open<S>(
        self,
        take: impl FnOnce(Upgraded) -> Option<(S, Bytes)>,
    ) -> Result<Opened<S, I>, Why> {
        let upgraded = self.upgrade.ok_or_else(Why::no_stream)?.await.map_err(|_| Why::hung_up())?;
        let (stream, leftover) = take(upgraded).ok_or_else(Why::no_stream)?;
        Ok(Opened { stream, leftover, admitted: self.admitted })
    }
}

/// Raises Connecting, decides on the request and makes the response, in a span. A panic of the application's handlers and
/// hooks is an error event, and refuses the request.
pub(crate) fn decide<'a, I: Identity>(
    context: &'a mut HandshakeContext<I>,
    parts: &'a mut Parts,
    owner: StreamOwner,
) -> impl Future<Output = Result<Decision<I>, Refusal>> + Send + 'a {
    let overrides = context.take_overrides();
    let params = &context.shared.params;
    let routed = overrides.routed;
    let parsed = request_rules::unify_host(parts).and_then(|()| match context.shared.admission.asks() {
        true => ParsedRequest::with_token(&parts.uri, &mut parts.headers, params, routed),
        false => ParsedRequest::anonymous(&parts.uri, &parts.headers),
    });
    let client = context.peer.client_of(&params.trusted_proxies, &parts.headers);
    let made = span::begin(context, parsed.as_ref(), client).map(|span| context.span = span);
    let span = context.span.clone();
    // Not awaited here: an `async fn` that owns a future holds it twice.
    judge(context, parts, owner, overrides, (parsed, client), made).instrument(span)
}

/// Decides on a request that was read as far as it can be.
async fn judge<I: Identity>(
    context: &mut HandshakeContext<I>,
    parts: &mut Parts,
    owner: StreamOwner,
    UpgradeOverrides { routed, user, placement }: UpgradeOverrides<I>,
    (parsed, client): (Result<ParsedRequest, Refusal>, Option<IpAddr>),
    span: Result<(), Panicked>,
) -> Result<Decision<I>, Refusal> {
    if let Err(panicked) = span {
        return Err(Box::pin(refuse_panicked(context, panicked)).await);
    }
    // The path of an invalid request may be a token, so it is not shown.
    let path = parsed.as_ref().map_or("/", |parsed| parsed.head.channel());
    if !context.connecting(path, client).await {
        return Err(Refusal::internal());
    }
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(refusal) => return Err(context.overloaded().unwrap_or(refusal)),
    };
    let examined = match catch_panic(|| examine(context, parts, &parsed.offered, client, owner)) {
        Ok(examined) => examined?,
        Err(panicked) => return Err(Box::pin(refuse_panicked(context, panicked)).await),
    };
    let asked = Instant::now();
    let known = match user {
        Some(user) => Known::User(Some(user)),
        // Nobody is asked where all are admitted.
        None if !context.shared.admission.asks() => Known::User(None),
        None => {
            let asking = Box::pin(ask(context, parsed.token, &parsed.head, client));
            match CatchPanic::new(asking).await {
                Ok(known) => known?,
                Err(panicked) => return Err(Box::pin(refuse_panicked(context, panicked)).await),
            }
        }
    };
    let wanted = catch_panic(|| {
        let wanted = known.admitted().map(|user| {
            let request = context.peer.handshake_request(&parsed.head, client);
            context.shared.place(&request, user, placement)
        });
        (vacancy::claim(context, known.user(), wanted.as_ref()), wanted)
    });
    let (claim, wanted) = match wanted {
        Ok((Ok(claim), wanted)) => (claim, wanted),
        Ok((Err(taken), wanted)) => {
            let freeing = Box::pin(vacancy::free(context, known.user(), wanted.as_ref(), taken));
            match CatchPanic::new(freeing).await {
                Ok(claim) => (claim?, wanted),
                Err(panicked) => return Err(Box::pin(refuse_panicked(context, panicked)).await),
            }
        }
        Err(panicked) => return Err(Box::pin(refuse_panicked(context, panicked)).await),
    };
    let request = (parsed.head, &parts.headers, client);
    let placing = (wanted, claim, context.shared.params.sends_identity_headers || routed);
    match catch_panic(|| settle(context, examined, known, request, placing, asked)) {
        Ok(decision) => decision,
        Err(panicked) => Err(Box::pin(refuse_panicked(context, panicked)).await),
    }
}

/// A function of the application has panicked: an error event.
async fn refuse_panicked<I: Identity>(context: &HandshakeContext<I>, panicked: Panicked) -> Refusal {
    let error = panicked.of_code("a function of the application for handshakes");
    context.failed(ErrorStage::HandlerPanic, error).await;
    Refusal::internal()
}

/// What a request has before its user is known.
struct Examined<'a> {
    opening: Opening,
    upgrade: Option<OnUpgrade>,
    subprotocol: Option<Chosen<'a>>,
}

/// Checks what is known without asking for the user: connection limits, RFC 6455 or RFC 8441, origin, subprotocol.
fn examine<'a, I: Identity>(
    context: &mut HandshakeContext<I>,
    parts: &mut Parts,
    offered: &'a [String],
    client: Option<IpAddr>,
    owner: StreamOwner,
) -> Result<Examined<'a>, Refusal> {
    context.overloaded().map_or(Ok(()), Err)?;
    context.count(client)?;
    let params = &context.shared.params;
    let facts = RequestFacts::of(&parts.headers);
    let opening = request_rules::accept(parts, &facts)?;
    let upgrade = match owner {
        StreamOwner::Handshake => None,
        StreamOwner::HttpLibrary => {
            Some(parts.extensions.remove::<OnUpgrade>().ok_or_else(Refusal::no_stream)?)
        }
    };
    check_origin(&facts, params)?;
    Ok(Examined { opening, upgrade, subprotocol: choose_subprotocol(offered, params)? })
}

/// Who a client is.
enum Known<T> {
    /// `None` on a server without users.
    User(Option<Authenticated<T>>),
    /// Not authorized, and upgraded to be told this text.
    Stranger(String),
}

impl<T> Known<T> {
    /// `None` for a stranger.
    fn admitted(&self) -> Option<Option<&Authenticated<T>>> {
        match self {
            Self::User(user) => Some(user.as_ref()),
            Self::Stranger(_) => None,
        }
    }

    fn user(&self) -> Option<&Authenticated<T>> {
        self.admitted().flatten()
    }
}

/// Asks the user service.
async fn ask<I: Identity>(
    context: &HandshakeContext<I>,
    token: Option<Token>,
    head: &RequestHead,
    client: Option<IpAddr>,
) -> Result<Known<I::Id>, Refusal> {
    let params = &context.shared.params;
    let credentials = Credentials {
        token,
        #[cfg(feature = "rustls")]
        certificate: context.peer.certificate.clone(),
    };
    let request = context.peer.handshake_request(head, client);
    let asked = Instant::now();
    let admitted = tokio::select! {
        biased;
        admitted = context.shared.admission.admit(&credentials, &request, params) => admitted,
        () = context.stop.begun() => return Err(Refusal::stopping(params)),
    };
    if let Some(result) = result_of(&admitted) {
        context.shared.totals.authenticated(result, asked.elapsed());
    }
    let known = match admitted {
        Ok(user) => Known::User(user),
        Err(AdmissionError::Unauthorized | AdmissionError::NoCredentials) => {
            match params.unauthorized_delivery {
                UnauthorizedDelivery::UpgradeAndClose => Known::Stranger(params.unauthorized_text.clone()),
                UnauthorizedDelivery::Http401 => return Err(Refusal::unauthorized(params)),
            }
        }
        Err(AdmissionError::Failed(error)) => {
            context.failed(ErrorStage::UserService, error).await;
            return Err(Refusal::unavailable(params));
        }
    };
    // The server may have stopped while the user service was asked.
    context.overloaded().map_or(Ok(known), Err)
}

/// Makes the answer. `placing` is the placement of the application, what was claimed for it, and whether the client is told
/// of it.
fn settle<I: Identity>(
    context: &HandshakeContext<I>,
    examined: Examined<'_>,
    known: Known<I::Id>,
    (head, asking, client): (RequestHead, &HeaderMap, Option<IpAddr>),
    placing: (Option<Placement>, Claim<I>, bool),
    asked: Instant,
) -> Result<Decision<I>, Refusal> {
    let Examined { opening, upgrade, subprotocol } = examined;
    let (wanted, Claim { user_permit, reserved }, tells_identity) = placing;
    let params = &context.shared.params;
    let request = context.peer.handshake_request(&head, client);
    let (user, farewell) = match known {
        Known::User(user) => (user, None),
        Known::Stranger(farewell) => (None, Some(farewell)),
    };
    let place = wanted.map(|wanted| PlacedConnection::new(wanted, reserved));
    let chosen = user.as_ref().and_then(Authenticated::heartbeat_override);
    let heartbeat = chosen.or_else(|| params.heartbeat_for(&request)).map(ServerParams::bounded_heartbeat);
    let message_parts = params.message_parts_for(&request);
    // A message that is received in parts may be far larger than what is decompressed at once.
    let agreed = match (&farewell, message_parts) {
        (None, None) => extensions::agree(asking, &request, params)?,
        _ => None,
    };
    let mut headers = HeaderMap::new();
    let compression = agreed.map(|(agreement, answer)| {
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, answer);
        agreement
    });
    if let Some(place) = place.as_ref().filter(|_| tells_identity) {
        context.add_identity_headers(&request, place, &mut headers);
    }
    let controls = subprotocol.as_ref().is_some_and(|chosen| agreed_by(chosen.offered).1);
    let subprotocol = subprotocol.map(|Chosen { number, offered }| {
        // Browsers accept only what they have offered, to the letter.
        if let Ok(offered) = HeaderValue::from_str(offered) {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, offered);
        }
        number
    });
    if farewell.is_some() {
        headers.insert(VERDICT_HEADER, HeaderValue::from_static(VERDICT_UNAUTHORIZED));
    }
    let admitted = Box::new(Admitted {
        head,
        subprotocol,
        controls,
        compression,
        user,
        user_permit,
        place,
        farewell,
        client,
        heartbeat,
        message_parts,
        asked,
    });
    Ok(Decision { opening, headers, admitted, upgrade })
}

/// Requires one Host, and if there is an Origin, that the parameters allow it.
fn check_origin(facts: &RequestFacts<'_>, params: &ServerParams) -> Result<(), Refusal> {
    let (host, origin) =
        facts.host_and_origin().ok_or_else(|| Refusal::bad_request("one Host header is needed"))?;
    let host = host.to_str().unwrap_or_default();
    let is_allowed =
        |origin: &HeaderValue| origin.to_str().is_ok_and(|origin| params.allows_origin(origin, host));
    if origin.is_none_or(is_allowed) { Ok(()) } else { Err(Refusal::wrong_origin()) }
}

/// A subprotocol that both ends have.
struct Chosen<'a> {
    /// That of the server.
    number: NonZeroU16,
    /// As the client does.
    offered: &'a str,
}

/// The first subprotocol of the server that the client offers, with control messages if the client offers it with them;
/// `None` if it offers none. The library's own subprotocol is always supported, as a browser that sends its token in the offer fails a handshake that selects none.
fn choose_subprotocol<'a>(
    offered: &'a [String],
    params: &ServerParams,
) -> Result<Option<Chosen<'a>>, Refusal> {
    if offered.is_empty() {
        return Ok(None);
    }
    let supported = params.subprotocols.iter().map(String::as_str).chain([SUBPROTOCOL]);
    // No list of them is as long.
    let numbers = (1..=u16::MAX).filter_map(NonZeroU16::new);
    let mut common = numbers.zip(supported).filter_map(|(number, name)| {
        let is_name = |agreed: &str| params.compatibility.is_same_subprotocol(agreed, name);
        let of_name = || offered.iter().filter(|offer| is_name(agreed_by(offer).0));
        let offered = of_name().find(|offer| agreed_by(offer).1).or_else(|| of_name().next())?;
        Some(Chosen { number, offered })
    });
    common.next().map(Some).ok_or_else(Refusal::no_subprotocol)
}
