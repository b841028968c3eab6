//! The peer of a connection.

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

/// The peer of a connection, as known from the network, TLS and proxies.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// `None` over a Unix domain socket, and where an HTTP server of the application does not set it.
    pub(crate) addr: Option<SocketAddr>,
    /// The address of the client, if known: that of the peer, unless a proxy states another one.
    pub(crate) client: Option<IpAddr>,
    /// Whether `client` is final: headers of a request cannot change it.
    pub(crate) hides_client: bool,
    /// The local address that the peer connected to.
    pub(crate) endpoint: LocalEndpoint,
    /// The verified certificate of the peer from the TLS handshake.
    #[cfg(feature = "rustls")]
    pub(crate) certificate: Option<PeerCertificate>,
}

/// A local address that a peer connected to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum LocalEndpoint {
    Tcp(SocketAddr),
    /// An HTTP server of the application has not set it.
    Unknown,
    #[cfg_attr(not(unix), expect(dead_code, reason = "no Unix domain sockets here"))]
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

    /// The address that limits count before a proxy has named its client; `None` for a trusted proxy.
    pub(crate) fn counted_ip(&self, proxies: &TrustedProxies) -> Option<IpAddr> {
        self.addr.map(|addr| addr.ip()).filter(|ip| !proxies.contains(*ip))
    }

    /// Whether the peer is a trusted proxy.
    pub(crate) fn is_trusted(&self, proxies: &TrustedProxies) -> bool {
        proxies.trusts(self.addr.map(|addr| addr.ip()))
    }

    /// The address of the client that sent a request with these headers.
    pub(crate) fn client_of(&self, proxies: &TrustedProxies, headers: &HeaderMap) -> Option<IpAddr> {
        if self.hides_client { self.client } else { proxies.client(self.client, headers) }
    }

    /// The request as hooks and user services see it.
    pub(crate) fn handshake_request<'a>(
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
