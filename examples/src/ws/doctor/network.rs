//! Addresses of a host, and a connection to each of them.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::ws::doctor::{
    finding::{Facts, Fault},
    probe::Probe,
};

/// Most addresses of a host that are tried.
const MOST_ADDRESSES: usize = 16;

/// A connection, whatever is below it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// All addresses of the host.
pub(super) async fn resolve(
    probe: &Probe,
    host: &str,
    port: u16,
    facts: &mut Facts,
) -> Result<(Vec<SocketAddr>, String), Fault> {
    let given: Vec<_> = probe
        .resolved
        .iter()
        .filter(|(name, of_port, _)| name.eq_ignore_ascii_case(host) && *of_port == port)
        .map(|(_, _, ip)| SocketAddr::new(*ip, port))
        .collect();
    if !given.is_empty() {
        facts.see("addresses", texts(&given));
        return Ok((given, "the addresses were given, nothing is looked up".to_owned()));
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok((vec![SocketAddr::new(ip, port)], "the host is an address already".to_owned()));
    }
    let lookup = tokio::net::lookup_host((host, port));
    let mut found: Vec<SocketAddr> = match timeout(probe.timeout, lookup).await {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => return Err(unresolved(host, &error)),
        Err(_) => {
            return Err(Fault::new(
                format!("the name server did not answer within {}", seconds(probe.timeout)),
                "check the network, and the name servers that this machine asks (on Unix: /etc/resolv.conf)",
            ));
        }
    };
    let mut seen = std::collections::HashSet::new();
    found.retain(|one| seen.insert(*one));
    if found.is_empty() {
        return Err(Fault::new(
            format!("{host} has no address"),
            "give the name an A or AAAA record, or connect with an address",
        ));
    }
    facts.see("addresses", texts(&found));
    let count = found.len();
    found.truncate(MOST_ADDRESSES);
    let left = if count > MOST_ADDRESSES { ", of which 16 are tried" } else { "" };
    let plural = if count == 1 { "" } else { "es" };
    Ok((found, format!("{host} has {count} address{plural}{left}")))
}

fn unresolved(host: &str, error: &io::Error) -> Fault {
    Fault::new(
        format!("{host} cannot be resolved: {error}"),
        format!("check the spelling of {host}, and whether this machine can resolve other names"),
    )
}

/// A connection to the first address that accepts one; all are tried, at the same time.
pub(super) async fn connect(
    probe: &Probe,
    addresses: &[SocketAddr],
    facts: &mut Facts,
) -> Result<(TcpStream, String), Fault> {
    let mut tries = JoinSet::new();
    for (at, address) in addresses.iter().copied().enumerate() {
        let patience = probe.timeout;
        tries.spawn(async move {
            let begun = Instant::now();
            let tried = timeout(patience, TcpStream::connect(address)).await;
            (at, address, begun.elapsed(), tried)
        });
    }
    let mut tried: Vec<_> = tries.join_all().await;
    tried.sort_by_key(|(at, ..)| *at);
    let (mut first, mut faults) = (None, Vec::new());
    for (_, address, took, tried) in tried {
        let (said, ok) = match tried {
            Ok(Ok(stream)) => {
                let said = format!("{address} accepts connections ({})", milliseconds(took));
                // Frames are small, and each is a packet of its own.
                let _ = stream.set_nodelay(true);
                first.get_or_insert((stream, address));
                (said, true)
            }
            Ok(Err(error)) => {
                let said = format!("{address}: {}", in_words(&error));
                faults.push(error.kind());
                (said, false)
            }
            Err(_) => {
                faults.push(io::ErrorKind::TimedOut);
                (format!("{address}: no answer within {}", seconds(probe.timeout)), false)
            }
        };
        facts.check("address", said, ok);
    }
    let failed = faults.len();
    if let Some((stream, address)) = first {
        let others = match failed {
            0 => String::new(),
            1 => "; one other address does not, which slows clients down".to_owned(),
            more => format!("; {more} other addresses do not, which slows clients down"),
        };
        return Ok((stream, format!("{address} accepts connections{others}")));
    }
    Err(unreachable(addresses, &faults))
}

fn unreachable(addresses: &[SocketAddr], faults: &[io::ErrorKind]) -> Fault {
    let all = |kind| faults.iter().all(|fault| *fault == kind);
    let whose = match addresses {
        [one] => one.to_string(),
        several => format!("none of the {} addresses", several.len()),
    };
    if all(io::ErrorKind::ConnectionRefused) {
        let why = match addresses {
            [one] => format!("nothing listens on {one}: the connection was refused"),
            _ => "nothing listens on any of the addresses: the connections were refused".to_owned(),
        };
        return Fault::new(
            why,
            "start the server, check the port in the URL, and the address that it listens on",
        );
    }
    if all(io::ErrorKind::TimedOut) {
        return Fault::new(
            format!("no answer of {whose}"),
            "check that the machine is up, and that no firewall between here and there drops the packets",
        );
    }
    Fault::new(
        if addresses.len() == 1 {
            format!("{whose} cannot be reached")
        } else {
            format!("{whose} can be reached")
        },
        "check the address, and the route to it (a machine without IPv6 has none to IPv6 addresses)",
    )
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "the connection was refused, nothing listens there".to_owned(),
        io::ErrorKind::NetworkUnreachable => "this machine has no route to that network".to_owned(),
        io::ErrorKind::HostUnreachable => "there is no route to the host".to_owned(),
        io::ErrorKind::ConnectionReset => "the connection was reset".to_owned(),
        _ => error.to_string(),
    }
}

fn texts(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(|address| address.ip().to_string()).collect()
}

/// A time as it is shown.
pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// A time that somebody has set.
pub(super) fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

/// A connection to a Unix domain socket.
#[cfg(unix)]
pub(super) async fn unix(
    probe: &Probe,
    path: &std::path::Path,
) -> Result<(tokio::net::UnixStream, String), Fault> {
    let shown = path.display();
    match timeout(probe.timeout, tokio::net::UnixStream::connect(path)).await {
        Ok(Ok(stream)) => Ok((stream, format!("{shown} accepts connections"))),
        Ok(Err(error)) => Err(Fault::new(
            format!("{shown} cannot be connected to: {}", in_words(&error)),
            "check the path, that the server runs, and that this user may write to the socket",
        )),
        Err(_) => Err(Fault::new(
            format!("{shown} did not accept the connection within {}", seconds(probe.timeout)),
            "check whether the server still accepts connections",
        )),
    }
}
