//! On which byte stream a client connects.

#[cfg(unix)]
use std::path::PathBuf;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{ClientParams, host::Host};
use crate::error::ParamsError;

mod connector;
#[cfg(feature = "proxy")]
mod proxy;
mod resolver;

pub use connector::{Connector, Io, Target};
#[cfg(feature = "proxy")]
pub use proxy::Proxy;
#[cfg(feature = "proxy")]
pub(crate) use proxy::{Credentials, ProxyKind, ProxyServer};
pub use resolver::Resolver;

/// Where the byte stream under TLS and handshake comes from.
#[derive(Clone, Default)]
pub(crate) struct Dialing {
    pub(crate) connector: Option<Arc<dyn Connector>>,
    pub(crate) resolver: Option<Arc<dyn Resolver>>,
    /// Host names as they were given, and their addresses.
    resolved: Vec<(String, Vec<SocketAddr>)>,
    pub(crate) local_addr: Option<IpAddr>,
    pub(crate) receive_buffer: Option<usize>,
    pub(crate) send_buffer: Option<usize>,
    #[cfg(unix)]
    pub(crate) unix: Option<PathBuf>,
    #[cfg(feature = "proxy")]
    pub(crate) proxy: Option<Proxy>,
}

impl ClientParams {
    /// Connects on the byte streams of a [`Connector`] instead of TCP connections of its own. TLS and the handshake
    /// stay those of the client: host and port say what the certificate has to be for, and what the request names.
    ///
    /// The [connect timeout](Self::connect_timeout) includes the connector. [Buffer sizes](Self::receive_buffer) and
    /// `TCP_NODELAY` are up to it, and the connection has no [addresses](crate::ClientConnection::peer_addr).
    #[must_use]
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.dialing.connector = Some(Arc::new(connector));
        self
    }

    /// Resolves host names with a [`Resolver`] instead of that of the system. It is not asked for IP addresses, nor for
    /// hosts whose addresses are [given](Self::resolve).
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolver) -> Self {
        self.dialing.resolver = Some(Arc::new(resolver));
        self
    }

    /// Gives the addresses of a host, which is then not resolved. In place of a port 0 that of the connect is used.
    /// Given twice for a host, the last ones count.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use websockets_simple_client::ClientParams;
    ///
    /// // The certificate and the request are for chat.example; the server is the one that is being tested.
    /// let params = ClientParams::url("wss://chat.example/room")
    ///     .unwrap()
    ///     .resolve("chat.example", [SocketAddr::from(([127, 0, 0, 1], 8443))]);
    /// # drop(params);
    /// ```
    #[must_use]
    pub fn resolve(
        mut self,
        host: impl Into<String>,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) -> Self {
        self.dialing.resolved.push((host.into(), addresses.into_iter().collect()));
        self
    }

    /// Connects from this address of the system, with a port of the system's choice. Addresses of the server that are
    /// of the other family are not tried. Default: the system chooses.
    #[must_use]
    pub fn local_addr(mut self, address: IpAddr) -> Self {
        self.dialing.local_addr = Some(address);
        self
    }

    /// Size of the receive buffer of a TCP socket in bytes. Default: the system's.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.dialing.receive_buffer = Some(bytes);
        self
    }

    /// Size of the send buffer of a TCP socket in bytes. Default: the system's.
    #[must_use]
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.dialing.send_buffer = Some(bytes);
        self
    }

    /// Connects through a [`Proxy`], within the [connect timeout](Self::connect_timeout), with and without TLS. The
    /// proxy resolves the name of the server; [`resolver`](Self::resolver) and [`resolve`](Self::resolve) are for
    /// that of the proxy, and for hosts that are connected to directly.
    /// [Addresses](crate::ClientConnection::peer_addr) of the connection are those of the connection to the proxy.
    /// Default: none, whatever the environment says.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_client::{ClientParams, ParamsError, Proxy};
    ///
    /// # fn main() -> Result<(), ParamsError> {
    /// let params = ClientParams::url("wss://chat.example/room")?.proxy(Proxy::from_env()?);
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "proxy")]
    #[must_use]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.dialing.proxy = Some(proxy);
        self
    }

    /// Connects to a Unix domain socket instead of over TCP. Host, port and path keep their meaning for the request,
    /// and with TLS for the certificate. The connection has no [addresses](crate::ClientConnection::peer_addr).
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_client::ClientParams;
    ///
    /// let params = ClientParams::new("localhost", 80).path("/room").unix("/run/chat/chat.sock");
    /// # drop(params);
    /// ```
    #[cfg(unix)]
    #[must_use]
    pub fn unix(mut self, path: impl Into<PathBuf>) -> Self {
        self.dialing.unix = Some(path.into());
        self
    }
}

impl Dialing {
    /// Refuses what would be silently without effect, and what is malformed.
    #[cfg_attr(not(feature = "proxy"), expect(unused_variables, reason = "they are for proxies"))]
    pub(super) fn check(&self, to: &Host, secured: bool) -> Result<(), ParamsError> {
        #[cfg(feature = "proxy")]
        if let Some(proxy) = &self.proxy {
            proxy.check(to, secured)?;
        }
        for (host, addresses) in &self.resolved {
            Host::parse(host.trim())?;
            if addresses.is_empty() {
                return Err(ParamsError::NoAddress(host.clone()));
            }
        }
        let (beside, others) = match (self.is_unix(), &self.connector) {
            (true, Some(_)) => ("a Unix domain socket", Some("a connector")),
            (true, None) => ("a Unix domain socket", None),
            (false, Some(_)) => ("a connector", None),
            (false, None) => return Ok(()),
        };
        let of_tcp = [
            ("a resolver", self.resolver.is_some()),
            ("an address of a host", !self.resolved.is_empty()),
            ("a local address", self.local_addr.is_some()),
            #[cfg(feature = "proxy")]
            ("a proxy", self.proxy.is_some()),
        ];
        let of_tcp = of_tcp.into_iter().find_map(|(what, is_given)| is_given.then_some(what));
        others.or(of_tcp).map_or(Ok(()), |what| Err(ParamsError::NoEffect { what, beside }))
    }

    /// The proxy for the server, if there is one.
    #[cfg(feature = "proxy")]
    pub(crate) fn proxy_to(&self, host: &Host, secured: bool) -> Option<ProxyServer> {
        self.proxy.as_ref()?.server(host, secured)
    }

    fn is_unix(&self) -> bool {
        #[cfg(unix)]
        return self.unix.is_some();
        #[cfg(not(unix))]
        false
    }

    /// Whether code of the application runs during a dial, which may panic.
    pub(crate) fn runs_user_code(&self) -> bool {
        self.connector.is_some() || self.resolver.is_some()
    }

    /// The addresses that were given for a host.
    pub(crate) fn addresses_of(&self, host: &str) -> Option<&[SocketAddr]> {
        let is_of = |given: &str| Host::parse(given.trim()).is_ok_and(|given| given.name == host);
        let last = self.resolved.iter().rev().find(|(given, _)| is_of(given));
        last.map(|(_, addresses)| addresses.as_slice())
    }
}
