//! TCP connections: name resolution, and the addresses of a name in turn.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{net::TcpStream, task::JoinSet};

use crate::{
    config::{CheckedParams, Dialing},
    error::ConnectError,
};

/// How long one address is tried before the next one is tried in parallel (RFC 8305 section 8).
pub(super) const STAGGER: Duration = Duration::from_millis(250);

/// Why there is no TCP connection.
pub(super) enum Fault {
    Resolve(io::Error),
    Connect(io::Error),
}

/// What is set on a socket before it connects.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SocketOptions {
    pub(super) receive_buffer: Option<usize>,
    pub(super) send_buffer: Option<usize>,
    pub(super) local_addr: Option<IpAddr>,
}

impl From<Fault> for ConnectError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Resolve(error) => Self::Resolve(error.into()),
            Fault::Connect(error) => Self::Connect(error.into()),
        }
    }
}

/// Connects to one of the addresses of a host: the server, or a proxy.
pub(super) async fn connect(params: &CheckedParams, host: &str, port: u16) -> Result<TcpStream, Fault> {
    let dialing = params.dialing();
    let Dialing { receive_buffer, send_buffer, local_addr, .. } = *dialing;
    let options = SocketOptions { receive_buffer, send_buffer, local_addr };
    let addresses = resolve(dialing, host, port).await.map_err(Fault::Resolve)?;
    connect_to_first(addresses, options).await.map_err(Fault::Connect)
}

async fn resolve(dialing: &Dialing, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    // Names have no colon, and zones are for the system.
    let is_address = host.contains(':') || host.parse::<IpAddr>().is_ok();
    let mut addresses: Vec<_> = match (dialing.addresses_of(host), &dialing.resolver) {
        (Some(given), _) => given.to_vec(),
        (None, Some(resolver)) if !is_address => resolver.resolve(host, port).await?,
        (None, _) => tokio::net::lookup_host((host, port)).await?.collect(),
    };
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
    }
    for address in addresses.iter_mut().filter(|address| address.port() == 0) {
        address.set_port(port);
    }
    Ok(addresses)
}

/// The addresses in the order in which they are tried: that of the resolver, whose families alternate, beginning with the
/// one of its first address (RFC 8305 section 4).
pub(super) fn interleaved(addresses: Vec<SocketAddr>) -> impl Iterator<Item = SocketAddr> {
    let starts_with_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == starts_with_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    std::iter::from_fn(move || {
        std::mem::swap(&mut first, &mut second);
        second.next().or_else(|| first.next())
    })
}

/// Tries the addresses, families alternating, the next one in parallel after [`STAGGER`]. The first that connects wins.
pub(super) async fn connect_to_first(
    mut addresses: Vec<SocketAddr>,
    options: SocketOptions,
) -> io::Result<TcpStream> {
    if let Some(local) = options.local_addr {
        addresses.retain(|address| address.is_ipv4() == local.is_ipv4());
    }
    let other_family = "the host has no address of the family of the local address";
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, other_family);
    let mut addresses = interleaved(addresses);
    let mut tries = JoinSet::new();
    loop {
        let next = addresses.next();
        let more = next.is_some();
        if let Some(address) = next {
            tries.spawn(connect_to(address, options));
        }
        tokio::select! {
            Some(tried) = tries.join_next() => match tried {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(error) => last = io::Error::other(error),
            },
            () = tokio::time::sleep(STAGGER), if more => {}
            else => return Err(last),
        }
    }
}

pub(super) async fn connect_to(address: SocketAddr, options: SocketOptions) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    if let Some(bytes) = options.receive_buffer {
        socket.set_recv_buffer_size(size(bytes))?;
    }
    if let Some(bytes) = options.send_buffer {
        socket.set_send_buffer_size(size(bytes))?;
    }
    if let Some(local) = options.local_addr {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
