//! A token provider that asks another one only when it has to.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use chrono::TimeDelta;
use tokio::sync::Semaphore;
use websockets_simple_core::wall_clock;

use crate::config::token_provider::{IssuedToken, NotAuthorized, TokenProvider, TokenReason};

/// How long before it expires a token is not used any more.
const MARGIN: TimeDelta = TimeDelta::seconds(30);

/// A [`TokenProvider`] that keeps the token of another one until 30 s before it [expires](IssuedToken::expires_in), or for
/// ever if its expiry is not known. [`TokenReason::Refused`] and [`TokenReason::Expiring`] ask for another one.
///
/// Those who ask while a request is under way wait for it and share what it comes to, also an error. If the one who has
/// begun it gives up, the next one begins another. Clones are handles of the same memory, so that several clients may share
/// a token.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use websockets_simple_client::{ClientParams, IssuedToken, Remembered};
///
/// let provider = Remembered::new(async |_reason| {
///     // Ask the issuer, which says `expires_in` with each token (RFC 6749 section 5.1).
///     Ok(IssuedToken::new("a token").expires_in(Duration::from_secs(3600)))
/// });
/// let params = ClientParams::new("localhost", 8080).token_provider(provider.clone());
/// let other = ClientParams::new("localhost", 8081).token_provider(provider);
/// # drop((params, other));
/// ```
#[derive(Clone)]
pub struct Remembered(Arc<Memory>);

struct Memory {
    provider: Box<dyn TokenProvider>,
    /// The right to ask the provider.
    turn: Semaphore,
    answer: Mutex<Answer>,
}

/// What the last request has come to.
#[derive(Clone, Default)]
struct Answer {
    /// How many requests have come to something.
    number: u64,
    result: Option<Result<IssuedToken, SharedError>>,
}

/// The error of a request that several have waited for.
#[derive(Clone, Debug)]
struct SharedError(Arc<dyn Error + Send + Sync>);

impl Remembered {
    /// Remembers the tokens of this provider.
    #[must_use]
    pub fn new(provider: impl TokenProvider) -> Self {
        let (turn, answer) = (Semaphore::new(1), Mutex::default());
        Self(Arc::new(Memory { provider: Box::new(provider), turn, answer }))
    }

    fn answer(&self) -> MutexGuard<'_, Answer> {
        self.0.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TokenProvider for Remembered {
    async fn token(&self, reason: TokenReason) -> Result<IssuedToken, Box<dyn Error + Send + Sync>> {
        let Answer { number: seen, result } = self.answer().clone();
        if matches!(reason, TokenReason::First | TokenReason::Again)
            && let Some(Ok(token)) = result
            && token.expires.is_none_or(|at| at > wall_clock() + MARGIN)
        {
            return Ok(token);
        }
        // It is never closed.
        let _turn = self.0.turn.acquire().await?;
        let answer = self.answer().clone();
        let result = match answer.result {
            // That of a request that was under way.
            Some(result) if answer.number != seen => result,
            _ => {
                let result = self.0.provider.token(reason).await.map_err(|error| SharedError(error.into()));
                let answer = Answer { number: answer.number + 1, result: Some(result.clone()) };
                // What is replaced is dropped outside of the lock.
                let _old = std::mem::replace(&mut *self.answer(), answer);
                result
            }
        };
        result.map_err(SharedError::into_box)
    }
}

impl SharedError {
    /// An error that is still known as [`NotAuthorized`], if it is one.
    fn into_box(self) -> Box<dyn Error + Send + Sync> {
        if self.0.is::<NotAuthorized>() { Box::new(NotAuthorized) } else { Box::new(self) }
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for SharedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A provider whose tokens are numbered, take a second, and are valid for an hour; and how often it was asked.
    fn numbered() -> (Remembered, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let provider = Remembered::new(move |_| {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(IssuedToken::new(number.to_string()).expires_in(HOUR))
            }
        });
        (provider, asked)
    }

    async fn text(provider: &Remembered, reason: TokenReason) -> String {
        provider.token(reason).await.unwrap().token.expose().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_kept_until_30_s_before_it_expires_unless_another_one_is_needed() {
        use TokenReason::{Again, Expiring, First, Refused};
        let (provider, _) = numbered();
        assert_eq!(text(&provider, First).await, "0");
        // A second has passed while it was asked for.
        tokio::time::advance(HOUR - Duration::from_secs(35)).await;
        assert_eq!(text(&provider, Again).await, "0");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(text(&provider, Again).await, "1");
        assert_eq!(text(&provider, Refused).await, "2");
        assert_eq!(text(&provider, First).await, "2");
        assert_eq!(text(&provider, Expiring).await, "3");
        assert_eq!(text(&provider, Again).await, "3");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_of_unknown_expiry_is_kept_until_it_is_refused_and_one_of_a_moment_is_not_kept() {
        let asked = AtomicUsize::new(0);
        let endless = Remembered::new(move |_| {
            let number = asked.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Ok(IssuedToken::new(number.to_string())))
        });
        assert_eq!(text(&endless, TokenReason::First).await, "0");
        tokio::time::advance(HOUR * 24 * 365).await;
        assert_eq!(text(&endless, TokenReason::Again).await, "0");
        assert_eq!(text(&endless, TokenReason::Refused).await, "1");
        let asked = AtomicUsize::new(0);
        let brief = Remembered::new(move |_| {
            let number = asked.fetch_add(1, Ordering::SeqCst);
            let token = IssuedToken::new(number.to_string());
            std::future::ready(Ok(token.expires_at(wall_clock() + TimeDelta::seconds(10))))
        });
        assert_eq!(text(&brief, TokenReason::First).await, "0");
        assert_eq!(text(&brief, TokenReason::Again).await, "1");
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_at_once_share_one_request_whatever_they_ask_for() {
        use TokenReason::{Again, Expiring, First, Refused};
        let (provider, asked) = numbered();
        let all = [First, Again, Refused, Expiring].map(|reason| {
            let provider = provider.clone();
            tokio::spawn(async move { text(&provider, reason).await })
        });
        for one in all {
            assert_eq!(one.await.unwrap(), "0");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn if_the_one_who_asks_gives_up_another_one_takes_over() {
        let (provider, asked) = numbered();
        let first = tokio::spawn({
            let provider = provider.clone();
            async move { text(&provider, TokenReason::First).await }
        });
        tokio::task::yield_now().await;
        let second = tokio::spawn(async move { text(&provider, TokenReason::First).await });
        tokio::task::yield_now().await;
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        first.abort();
        assert_eq!(second.await.unwrap(), "1");
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_shared_and_not_remembered_and_one_that_is_final_stays_so() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let provider = Remembered::new(move |_| {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let error: Box<dyn Error + Send + Sync> = match number {
                    0 => "the issuer is down".into(),
                    _ => Box::new(NotAuthorized),
                };
                Err::<IssuedToken, _>(error)
            }
        });
        let (one, other) =
            tokio::join!(provider.token(TokenReason::First), provider.token(TokenReason::Refused));
        for error in [one.unwrap_err(), other.unwrap_err()] {
            assert_eq!(error.to_string(), "the issuer is down");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let (one, other) =
            tokio::join!(provider.token(TokenReason::First), provider.token(TokenReason::Again));
        assert!(one.unwrap_err().is::<NotAuthorized>() && other.unwrap_err().is::<NotAuthorized>());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
