//! The protocol engine: tungstenite's context, driven from a slice of bytes.
//!
//! It checks everything RFC 6455 asks of a reader, puts fragments together and answers pings and Close. It never
//! touches a socket.

use std::io::{self, Read, Write};

use tokio_tungstenite::tungstenite::{
    self,
    protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext, frame::coding::CloseCode as EngineCode},
};

use crate::{CloseCode, Message, Side, Text, frame::Frame, outbox::Own};

/// Bytes that the engine takes from the input at a time: also its floor of memory per connection, and zeroed
/// before each take, so small.
const READ_PIECE: usize = 1024;

/// What the input brought.
#[derive(Debug)]
pub(crate) enum Step {
    /// The input is used up.
    Starved,
    Message(Message),
    Ping,
    Pong,
    /// The peer's Close, with its code and reason.
    Close(Option<u16>, String),
    /// Both sides have closed.
    Over,
    Fault(Fault),
}

/// How the peer broke the rules, and the code that tells it so.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) code: CloseCode,
    pub(crate) limit: bool,
    pub(crate) error: ProtocolError,
}

/// The peer broke RFC 6455 or went over the message limit. The wording is not a promise.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct ProtocolError {
    text: String,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Engine {
    context: WebSocketContext,
    output: Vec<u8>,
}

/// The stream as the engine sees it: input from a slice, output into a buffer.
struct Feed<'a, 'b> {
    input: &'a mut &'b [u8],
    output: &'a mut Vec<u8>,
}

impl Engine {
    pub(crate) fn new(side: Side, message_size: usize) -> Self {
        let role = match side {
            Side::Client => Role::Client,
            Side::Server => Role::Server,
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_PIECE)
            .write_buffer_size(0)
            .max_message_size(Some(message_size))
            .max_frame_size(Some(message_size));
        Self { context: WebSocketContext::new(role, Some(config)), output: Vec::new() }
    }

    /// Takes one step through `input`. Control frames the engine wants sent go to `reply`.
    pub(crate) fn step(&mut self, input: &mut &[u8], reply: impl FnOnce(Frame, Own)) -> Step {
        let mut wire = Feed { input, output: &mut self.output };
        let read = self.context.read(&mut wire);
        if !self.output.is_empty() {
            let bytes = std::mem::take(&mut self.output);
            let own = if bytes[0] & 0x0F == 0x8 { Own::Close } else { Own::Pong };
            reply(Frame::raw(bytes), own);
        }
        match read {
            Ok(tungstenite::Message::Text(text)) => Step::Message(Message::Text(Text::from_engine(text))),
            Ok(tungstenite::Message::Binary(bytes)) => Step::Message(Message::Binary(bytes)),
            Ok(tungstenite::Message::Ping(_)) => Step::Ping,
            Ok(tungstenite::Message::Pong(_)) => Step::Pong,
            Ok(tungstenite::Message::Close(close)) => match close {
                Some(close) => Step::Close(Some(close.code.into()), close.reason.as_str().to_owned()),
                None => Step::Close(None, String::new()),
            },
            Ok(tungstenite::Message::Frame(_)) => Step::Starved,
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Step::Starved,
            Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => Step::Over,
            Err(error) => Step::Fault(Fault::from(error)),
        }
    }

    /// The Close frame to send, unless one was sent or received before.
    pub(crate) fn close(&mut self, code: CloseCode, reason: &str) -> Option<Frame> {
        let close = CloseFrame { code: EngineCode::from(code.get()), reason: reason.into() };
        let mut wire = Feed { input: &mut &[][..], output: &mut self.output };
        // An error here is `ConnectionClosed`, which says that there is nothing left to say.
        let _ = self.context.close(&mut wire, Some(close));
        let bytes = std::mem::take(&mut self.output);
        (!bytes.is_empty()).then(|| Frame::raw(bytes))
    }
}

impl From<tungstenite::Error> for Fault {
    fn from(error: tungstenite::Error) -> Self {
        let (code, limit) = match &error {
            tungstenite::Error::Capacity(_) => (CloseCode::TOO_BIG, true),
            tungstenite::Error::Utf8(_) => (CloseCode::INVALID_DATA, false),
            _ => (CloseCode::PROTOCOL, false),
        };
        // The text of a UTF-8 error quotes the message, which is nobody's business.
        let text = match error {
            tungstenite::Error::Utf8(_) => "text that is not UTF-8".to_owned(),
            error => error.to_string(),
        };
        Self { code, limit, error: ProtocolError { text } }
    }
}

impl Read for Feed<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buf)
    }
}

impl Write for Feed<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
