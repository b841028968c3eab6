//! A user service that does as it is told.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    net::HandshakeRequest,
    users::{Authenticated, Credentials, MemoryUsers, Revocations, UserId, UserService, UserServiceError},
};

/// What a [`ScriptedUsers`] does when it is asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum Answer<T> {
    /// Admits this user, whatever the credentials are.
    Admit(Authenticated<T>),
    /// Turns the client away.
    TurnAway,
    /// Fails, as a service whose database is gone: the client gets 503.
    Fail,
    /// Looks the token up so much later.
    Late(Duration),
    /// Answers never: the server gives up at its authentication deadline.
    Never,
    /// Panics.
    Panic,
}

/// A user service that does what a test tells it: it gives the [planned](Self::plan) answers, one for each question, and
/// knows the tokens of its [`users`](Self::users) when there is none. It counts what it is asked. Clones are handles of the
/// same service.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{
///     ServerParams, WebsocketServerAuth,
///     test_util::{Answer, RawPeer, ScriptedUsers, ServeNetwork, network},
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let users = ScriptedUsers::new();
/// users.users().add("a secret of at least 128 bit", 7);
/// users.plan([Answer::Fail]);
/// let server = WebsocketServerAuth::<i64>::new(ServerParams::mounted(), users.clone());
/// server.start().await?;
/// let (dialer, incoming) = network();
/// let _serving = server.serve_network(incoming);
///
/// let token = "Authorization: Bearer a secret of at least 128 bit\r\n";
/// let head = RawPeer::new(dialer.dial().await?).request("/", token).await;
/// assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
/// let head = RawPeer::new(dialer.dial().await?).request("/", token).await;
/// assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
/// assert_eq!(users.asked(), 2);
/// # Ok(()) }
/// ```
pub struct ScriptedUsers<T> {
    users: MemoryUsers<T>,
    script: Arc<Script<T>>,
}

struct Script<T> {
    answers: Mutex<VecDeque<Answer<T>>>,
    asked: AtomicUsize,
}

impl<T: UserId> ScriptedUsers<T> {
    /// A service without users and without planned answers.
    #[must_use]
    pub fn new() -> Self {
        let script = Script { answers: Mutex::default(), asked: AtomicUsize::new(0) };
        Self { users: MemoryUsers::new(), script: Arc::new(script) }
    }

    /// The users that it knows: tokens are added and revoked here.
    #[must_use]
    pub fn users(&self) -> &MemoryUsers<T> {
        &self.users
    }

    /// Plans the answers to the next questions, behind those that are planned already.
    pub fn plan(&self, answers: impl IntoIterator<Item = Answer<T>>) {
        self.script.answers.lock().unwrap_or_else(PoisonError::into_inner).extend(answers);
    }

    /// How often it was asked.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.script.asked.load(Ordering::Relaxed)
    }

    fn next(&self) -> Option<Answer<T>> {
        self.script.asked.fetch_add(1, Ordering::Relaxed);
        self.script.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

#[async_trait]
impl<T: UserId> UserService for ScriptedUsers<T> {
    type Id = T;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<T>>, UserServiceError> {
        match self.next() {
            None => {}
            Some(Answer::Admit(user)) => return Ok(Some(user)),
            Some(Answer::TurnAway) => return Ok(None),
            Some(Answer::Fail) => return Err(UserServiceError::new("planned")),
            Some(Answer::Late(time)) => tokio::time::sleep(time).await,
            Some(Answer::Never) => std::future::pending().await,
            Some(Answer::Panic) => panic!("planned"),
        }
        self.users.authenticate(credentials, request).await
    }

    fn revocations(&self) -> Option<Revocations<T>> {
        self.users.revocations()
    }
}

impl<T> Clone for ScriptedUsers<T>
where
    MemoryUsers<T>: Clone,
{
    fn clone(&self) -> Self {
        Self { users: self.users.clone(), script: Arc::clone(&self.script) }
    }
}

impl<T: UserId> Default for ScriptedUsers<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for ScriptedUsers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = self.script.asked.load(Ordering::Relaxed);
        f.debug_struct("ScriptedUsers").field("asked", &asked).finish_non_exhaustive()
    }
}
