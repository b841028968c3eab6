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

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs all of `input`: what came out, and what is to be sent for it.
    fn run(engine: &mut Engine, mut input: &[u8]) -> (Vec<Step>, Vec<(Own, usize)>) {
        let (mut steps, mut replies) = (Vec::new(), Vec::new());
        loop {
            let step = engine.step(&mut input, |frame, own| replies.push((own, frame.len())));
            match step {
                Step::Starved => return (steps, replies),
                Step::Over | Step::Fault(_) => {
                    steps.push(step);
                    return (steps, replies);
                }
                step => steps.push(step),
            }
        }
    }

    fn client() -> Engine {
        Engine::new(Side::Client, 1000)
    }

    #[test]
    fn a_ping_is_answered_before_the_input_is_used_up() {
        let (steps, replies) = run(&mut client(), b"\x89\x01a\x81\x01b");
        assert!(matches!(&steps[..], [Step::Ping, Step::Message(_)]), "{steps:?}");
        assert_eq!(replies, [(Own::Pong, 7)]);
    }

    #[test]
    fn close_is_answered_once_and_what_follows_is_not_read() {
        let mut engine = client();
        let (steps, replies) = run(&mut engine, b"\x88\x02\x03\xe8\x81\x01b");
        assert!(matches!(steps[0], Step::Close(Some(1000), _)), "{steps:?}");
        assert!(!steps.iter().any(|step| matches!(step, Step::Message(_))), "{steps:?}");
        assert_eq!(replies, [(Own::Close, 8)]);
        assert!(engine.close(CloseCode::NORMAL, "").is_none(), "nothing is left to say");
    }

    #[test]
    fn the_answer_to_our_close_is_not_answered() {
        let mut engine = client();
        assert!(engine.close(CloseCode::NORMAL, "").is_some());
        assert!(engine.close(CloseCode::GOING_AWAY, "").is_none(), "said once");
        let (steps, replies) = run(&mut engine, b"\x88\x02\x03\xe8");
        assert!(matches!(steps[0], Step::Close(Some(1000), _)), "{steps:?}");
        assert!(replies.is_empty());
    }

    #[test]
    fn each_fault_has_its_code_and_no_word_of_the_message() {
        for (input, code, limit) in [
            (&b"\x82\x7e\x03\xe9"[..], CloseCode::TOO_BIG, true),
            (b"\x81\x07secret\xff", CloseCode::INVALID_DATA, false),
            (b"\xc1\x06secret", CloseCode::PROTOCOL, false),
            (b"\x81\x86....secret", CloseCode::PROTOCOL, false),
        ] {
            let (steps, _) = run(&mut client(), input);
            let [Step::Fault(fault)] = &steps[..] else { panic!("{steps:?}") };
            assert_eq!((fault.code, fault.limit), (code, limit));
            assert!(!format!("{fault:?}").contains("secret"), "{fault:?}");
        }
    }

    #[test]
    fn any_bytes_whatever_end_in_a_step() {
        use proptest::prelude::*;
        proptest!(|(input: Vec<u8>, cut in 1usize..20)| {
            let mut engine = client();
            for piece in input.chunks(cut) {
                let (steps, _) = run(&mut engine, piece);
                if matches!(steps.last(), Some(Step::Over | Step::Fault(_))) {
                    break;
                }
            }
        });
    }
}
