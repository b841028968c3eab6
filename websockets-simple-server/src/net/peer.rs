//! Where a connection comes from.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
};

use http::HeaderMap;
#[cfg(feature = "rustls")]
use websockets_simple_core::tls::PeerCertificate;

use crate::net::{
    handshake_request::HandshakeRequest, request_head::RequestHead, trusted_proxies::TrustedProxies,
};

/// The other end of a connection, as far as the network and TLS tell.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// None over a Unix domain socket, and where an HTTP server of the application does not tell it.
    pub(crate) addr: Option<SocketAddr>,
    /// Who is behind it, as far as that is known: the peer itself, until a proxy tells of somebody else.
    pub(crate) client: Option<IpAddr>,
    /// Whether that is all that is ever known, whatever a request says.
    pub(crate) hides_client: bool,
    /// The address of ours that it connected to.
    pub(crate) endpoint: LocalEndpoint,
    /// What it showed in the TLS handshake, verified.
    #[cfg(feature = "rustls")]
    pub(crate) certificate: Option<PeerCertificate>,
}

/// An address of ours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum LocalEndpoint {
    Tcp(SocketAddr),
    /// An HTTP server of the application has not told it.
    Unknown,
    #[cfg_attr(not(unix), expect(dead_code, reason = "there are none here"))]
    Unix(Arc<Path>),
}

impl Peer {
    pub(crate) fn new(addr: Option<SocketAddr>, endpoint: LocalEndpoint) -> Self {
        Self {
            addr,
            client: addr.map(|addr| addr.ip().to_canonical()),
            hides_client: false,
            endpoint,
            #[cfg(feature = "rustls")]
            certificate: None,
        }
    }

    /// The address that limits count, before a proxy has named its client: none for a trusted proxy.
    pub(crate) fn counted_ip(&self, proxies: &TrustedProxies) -> Option<IpAddr> {
        self.addr.map(|addr| addr.ip()).filter(|ip| !proxies.contains(*ip))
    }

    /// Whether it may speak for others.
    pub(crate) fn is_trusted(&self, proxies: &TrustedProxies) -> bool {
        proxies.trusts(self.addr.map(|addr| addr.ip()))
    }

    /// The client whose request this is.
    pub(crate) fn client_of(&self, proxies: &TrustedProxies, headers: &HeaderMap) -> Option<IpAddr> {
        if self.hides_client { self.client } else { proxies.client(self.client, headers) }
    }

    /// What a user service is asked about a request of this client.
    pub(crate) fn question<'a>(
        &'a self,
        head: &'a RequestHead,
        client: Option<IpAddr>,
    ) -> HandshakeRequest<'a> {
        HandshakeRequest {
            head,
            peer_addr: self.addr,
            client_addr: client,
            endpoint: self.endpoint.tcp(),
            unix_endpoint: self.endpoint.unix(),
        }
    }
}

impl LocalEndpoint {
    pub(crate) fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(addr) => Some(*addr),
            Self::Unix(_) | Self::Unknown => None,
        }
    }

    pub(crate) fn unix(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) | Self::Unknown => None,
            Self::Unix(path) => Some(path),
        }
    }
}
