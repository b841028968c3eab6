//! Where a connection comes from.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
#[cfg(feature = "rustls")]
use websockets_simple_core::tls::PeerCertificate;

use crate::TrustedProxies;

/// The other end of a connection, as far as the network and TLS tell.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    /// Who is behind it, as far as that is known: the peer itself, until a proxy tells of somebody else.
    pub(crate) client: Option<IpAddr>,
    /// Whether that is all that is ever known, whatever a request says.
    pub(crate) hides_client: bool,
    /// The address of ours that it connected to.
    pub(crate) endpoint: SocketAddr,
    /// What it showed in the TLS handshake, verified.
    #[cfg(feature = "rustls")]
    pub(crate) certificate: Option<PeerCertificate>,
}

impl Peer {
    pub(crate) fn new(addr: SocketAddr, endpoint: SocketAddr) -> Self {
        Self {
            addr,
            client: Some(addr.ip().to_canonical()),
            hides_client: false,
            endpoint,
            #[cfg(feature = "rustls")]
            certificate: None,
        }
    }

    /// Whether it may speak for others.
    pub(crate) fn is_trusted(&self, proxies: &TrustedProxies) -> bool {
        proxies.contains(self.addr.ip())
    }

    /// The client whose request this is.
    pub(crate) fn client_of(&self, proxies: &TrustedProxies, headers: &HeaderMap) -> Option<IpAddr> {
        if self.hides_client {
            return self.client;
        }
        self.client.map(|nearest| proxies.client(nearest, headers))
    }
}
