//! Where a connection comes from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

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
    /// The address of ours that it connected to.
    pub(crate) endpoint: SocketAddr,
    /// What it showed in the TLS handshake, verified.
    #[cfg(feature = "rustls")]
    pub(crate) certificate: Option<PeerCertificate>,
}

/// Stands for an address that nobody told.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl Peer {
    pub(crate) fn new(addr: SocketAddr, endpoint: SocketAddr) -> Self {
        Self {
            addr,
            client: Some(addr.ip().to_canonical()),
            endpoint,
            #[cfg(feature = "rustls")]
            certificate: None,
        }
    }

    /// What somebody else's HTTP server tells of it.
    pub(crate) fn told(addr: Option<SocketAddr>, endpoint: Option<SocketAddr>) -> Self {
        let known = Self::new(addr.unwrap_or(UNKNOWN), endpoint.unwrap_or(UNKNOWN));
        Self { client: known.client.filter(|_| addr.is_some()), ..known }
    }

    /// Where it is, if that is known.
    pub(crate) fn known_addr(&self) -> Option<SocketAddr> {
        (self.addr != UNKNOWN).then_some(self.addr)
    }

    /// The client whose request this is.
    pub(crate) fn client_of(&self, proxies: &TrustedProxies, headers: &HeaderMap) -> Option<IpAddr> {
        self.client.map(|nearest| proxies.client(nearest, headers))
    }
}
