//! The PROXY protocol, versions 1 and 2: a proxy sends the address of its client before all other bytes.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Whether connections to an [`Endpoint`](crate::Endpoint) begin with a header of the PROXY protocol. In it, a proxy
/// that forwards bytes and not requests, such as HAProxy with `send-proxy` or `send-proxy-v2`, sends the address of its
/// client.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ProxyProtocol {
    /// Connections have no header; a peer that sends one is refused, as it is not HTTP.
    #[default]
    Off,
    /// All connections begin with a header, in version 1 or 2, and come from a
    /// [trusted proxy](crate::ServerParams::trusted_proxies). Other connections are closed, and an error event of the
    /// stage [`Handshake`](crate::ErrorStage::Handshake) is raised. The header comes before TLS, and the handshake
    /// deadline includes it.
    Required,
}

/// The source of a connection, as its header says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// A client with this address.
    Client(IpAddr),
    /// The proxy itself, such as a health check.
    Proxy,
    /// A client whose address the proxy does not name.
    Unknown,
}

/// Why a header could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    /// The connection ended first. The number of bytes received is 0 if the header had not begun.
    #[error("the connection ended in the header of the PROXY protocol, after {0} bytes")]
    Ended(usize),
    #[error("the header of the PROXY protocol is malformed")]
    Malformed,
    #[error("the header of the PROXY protocol could not be read")]
    Unreadable(#[source] io::Error),
}

/// Reads a header, and no byte after it.
pub(crate) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Source, HeaderError> {
    let mut header = [0; LONGEST];
    let mut held = 0;
    let (source, mut behind) = loop {
        match next(&header[..held]).ok_or(HeaderError::Malformed)? {
            Next::Done { source, behind } => break (source, behind),
            // Parsed after each read, so a peer that sends a short request instead is refused at once.
            Next::More(most) => held += some(stream, &mut header[held..held + most], held).await?,
        }
    };
    let mut ignored = [0; 256];
    while behind > 0 {
        let most = behind.min(ignored.len());
        behind -= some(stream, &mut ignored[..most], held).await?;
    }
    Ok(source)
}

async fn some<S: AsyncRead + Unpin>(
    stream: &mut S,
    buf: &mut [u8],
    held: usize,
) -> Result<usize, HeaderError> {
    match stream.read(buf).await {
        Ok(0) => Err(HeaderError::Ended(held)),
        Ok(read) => Ok(read),
        Err(error) => Err(HeaderError::Unreadable(error)),
    }
}

/// What to read after these bytes of a header.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// The header is parsed; `behind` more bytes of it, which are ignored, follow. At most 64 KiB, as the length has 16
    /// bits.
    Done { source: Source, behind: usize },
    /// At least so many more bytes belong to the header.
    More(usize),
}

/// Parses the beginning of a header; `None` if it is malformed.
pub(crate) fn next(bytes: &[u8]) -> Option<Next> {
    match bytes {
        [b'\r', ..] => agree(bytes, SIGNATURE).then(|| version_2(bytes)).flatten(),
        _ => agree(bytes, PREFIX).then(|| version_1(bytes)).flatten(),
    }
}

/// Whether one of the two begins with the other.
fn agree(bytes: &[u8], begin: &[u8]) -> bool {
    bytes.iter().zip(begin).all(|(byte, begin)| byte == begin)
}

/// A line such as `PROXY TCP4 192.0.2.1 192.0.2.2 4711 443`.
fn version_1(bytes: &[u8]) -> Option<Next> {
    if bytes.len() < SHORTEST {
        return Some(Next::More(SHORTEST - bytes.len()));
    }
    let Some(line) = bytes.strip_suffix(b"\r\n") else {
        // After a CR, only one more byte is certain to belong to the line.
        let most = if bytes.ends_with(b"\r") { 1 } else { 2 };
        return (bytes.len() + most <= LONGEST).then_some(Next::More(most));
    };
    let line = str::from_utf8(line.strip_prefix(PREFIX)?).ok()?;
    if line.contains(['\r', '\n']) {
        return None;
    }
    let (family, addresses) = line.split_once(' ').unwrap_or((line, ""));
    let source = match family {
        "TCP4" => Source::Client(source::<Ipv4Addr>(addresses)?),
        "TCP6" => Source::Client(source::<Ipv6Addr>(addresses)?),
        // The rest of the line must be ignored.
        "UNKNOWN" => Source::Unknown,
        _ => return None,
    };
    Some(Next::Done { source, behind: 0 })
}

/// Parses two addresses and two ports; returns the first address.
fn source<A: std::str::FromStr + Into<IpAddr>>(text: &str) -> Option<IpAddr> {
    let mut parts = text.split(' ');
    let (source, target) = (parts.next()?.parse::<A>().ok()?, parts.next()?.parse::<A>().ok());
    let ports = [parts.next()?, parts.next()?];
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let is_whole = parts.next().is_none() && target.is_some() && ports.into_iter().all(is_port);
    is_whole.then(|| source.into().to_canonical())
}

/// Sixteen bytes, then addresses of the family that these name, then extensions.
fn version_2(bytes: &[u8]) -> Option<Next> {
    let Some((&[.., version, kind, high, low], addresses)) = bytes.split_first_chunk::<16>() else {
        return Some(Next::More(16 - bytes.len()));
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    let done = |source, known| Some(Next::Done { source, behind: len - known });
    let missing = |size: usize| (size <= len).then(|| Next::More(size - addresses.len()));
    match (version, kind) {
        (LOCAL, _) => done(Source::Proxy, 0),
        (PROXY, TCP_4) => match addresses.first_chunk::<12>() {
            Some(&[a, b, c, d, ..]) => done(Source::Client(Ipv4Addr::new(a, b, c, d).into()), 12),
            None => missing(12),
        },
        (PROXY, TCP_6) => match (addresses.first_chunk::<16>(), addresses.len() >= 36) {
            (Some(&ip), true) => done(Source::Client(IpAddr::from(ip).to_canonical()), 36),
            _ => missing(36),
        },
        (PROXY, UNIX_STREAM) if len >= 216 => done(Source::Unknown, 0),
        (PROXY, UNSPECIFIED) => done(Source::Unknown, 0),
        _ => None,
    }
}

/// The beginning of a header of version 1.
const PREFIX: &[u8] = b"PROXY ";

/// The beginning of a header of version 2, which no other protocol has.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Shortest header of version 1 (`PROXY UNKNOWN` and the end of the line); one of version 2 is longer.
const SHORTEST: usize = 15;

/// Longest header of version 1; of version 2, no more bytes are parsed.
pub(crate) const LONGEST: usize = 107;

/// Version and command of version 2.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

/// Address family and transport of version 2.
const UNSPECIFIED: u8 = 0x00;
const TCP_4: u8 = 0x11;
const TCP_6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;

#[cfg(test)]
mod tests;
