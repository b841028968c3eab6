//! The endpoints that a server listens on.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;

#[cfg(feature = "rustls")]
use crate::net::ServerTls;
#[cfg(unix)]
use crate::net::UnixSocket;
use crate::net::{BoundListener, ProxyProtocol};

/// Most connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// An address to listen on, plain or with TLS, over TCP or a Unix domain socket.
#[derive(Clone, Debug)]
pub struct Endpoint {
    place: Place,
    pub(crate) proxy_protocol: ProxyProtocol,
    #[cfg(feature = "http2")]
    pub(crate) http2_prior_knowledge: bool,
    #[cfg(feature = "rustls")]
    tls: Option<Arc<ServerTls>>,
}

#[derive(Clone, Debug)]
enum Place {
    /// All interfaces, by IPv6 and IPv4 together where there are both.
    All(u16),
    Tcp(SocketAddr),
    /// One that somebody else listens on.
    Bound(Arc<std::net::TcpListener>),
    #[cfg(unix)]
    Unix(UnixSocket),
}

impl Endpoint {
    /// Listens on one address. With port 0 the system chooses a port, which the server keeps when it is restarted.
    #[must_use]
    pub fn tcp(addr: SocketAddr) -> Self {
        Self::at(Place::Tcp(addr))
    }

    /// Listens on all interfaces: `[::]` for IPv6 and IPv4 together, or 0.0.0.0 where there is no IPv6.
    #[must_use]
    pub fn all(port: u16) -> Self {
        Self::at(Place::All(port))
    }

    /// Accepts from a listener that is there already, as systemd hands it to a service that it starts (socket activation), and
    /// a process to the next one that takes its place: who comes while none of them accepts waits in its queue. The
    /// listener is not closed when the server stops, but when the last clone of this endpoint is dropped, the parameters
    /// of the server with it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::TcpListener;
    /// use websockets_simple_server::{Endpoint, ServerParams, WebsocketServer};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let addr = listener.local_addr()?;
    /// let server = WebsocketServer::new(ServerParams::mounted().endpoint(Endpoint::listener(listener)));
    /// server.start().await?;
    /// assert_eq!(server.local_addr(), Some(addr));
    /// # server.stop().await;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn listener(listener: std::net::TcpListener) -> Self {
        Self::at(Place::Bound(Arc::new(listener)))
    }

    /// Listens on a Unix domain socket: a path, or a [`UnixSocket`] with more settings.
    ///
    /// A stale socket file is replaced. The start fails if another process listens on it, or if the file is not a
    /// socket. When the server stops, the file is removed.
    ///
    /// Peers have no address: limits per address do not apply, and
    /// [`Connection::peer_addr`](crate::Connection::peer_addr) is `None`. A proxy may still name its clients
    /// ([`TrustedProxies::and_unix_sockets`](crate::TrustedProxies::and_unix_sockets)).
    #[cfg(unix)]
    #[must_use]
    pub fn unix(socket: impl Into<UnixSocket>) -> Self {
        Self::at(Place::Unix(socket.into()))
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            proxy_protocol: ProxyProtocol::Off,
            #[cfg(feature = "http2")]
            http2_prior_knowledge: false,
            #[cfg(feature = "rustls")]
            tls: None,
        }
    }

    /// Uses TLS on this endpoint.
    #[cfg(feature = "rustls")]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls", feature = "tls-ring"))))]
    #[must_use]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(Arc::new(tls));
        self
    }

    /// Sets whether connections begin with a PROXY protocol header. Default: [`ProxyProtocol::Off`].
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{Endpoint, ProxyProtocol, ServerParams, TrustedProxies};
    ///
    /// # fn main() -> Result<(), websockets_simple_server::InvalidNetwork> {
    /// let params = ServerParams::new(8080)
    ///     .endpoint(Endpoint::all(8080).proxy_protocol(ProxyProtocol::Required))
    ///     .trusted_proxies(TrustedProxies::new(["10.0.0.1"])?);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn proxy_protocol(mut self, proxy_protocol: ProxyProtocol) -> Self {
        self.proxy_protocol = proxy_protocol;
        self
    }

    /// Takes HTTP/2 beside HTTP/1.1 from clients that begin with it (RFC 9113 section 3.3), for proxies that do so
    /// without TLS: no browser does. Streams are as over TLS, where [`ServerTls::http2`](crate::ServerTls::http2) offers
    /// HTTP/2 instead; with TLS this is an error of [`start`](crate::Server::start). Default: off.
    #[cfg(feature = "http2")]
    #[must_use]
    pub fn http2_prior_knowledge(mut self) -> Self {
        self.http2_prior_knowledge = true;
        self
    }

    #[cfg(feature = "rustls")]
    pub(crate) fn server_tls(&self) -> Option<&ServerTls> {
        self.tls.as_deref()
    }

    /// Whether the system chooses the port.
    pub(super) fn has_any_port(&self) -> bool {
        match &self.place {
            Place::All(port) => *port == 0,
            Place::Tcp(addr) => addr.port() == 0,
            Place::Bound(_) => false,
            #[cfg(unix)]
            Place::Unix(_) => false,
        }
    }

    #[cfg(unix)]
    pub(super) fn unix_socket(&self) -> Option<&UnixSocket> {
        match &self.place {
            Place::Unix(socket) => Some(socket),
            Place::All(_) | Place::Tcp(_) | Place::Bound(_) => None,
        }
    }

    /// Listens. If the port is 0, the port of `before` is used again, if there is one.
    pub(crate) fn bind(&self, before: Option<SocketAddr>) -> io::Result<BoundListener> {
        let again = |port| before.filter(|_| port == 0).map_or(port, |before| before.port());
        match &self.place {
            Place::All(port) => {
                let port = again(*port);
                match listen(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port), true) {
                    Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                        listen(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port), false)
                    }
                    listener => listener,
                }
                .map(BoundListener::Tcp)
            }
            Place::Tcp(addr) => {
                let mut addr = *addr;
                addr.set_port(again(addr.port()));
                listen(addr, false).map(BoundListener::Tcp)
            }
            Place::Bound(listener) => {
                let listener = listener.try_clone()?;
                listener.set_nonblocking(true)?;
                // As for our own; it is not needed.
                let _ = SockRef::from(&listener).set_tcp_nodelay(true);
                TcpListener::from_std(listener).map(BoundListener::Tcp)
            }
            #[cfg(unix)]
            Place::Unix(socket) => socket.bind(BACKLOG).map(BoundListener::Unix),
        }
    }
}

fn listen(addr: SocketAddr, dual_stack: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!dual_stack)?;
    }
    // A port in TIME_WAIT can be bound again; one with a listener cannot.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    // On Linux accepted connections inherit it, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::All(port) => write!(f, "[::]:{port}"),
            Place::Tcp(addr) => addr.fmt(f),
            Place::Bound(listener) => match listener.local_addr() {
                Ok(addr) => addr.fmt(f),
                Err(_) => f.write_str("the given listener"),
            },
            #[cfg(unix)]
            Place::Unix(socket) => socket.path().display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    impl Endpoint {
        fn bound(&self, before: Option<SocketAddr>) -> io::Result<TcpListener> {
            match self.bind(before)? {
                BoundListener::Tcp(listener) => Ok(listener),
                bound => panic!("{bound:?} is not over TCP"),
            }
        }
    }

    fn local() -> Endpoint {
        Endpoint::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    #[tokio::test]
    async fn a_port_that_the_system_chose_is_kept_over_a_restart() {
        let first = local().bound(None).unwrap().local_addr().unwrap();
        assert_ne!(first.port(), 0);
        let second = local().bound(Some(first)).unwrap().local_addr().unwrap();
        assert_eq!(second, first);
    }

    #[tokio::test]
    async fn a_port_that_was_asked_for_is_not_changed_by_a_restart() {
        let taken = local().bound(None).unwrap().local_addr().unwrap();
        let before = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        assert_eq!(Endpoint::tcp(taken).bound(Some(before)).unwrap().local_addr().unwrap(), taken);
    }

    #[tokio::test]
    async fn a_port_that_is_listened_on_is_in_use() {
        let listener = local().bound(None).unwrap();
        let error = Endpoint::tcp(listener.local_addr().unwrap()).bound(None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn a_port_that_is_taken_for_ipv6_is_not_listened_on_for_ipv4_alone() {
        let unspecified = Endpoint::tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)));
        let Ok(listener) = unspecified.bound(None) else { return };
        let port = listener.local_addr().unwrap().port();
        assert_eq!(Endpoint::all(port).bound(None).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn a_port_whose_connections_are_fading_can_be_taken_again() {
        let listener = local().bound(None).unwrap();
        let addr = listener.local_addr().unwrap();
        let client = TcpStream::connect(addr).await.unwrap();
        // The side that closes first keeps the port in TIME_WAIT.
        drop(listener.accept().await.unwrap());
        drop(client);
        drop(listener);
        assert!(Endpoint::tcp(addr).bound(None).is_ok());
    }

    #[tokio::test]
    async fn all_interfaces_can_be_reached_by_ipv4_and_where_there_is_one_by_ipv6() {
        let listener = Endpoint::all(0).bound(None).unwrap();
        let addr = listener.local_addr().unwrap();
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, addr.port())).await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip().to_canonical(), Ipv4Addr::LOCALHOST);
        assert_eq!(peer.port(), client.local_addr().unwrap().port());
        if addr.is_ipv6() {
            let client = TcpStream::connect((Ipv6Addr::LOCALHOST, addr.port())).await.unwrap();
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        }
    }

    #[tokio::test]
    async fn an_ipv6_address_takes_no_ipv4() {
        let unspecified = Endpoint::tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)));
        let Ok(listener) = unspecified.bound(None) else { return };
        let port = listener.local_addr().unwrap().port();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err());
        let _client = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.unwrap();
    }

    #[tokio::test]
    async fn a_given_listener_is_there_for_longer_than_whoever_accepts_from_it() {
        let given = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = given.local_addr().unwrap();
        let endpoint = Endpoint::listener(given);
        assert_eq!(endpoint.to_string(), addr.to_string());
        drop(endpoint.bound(None).unwrap());
        // Who comes while nobody accepts waits.
        let waiting = TcpStream::connect(addr).await.unwrap();
        let again = endpoint.bound(Some(addr)).unwrap();
        let (_, peer) = again.accept().await.unwrap();
        assert_eq!(peer, waiting.local_addr().unwrap());
        drop((again, endpoint));
        assert!(TcpStream::connect(addr).await.is_err());
    }

    #[test]
    fn an_endpoint_is_shown_as_its_address() {
        assert_eq!(Endpoint::all(80).to_string(), "[::]:80");
        assert_eq!(local().to_string(), "127.0.0.1:0");
        assert_eq!(Endpoint::unix("/run/chat.sock").to_string(), "/run/chat.sock");
    }
}
