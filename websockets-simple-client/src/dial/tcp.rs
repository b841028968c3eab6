//! TCP connections: name resolution, and the addresses of a name in turn.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{net::TcpStream, task::JoinSet};

use crate::{config::CheckedParams, error::ConnectError};

/// How long one address is tried before the next one is tried in parallel (RFC 8305 section 8).
pub(super) const STAGGER: Duration = Duration::from_millis(250);

/// Connects to one of the addresses of the host.
pub(super) async fn connect(params: &CheckedParams) -> Result<TcpStream, ConnectError> {
    let host = (params.host.name.as_str(), params.port());
    let addresses: Vec<_> =
        tokio::net::lookup_host(host).await.map_err(|error| ConnectError::Resolve(error.into()))?.collect();
    connect_to_first(addresses, params.receive_buffer(), params.send_buffer())
        .await
        .map_err(|error| ConnectError::Connect(error.into()))
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
    addresses: Vec<SocketAddr>,
    receive: Option<usize>,
    send: Option<usize>,
) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut addresses = interleaved(addresses);
    let mut tries = JoinSet::new();
    loop {
        let next = addresses.next();
        let more = next.is_some();
        if let Some(address) = next {
            tries.spawn(connect_to(address, receive, send));
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

pub(super) async fn connect_to(
    address: SocketAddr,
    receive: Option<usize>,
    send: Option<usize>,
) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    if let Some(bytes) = receive {
        socket.set_recv_buffer_size(size(bytes))?;
    }
    if let Some(bytes) = send {
        socket.set_send_buffer_size(size(bytes))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
