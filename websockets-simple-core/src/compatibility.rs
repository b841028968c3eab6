//! Which generation of deployed .NET peers to adapt to.

use std::time::Duration;

/// Which peers of the .NET library WebsocketsSimple to be compatible with.
///
/// One parameter sets every switch at once, on either end. The default, [`Compatibility::None`],
/// is plain RFC 6455.
///
/// | switch | `None` | `DotNetV6` | `DotNetV7` |
/// |---|---|---|---|
/// | text of a heartbeat ping | `ping` | `Ping` | `ping` |
/// | a text `ping` from the server (client) | answered and swallowed | the same | a message |
/// | pause after the handshake before the first frame | none | 50 ms | 50 ms |
/// | frames per write, pause between writes | many, none | one, 5 ms | one, 5 ms |
/// | first data waits for the server's success text (client) | no | yes | no |
/// | token placement when none was chosen (client) | `Authorization` | path | `Authorization` |
/// | text that is not UTF-8 (client) | close 1007 | repaired with U+FFFD | close 1007 |
/// | a second Close after the server's (client) | no | yes | no |
/// | plain text instead of HTTP (client) | `BadResponse` | `Unauthorized` | `Unauthorized` |
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Compatibility {
    /// RFC 6455 as written.
    #[default]
    None,
    /// WebsocketsSimple v2.1.10 to v6.0.13: packets, text ping, token in the path.
    DotNetV6,
    /// WebsocketsSimple v6.0.22 to v7.0.9: text and binary, token in the `Authorization` header. (Servers up to v6.0.46
    /// take it from the query: docs/dotnet.md.)
    DotNetV7,
}

impl Compatibility {
    /// The text a heartbeat in text mode sends.
    #[doc(hidden)]
    #[must_use]
    pub fn ping_text(self) -> &'static str {
        match self {
            Self::DotNetV6 => "Ping",
            Self::None | Self::DotNetV7 => "ping",
        }
    }

    /// The pause between the 101 response and the first frame.
    #[doc(hidden)]
    #[must_use]
    pub fn first_frame_pause(self) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::DotNetV6 | Self::DotNetV7 => Duration::from_millis(50),
        }
    }

    /// The pause between two frames, each in a write of its own; `None` joins frames freely.
    #[doc(hidden)]
    #[must_use]
    pub fn frame_pause(self) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::DotNetV6 | Self::DotNetV7 => Some(Duration::from_millis(5)),
        }
    }

    /// Whether a text `ping` from the server is answered and swallowed. A v7 server sends no text pings, so one
    /// from it is a message.
    #[doc(hidden)]
    #[must_use]
    pub fn answers_text_ping(self) -> bool {
        self != Self::DotNetV7
    }

    /// Whether text from the peer may be cut inside a character.
    #[doc(hidden)]
    #[must_use]
    pub fn repairs_text(self) -> bool {
        self == Self::DotNetV6
    }

    /// Whether the peer needs a second Close before it ends the connection.
    #[doc(hidden)]
    #[must_use]
    pub fn closes_twice(self) -> bool {
        self == Self::DotNetV6
    }
}
