//! An issuer of tokens: an HTTP server that answers as it is told, and keys to sign with.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use http_body_util::{BodyExt, Either, Full, Limited, StreamBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header::LOCATION,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, crypto::aws_lc::DEFAULT_PROVIDER};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

/// What it answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A document.
    Body(String),
    /// Bytes without end.
    Endless,
    /// The connection is cut.
    Hangup,
    /// Ask elsewhere: on this path of the same server.
    Redirect(&'static str),
    /// A document that says only how long it is, and it is longer than anybody wants.
    Oversized,
    /// Never.
    Silence,
    /// Only a status.
    Status(u16),
}

/// A request that it got.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Method and path.
    pub line: String,
    /// The headers, one per line.
    pub headers: String,
    /// The body.
    pub body: String,
}

/// A server on the loopback interface. It stops when it is dropped.
#[derive(Debug)]
pub struct Issuer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    answer: Mutex<Answer>,
    asked: Mutex<Vec<Asked>>,
    /// Whether answers wait.
    held: watch::Sender<bool>,
}

#[expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "for tests")]
impl Issuer {
    /// Starts one that answers everything so.
    pub async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (held, _) = watch::channel(false);
        let shared = Arc::new(Shared { answer: Mutex::new(answer), asked: Mutex::default(), held });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&shared)));
        Self { addr, shared, _serving: serving }
    }

    /// A URL of it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Answers so from now on.
    pub fn answers(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap() = answer;
    }

    /// Publishes these keys and no others from now on.
    pub fn publishes(&self, keys: &[&SigningKey]) {
        self.answers(published(keys));
    }

    /// Lets answers wait until it is called again with `false`.
    pub fn hold(&self, hold: bool) {
        self.shared.held.send_replace(hold);
    }

    /// What it was asked so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How often it was asked so far.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.shared.asked.lock().unwrap().len()
    }
}

/// A document with these keys.
#[must_use]
pub fn published(keys: &[&SigningKey]) -> Answer {
    let keys = keys.iter().map(|key| key.jwk()).collect::<Vec<_>>();
    Answer::Body(json!({ "keys": keys }).to_string())
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(|request| answer(request, &shared));
            // That a client leaves, or is cut, is part of the play.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// A document, or bytes without end.
type Body = Either<Full<Bytes>, StreamBody<Endless>>;

async fn answer(request: Request<Incoming>, shared: &Shared) -> Result<Response<Body>, Cut> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, 64 * 1024).collect().await.map_err(|_| Cut)?.to_bytes();
    let headers =
        head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?")));
    let asked = Asked {
        line: format!("{} {}", head.method, head.uri),
        headers: headers.collect::<Vec<_>>().join("\n"),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    shared.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    let _ = shared.held.subscribe().wait_for(|held| !held).await;
    let answer = shared.answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut response = Response::new(Either::Left(Full::default()));
    match answer {
        Answer::Body(text) => *response.body_mut() = Either::Left(Full::new(text.into())),
        Answer::Endless => *response.body_mut() = Either::Right(StreamBody::new(Endless)),
        Answer::Hangup => return Err(Cut),
        Answer::Oversized => *response.body_mut() = Either::Left(Full::new(vec![b' '; 1 << 20].into())),
        Answer::Redirect(path) => {
            *response.status_mut() = StatusCode::FOUND;
            response.headers_mut().insert(LOCATION, path.parse().map_err(|_| Cut)?);
        }
        Answer::Silence => std::future::pending().await,
        Answer::Status(status) => *response.status_mut() = StatusCode::from_u16(status).map_err(|_| Cut)?,
    }
    Ok(response)
}

/// Ends a connection without an answer.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for Cut {}

/// Blanks for ever.
#[derive(Debug)]
struct Endless;

impl futures_core::Stream for Endless {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b' '; 4096])))))
    }
}

/// A key that an issuer signs with.
pub struct SigningKey {
    id: String,
    pair: KeyPair,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "for tests")]
impl SigningKey {
    /// A new RSA key, which signs with RS256.
    #[must_use]
    pub fn rsa(id: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { id: id.to_owned(), pair, algorithm: Algorithm::RS256, key }
    }

    /// A new key of the curve P-256, which signs with ES256.
    #[must_use]
    pub fn ec(id: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { id: id.to_owned(), pair, algorithm: Algorithm::ES256, key }
    }

    /// The public key.
    #[must_use]
    pub fn public_pem(&self) -> String {
        self.pair.public_key_pem()
    }

    /// The public key as it is published.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let mut jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.clone());
        serde_json::to_value(jwk).unwrap()
    }

    /// A token that names this key.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({"typ": "JWT", "alg": self.algorithm, "kid": self.id}), claims)
    }

    /// A token with any header.
    #[must_use]
    pub fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        signed(&message, &self.key, self.algorithm)
    }

    /// A token that takes the public key, in some form, for a secret.
    #[must_use]
    pub fn confused(&self, secret: &[u8], claims: &Value) -> String {
        let message = message(&json!({"alg": "HS256", "kid": self.id}), claims);
        signed(&message, &EncodingKey::from_secret(secret), Algorithm::HS256)
    }
}

/// Header and claims as they are signed.
#[must_use]
pub fn message(header: &Value, claims: &Value) -> String {
    let encoded = |part: &Value| base64url(part.to_string().as_bytes());
    format!("{}.{}", encoded(header), encoded(claims))
}

/// As parts of tokens are encoded.
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

#[expect(clippy::unwrap_used, reason = "for tests")]
fn signed(message: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, key).unwrap();
    let signature = signer.try_sign(message.as_bytes()).unwrap();
    format!("{message}.{}", base64url(&signature))
}

/// Seconds since 1970, as tokens count.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
