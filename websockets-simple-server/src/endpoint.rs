//! An address to listen on.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

#[cfg(feature = "tls")]
use crate::ServerTls;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// An address to listen on, plain or with TLS.
#[derive(Clone, Debug)]
pub struct Endpoint {
    addr: SocketAddr,
    all: bool,
    #[cfg(feature = "tls")]
    tls: Option<ServerTls>,
}

impl Endpoint {
    /// One address. Port 0 lets the system choose; the server then keeps the port over a stop.
    #[must_use]
    pub fn tcp(addr: SocketAddr) -> Self {
        Self {
            addr,
            all: false,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// All interfaces: `[::]` for IPv6 and IPv4 together, or 0.0.0.0 where there is no IPv6.
    #[must_use]
    pub fn all(port: u16) -> Self {
        Self { all: true, ..Self::tcp(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)) }
    }

    /// Speaks TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    #[cfg(feature = "tls")]
    pub(crate) fn acceptor(&self) -> Option<&tokio_rustls::TlsAcceptor> {
        self.tls.as_ref().map(ServerTls::acceptor)
    }

    /// Listens, on the port of `before` if the system is to choose and has chosen that before.
    pub(crate) fn bind(&self, before: Option<SocketAddr>) -> io::Result<TcpListener> {
        let mut addr = self.addr;
        if addr.port() == 0
            && let Some(before) = before
        {
            addr.set_port(before.port());
        }
        match listen(addr, self.all) {
            Err(error) if self.all && error.kind() != io::ErrorKind::AddrInUse => {
                listen(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), addr.port()), false)
            }
            listener => listener,
        }
    }
}

fn listen(addr: SocketAddr, dual_stack: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!dual_stack)?;
    }
    // A port that is still in TIME_WAIT can be taken again; one that is listened on cannot.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.addr.fmt(f)
    }
}
