//! The keys that an issuer publishes (RFC 7517), fetched and kept.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jsonwebtoken::{
    DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde_json::Value;
use tokio::{
    sync::Mutex as AsyncMutex,
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{JwtAlgorithm, JwtKey};

/// How long keys are used before they are fetched again.
const FRESH: Duration = Duration::from_secs(600);

/// How soon an unknown key may have the keys fetched again: anybody can invent names of keys.
const AGAIN: Duration = Duration::from_secs(30);

/// How long a failure is remembered while there are no keys at all.
const FAILED: Duration = Duration::from_secs(1);

/// Time for one fetch, which is part of an authentication.
const PATIENCE: Duration = Duration::from_secs(4);

/// Bytes of the longest answer that is read.
const LARGEST: usize = 256 * 1024;

/// Keys that an issuer publishes at a URL.
///
/// They are fetched when they are needed first, and used while they are fetched again, which happens every ten minutes,
/// and when a token names a key that is not known, at most every 30 s. Keys that were fetched stay in use while the
/// issuer is down. Keys for encryption, secrets and algorithms that are not known are passed over.
pub struct Jwks {
    source: Arc<Source>,
    /// The fetch that nobody waits for.
    background: Mutex<Option<JoinHandle<()>>>,
}

struct Source {
    url: String,
    client: reqwest::Client,
    kept: Mutex<Kept>,
    /// Held while keys are fetched.
    fetching: AsyncMutex<()>,
}

#[derive(Clone, Default)]
struct Kept {
    keys: Option<Arc<[JwtKey]>>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwksError {
    /// The answer is not one that holds keys.
    #[error("the keys of the issuer cannot be read: {0}")]
    Answer(String),
    /// The issuer cannot be reached, or takes too long.
    #[error("the keys of the issuer cannot be fetched")]
    Fetch(#[source] Box<dyn Error + Send + Sync>),
    /// The last fetch failed a moment ago.
    #[error("the keys of the issuer could not be fetched a moment ago")]
    Lately,
    /// The URL is none, or not `https`.
    #[error("`{0}` is no https URL")]
    Url(String),
}

impl Jwks {
    /// The keys at an `https` URL, as a `jwks_uri` of OpenID Connect.
    ///
    /// # Errors
    ///
    /// [`JwksError::Url`]; nothing is fetched yet.
    pub fn new(url: impl Into<String>) -> Result<Self, JwksError> {
        Self::over(url.into(), true)
    }

    /// As [`new`](Self::new), also without TLS: whoever is on the way to the issuer can then make tokens. For tests and
    /// for issuers on the same machine.
    ///
    /// # Errors
    ///
    /// [`JwksError::Url`]; nothing is fetched yet.
    pub fn danger_without_tls(url: impl Into<String>) -> Result<Self, JwksError> {
        Self::over(url.into(), false)
    }

    fn over(url: String, secured: bool) -> Result<Self, JwksError> {
        let client = reqwest::Client::builder()
            .https_only(secured)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .map_err(|error| JwksError::Fetch(Box::new(error)))?;
        // Also tells whether the scheme is one that the client speaks.
        let parsed = reqwest::Url::parse(&url)
            .ok()
            .filter(|parsed| parsed.scheme() == "https" || (parsed.scheme() == "http" && !secured));
        if parsed.is_none() {
            return Err(JwksError::Url(url));
        }
        let source = Source { url, client, kept: Mutex::default(), fetching: AsyncMutex::new(()) };
        Ok(Self { source: Arc::new(source), background: Mutex::new(None) })
    }

    /// The keys, with that of this name if the issuer has it.
    pub(super) async fn keys(&self, kid: Option<&str>) -> Result<Arc<[JwtKey]>, JwksError> {
        let kept = self.source.kept();
        let now = Instant::now();
        let Some(keys) = kept.keys else { return self.source.fetch_first().await };
        if kid.is_some_and(|kid| !keys.iter().any(|key| key.may_be(Some(kid)))) {
            return Ok(self.source.fetch_for_unknown().await.unwrap_or(keys));
        }
        if kept.fetched.is_none_or(|at| now.saturating_duration_since(at) >= FRESH) {
            self.refresh();
        }
        Ok(keys)
    }

    /// Fetches the keys again while the old ones are in use.
    fn refresh(&self) {
        let mut background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        if background.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        let source = Arc::clone(&self.source);
        *background = Some(tokio::spawn(async move {
            source.fetch_for_unknown().await;
        }));
    }
}

/// Nothing goes on for keys that nobody needs any more.
impl Drop for Jwks {
    fn drop(&mut self) {
        if let Some(running) = self.background.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            running.abort();
        }
    }
}

impl Source {
    fn kept(&self) -> Kept {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches keys where there are none. Whoever comes meanwhile waits for the same fetch.
    async fn fetch_first(&self) -> Result<Arc<[JwtKey]>, JwksError> {
        let _alone = self.fetching.lock().await;
        let kept = self.kept();
        if let Some(keys) = kept.keys {
            return Ok(keys);
        }
        if kept.tried.is_some_and(|at| at.elapsed() < FAILED) {
            return Err(JwksError::Lately);
        }
        self.fetch().await
    }

    /// Fetches keys again, unless that was tried lately; those that there are then.
    async fn fetch_for_unknown(&self) -> Option<Arc<[JwtKey]>> {
        let _alone = self.fetching.lock().await;
        let kept = self.kept();
        if kept.tried.is_some_and(|at| at.elapsed() < AGAIN) {
            return kept.keys;
        }
        match self.fetch().await {
            Ok(keys) => Some(keys),
            Err(error) => {
                tracing::warn!(%error, url = self.url, "the old keys stay in use");
                kept.keys
            }
        }
    }

    async fn fetch(&self) -> Result<Arc<[JwtKey]>, JwksError> {
        let now = Instant::now();
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).tried = Some(now);
        let answer = timeout(PATIENCE, self.answer()).await;
        let answer = answer.map_err(|elapsed| JwksError::Fetch(Box::new(elapsed)))??;
        let keys: Arc<[JwtKey]> = read(&answer)?.into();
        tracing::debug!(url = self.url, keys = keys.len(), "keys fetched");
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.keys = Some(Arc::clone(&keys));
        kept.fetched = Some(now);
        Ok(keys)
    }

    async fn answer(&self) -> Result<Vec<u8>, JwksError> {
        let failed = |error: reqwest::Error| JwksError::Fetch(Box::new(error.without_url()));
        let mut response = self.client.get(&self.url).send().await.map_err(failed)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(JwksError::Answer(format!("the answer is {}", response.status())));
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > LARGEST {
                return Err(JwksError::Answer(format!("it is longer than {LARGEST} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

/// The keys of a set that can be used.
fn read(set: &[u8]) -> Result<Vec<JwtKey>, JwksError> {
    let set: Value =
        serde_json::from_slice(set).map_err(|_| JwksError::Answer("it is no JSON".to_owned()))?;
    let keys = set.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or_else(|| JwksError::Answer("it has no list of keys".to_owned()))?;
    // One by one: a key of a kind that is not known spoils no other.
    Ok(keys.iter().filter_map(|key| read_key(&serde_json::from_value(key.clone()).ok()?)).collect())
}

fn read_key(jwk: &Jwk) -> Option<JwtKey> {
    if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_))) {
        return None;
    }
    use JwtAlgorithm as Signed;
    use KeyAlgorithm as Said;
    let algorithm = match (&jwk.algorithm, jwk.common.key_algorithm) {
        (AlgorithmParameters::RSA(_), None | Some(Said::RS256)) => Signed::RS256,
        (AlgorithmParameters::RSA(_), Some(Said::RS384)) => Signed::RS384,
        (AlgorithmParameters::RSA(_), Some(Said::RS512)) => Signed::RS512,
        (AlgorithmParameters::RSA(_), Some(Said::PS256)) => Signed::PS256,
        (AlgorithmParameters::RSA(_), Some(Said::PS384)) => Signed::PS384,
        (AlgorithmParameters::RSA(_), Some(Said::PS512)) => Signed::PS512,
        (AlgorithmParameters::EllipticCurve(of), None | Some(Said::ES256))
            if of.curve == EllipticCurve::P256 =>
        {
            Signed::ES256
        }
        (AlgorithmParameters::EllipticCurve(of), None | Some(Said::ES384))
            if of.curve == EllipticCurve::P384 =>
        {
            Signed::ES384
        }
        (AlgorithmParameters::OctetKeyPair(of), None | Some(Said::EdDSA))
            if of.curve == EllipticCurve::Ed25519 =>
        {
            Signed::EdDSA
        }
        // Secrets have no place in a public list.
        _ => return None,
    };
    let key = JwtKey::new(algorithm, DecodingKey::from_jwk(jwk).ok()?);
    Some(match &jwk.common.key_id {
        Some(id) => key.id(id),
        None => key,
    })
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks").field("url", &self.source.url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#;

    fn algorithms(keys: &[String]) -> Vec<(Option<String>, JwtAlgorithm)> {
        let set = format!("{{\"keys\":[{}]}}", keys.join(","));
        read(set.as_bytes()).unwrap().into_iter().map(|key| (key.id, key.algorithm)).collect()
    }

    #[test]
    fn each_key_is_used_with_its_own_algorithm_and_what_cannot_be_used_spoils_no_other() {
        let keys = [
            format!("{EC},\"kid\":\"a\"}}"),
            format!("{EC},\"alg\":\"ES256\",\"use\":\"sig\"}}"),
            format!("{EC},\"alg\":\"RS256\"}}"),
            format!("{EC},\"use\":\"enc\"}}"),
            r#"{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}"#.to_owned(),
            r#"{"kty":"future","x":1}"#.to_owned(),
            "7".to_owned(),
        ];
        let expected = [(Some("a".to_owned()), JwtAlgorithm::ES256), (None, JwtAlgorithm::ES256)];
        assert_eq!(algorithms(&keys), expected);
    }

    #[test]
    fn what_is_no_set_of_keys_is_told() {
        for (body, why) in [("", "no JSON"), ("[]", "no list of keys"), ("{\"keys\":{}}", "no list of keys")]
        {
            assert!(read(body.as_bytes()).unwrap_err().to_string().contains(why), "{body}");
        }
        assert!(read(b"{\"keys\":[]}").unwrap().is_empty());
    }

    #[test]
    fn only_https_is_fetched_unless_told_otherwise() {
        for url in ["http://127.0.0.1/keys", "ftp://issuer/keys", "nothing", ""] {
            assert!(matches!(Jwks::new(url), Err(JwksError::Url(_))), "{url}");
        }
        assert!(Jwks::new("https://issuer.example/keys").is_ok());
        assert!(Jwks::danger_without_tls("http://127.0.0.1/keys").is_ok());
        assert!(Jwks::danger_without_tls("ftp://127.0.0.1/keys").is_err());
    }
}
