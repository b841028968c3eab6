//! The peer of a connection.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
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

/// A peer as its open connection keeps it.
pub(crate) struct KeptPeer(Kept);

/// An address takes 32 bytes whatever it is, and most connections are over IPv4.
enum Kept {
    V4 {
        addr: SocketAddrV4,
        client: Option<Ipv4Addr>,
        endpoint: SocketAddrV4,
        /// The addresses of the sockets are IPv4-mapped IPv6 ones, as a dual-stack listener has them.
        mapped: bool,
    },
    Other(Box<Peer>),
}

impl KeptPeer {
    pub(crate) fn new(peer: Peer) -> Self {
        Self(Kept::v4(&peer).unwrap_or_else(|| Kept::Other(Box::new(peer))))
    }

    pub(crate) fn addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kept::V4 { addr, mapped, .. } => Some(socket_addr(*addr, *mapped)),
            Kept::Other(peer) => peer.addr,
        }
    }

    pub(crate) fn client(&self) -> Option<IpAddr> {
        match &self.0 {
            Kept::V4 { client, .. } => client.map(IpAddr::V4),
            Kept::Other(peer) => peer.client,
        }
    }

    pub(crate) fn endpoint(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kept::V4 { endpoint, mapped, .. } => Some(socket_addr(*endpoint, *mapped)),
            Kept::Other(peer) => peer.endpoint.tcp(),
        }
    }

    pub(crate) fn unix_endpoint(&self) -> Option<&Path> {
        match &self.0 {
            Kept::V4 { .. } => None,
            Kept::Other(peer) => peer.endpoint.unix(),
        }
    }

    /// The request as hooks and user services see it.
    pub(crate) fn handshake_request<'a>(&'a self, head: &'a RequestHead) -> HandshakeRequest<'a> {
        HandshakeRequest {
            head,
            peer_addr: self.addr(),
            client_addr: self.client(),
            endpoint: self.endpoint(),
            unix_endpoint: self.unix_endpoint(),
        }
    }

    #[cfg(feature = "rustls")]
    pub(crate) fn certificate(&self) -> Option<&PeerCertificate> {
        match &self.0 {
            Kept::V4 { .. } => None,
            Kept::Other(peer) => peer.certificate.as_ref(),
        }
    }
}

impl Kept {
    /// The small form, if it says everything.
    fn v4(peer: &Peer) -> Option<Self> {
        #[cfg(feature = "rustls")]
        if peer.certificate.is_some() {
            return None;
        }
        let (addr, endpoint) = (peer.addr?, peer.endpoint.tcp()?);
        let mapped = addr.is_ipv6();
        let v4 = |addr: SocketAddr| match addr.ip().to_canonical() {
            IpAddr::V4(ip) => Some(SocketAddrV4::new(ip, addr.port())),
            IpAddr::V6(_) => None,
        };
        let kept = Self::V4 {
            addr: v4(addr)?,
            client: match peer.client {
                None => None,
                Some(IpAddr::V4(client)) => Some(client),
                Some(IpAddr::V6(_)) => return None,
            },
            endpoint: v4(endpoint)?,
            mapped,
        };
        // Not if one is mapped and the other is not, or has a scope or a flow.
        let is_same = |kept: SocketAddrV4, is: SocketAddr| socket_addr(kept, mapped) == is;
        matches!(&kept, Self::V4 { addr: kept, endpoint: local, .. } if is_same(*kept, addr) && is_same(*local, endpoint))
            .then_some(kept)
    }
}

fn socket_addr(addr: SocketAddrV4, mapped: bool) -> SocketAddr {
    if mapped {
        SocketAddr::new(addr.ip().to_ipv6_mapped().into(), addr.port())
    } else {
        SocketAddr::V4(addr)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_connection_has_the_addresses_of_its_peer_whatever_they_are() {
        let addrs = [
            "192.0.2.1:80",
            "198.51.100.7:65535",
            "[::ffff:192.0.2.1]:80",
            "[::ffff:198.51.100.7%3]:443",
            "[2001:db8::1]:443",
            "[::1]:0",
        ];
        let addrs = addrs.map(|addr| addr.parse::<SocketAddr>().unwrap());
        let endpoints = addrs.map(LocalEndpoint::Tcp).into_iter();
        let endpoints =
            endpoints.chain([LocalEndpoint::Unknown, LocalEndpoint::Unix(Arc::from(Path::new("/a")))]);
        let mut small = 0;
        for endpoint in endpoints {
            for addr in addrs.map(Some).into_iter().chain([None]) {
                for client in [None, Some([203, 0, 113, 9].into()), addrs.last().map(SocketAddr::ip)] {
                    let mut peer = Peer::new(addr, endpoint.clone());
                    peer.client = client;
                    let kept = KeptPeer::new(peer);
                    small += usize::from(matches!(kept.0, Kept::V4 { .. }));
                    assert_eq!((kept.addr(), kept.client(), kept.endpoint()), (addr, client, endpoint.tcp()));
                    assert_eq!(kept.unix_endpoint(), endpoint.unix());
                }
            }
        }
        // Both IPv4, or both mapped and without a scope, with no client or one over IPv4.
        assert_eq!(small, (2 * 2 + 1) * 2);
    }
}
