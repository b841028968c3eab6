//! Listeners, TLS, and the peers of connections.

pub use handshake_request::HandshakeRequest;
pub(crate) use ip_limits::{Admittance, ConnectionLimiter, ConnectionPermit, LimitReached};
pub(crate) use listener::{BoundListener, Listener, Socket};
pub(crate) use peer::{KeptPeer, LocalEndpoint, Peer};
pub(crate) use place::Place;
#[cfg(feature = "http2")]
pub(crate) use place::SharedPlace;
#[cfg(feature = "http2")]
pub(crate) use preface::{ByteStream, begins_with_http2};
pub use proxy_protocol::ProxyProtocol;
pub use request_head::RequestHead;
pub(crate) use rewound::{Rewound, poll_read_some};
#[cfg(all(feature = "http2", feature = "rustls"))]
pub(crate) use tls::ALPN_HTTP2;
#[cfg(feature = "rustls")]
pub(crate) use tls::TlsStream;
#[cfg(feature = "rustls")]
pub use tls::{ClientCertificates, ServerTls, TlsHandshakeError};
pub use trusted_proxies::{ForwardedHeader, InvalidNetwork, TrustedProxies};
#[cfg(unix)]
pub use unix_socket::UnixSocket;

mod forwarded;
mod handshake_request;
mod ip_limits;
mod listener;
mod peer;
mod place;
#[cfg(feature = "http2")]
mod preface;
pub(crate) mod proxy_protocol;
mod request_head;
mod rewound;
#[cfg(feature = "rustls")]
mod tls;
mod trusted_proxies;
#[cfg(unix)]
mod unix_socket;
