//! Key sets that an issuer publishes.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use tokio::{sync::watch, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use crate::users::fetch::{FetchError, Fetcher, IssuerUrlError, Transport, in_time};
use crate::users::jwt::key::{JwtAlgorithm, JwtKey};

/// Longest set, in bytes.
const LONGEST: usize = 256 * 1024;

/// Most keys of a set that are used; a token without a key id is verified with each of them.
const MOST: usize = 64;

/// Shortest time between two fetches that an unknown key id causes: any client can make such tokens.
const UNKNOWN: Duration = Duration::from_secs(30);

/// Shortest time between two attempts to refresh a set, after a failure.
const RETRY: Duration = Duration::from_secs(30);

/// Shortest time between two attempts to fetch the first set, without which no client gets in.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// A set of keys that an issuer publishes (RFC 7517 section 5), usually at a `jwks_uri`.
///
/// It is fetched when the first token arrives. Once it is older than [`refresh_after`](Self::refresh_after), the next
/// token starts a refresh, without waiting for it; if that fails, the old keys stay valid and it is tried again after
/// 30 seconds. A token that names a key (`kid`) that is not in the set starts a fetch at once, at most every 30
/// seconds, so a new key of the issuer works from its first token on. However many tokens arrive, there is one request
/// at a time. A running fetch ends when the set is dropped.
///
/// Keys that are not for signatures, secrets (`oct`), and keys of unknown types are ignored. A key is used with the
/// algorithm that it names, or with those of its type if it names none. A set may have 256 KiB, and its first 64 usable
/// keys are used; a set without a usable key counts as a failed fetch. Redirects are not followed.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{JwtAlgorithm, Jwks};
///
/// # fn example() -> Result<(), websockets_simple_server::IssuerUrlError> {
/// let keys = Jwks::new("https://issuer.example/.well-known/jwks.json")?
///     .algorithms([JwtAlgorithm::Es256, JwtAlgorithm::Rs256]);
/// # Ok(()) }
/// # example().unwrap();
/// ```
pub struct Jwks {
    source: Arc<dyn Source>,
    algorithms: Vec<JwtAlgorithm>,
    refresh_after: Duration,
    timeout: Duration,
    state: Arc<watch::Sender<State>>,
    /// The running fetch, if there is one.
    fetching: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Jwks {
    /// Fetches the set from an https URL.
    ///
    /// # Errors
    ///
    /// When it is not an https URL, or the system has no root certificates.
    pub fn new(url: &str) -> Result<Self, IssuerUrlError> {
        Ok(Self::of(Fetcher::new(url, Transport::Https, LONGEST)?))
    }

    /// Fetches the set from a URL that may be plain http. An attacker on the way can then insert keys and sign tokens:
    /// only for an issuer on the same machine, or for tests.
    ///
    /// # Errors
    ///
    /// When it is neither an http nor an https URL, or the system has no root certificates.
    pub fn danger_without_tls(url: &str) -> Result<Self, IssuerUrlError> {
        Ok(Self::of(Fetcher::new(url, Transport::AlsoHttp, LONGEST)?))
    }

    fn of(source: impl Source) -> Self {
        Self {
            source: Arc::new(source),
            algorithms: JwtAlgorithm::ASYMMETRIC.to_vec(),
            refresh_after: Duration::from_secs(10 * 60),
            timeout: Duration::from_secs(4),
            state: Arc::default(),
            fetching: Mutex::default(),
        }
    }

    /// Which algorithms the keys of the set may be used with. Default: all asymmetric ones. Those that sign with a
    /// shared secret are never used.
    #[must_use]
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = JwtAlgorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// How old the set may be before it is fetched again, 10 minutes by default: a key that the issuer has withdrawn
    /// works for so long.
    #[must_use]
    pub fn refresh_after(mut self, age: Duration) -> Self {
        self.refresh_after = age;
        self
    }

    /// How long a fetch may take, 4 seconds by default. Keep it below the authentication deadline
    /// ([`Limits`](crate::Limits)), which is 5 seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The keys of the set, which include the key with that id if the issuer has it.
    pub(super) async fn keys(&self, id: Option<&str>) -> Result<Arc<[JwtKey]>, Arc<FetchError>> {
        let mut ends = self.state.subscribe();
        let now = Instant::now();
        let rested = |last: Option<Instant>, pause| last.is_none_or(|last| now - last >= pause);
        let (seen, has_keys, is_known) = {
            let state = self.state.borrow();
            (state.ended, state.keys.is_some(), state.knows(id))
        };
        if has_keys {
            self.fetch(|state| {
                rested(state.fetched_at, self.refresh_after)
                    && (state.failure.is_none() || rested(state.began_at, RETRY))
            });
            if !is_known {
                self.fetch(|state| {
                    let rested = rested(state.asked_at, UNKNOWN);
                    if rested {
                        state.asked_at = Some(now);
                    }
                    rested
                });
            }
        } else {
            self.fetch(|state| state.keys.is_none() && rested(state.began_at, FIRST_RETRY));
        }
        if !is_known {
            // A running fetch may bring the key, whichever call started it. `self` keeps the sender, so the wait ends
            // only with the fetch.
            let _ = ends.wait_for(|state| !state.is_fetching || state.ended > seen).await;
        }
        let state = self.state.borrow();
        match (&state.keys, &state.failure) {
            // Without a response of the issuer, it is not known whether the key exists.
            (Some(keys), Some(failure)) if !state.knows(id) => {
                tracing::debug!(
                    keys = keys.len(),
                    "a token names an unknown key, and the keys cannot be fetched"
                );
                Err(Arc::clone(failure))
            }
            (Some(keys), _) => Ok(Arc::clone(keys)),
            (None, Some(failure)) => Err(Arc::clone(failure)),
            (None, None) => Err(Arc::new(FetchError::GivenUp)),
        }
    }

    /// Starts a fetch of the set, unless one is running or none is due.
    fn fetch(&self, is_due: impl FnOnce(&mut State) -> bool) {
        let mut begins = false;
        self.state.send_if_modified(|state| {
            begins = !state.is_fetching && is_due(state);
            if begins {
                state.is_fetching = true;
                state.began_at = Some(Instant::now());
            }
            false
        });
        if !begins {
            return;
        }
        let attempt = Attempt { state: Arc::clone(&self.state), outcome: Err(FetchError::GivenUp) };
        let (source, timeout) = (Arc::clone(&self.source), self.timeout);
        let algorithms = self.algorithms.clone();
        let fetching = tokio::spawn(async move {
            let body = in_time(timeout, source.read()).await;
            attempt.end(body.and_then(|body| read(&body, &algorithms)));
        });
        let fetching = AbortOnDropHandle::new(fetching);
        // Bound, so that the handle of the last one is dropped after the lock.
        let _last = self.fetching.lock().unwrap_or_else(PoisonError::into_inner).replace(fetching);
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks")
            .field("host", &self.source.host())
            .field("algorithms", &self.algorithms)
            .field("refresh_after", &self.refresh_after)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Where a set comes from.
#[async_trait]
trait Source: Send + Sync + 'static {
    async fn read(&self) -> Result<Vec<u8>, FetchError>;

    fn host(&self) -> &str;
}

#[async_trait]
impl Source for Fetcher {
    async fn read(&self) -> Result<Vec<u8>, FetchError> {
        self.body(self.get()).await
    }

    fn host(&self) -> &str {
        Self::host(self)
    }
}

/// The set, and the state of its fetches.
#[derive(Default)]
struct State {
    keys: Option<Arc<[JwtKey]>>,
    fetched_at: Option<Instant>,
    is_fetching: bool,
    began_at: Option<Instant>,
    /// How many fetches have ended.
    ended: u64,
    /// Why the last one failed.
    failure: Option<Arc<FetchError>>,
    /// When a fetch last began because a key was unknown.
    asked_at: Option<Instant>,
}

impl State {
    fn knows(&self, id: Option<&str>) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.iter().any(|key| key.is_called(id)))
    }
}

/// A running fetch. Its outcome is recorded on drop, also when its task is aborted.
struct Attempt {
    state: Arc<watch::Sender<State>>,
    outcome: Result<Arc<[JwtKey]>, FetchError>,
}

impl Attempt {
    fn end(mut self, outcome: Result<Arc<[JwtKey]>, FetchError>) {
        self.outcome = outcome;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Err(FetchError::GivenUp));
        self.state.send_modify(|state| {
            state.is_fetching = false;
            state.ended += 1;
            match outcome {
                Ok(keys) => {
                    tracing::debug!(keys = keys.len(), "the keys of the issuer were fetched");
                    (state.keys, state.fetched_at, state.failure) = (Some(keys), Some(Instant::now()), None);
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the keys of the issuer cannot be fetched"
                    );
                    state.failure = Some(Arc::new(error));
                }
            }
        });
    }
}

/// The usable keys of a set.
fn read(set: &[u8], algorithms: &[JwtAlgorithm]) -> Result<Arc<[JwtKey]>, FetchError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }

    let set: Set = serde_json::from_slice(set).map_err(|_| FetchError::Malformed("not a JWK set"))?;
    let keys = set.keys.iter().filter_map(|key| JwtKey::of_jwk(key, algorithms)).take(MOST);
    let keys = keys.collect::<Arc<[_]>>();
    if keys.is_empty() { Err(FetchError::Malformed("no usable key")) } else { Ok(keys) }
}

#[cfg(test)]
mod tests;
