//! The handshake request as hooks and user services see it.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use crate::net::request_head::RequestHead;

/// The handshake request of a client that is being authenticated, without the token.
#[derive(Clone, Copy, Debug)]
pub struct HandshakeRequest<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) peer_addr: Option<SocketAddr>,
    pub(crate) client_addr: Option<IpAddr>,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) unix_endpoint: Option<&'a Path>,
}

impl<'a> HandshakeRequest<'a> {
    /// Makes a request, for tests of a user service. Without addresses it came over a Unix domain socket.
    #[must_use]
    pub fn new(
        head: &'a RequestHead,
        peer_addr: impl Into<Option<SocketAddr>>,
        endpoint: impl Into<Option<SocketAddr>>,
    ) -> Self {
        let peer_addr = peer_addr.into();
        let client_addr = peer_addr.map(|peer| peer.ip().to_canonical());
        Self { head, peer_addr, client_addr, endpoint: endpoint.into(), unix_endpoint: None }
    }

    /// Sets the address of the client, where the peer is a proxy.
    #[must_use]
    pub fn of_client(mut self, client: Option<IpAddr>) -> Self {
        self.client_addr = client;
        self
    }

    /// Path, query and headers.
    #[must_use]
    pub fn head(&self) -> &'a RequestHead {
        self.head
    }

    /// The address of the client: that of the peer, or what a
    /// [trusted proxy](crate::ServerParams::trusted_proxies) says it is. An IPv4-mapped address is returned as IPv4.
    /// `None` over a Unix domain socket, unless a proxy names the client there.
    #[must_use]
    pub fn client_addr(&self) -> Option<IpAddr> {
        self.client_addr
    }

    /// The address of the peer: of the other end of the socket, which may be a proxy. `None` over a Unix
    /// domain socket, and where an HTTP server of the application has not [set](crate::Upgrade::peer_addr) it.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer_addr
    }

    /// The local address that the peer connected to. `None` over a Unix domain socket, and where an HTTP server of the
    /// application has not [set](crate::Upgrade::endpoint) it.
    #[must_use]
    pub fn endpoint(&self) -> Option<SocketAddr> {
        self.endpoint
    }

    /// The path of the local Unix domain socket that the peer connected to.
    #[must_use]
    pub fn unix_endpoint(&self) -> Option<&'a Path> {
        self.unix_endpoint
    }
}
