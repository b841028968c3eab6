//! An open WebSocket: its first message, a ping, and its end.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::time::{timeout, timeout_at};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::ws::doctor::{
    finding::{Facts, Fault},
    network::{Stream, milliseconds, seconds},
};

/// Bytes of the largest message that is read.
const LARGEST_MESSAGE: usize = 1 << 20;

/// A WebSocket that the server has agreed to.
pub(super) struct Session<S> {
    socket: WebSocketStream<S>,
    patience: Duration,
    /// Messages that came beside those that were waited for.
    others: u64,
}

/// The first message of a server of this library. The word in it, with which others could be forged, is not read.
#[derive(Deserialize)]
struct Hello {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    speaks: Vec<String>,
    agent: Option<String>,
    ping_seconds: Option<u64>,
}

impl<S: Stream> Session<S> {
    /// On a stream from which `rest` has been read behind the handshake.
    pub(super) async fn new(stream: S, rest: Vec<u8>, patience: Duration) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .write_buffer_size(0)
            .max_message_size(Some(LARGEST_MESSAGE))
            .max_frame_size(Some(LARGEST_MESSAGE));
        let socket = WebSocketStream::from_partially_read(stream, rest, Role::Client, Some(config)).await;
        Self { socket, patience, others: 0 }
    }

    /// Awaits the hello.
    pub(super) async fn hello(&mut self, facts: &mut Facts) -> Result<String, Fault> {
        let missing = |why: String| {
            Fault::new(
                why,
                "the server chose a subprotocol with control messages, so it has to begin with a `hello` \
                 (docs/control.md): check its version, or offer another subprotocol",
            )
        };
        let message = match timeout(self.patience, self.message()).await {
            Ok(message) => message?,
            Err(_) => return Err(missing(format!("no hello came within {}", seconds(self.patience)))),
        };
        let text = message.to_text().unwrap_or_default();
        let hello = serde_json::from_str::<Hello>(text).ok().filter(|hello| hello.kind == "hello");
        let Some(hello) = hello else { return Err(missing("the first message is not a hello".to_owned())) };
        let agent = hello.agent.unwrap_or_else(|| "a server that does not say its name".to_owned());
        facts.see("agent", &*agent);
        facts.see("speaks", hello.speaks);
        if let Some(pings) = hello.ping_seconds {
            facts.see("seconds between pings", pings);
        }
        Ok(format!("{agent} says hello"))
    }

    /// Sends a ping and awaits its pong.
    pub(super) async fn ping(&mut self, facts: &mut Facts) -> Result<String, Fault> {
        let payload = rand::random::<[u8; 8]>().to_vec();
        let (begun, patience) = (Instant::now(), self.patience);
        let work = async {
            self.socket.send(Message::Ping(payload.clone().into())).await.map_err(|error| broken(&error))?;
            loop {
                match self.next().await? {
                    Message::Pong(answer) if *answer == *payload => return Ok(()),
                    Message::Text(_) | Message::Binary(_) => self.others += 1,
                    _ => {}
                }
            }
        };
        match timeout(patience, work).await {
            Ok(done) => done?,
            Err(_) => {
                return Err(Fault::new(
                    format!("no pong came within {}", seconds(patience)),
                    "every server has to answer a ping with a pong (RFC 6455 section 5.5.2): check whether it reads its \
                     messages, and whether a proxy on the way holds them back",
                ));
            }
        }
        let took = begun.elapsed();
        facts.see("round trip in ms", (took.as_secs_f64() * 1e6).round() / 1e3);
        if self.others > 0 {
            facts.see("messages of the server meanwhile", self.others);
        }
        Ok(format!("the pong came after {}", milliseconds(took)))
    }

    /// Closes with 1000 and awaits the Close of the server, and the end of the connection.
    pub(super) async fn close(&mut self, facts: &mut Facts) -> Result<String, Fault> {
        let deadline = tokio::time::Instant::now() + self.patience;
        let work = async {
            let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
            self.socket.close(Some(frame)).await.map_err(|error| broken(&error))?;
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Close(frame))) => return Ok(frame),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(broken(&error)),
                    None => return Err(without_close()),
                }
            }
        };
        let Ok(closed) = timeout_at(deadline, work).await else {
            return Err(Fault::new(
                format!("the server did not answer the Close within {}", seconds(self.patience)),
                "every server has to answer a Close with a Close (RFC 6455 section 5.5.1): check whether it reads its \
                 messages",
            ));
        };
        let code = closed?.map(|frame| u16::from(frame.code));
        let said = code.map_or_else(|| "without a code".to_owned(), |code| format!("with {code}"));
        facts.see("sent code", 1000);
        if let Some(code) = code {
            facts.see("received code", code);
        }
        // RFC 6455 section 7.1.1: the server closes the TCP connection first.
        let ended = timeout_at(deadline, async { while let Some(Ok(_)) = self.socket.next().await {} }).await;
        facts.check("the server ends the TCP connection", ended.is_ok(), ended.is_ok());
        let left =
            if ended.is_ok() { "" } else { "; it left the TCP connection open, which it should have ended" };
        Ok(format!("closed with 1000, the server answered {said}{left}"))
    }

    /// The next text or binary message.
    async fn message(&mut self) -> Result<Message, Fault> {
        loop {
            if let message @ (Message::Text(_) | Message::Binary(_)) = self.next().await? {
                return Ok(message);
            }
        }
    }

    async fn next(&mut self) -> Result<Message, Fault> {
        match self.socket.next().await {
            Some(Ok(Message::Close(frame))) => Err(closed(frame.as_ref())),
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => Err(broken(&error)),
            None => Err(without_close()),
        }
    }
}

fn closed(frame: Option<&CloseFrame>) -> Fault {
    let said = frame.map_or_else(
        || "without a code".to_owned(),
        |frame| {
            let colon = if frame.reason.is_empty() { "" } else { ": " };
            format!("with {}{colon}{}", u16::from(frame.code), frame.reason)
        },
    );
    let advice = match frame.map(|frame| u16::from(frame.code)) {
        Some(1001 | 1012) => "the server stops or restarts: try again",
        Some(1008) => {
            "check the token and the rights of the user: the server ended the connection by its rules"
        }
        Some(1013) => "the server is overloaded: try again later",
        _ => "look into the log of the server",
    };
    Fault::new(format!("the server opened the WebSocket and closed it at once {said}"), advice)
}

fn without_close() -> Fault {
    Fault::new(
        "the connection ended without a Close",
        "look into the log of the server, and whether a proxy on the way ends connections",
    )
}

fn broken(error: &Error) -> Fault {
    match error {
        Error::Capacity(_) => Fault::new(
            "the server sent a message of more than 1 MiB, which is not read here",
            "connect with a client: the way to the server is open",
        ),
        Error::Protocol(error) => Fault::new(
            format!("the server breaks the WebSocket protocol: {error}"),
            "look at what the server, or a proxy in front of it, sends behind the handshake",
        ),
        Error::ConnectionClosed | Error::AlreadyClosed => without_close(),
        Error::Io(error) => Fault::new(
            format!("the connection was lost: {error}"),
            "look into the log of the server, and whether a proxy on the way ends connections",
        ),
        Error::Utf8(_) => Fault::new(
            "the server sent a text that is not UTF-8",
            "have the server send other data as binary messages",
        ),
        other => Fault::new(format!("the connection failed: {other}"), "look into the log of the server"),
    }
}
