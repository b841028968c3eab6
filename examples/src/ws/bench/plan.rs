//! What a measurement does.

use std::time::Duration;

use websockets_simple_client::{ClientParams, Message};

/// Payload bytes that one connection may have under way.
const UNDER_WAY: usize = 1 << 20;

/// Most messages that one connection may have under way.
const MOST_UNDER_WAY: usize = 1024;

/// Room for what frames and control messages add.
const MARGIN: usize = 64 * 1024;

/// Letters of the number of a message.
const DIGITS: usize = 16;

/// How many connections, and what each of them sends.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Connections to open.
    pub connections: usize,
    /// Connections to begin in a second; None begins all at once.
    pub connect_rate: Option<f64>,
    /// Messages in a second on each connection; None sends the next one when the last one was answered.
    pub rate: Option<f64>,
    /// Payload bytes of a message.
    pub size: usize,
    /// Whether messages are binary.
    pub is_binary: bool,
    /// How long messages are sent, from when all connections are open or have failed.
    pub duration: Duration,
    /// How long the last answers are waited for.
    pub patience: Duration,
}

impl Plan {
    /// The parameters of a client for it.
    pub(super) fn fit(&self, params: ClientParams) -> ClientParams {
        let room = (self.size + DIGITS).saturating_mul(self.most_under_way()).saturating_add(MARGIN);
        params.outbox(room).message_size(self.size.max(UNDER_WAY))
    }

    /// Messages that one connection may have under way.
    pub(super) fn most_under_way(&self) -> usize {
        match self.rate {
            None => 1,
            Some(_) => (UNDER_WAY / self.size.max(1)).clamp(1, MOST_UNDER_WAY),
        }
    }

    /// When a connection begins to connect, from the beginning of all.
    pub(super) fn begins_after(&self, connection: usize) -> Duration {
        after(connection, self.connect_rate)
    }

    /// When a message is due, from the beginning of the measurement: the connections take turns.
    pub(super) fn due_after(&self, connection: usize, message: u64) -> Option<Duration> {
        let rate = self.rate?;
        let turn = connection as f64 / self.connections.max(1) as f64;
        Duration::try_from_secs_f64((message as f64 + turn) / rate).ok()
    }

    /// A message with a number.
    pub(super) fn message(&self, number: u64) -> Message {
        let mut content = digits(number).to_vec();
        content.resize(self.size, b'x');
        if self.is_binary {
            return Message::binary(content);
        }
        // Digits and letters are UTF-8.
        Message::text(String::from_utf8(content).unwrap_or_default())
    }

    /// Whether this is the message with that number.
    pub(super) fn is_echo(&self, message: &Message, number: u64) -> bool {
        let bytes = match message.as_text() {
            Some(text) if !self.is_binary => text.as_bytes(),
            None if self.is_binary => message.as_bytes(),
            _ => return false,
        };
        let seen = self.size.min(DIGITS);
        bytes.len() == self.size && bytes[..seen] == digits(number)[..seen]
    }
}

fn after(count: usize, rate: Option<f64>) -> Duration {
    let seconds = rate.map_or(0.0, |rate| count as f64 / rate);
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// The lowest digit first, so that short messages differ from each other too.
fn digits(number: u64) -> [u8; DIGITS] {
    std::array::from_fn(|at| b"0123456789abcdef"[(number >> (4 * at)) as usize & 15])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            connections: 4,
            connect_rate: Some(2.0),
            rate: Some(10.0),
            size: 64,
            is_binary: false,
            duration: Duration::from_secs(1),
            patience: Duration::from_secs(1),
        }
    }

    #[test]
    fn messages_have_the_size_and_are_told_apart() {
        for size in [1, 2, 15, 16, 17, 1000] {
            for is_binary in [false, true] {
                let plan = Plan { size, is_binary, ..plan() };
                let message = plan.message(0x1f);
                assert_eq!(message.as_bytes().len(), size);
                assert!(plan.is_echo(&message, 0x1f));
                assert!(!plan.is_echo(&message, 0x20), "{size}");
                assert!(!Plan { is_binary: !is_binary, ..plan }.is_echo(&message, 0x1f));
            }
        }
    }

    #[test]
    fn connections_begin_and_send_one_after_the_other() {
        let plan = plan();
        assert_eq!(plan.begins_after(3), Duration::from_millis(1500));
        assert_eq!(plan.due_after(0, 0), Some(Duration::ZERO));
        assert_eq!(plan.due_after(2, 1), Some(Duration::from_millis(150)));
        assert_eq!(Plan { rate: None, ..plan }.due_after(0, 0), None);
        assert_eq!(Plan { connect_rate: None, ..plan }.begins_after(3), Duration::ZERO);
    }
}
