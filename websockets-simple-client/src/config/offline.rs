//! What a client does with messages while it is not connected.

use std::time::Duration;

/// What [`WebsocketClient::send`](crate::WebsocketClient::send) does while a client that
/// [reconnects](crate::ClientParams::reconnect) connects or waits for its next attempt. At any other time without a
/// connection it fails at once.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use websockets_simple_client::{ClientParams, Reconnect, params::Offline};
///
/// // Commands are worthless after ten seconds.
/// let offline = Offline::Keep { bytes: 64 * 1024, age: Duration::from_secs(10) };
/// let params = ClientParams::new("localhost", 8080).reconnect(Reconnect::new()).offline(offline);
/// # drop(params);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Offline {
    /// It fails with [`SendError::Closed`](crate::SendError::Closed).
    #[default]
    Refuse,
    /// It waits for a connection for this long, and fails then. Dropped while it waits, nothing is sent.
    Wait(Duration),
    /// It keeps the message, which is [`SendStatus::Kept`](crate::messages::SendStatus::Kept), and sends it on the next
    /// connection, before later ones and in their order. What is not sent after all is counted in an error event of the
    /// stage `send`.
    Keep {
        /// Most bytes of payload; a message that exceeds them fails with [`SendError::Full`](crate::SendError::Full).
        bytes: usize,
        /// Messages that were kept for longer are not sent.
        age: Duration,
    },
}
