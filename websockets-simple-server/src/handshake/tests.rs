//! Handshakes over an in-memory stream, with a front that writes down what it is told.

use std::future::pending;

use async_trait::async_trait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    config::limits,
    net::LocalEndpoint,
    users::{AdmitAll, AdmitUsers, Anonymous, HandshakeRequest, User, UserService, UserServiceError},
};

mod agreed;
mod asking;
mod cut_short;
mod refusals;

/// The token that must turn up nowhere, and its base64url form.
const SECRET: &str = "secret-7";
const ENCODED: &str = "c2VjcmV0LTc";

/// The key of RFC 6455 section 1.3 and what it has to be answered with.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// More than a request and its answer; so nobody waits for the other to read.
const ROOM: usize = 1024 * 1024;

/// What happened, in order.
type Diary = Arc<Mutex<Vec<String>>>;

fn note(diary: &Diary, what: impl Into<String>) {
    diary.lock().unwrap().push(what.into());
}

/// A server around a handshake, as far as that sees it.
struct FakeFront<I: Identity> {
    params: ServerParams,
    admission: Box<dyn Admission<I>>,
    full: Option<limits::Full>,
    user_is_full: bool,
    id_is_taken: bool,
    permits: Arc<()>,
    stop: CancellationToken,
    diary: Diary,
}

impl<I: Identity> FakeFront<I> {
    fn diary(&self) -> Vec<String> {
        self.diary.lock().unwrap().clone()
    }

    fn seats_taken(&self) -> usize {
        Arc::strong_count(&self.permits) - 1
    }
}

impl<I: Identity> Front<I> for FakeFront<I> {
    type UserPermit = Arc<()>;
    type Place = ();

    fn params(&self) -> &ServerParams {
        &self.params
    }

    fn admission(&self) -> &dyn Admission<I> {
        &*self.admission
    }

    fn overloaded(&self) -> Option<Refusal> {
        if self.stop.is_cancelled() {
            return Some(Refusal::stopping(&self.params));
        }
        self.full.map(|full| Refusal::full(full, &self.params))
    }

    async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    async fn connecting(&self, attempt: Attempt) {
        note(&self.diary, format!("connecting {}", attempt.path));
    }

    fn count(&self, client: Option<IpAddr>) -> Result<(), Refusal> {
        assert!(client.is_some(), "over TCP it is known");
        Ok(())
    }

    fn user_permit(&self, user: Option<&I::Id>) -> Result<Option<Arc<()>>, Refusal> {
        if self.user_is_full {
            return Err(Refusal::too_many_of_user(&self.params));
        }
        Ok(user.map(|_| Arc::clone(&self.permits)))
    }

    fn place(
        &self,
        _request: &HandshakeRequest<'_>,
        _user: Option<&Authenticated<I::Id>>,
        _said: Option<Placement>,
        _routed: bool,
        _response: &mut HeaderMap,
    ) -> Result<(), Refusal> {
        if self.id_is_taken { Err(Refusal::id_is_taken()) } else { Ok(()) }
    }

    async fn failed(&self, stage: ErrorStage, error: EventError) {
        let mut told = format!("failed {stage:?}: {error} / {error:?}");
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            told.push_str(&format!(" / {error}"));
            cause = error.source();
        }
        note(&self.diary, told);
    }
}

/// How a user service behaves when it is asked.
#[derive(Clone, Copy)]
enum Mood {
    /// Knows the token as that of user 7.
    Knows,
    Fails,
    Panics,
    Silent,
    /// Answers after that long.
    Slow(Duration),
    /// The server is stopped while it thinks.
    Stopping,
}

struct FakeUsers {
    mood: Mood,
    stop: CancellationToken,
    diary: Diary,
}

/// Writes down that a question was given up.
struct GivenUp(Diary);

impl Drop for GivenUp {
    fn drop(&mut self) {
        note(&self.0, "given up");
    }
}

#[async_trait]
impl UserService for FakeUsers {
    type Id = i64;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<i64>>, UserServiceError> {
        note(&self.diary, format!("asked for {}", request.head().channel()));
        assert!(!format!("{credentials:?} {request:?}").contains(SECRET));
        match self.mood {
            Mood::Knows => {}
            Mood::Fails => return Err(UserServiceError::new("the database is gone")),
            Mood::Panics => panic!("cannot digest {}", credentials.token().unwrap().expose()),
            Mood::Slow(time) => tokio::time::sleep(time).await,
            Mood::Silent => {
                let _given_up = GivenUp(Arc::clone(&self.diary));
                pending::<()>().await;
            }
            Mood::Stopping => {
                self.stop.cancel();
                pending::<()>().await;
            }
        }
        let known = credentials.token().is_some_and(|token| token.expose() == SECRET);
        Ok(known.then(|| Authenticated::new(7)))
    }
}

fn front<I: Identity>(
    params: ServerParams,
    admission: impl FnOnce(&CancellationToken, &Diary) -> Box<dyn Admission<I>>,
) -> FakeFront<I> {
    let (stop, diary) = (CancellationToken::new(), Diary::default());
    let admission = admission(&stop, &diary);
    FakeFront {
        params,
        admission,
        full: None,
        user_is_full: false,
        id_is_taken: false,
        permits: Arc::default(),
        stop,
        diary,
    }
}

/// A server that asks nobody who they are.
fn open_to_all(params: ServerParams) -> FakeFront<Anonymous> {
    front(params, |_, _| Box::new(AdmitAll))
}

/// A server with users.
fn with_users(params: ServerParams, mood: Mood) -> FakeFront<User<i64>> {
    front(params, |stop, diary| {
        let users = FakeUsers { mood, stop: stop.clone(), diary: Arc::clone(diary) };
        Box::new(AdmitUsers::new(users))
    })
}

/// A proper request with more headers, each ended by CRLF.
fn request(target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
    )
}

/// A proper request that shows the token.
fn request_with_token(target: &str) -> String {
    request(target, &format!("Authorization: Bearer {SECRET}\r\n"))
}

/// A refusal to the letter.
fn refusal(status: &str, more: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n{more}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A 101 to the letter.
fn switching(more: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-Websocket-Accept: {ACCEPT}\r\n{more}\r\n"
    )
}

type Shaken<I> = Result<Opened<DuplexStream, I, Arc<()>, ()>, Ended>;

async fn shake<I: Identity>(front: &Arc<FakeFront<I>>, stream: DuplexStream) -> Shaken<I> {
    let peer =
        Peer::new(Some(([192, 0, 2, 1], 1234).into()), LocalEndpoint::Tcp(([192, 0, 2, 2], 80).into()));
    let deadline = HandshakeTimeout::new(Duration::from_secs(60));
    handshake(stream, Arc::clone(front), &peer, &deadline).await
}

/// Sends all of `request`, shakes hands, and reads what was answered by then.
async fn exchange<I: Identity>(front: &Arc<FakeFront<I>>, request: &[u8]) -> (String, Shaken<I>) {
    let (mut client, server) = duplex(ROOM);
    client.write_all(request).await.unwrap();
    let shaken = shake(front, server).await;
    let mut answer = Vec::new();
    if shaken.is_ok() {
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(client.read_u8().await.unwrap());
        }
    } else {
        client.read_to_end(&mut answer).await.unwrap();
    }
    (String::from_utf8(answer).unwrap(), shaken)
}

/// The answer to a request that is refused, the path of the attempt, and the reason in the event.
async fn refused<I: Identity>(front: FakeFront<I>, request: &str) -> (String, String, String) {
    let (answer, shaken) = exchange(&Arc::new(front), request.as_bytes()).await;
    let Err(ended) = shaken else { panic!("this was admitted: {answer}") };
    assert!(!format!("{ended:?}{answer}").contains(SECRET), "{ended:?} {answer}");
    match ended {
        Ended::Refused(attempt, why) => (answer, attempt.path, why),
        Ended::NoRequest => panic!("this was no request: {answer}"),
    }
}

/// A request that is admitted, and the answer to it.
async fn admitted<I: Identity>(
    front: &Arc<FakeFront<I>>,
    request: &[u8],
) -> (String, Opened<DuplexStream, I, Arc<()>, ()>) {
    match exchange(front, request).await {
        (answer, Ok(opened)) => (answer, opened),
        (answer, Err(ended)) => panic!("{ended:?}: {answer}"),
    }
}
