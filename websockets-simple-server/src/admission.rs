//! The one seam between the two servers: who is admitted, and as whom.

use std::{
    fmt,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use async_trait::async_trait;
use http::{HeaderMap, Uri};
use websockets_simple_core::EventError;

use crate::{
    Authenticated, Credentials, HandshakeRequest, ServerParams, UserId, UserService, credentials::Asked,
    refusal::Refusal,
};

/// What a connection knows of its user: the one parameter in which the two servers differ.
pub trait Identity: sealed::Sealed + Send + Sync + 'static {
    /// The id of a user.
    type Id: UserId;
}

/// Connections without users.
#[derive(Clone, Copy, Debug)]
pub enum Anonymous {}

/// Connections of users with ids of type `T`.
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

/// Decides on one request.
#[async_trait]
pub(crate) trait Admission<I: Identity>: Send + Sync {
    /// Takes the request apart. Refuses what is contradictory.
    fn read(&self, uri: &Uri, headers: &mut HeaderMap, params: &ServerParams) -> Result<Asked, Refusal>;

    /// Says whose request it is; `Ok(None)` on a server without users.
    async fn admit(
        &self,
        credentials: &Credentials,
        request: &HandshakeRequest<'_>,
        params: &ServerParams,
    ) -> Result<Option<Authenticated<I::Id>>, Denied>;
}

/// Why nobody was admitted.
#[derive(Debug)]
pub(crate) enum Denied {
    /// The user service cannot tell.
    Failed(EventError),
    Unauthorized,
}

/// Admits everybody.
#[derive(Debug)]
pub(crate) struct Everyone;

#[async_trait]
impl Admission<Anonymous> for Everyone {
    fn read(&self, uri: &Uri, headers: &mut HeaderMap, _params: &ServerParams) -> Result<Asked, Refusal> {
        Asked::anonymous(uri, headers)
    }

    async fn admit(
        &self,
        _credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
        _params: &ServerParams,
    ) -> Result<Option<Authenticated<()>>, Denied> {
        Ok(None)
    }
}

/// Admits whom a user service knows.
pub(crate) struct KnownUsers<U>(U);

impl<U: UserService> KnownUsers<U> {
    pub(crate) fn new(users: U) -> Self {
        Self(users)
    }
}

#[async_trait]
impl<U: UserService> Admission<User<U::Id>> for KnownUsers<U> {
    fn read(&self, uri: &Uri, headers: &mut HeaderMap, params: &ServerParams) -> Result<Asked, Refusal> {
        Asked::with_token(uri, headers, params)
    }

    async fn admit(
        &self,
        credentials: &Credentials,
        request: &HandshakeRequest<'_>,
        params: &ServerParams,
    ) -> Result<Option<Authenticated<U::Id>>, Denied> {
        if credentials.token().is_none() && !params.asks_without_credentials() {
            return Err(Denied::Unauthorized);
        }
        let deadline = params.limits_ref().authentication_timeout_value();
        let mut asking = pin!(self.0.authenticate(credentials, request));
        let asking = std::future::poll_fn(|cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| asking.as_mut().poll(cx)));
            // The text of a panic may quote what the service choked on, which may be the token.
            polled.map_or_else(|_| Poll::Ready(Err("the user service panicked")), |polled| polled.map(Ok))
        });
        match tokio::time::timeout(deadline, asking).await {
            Ok(Ok(Ok(Some(user)))) => Ok(Some(user)),
            Ok(Ok(Ok(None))) => Err(Denied::Unauthorized),
            Ok(Ok(Err(error))) => Err(Denied::Failed(EventError::new(error))),
            Ok(Err(panicked)) => Err(Denied::Failed(EventError::new(panicked))),
            Err(_) => Err(Denied::Failed(EventError::new("the user service took too long"))),
        }
    }
}
