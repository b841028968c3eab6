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
/// | a ping frame is sure to be answered | yes | no | yes |
/// | a text `ping` from the server (client) | answered and swallowed | the same | a message |
/// | a server whose text pings have stopped (client) | kept | given up after two intervals | kept |
/// | pause after the handshake before the first frame | none | 50 ms | 50 ms |
/// | frames of a server per write | many | many | many, and ping frames until the client has answered one |
/// | frames of a client per write, pause between writes | many, none | one, 10 ms | as the server's |
/// | first data waits for the server's success text (client) | no | yes | no |
/// | token placement when none was chosen (client) | `Authorization` | path | `Authorization` |
/// | text that is not UTF-8 (client) | close 1007 | repaired with U+FFFD | repaired with U+FFFD |
/// | a second Close after the server's (client) | no | yes | no |
/// | a Close of 1024 and more (client) | as it is | goes out as 1000 | as it is |
/// | messages that the server certainly loses (client) | sent | `SendError::Unreadable` | sent |
/// | names of subprotocols are compared | with case | without | without |
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

/// How frames leave for a peer that does not read them one by one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pacing {
    /// How long the first frame waits.
    pub first_frame_pause: Duration,
    /// One frame per write, this far apart, and the first of them ten times as far; `None` joins frames freely.
    pub frame_pause: Option<Duration>,
    /// Whether ping frames follow what was written, until the peer has answered one: it may leave frames that share a
    /// write unread until further bytes arrive.
    pub nudges: bool,
}

/// What a .NET peer takes for a part of the handshake if it comes too early.
const FIRST_FRAME_PAUSE: Duration = Duration::from_millis(50);

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

    /// Whether its peers answer every ping frame, as RFC 6455 section 5.5.2 asks of them.
    #[doc(hidden)]
    #[must_use]
    pub fn answers_pings(self) -> bool {
        self != Self::DotNetV6
    }

    /// How the frames of a client leave, unless its parameters say otherwise.
    #[doc(hidden)]
    #[must_use]
    pub fn client_pacing(self) -> Pacing {
        match self {
            // A v6 server takes all bytes that it finds for one frame.
            Self::DotNetV6 => {
                let frame_pause = Some(Duration::from_millis(10));
                Pacing { frame_pause, ..self.server_pacing() }
            }
            Self::None | Self::DotNetV7 => self.server_pacing(),
        }
    }

    /// How the frames of a server leave, unless its parameters say otherwise.
    #[doc(hidden)]
    #[must_use]
    pub fn server_pacing(self) -> Pacing {
        match self {
            Self::None => Pacing::default(),
            Self::DotNetV6 => Pacing { first_frame_pause: FIRST_FRAME_PAUSE, ..Pacing::default() },
            Self::DotNetV7 => {
                Pacing { first_frame_pause: FIRST_FRAME_PAUSE, nudges: true, ..Pacing::default() }
            }
        }
    }

    /// Whether a text `ping` from the server is answered and swallowed. A v7 server sends no text pings, so one
    /// from it is a message.
    #[doc(hidden)]
    #[must_use]
    pub fn answers_text_ping(self) -> bool {
        self != Self::DotNetV7
    }

    /// Whether a server that has pinged by text, and no longer does, is given up: nothing else shows that a v6 server
    /// no longer reads.
    #[doc(hidden)]
    #[must_use]
    pub fn watches_text_pings(self) -> bool {
        self == Self::DotNetV6
    }

    /// Whether two names are of the same subprotocol. The .NET library ignores their case.
    #[doc(hidden)]
    #[must_use]
    pub fn is_same_subprotocol(self, one: &str, other: &str) -> bool {
        one == other || (self != Self::None && one.eq_ignore_ascii_case(other))
    }

    /// Whether text from a server may be cut inside a character.
    #[doc(hidden)]
    #[must_use]
    pub fn repairs_text(self) -> bool {
        self != Self::None
    }

    /// Whether the peer knows a Close only by a code below 1024: it looks for the first byte of 1000.
    #[must_use]
    pub fn low_close_codes(self) -> bool {
        self == Self::DotNetV6
    }

    /// Whether the peer needs a second Close before it ends the connection.
    #[doc(hidden)]
    #[must_use]
    pub fn closes_twice(self) -> bool {
        self == Self::DotNetV6
    }
}
