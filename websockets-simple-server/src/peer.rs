//! Where a connection comes from.

use std::net::SocketAddr;

#[cfg(feature = "rustls")]
use websockets_simple_core::tls::PeerCertificate;

/// The other end of a connection, as far as the network and TLS tell.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
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
            endpoint,
            #[cfg(feature = "rustls")]
            certificate: None,
        }
    }
}
