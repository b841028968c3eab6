//! The difference between the two kinds of servers: whether clients are authenticated.

use std::{fmt, marker::PhantomData};

use async_trait::async_trait;
use websockets_simple_core::{CatchPanic, EventError};

use crate::{
    config::ServerParams,
    figures::{AuthenticationResult, TicketFigures},
    net::HandshakeRequest,
    users::{
        revocation::Revocations,
        user_service::{Authenticated, Credentials, UserId, UserService},
    },
};

/// The kind of a server: without users ([`Anonymous`]) or with users ([`User`]).
pub trait Identity: sealed::Sealed + fmt::Debug + Send + Sync + 'static {
    /// The type of user ids.
    type Id: UserId;
}

/// The [`Identity`] of connections without users.
#[derive(Clone, Copy, Debug)]
pub enum Anonymous {}

/// The [`Identity`] of connections of users with ids of type `T`.
pub struct User<T>(PhantomData<fn() -> T>);

impl Identity for Anonymous {
    type Id = ();
}

impl<T: UserId> Identity for User<T> {
    type Id = T;
}

impl<T> fmt::Debug for User<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("User")
    }
}

mod sealed {
    #[expect(unnameable_types, reason = "sealed: there are two servers")]
    pub trait Sealed {}
    impl Sealed for super::Anonymous {}
    impl<T> Sealed for super::User<T> {}
}

/// Decides which clients are admitted.
#[async_trait]
pub(crate) trait Admission<I: Identity>: Send + Sync {
    /// Whether clients are authenticated: their requests carry tokens, which are removed from them. If not, all are
    /// admitted, as nobody.
    fn asks(&self) -> bool;

    /// Authenticates a request; `Ok(None)` on a server without users.
    async fn admit(
        &self,
        credentials: &Credentials,
        request: &HandshakeRequest<'_>,
        params: &ServerParams,
    ) -> Result<Option<Authenticated<I::Id>>, AdmissionError>;

    /// The stream of revocations from now on.
    fn revocations(&self) -> Option<Revocations<I::Id>>;

    /// What the user service has issued, if that is tickets.
    fn tickets(&self) -> Option<TicketFigures>;
}

/// Why a client was not admitted.
#[derive(Debug)]
pub(crate) enum AdmissionError {
    /// The user service failed.
    Failed(EventError),
    /// It was not asked, as there is nothing to ask about.
    NoCredentials,
    Unauthorized,
}

/// What figures say of an answer of the user service; `None` if it was not asked.
pub(crate) fn result_of<T>(admitted: &Result<T, AdmissionError>) -> Option<AuthenticationResult> {
    match admitted {
        Ok(_) => Some(AuthenticationResult::Authenticated),
        Err(AdmissionError::Unauthorized) => Some(AuthenticationResult::Unauthorized),
        Err(AdmissionError::Failed(_)) => Some(AuthenticationResult::Failed),
        Err(AdmissionError::NoCredentials) => None,
    }
}

/// Admits all clients.
#[derive(Debug)]
pub(crate) struct AdmitAll;

#[async_trait]
impl Admission<Anonymous> for AdmitAll {
    fn asks(&self) -> bool {
        false
    }

    async fn admit(
        &self,
        _credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
        _params: &ServerParams,
    ) -> Result<Option<Authenticated<()>>, AdmissionError> {
        Ok(None)
    }

    fn revocations(&self) -> Option<Revocations<()>> {
        None
    }

    fn tickets(&self) -> Option<TicketFigures> {
        None
    }
}

/// Admits clients that a user service authenticates.
pub(crate) struct AdmitUsers<U>(U);

impl<U: UserService> AdmitUsers<U> {
    pub(crate) fn new(users: U) -> Self {
        Self(users)
    }
}

#[async_trait]
impl<U: UserService> Admission<User<U::Id>> for AdmitUsers<U> {
    fn asks(&self) -> bool {
        true
    }

    async fn admit(
        &self,
        credentials: &Credentials,
        request: &HandshakeRequest<'_>,
        params: &ServerParams,
    ) -> Result<Option<Authenticated<U::Id>>, AdmissionError> {
        if credentials.is_empty() && !params.ask_without_credentials {
            return Err(AdmissionError::NoCredentials);
        }
        let deadline = params.limits.authentication;
        // Called inside the future, as a service written without `async` may panic before it returns a future.
        let asking = Box::pin(async { self.0.authenticate(credentials, request).await });
        match tokio::time::timeout(deadline, CatchPanic::new(asking)).await {
            Ok(Ok(Ok(Some(user)))) => Ok(Some(user)),
            Ok(Ok(Ok(None))) => Err(AdmissionError::Unauthorized),
            Ok(Ok(Err(error))) => Err(AdmissionError::Failed(EventError::new(error))),
            // The text of the panic is left out, as it may quote the token.
            Ok(Err(panicked)) => Err(AdmissionError::Failed(panicked.of_code("the user service"))),
            Err(_) => Err(AdmissionError::Failed(EventError::new("the user service took too long"))),
        }
    }

    fn revocations(&self) -> Option<Revocations<U::Id>> {
        self.0.revocations()
    }

    fn tickets(&self) -> Option<TicketFigures> {
        self.0.tickets()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        pin::Pin,
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use tokio::time::Instant;

    use super::*;
    use crate::{
        config::Limits,
        net::RequestHead,
        users::{memory::MemoryUsers, user_service::UserServiceError},
    };

    type Answer<'a> =
        Pin<Box<dyn Future<Output = Result<Option<Authenticated<i64>>, UserServiceError>> + Send + 'a>>;

    /// Answers with the future of the closure, which is called without `async` around it.
    struct Service<F> {
        answer: F,
        asked: AtomicUsize,
    }

    impl<F> UserService for Service<F>
    where
        F: Fn() -> Answer<'static> + Send + Sync + 'static,
    {
        type Id = i64;

        fn authenticate<'s, 'c, 'r, 'h, 'a>(
            &'s self,
            _credentials: &'c Credentials,
            _request: &'r HandshakeRequest<'h>,
        ) -> Answer<'a>
        where
            's: 'a,
            'c: 'a,
            'r: 'a,
            'h: 'a,
            Self: 'a,
        {
            self.asked.fetch_add(1, Ordering::Relaxed);
            (self.answer)()
        }
    }

    async fn admit<I: Identity>(
        admission: &impl Admission<I>,
        credentials: &Credentials,
        params: &ServerParams,
    ) -> Result<Option<Authenticated<I::Id>>, AdmissionError> {
        let head = RequestHead::new("/", "", &http::HeaderMap::new());
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        admission.admit(credentials, &HandshakeRequest::new(&head, addr, addr), params).await
    }

    /// The result of a service with this answer, and how often it was asked.
    async fn answered(
        credentials: &Credentials,
        params: &ServerParams,
        answer: impl Fn() -> Answer<'static> + Send + Sync + 'static,
    ) -> (Result<Option<i64>, AdmissionError>, usize) {
        let known = AdmitUsers::new(Service { answer, asked: AtomicUsize::new(0) });
        let admitted = admit(&known, credentials, params).await;
        (admitted.map(|user| user.map(|user| *user.id())), known.0.asked.into_inner())
    }

    fn shown(denied: &AdmissionError) -> String {
        let AdmissionError::Failed(error) = denied else { panic!("this is no failure: {denied:?}") };
        format!("{error} {error:?}")
    }

    #[tokio::test]
    async fn everybody_is_admitted_as_nobody() {
        let credentials = Credentials::of_token("token");
        assert!(matches!(admit(&AdmitAll, &credentials, &ServerParams::local()).await, Ok(None)));
        assert!(matches!(admit(&AdmitAll, &Credentials::default(), &ServerParams::local()).await, Ok(None)));
    }

    #[tokio::test]
    async fn whom_the_service_knows_is_admitted_and_nobody_else() {
        let users = MemoryUsers::new();
        users.add("token", 0_i64);
        let known = AdmitUsers::new(users);
        let params = ServerParams::local();
        let user = admit(&known, &Credentials::of_token("token"), &params).await.unwrap().unwrap();
        assert_eq!(*user.id(), 0);
        let other = admit(&known, &Credentials::of_token("other"), &params).await;
        assert!(matches!(other, Err(AdmissionError::Unauthorized)));
    }

    #[tokio::test]
    async fn without_credentials_the_service_is_asked_only_if_it_wants_to_be() {
        let nothing = Credentials::default();
        let guest = || -> Answer<'static> { Box::pin(async { Ok(Some(Authenticated::new(9))) }) };
        let params = ServerParams::local();
        assert!(matches!(answered(&nothing, &params, guest).await, (Err(AdmissionError::NoCredentials), 0)));
        let params = params.ask_without_credentials(true);
        assert!(matches!(answered(&nothing, &params, guest).await, (Ok(Some(9)), 1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_has_until_the_deadline() {
        let limits = Limits::default().authentication(Duration::from_secs(2));
        let params = ServerParams::local().limits(limits);
        let after = |millis: u64| {
            move || -> Answer<'static> {
                Box::pin(async move {
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    Ok(Some(Authenticated::new(7)))
                })
            }
        };
        let credentials = Credentials::of_token("token");
        assert!(matches!(answered(&credentials, &params, after(1999)).await, (Ok(Some(7)), 1)));
        let begun = Instant::now();
        let (late, _) = answered(&credentials, &params, after(60_000)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
        assert!(shown(&late.unwrap_err()).contains("the user service took too long"));
    }

    #[tokio::test]
    async fn a_service_that_fails_is_not_taken_for_one_that_knows_nobody() {
        let credentials = Credentials::of_token("token");
        let fails = || -> Answer<'static> { Box::pin(async { Err(UserServiceError::new("gone")) }) };
        let (failed, _) = answered(&credentials, &ServerParams::local(), fails).await;
        let Err(AdmissionError::Failed(error)) = failed else { panic!("{failed:?}") };
        assert_eq!(error.to_string(), "the user service failed");
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "gone");
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_without_its_text_whether_in_the_future_or_before() {
        let credentials = Credentials::of_token("secret-7");
        let within = || -> Answer<'static> { Box::pin(async { panic!("secret-7") }) };
        let before = || -> Answer<'static> { panic!("secret-7") };
        for (panicked, asked) in [
            answered(&credentials, &ServerParams::local(), within).await,
            answered(&credentials, &ServerParams::local(), before).await,
        ] {
            let shown = shown(&panicked.unwrap_err());
            assert!(shown.contains("the user service panicked") && !shown.contains("secret-7"), "{shown}");
            assert_eq!(asked, 1);
        }
    }
}
