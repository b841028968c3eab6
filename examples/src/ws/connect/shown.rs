//! Messages, as lines for people and for other programs.

use websockets_simple_client::Message;

use super::{fields, hex};
use crate::{chat::wire::one_line, compat::Compat, ws::json};

/// How messages are shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View {
    pub(super) json: bool,
    pub(super) packets: bool,
    pub(super) bytes: bool,
    pub(super) compat: Option<Compat>,
}

impl View {
    /// The lines of a message on a terminal, which they cannot command.
    pub(super) fn on_terminal(self, message: &Message) -> Vec<String> {
        let lines = match message {
            Message::Binary(bytes) if self.bytes => hex::dump(bytes),
            message if self.json => match message.as_text().and_then(json::indented) {
                Some(json) => json.lines().map(str::to_owned).collect(),
                None => vec![self.text(message)],
            },
            message => vec![self.text(message)],
        };
        lines.iter().map(|line| one_line(line)).collect()
    }

    /// The line of a message in a pipe: a line break in it becomes a blank, which means the same in JSON.
    pub(super) fn in_pipe(self, message: &Message) -> String {
        let line = match message {
            Message::Binary(bytes) if self.bytes => hex::line(bytes),
            message if self.json => {
                message.as_text().and_then(json::compact).unwrap_or_else(|| self.text(message))
            }
            message => self.text(message),
        };
        if line.contains(['\r', '\n']) { line.replace("\r\n", " ").replace(['\r', '\n'], " ") } else { line }
    }

    fn text(self, message: &Message) -> String {
        if self.packets
            && let Some(packet) = fields::of_packet(message)
        {
            return packet;
        }
        match message {
            Message::Binary(bytes) => format!("({} bytes)", bytes.len()),
            Message::Text(text) => {
                let heard = self.compat.and_then(|compat| compat.heard(message));
                heard.unwrap_or_else(|| text.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_commanded_and_a_pipe_gets_one_line() {
        let (plain, message) = (View::default(), Message::text("a\u{1b}[2J\r\nb"));
        assert_eq!(plain.on_terminal(&message), ["a [2J  b"]);
        assert_eq!(plain.in_pipe(&message), "a\u{1b}[2J b");
    }

    #[test]
    fn json_is_indented_on_a_terminal_and_on_one_line_in_a_pipe() {
        let (view, message) = (View { json: true, ..View::default() }, Message::text("{\n\"a\": [1]}"));
        assert_eq!(view.on_terminal(&message), ["{", "  \"a\": [", "    1", "  ]", "}"]);
        assert_eq!(view.in_pipe(&message), r#"{"a":[1]}"#);
        assert_eq!(view.in_pipe(&Message::text("no json")), "no json");
    }

    #[test]
    fn bytes_are_counted_or_shown() {
        let message = Message::binary(&b"hi"[..]);
        assert_eq!(View::default().in_pipe(&message), "(2 bytes)");
        let view = View { bytes: true, ..View::default() };
        assert_eq!(view.in_pipe(&message), "6869");
        assert!(view.on_terminal(&message)[0].ends_with("|hi|"));
    }
}
