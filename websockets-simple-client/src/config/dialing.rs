//! On which byte stream a client connects.

use std::sync::Arc;

use super::ClientParams;

mod connector;

pub use connector::{Connector, Io, Target};

/// Where the byte stream under TLS and handshake comes from.
#[derive(Clone, Default)]
pub(crate) struct Dialing {
    pub(crate) connector: Option<Arc<dyn Connector>>,
}

impl ClientParams {
    /// Connects on the byte streams of a [`Connector`] instead of TCP connections of its own. TLS and the handshake stay
    /// those of the client: host and port say what the certificate has to be for, and what the request names.
    ///
    /// The [connect timeout](Self::connect_timeout) includes the connector. [Buffer sizes](Self::receive_buffer) and
    /// `TCP_NODELAY` are up to it, and the connection has no [addresses](crate::ClientConnection::peer_addr).
    #[must_use]
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.dialing.connector = Some(Arc::new(connector));
        self
    }
}

impl Dialing {
    /// Whether code of the application runs during a dial, which may panic.
    pub(crate) fn runs_user_code(&self) -> bool {
        self.connector.is_some()
    }
}
