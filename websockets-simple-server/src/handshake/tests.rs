//! Handshakes over an in-memory stream, with a server whose events are recorded.

use std::{
    future::pending,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::{Duration, Instant},
};
use websockets_simple_core::{Attempt, ConnectionEventKind, SubscribeOptions};

use super::*;
use crate::{
    addressing::Placement,
    config::{ClientId, Limits, ServerParams, TokenPlacements, UnauthorizedDelivery},
    connection::Event,
    net::{Admittance, HandshakeRequest, LimitReached, LocalEndpoint, Peer},
    run::{Shared, Stop},
    server::WebsocketServer,
    users::{
        Admission, AdmitAll, AdmitUsers, Anonymous, Authenticated, Credentials, User, UserService,
        UserServiceError,
    },
};

mod agreed;
mod asking;
mod both_readers;
mod cut_short;
mod refusals;

/// The token that must not appear anywhere, and its base64url form.
const SECRET: &str = "secret-7";
const ENCODED: &str = "c2VjcmV0LTc";

/// The key of RFC 6455 section 1.3 and its answer.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// More than a request and its response, so that neither side waits for the other to read.
const ROOM: usize = 1024 * 1024;

/// What happened, in order.
type Diary = Arc<Mutex<Vec<String>>>;

fn note(diary: &Diary, what: impl Into<String>) {
    diary.lock().unwrap().push(what.into());
}

/// A server around a handshake.
struct TestServer<I: Identity> {
    shared: Arc<Shared<I>>,
    limit: Option<LimitReached>,
    stop: Stop,
    diary: Diary,
}

impl<I: Identity> TestServer<I> {
    fn diary(&self) -> Vec<String> {
        self.diary.lock().unwrap().clone()
    }

    fn permits_taken(&self, user: &I::Id) -> usize {
        self.shared.registry.permits_taken(user)
    }

    /// A handshake with a peer, as the accept loop begins it.
    fn context(&self) -> HandshakeContext<I> {
        let peer =
            Peer::new(Some(([192, 0, 2, 1], 1234).into()), LocalEndpoint::Tcp(([192, 0, 2, 2], 80).into()));
        let limiter = &self.shared.limiter;
        let admittance = match self.limit {
            Some(limit) => Admittance::Overflow(limiter.overflow(limit).unwrap()),
            None => limiter.admit(peer.addr.map(|addr| addr.ip())).unwrap(),
        };
        HandshakeContext::new(Arc::clone(&self.shared), peer, admittance, self.stop.clone())
    }
}

/// Records the events of a handshake.
fn note_event<I: Identity>(diary: &Diary, event: &Event<I>) {
    match event {
        Event::Connection(event) => match &event.kind {
            ConnectionEventKind::Connecting(attempt) => note(diary, format!("connecting {}", attempt.path)),
            other => note(diary, format!("{other:?}")),
        },
        Event::Error(event) => {
            let (stage, error) = (event.stage, &event.error);
            let mut line = format!("failed {stage:?}: {error} / {error:?}");
            let mut cause = std::error::Error::source(error);
            while let Some(error) = cause {
                line.push_str(&format!(" / {error}"));
                cause = error.source();
            }
            note(diary, line);
        }
        #[cfg(feature = "cluster")]
        Event::Cluster(_) | Event::Presence(_) => unreachable!("there is no cluster"),
        Event::Message(_) | Event::MessagePart(_) | Event::Group(_) | Event::Server(_) => {
            unreachable!("nothing is open")
        }
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
    /// The server is stopped while the service is asked.
    Stopping,
}

struct FakeUsers {
    mood: Mood,
    stop: Stop,
    diary: Diary,
}

/// Records that the call was dropped.
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
                self.stop.begin();
                pending::<()>().await;
            }
        }
        let known = credentials.token().is_some_and(|token| token.expose() == SECRET);
        Ok(known.then(|| Authenticated::new(7)))
    }
}

fn host<I: Identity>(
    params: ServerParams,
    admission: impl FnOnce(&Stop, &Diary) -> Box<dyn Admission<I>>,
) -> TestServer<I> {
    let (stop, diary) = (Stop::default(), Diary::default());
    let shared = Arc::new(Shared::new(params, admission(&stop, &diary)));
    let noted = Arc::clone(&diary);
    shared.subscriptions.on(SubscribeOptions::default(), move |event| {
        note_event(&noted, &event);
        std::future::ready(())
    });
    TestServer { shared, limit: None, stop, diary }
}

/// A server that admits all clients.
fn open_to_all(params: ServerParams) -> TestServer<Anonymous> {
    host(params, |_, _| Box::new(AdmitAll))
}

/// A server with users.
fn with_users(params: ServerParams, mood: Mood) -> TestServer<User<i64>> {
    host(params, |stop, diary| {
        let users = FakeUsers { mood, stop: stop.clone(), diary: Arc::clone(diary) };
        Box::new(AdmitUsers::new(users))
    })
}

/// A valid request with more headers, each ended by CRLF.
fn request(target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
    )
}

/// A valid request with the token.
fn request_with_token(target: &str) -> String {
    request(target, &format!("Authorization: Bearer {SECRET}\r\n"))
}

/// The exact text of a refusal.
fn refusal(status: &str, more: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n{more}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The exact text of a 101.
fn switching(more: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-Websocket-Accept: {ACCEPT}\r\n{more}\r\n"
    )
}

type Shaken<I> = Result<Opened<DuplexStream, I>, Ended>;

/// How a handshake ended without a connection.
#[derive(Debug)]
enum Ended {
    Failed(String),
    NoRequest,
    Refused(Attempt, String),
    Unreadable(String),
}

/// Who reads a plain request.
#[derive(Clone, Copy)]
enum Reader {
    Ours,
    Library,
}

async fn shake<I: Identity>(host: &TestServer<I>, stream: DuplexStream) -> Shaken<I> {
    shake_by(host, stream, Reader::Ours).await
}

async fn shake_by<I: Identity>(host: &TestServer<I>, stream: DuplexStream, reader: Reader) -> Shaken<I> {
    let (mut context, read) = (host.context(), Bytes::new());
    let shaken = match reader {
        Reader::Ours => handshake(stream, read, &mut context, |stream| stream).await,
        Reader::Library => {
            through_library(Rewound::new(stream, read, None), &mut context, |stream| stream).await
        }
    };
    let unopened = match shaken {
        Ok(opened) => return Ok(opened),
        Err(unopened) => unopened,
    };
    if let Some(letting_go) = unopened.letting_go {
        letting_go.await;
    }
    Err(match unopened.why {
        NotOpened::Failed(stage, error) => Ended::Failed(format!("{stage:?}: {error}")),
        NotOpened::NoRequest => Ended::NoRequest,
        NotOpened::Refused(why, _) => {
            Ended::Refused(context.attempt().expect("Connecting was raised").clone(), why.text)
        }
        NotOpened::Unreadable(why, _) => Ended::Unreadable(why.text),
    })
}

/// Sends all of `request`, does the handshake, and reads the response.
async fn exchange<I: Identity>(host: &TestServer<I>, request: &[u8]) -> (String, Shaken<I>) {
    let (mut client, stream) = duplex(ROOM);
    client.write_all(request).await.unwrap();
    let shaken = shake(host, stream).await;
    let mut answer = Vec::new();
    if shaken.is_ok() {
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(client.read_u8().await.unwrap());
        }
    } else {
        client.read_to_end(&mut answer).await.unwrap();
    }
    (waiting_least(&String::from_utf8(answer).unwrap(), &host.shared.params), shaken)
}

/// An answer with the shortest wait that is possible in the place of the random one.
fn waiting_least(answer: &str, params: &ServerParams) -> String {
    let Some((before, rest)) = answer.split_once("Retry-After: ") else { return answer.to_owned() };
    let (wait, behind) = rest.split_once("\r\n").unwrap();
    let (wait, least): (u64, _) = (wait.parse().unwrap(), params.retry_after.as_secs().max(1));
    assert!((least..=2 * least).contains(&wait), "{answer}");
    format!("{before}Retry-After: {least}\r\n{behind}")
}

/// The answer to a request that is refused, the path of the attempt, and the reason in the event.
async fn refused<I: Identity>(host: &TestServer<I>, request: &str) -> (String, String, String) {
    let (answer, shaken) = exchange(host, request.as_bytes()).await;
    let Err(ended) = shaken else { panic!("this was admitted: {answer}") };
    assert!(!format!("{ended:?}{answer}").contains(SECRET), "{ended:?} {answer}");
    match ended {
        Ended::Refused(attempt, why) => (answer, attempt.path.to_string(), why),
        other => panic!("{other:?}: {answer}"),
    }
}

/// A request that is admitted, and the answer to it.
async fn admitted<I: Identity>(host: &TestServer<I>, request: &[u8]) -> (String, Opened<DuplexStream, I>) {
    match exchange(host, request).await {
        (answer, Ok(opened)) => (answer, opened),
        (answer, Err(ended)) => panic!("{ended:?}: {answer}"),
    }
}
