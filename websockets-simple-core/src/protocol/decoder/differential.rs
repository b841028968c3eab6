//! The decoder compared with tungstenite's: the same messages, control frames and close codes for any bytes, cut
//! anywhere.
//!
//! What may differ is a closed list:
//! * we judge a frame by its header and text by its bytes, so that our fault comes earlier; its code is the same;
//! * a length that is not in its shortest form, or whose top bit is set, is 1002 (RFC 6455 section 5.2);
//! * a Close with a code that may not be sent is a fault, where theirs is a Close with 1002;
//! * a Close with 1014, which IANA has registered since, is a Close with it, where theirs is one with 1002;
//! * a frame that breaks two rules is judged by the one that is the peer's own, so 1002 comes before 1009,
//!   and a code before its reason.
//!
//! `model.rs` judges these places, too.

use std::io::{self, Read, Write};

use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

use super::{
    replay::{Replay, Step},
    *,
};

/// Panics where the two differ. `input` is cut into pieces of the sizes in `cuts`, which are repeated.
pub(crate) fn compare(side: Side, message_size: usize, input: &[u8], cuts: &[usize]) {
    let (mut ours, fault) = decoded(side, message_size, input, cuts);
    if let Some(last @ Step::Close(Some(1014), _)) = ours.last_mut() {
        *last = Step::Close(Some(1002), "Protocol violation".to_owned());
    }
    let theirs = reference(side, message_size, input);
    let Some(fault) = fault else {
        if ours != theirs {
            // They judge a length before the key of the mask has come.
            assert_eq!(theirs.split_last(), Some((&Step::Fault(1009), &ours[..])));
            let (padded, fault) = decoded(side, message_size, &[input, &[0; 4]].concat(), cuts);
            assert!(
                fault.is_some() && padded.starts_with(&ours),
                "{padded:?} against {theirs:?} for {input:x?}"
            );
        }
        return;
    };
    let (_, before) = ours.split_last().expect("a fault is a step");
    assert!(theirs.starts_with(before), "{ours:?} against {theirs:?}");
    if matches!(fault, FaultKind::Length) {
        return;
    }
    // They judge when the whole frame is there.
    let padded = [input, &vec![0; message_size + 200]].concat();
    let theirs = reference(side, message_size, &padded);
    let ours = Fault::from(fault).code.get();
    match (fault, theirs.get(before.len())) {
        (FaultKind::CloseCode(_), Some(Step::Close(Some(1002), _) | Step::Fault(1007))) => {}
        (_, Some(Step::Fault(code))) if ours == *code || (ours == 1002 && *code == 1009) => {}
        (_, step) => panic!("{fault:?} against {step:?} for {input:x?}"),
    }
}

fn decoded(side: Side, message_size: usize, input: &[u8], cuts: &[usize]) -> (Vec<Step>, Option<FaultKind>) {
    let text = TextPolicy::Strict;
    let replay = Replay { side, message_size, text, part_size: None, cuts, compression: None };
    let (pieces, fault) = replay.run(input);
    let steps = pieces.into_iter().flat_map(|piece| piece.steps);
    (steps.filter(|step| *step != Step::Fragment).collect(), fault)
}

/// What tungstenite makes of the input.
fn reference(side: Side, message_size: usize, mut input: &[u8]) -> Vec<Step> {
    let role = match side {
        Side::Client => Role::Client,
        Side::Server => Role::Server,
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(1024)
        .write_buffer_size(0)
        .max_message_size(Some(message_size))
        .max_frame_size(Some(message_size));
    let mut context = WebSocketContext::new(role, Some(config));
    let mut steps = Vec::new();
    loop {
        steps.push(match context.read(&mut Feed(&mut input)) {
            Ok(tungstenite::Message::Text(text)) => Step::Message(true, text.as_bytes().to_vec()),
            Ok(tungstenite::Message::Binary(bytes)) => Step::Message(false, bytes.to_vec()),
            Ok(tungstenite::Message::Ping(_)) => Step::Ping,
            Ok(tungstenite::Message::Pong(_)) => Step::Pong,
            Ok(tungstenite::Message::Close(close)) => {
                let close = close.map(|close| (close.code.into(), close.reason.as_str().to_owned()));
                let (code, reason) = close.unzip();
                steps.push(Step::Close(code, reason.unwrap_or_default()));
                return steps;
            }
            Ok(tungstenite::Message::Frame(_)) => continue,
            Err(tungstenite::Error::Io(_)) => return steps,
            Err(error) => {
                steps.push(Step::Fault(match error {
                    tungstenite::Error::Utf8(_) => 1007,
                    tungstenite::Error::Capacity(_) => 1009,
                    _ => 1002,
                }));
                return steps;
            }
        });
    }
}

/// A stream of which the input is a slice, and whose output is not looked at.
struct Feed<'a, 'b>(&'a mut &'b [u8]);

impl Read for Feed<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.read(buf)
    }
}

impl Write for Feed<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
