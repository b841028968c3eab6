//! The head of the answer to a handshake, and the beginning of its body. Of what a server sends no more is kept than that.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout_at},
};

use websockets_simple_client::Token;

use crate::ws::doctor::{
    finding::{Facts, Fault},
    network::{Stream, seconds},
    secrets::Secrets,
    tls,
};

/// Bytes of the largest head that is read.
const LARGEST_HEAD: usize = 16 * 1024;

/// Most headers of an answer.
const MOST_HEADERS: usize = 100;

/// Most answers such as 103 in front of the final one.
const MOST_INTERIM: usize = 10;

/// Bytes of the body of a refusal that are read, and how long they may take.
const LARGEST_BODY: usize = 1024;
const BODY_TIME: Duration = Duration::from_millis(500);

/// Characters of an answer that is not HTTP that are shown.
const QUOTE: usize = 60;

/// Who answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Peer {
    Proxy,
    Server,
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Self::Proxy => "the proxy",
            Self::Server => "the server",
        }
    }

    /// What may be wrong with the scheme of the URL; the one of a proxy is always `http`.
    fn about_tls(self) -> &'static str {
        match self {
            Self::Proxy => "it has to be a proxy of HTTP without TLS",
            Self::Server => "if it speaks TLS on this port, connect with wss://",
        }
    }
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) reason: String,
    /// Minor version of HTTP/1.
    pub(super) version: u8,
    pub(super) headers: Vec<(String, String)>,
    /// What came behind the head.
    pub(super) rest: Vec<u8>,
}

impl Answer {
    /// Sends the request and reads the answer; informational answers before it are passed over.
    pub(super) async fn to<S: Stream>(
        request: &Token,
        stream: &mut S,
        peer: Peer,
        patience: Duration,
        secrets: &Secrets,
    ) -> Result<Self, Fault> {
        let deadline = Instant::now() + patience;
        let mut bytes = Vec::new();
        let work = async {
            stream.write_all(request.expose().as_bytes()).await.map_err(|error| lost(&error, peer))?;
            stream.flush().await.map_err(|error| lost(&error, peer))?;
            read(stream, &mut bytes, peer, secrets).await
        };
        let in_time = timeout_at(deadline, work).await;
        in_time.unwrap_or_else(|_| Err(silent(&bytes, peer, patience)))
    }

    /// The first line without the version.
    pub(super) fn status_line(&self) -> String {
        format!("{} {}", self.status, self.reason).trim_end().to_owned()
    }

    /// Notes each line, without secrets.
    pub(super) fn describe(&self, secrets: &Secrets, facts: &mut Facts) {
        facts.see("received", format!("HTTP/1.{} {}", self.version, self.status_line()));
        for (name, value) in &self.headers {
            facts.see("received", secrets.header(name, value));
        }
    }

    /// The values of a header, one for each line.
    pub(super) fn all<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| &**value)
    }

    /// The beginning of the body of a refusal, and whether there is more of it.
    pub(super) async fn body<S: Stream>(&mut self, stream: &mut S) -> (Vec<u8>, bool) {
        let mut body = std::mem::take(&mut self.rest);
        let length = self.all("content-length").next().and_then(|length| length.trim().parse::<usize>().ok());
        let wanted = length.unwrap_or(usize::MAX).min(LARGEST_BODY);
        let deadline = Instant::now() + BODY_TIME;
        let mut has_ended = false;
        while body.len() < wanted && !has_ended {
            let room = (wanted - body.len()) as u64;
            let reading = timeout_at(deadline, (&mut *stream).take(room).read_buf(&mut body)).await;
            match reading {
                Ok(Ok(1..)) => {}
                Ok(Ok(0)) => has_ended = true,
                _ => break,
            }
        }
        body.truncate(LARGEST_BODY);
        let is_whole = has_ended || length.is_some_and(|length| length <= body.len());
        (body, !is_whole)
    }
}

async fn read<S: Stream>(
    stream: &mut S,
    bytes: &mut Vec<u8>,
    peer: Peer,
    secrets: &Secrets,
) -> Result<Answer, Fault> {
    let mut interim = 0;
    loop {
        if !bytes.iter().zip(b"HTTP/").all(|(one, other)| one == other) {
            return Err(not_http(bytes, peer, secrets));
        }
        while let Some(answer) = parse(bytes)? {
            if !(100..=199).contains(&answer.status) || answer.status == 101 {
                return Ok(answer);
            }
            interim += 1;
            if interim > MOST_INTERIM {
                return Err(Fault::new(
                    format!("{} sends interim answers without end: {}", peer.name(), answer.status_line()),
                    "look into its log, and of what is in front of it",
                ));
            }
            // The final answer follows (RFC 9110 section 15.2).
            *bytes = answer.rest;
        }
        let room = LARGEST_HEAD.saturating_sub(bytes.len()) as u64;
        if room == 0 {
            return Err(Fault::new(
                "the head of the answer has no end within 16 KiB",
                "look at what the server sends: so large a head is not one of a WebSocket server, or cookies have piled up",
            ));
        }
        match (&mut *stream).take(room).read_buf(bytes).await {
            Ok(1..) => {}
            Ok(_) if bytes.is_empty() => {
                return Err(Fault::new(
                    format!("{} closed the connection without an answer", peer.name()),
                    format!("look into its log; {}", peer.about_tls()),
                ));
            }
            Ok(_) => {
                return Err(Fault::new(
                    format!("{} closed the connection in the middle of its answer", peer.name()),
                    "look into its log, and of what is in front of it",
                ));
            }
            Err(error) => return Err(lost(&error, peer)),
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Option<Answer>, Fault> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let size = match response.parse(bytes) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Fault::new(
                "the answer has more than 100 headers",
                "look at what the server sends: so many headers are not those of a WebSocket server",
            ));
        }
        Err(error) => {
            return Err(Fault::new(
                format!("the answer is malformed HTTP: {error}"),
                "look at what the server, or a proxy in front of it, sends",
            ));
        }
    };
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    Ok(Some(Answer {
        status: response.code.unwrap_or_default(),
        reason: response.reason.unwrap_or_default().to_owned(),
        version: response.version.unwrap_or_default(),
        headers: response.headers.iter().map(|it| (it.name.to_owned(), text(it.value))).collect(),
        rest: bytes[size..].to_vec(),
    }))
}

fn silent(bytes: &[u8], peer: Peer, patience: Duration) -> Fault {
    let (name, patience) = (peer.name(), seconds(patience));
    if bytes.is_empty() {
        let advice = match peer {
            Peer::Proxy => {
                "check that it is a proxy of HTTP that listens on this port, and that it reaches the server"
            }
            Peer::Server => {
                "check that it is a WebSocket server that listens on this port, that it is not overloaded, and whether \
                 it speaks TLS (wss://)"
            }
        };
        return Fault::new(format!("{name} accepted the connection and said nothing for {patience}"), advice);
    }
    Fault::new(
        format!("the answer of {name} is incomplete after {patience}: {} bytes came", bytes.len()),
        "look into its log, and of what is in front of it; or give it more time with `--timeout`",
    )
}

fn lost(error: &std::io::Error, peer: Peer) -> Fault {
    if let Some(fault) = tls::inner(error).and_then(tls::about_client_certificate) {
        return fault;
    }
    Fault::new(
        format!("{} ended the connection during the handshake: {error}", peer.name()),
        format!("look into its log; {}", peer.about_tls()),
    )
}

fn not_http(bytes: &[u8], peer: Peer, secrets: &Secrets) -> Fault {
    let name = peer.name();
    // An alert (RFC 8446 section 5.1) is a record of type 21.
    if matches!(bytes, [21, 3, 0..=4, ..]) {
        let advice = match peer {
            Peer::Proxy => "give a proxy of HTTP without TLS",
            Peer::Server => "connect with wss://",
        };
        return Fault::new(format!("{name} speaks TLS on this port"), advice);
    }
    // SETTINGS on stream 0, with which every HTTP/2 connection begins (RFC 9113 section 3.4).
    if matches!(bytes, [0, _, _, 4, _, 0, 0, 0, 0, ..]) {
        return Fault::new(
            format!("{name} speaks HTTP/2 without being asked for it"),
            "use a port on which it speaks HTTP/1.1, with which WebSockets begin",
        );
    }
    // More of it may be on its way.
    let said: String = secrets.body(bytes, true).chars().take(QUOTE).collect();
    Fault::new(
        format!("{name} does not speak HTTP, it says: {said}"),
        "check the port: something else listens there",
    )
}
