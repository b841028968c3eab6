//! Which peers are trusted proxies, and which client addresses are accepted from them.

use std::{fmt, net::IpAddr};

use http::HeaderMap;
use ipnet::IpNet;

use crate::net::forwarded;

/// The trusted proxies in front of a server: only these peers may name the address of a client.
///
/// Behind a proxy, every connection comes from the address of the proxy. A peer on this list names the address of its
/// client in a header of the request ([`ForwardedHeader`]) or before all other bytes
/// ([`ProxyProtocol`](crate::ProxyProtocol)). The header of any other peer is ignored: any client can write one.
///
/// Headers are read from right to left, as each proxy adds to the right: addresses that are on the list are skipped,
/// and the first one that is not is the client. An entry that cannot be read, and everything to its left, is ignored:
/// the client is then the last address before it, which may be that of the proxy itself.
///
/// The list holds addresses and networks of IPv4 and IPv6. An IPv4 address may also be written as an IPv6 one
/// (`::ffff:10.0.0.1`). A peer that can connect from an address on the list can claim any client address, so
/// `0.0.0.0/0` belongs on the list only where no peer but the proxy can reach the port.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{ForwardedHeader, ServerParams, TrustedProxies};
///
/// # fn main() -> Result<(), websockets_simple_server::InvalidNetwork> {
/// let proxies = TrustedProxies::new(["127.0.0.1", "10.0.0.0/8", "fd00::/8"])?
///     .header(ForwardedHeader::XForwardedFor);
/// let params = ServerParams::new(8080).trusted_proxies(proxies);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    header: ForwardedHeader,
    unix_sockets: bool,
}

/// The header in which a trusted proxy names the address of its client.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ForwardedHeader {
    /// `Forwarded` or `X-Forwarded-For`, whichever is present. If both are, they have to agree: a proxy that writes one
    /// of them passes the other on as the client sent it, so if they differ, one may be forged, and the client is then
    /// the peer itself.
    #[default]
    Any,
    /// Only `Forwarded` (RFC 7239).
    Forwarded,
    /// Neither header: for proxies that send only the PROXY protocol.
    None,
    /// Only `X-Forwarded-For`.
    XForwardedFor,
}

/// The error for a text that is neither an IP address nor a network such as `10.0.0.0/8` or `fd00::/8`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is neither an IP address nor a network")]
pub struct InvalidNetwork(String);

impl TrustedProxies {
    /// Trusts these addresses and networks.
    ///
    /// # Errors
    ///
    /// When one of them cannot be parsed. Host names are not resolved.
    pub fn new(networks: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, InvalidNetwork> {
        let networks = networks.into_iter().map(|network| read(network.as_ref()));
        Ok(Self { networks: networks.collect::<Result<_, _>>()?, ..Self::default() })
    }

    /// Sets the header in which they name the address of the client. Default: [`ForwardedHeader::Any`].
    #[must_use]
    pub fn header(mut self, header: ForwardedHeader) -> Self {
        self.header = header;
        self
    }

    /// Also trusts all peers that connect over a Unix domain socket: the permissions of its file say which may.
    #[must_use]
    pub fn and_unix_sockets(mut self) -> Self {
        self.unix_sockets = true;
        self
    }

    /// Whether this is the address of a trusted proxy.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.iter().any(|network| network.contains(&ip))
    }

    /// Whether a peer may name a client; over a Unix domain socket it has no address.
    pub(crate) fn trusts(&self, peer: Option<IpAddr>) -> bool {
        peer.map_or(self.unix_sockets, |ip| self.contains(ip))
    }

    /// The client of a request that came from `nearest`, as far as trusted proxies name it.
    pub(crate) fn client(&self, nearest: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        let nearest = nearest.map(|ip| ip.to_canonical());
        if !self.trusts(nearest) {
            return nearest;
        }
        let forwarded = || self.first_untrusted(nearest, forwarded::forwarded(headers));
        let x_forwarded_for = || self.first_untrusted(nearest, forwarded::x_forwarded_for(headers));
        match self.header {
            ForwardedHeader::Any => match (forwarded(), x_forwarded_for()) {
                (Some(one), Some(other)) if one != other => nearest,
                (one, other) => one.or(other).unwrap_or(nearest),
            },
            ForwardedHeader::Forwarded => forwarded().unwrap_or(nearest),
            ForwardedHeader::None => nearest,
            ForwardedHeader::XForwardedFor => x_forwarded_for().unwrap_or(nearest),
        }
    }

    /// Follows the hops that a header names, the nearest first; `None` if there is no such header.
    fn first_untrusted(
        &self,
        nearest: Option<IpAddr>,
        hops: impl Iterator<Item = Option<IpAddr>>,
    ) -> Option<Option<IpAddr>> {
        let mut hops = hops.peekable();
        hops.peek()?;
        let mut believed = nearest;
        while let Some(Some(hop)) = hops.next() {
            believed = Some(hop);
            if !self.contains(hop) {
                break;
            }
        }
        Some(believed)
    }
}

fn read(text: &str) -> Result<IpNet, InvalidNetwork> {
    let network = text.parse().or_else(|_| text.parse().map(|ip: IpAddr| IpNet::from(ip.to_canonical())));
    let network = network.map_err(|_| InvalidNetwork(text.to_owned()))?;
    Ok(match network {
        // IPv4-mapped addresses are compared as IPv4, so their networks are, too.
        IpNet::V6(mapped) if mapped.prefix_len() >= 96 => match mapped.network().to_ipv4_mapped() {
            Some(ip) => IpNet::new(ip.into(), mapped.prefix_len() - 96)
                .map_err(|_| InvalidNetwork(text.to_owned()))?,
            None => network,
        },
        network => network,
    })
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, network) in self.networks.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { ", " })?;
            network.fmt(f)?;
        }
        match (self.networks.is_empty(), self.unix_sockets) {
            (true, true) => f.write_str("Unix domain sockets"),
            (false, true) => f.write_str(", Unix domain sockets"),
            (_, false) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn proxies() -> TrustedProxies {
        TrustedProxies::new(["10.0.0.0/8", "192.0.2.1", "fd00::/8"]).unwrap()
    }

    /// The client of a request from `peer` with these header lines.
    fn client(proxies: &TrustedProxies, peer: &str, lines: &[(&'static str, &str)]) -> IpAddr {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        proxies.client(Some(ip(peer)), &headers).unwrap()
    }

    #[test]
    fn addresses_and_networks_are_trusted_and_others_are_not() {
        let proxies = proxies();
        for trusted in ["10.255.0.1", "192.0.2.1", "fd12::1", "::ffff:10.0.0.1"] {
            assert!(proxies.contains(ip(trusted)), "{trusted}");
        }
        for other in ["11.0.0.1", "192.0.2.2", "fe80::1", "::ffff:11.0.0.1", "::10.0.0.1"] {
            assert!(!proxies.contains(ip(other)), "{other}");
        }
        assert!(!TrustedProxies::default().contains(ip("127.0.0.1")));
    }

    #[test]
    fn an_ipv4_network_in_the_form_of_ipv6_is_the_same_network() {
        for written in ["::ffff:10.0.0.0/104", "::ffff:10.1.2.3"] {
            let proxies = TrustedProxies::new([written]).unwrap();
            assert!(proxies.contains(ip("10.1.2.3")), "{written}");
            assert!(!proxies.contains(ip("11.1.2.3")), "{written}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_by_name() {
        for wrong in ["", "localhost", "10.0.0.0/33", "10.0.0", "fd00::/129", "10.0.0.0/", "10.0.0.1:80"] {
            let error = TrustedProxies::new(["10.0.0.1", wrong]).unwrap_err();
            assert_eq!(error.to_string(), format!("{wrong:?} is neither an IP address nor a network"));
        }
    }

    #[test]
    fn the_first_address_from_the_right_that_is_not_trusted_is_the_client() {
        let proxies = proxies();
        for (value, told) in [
            ("198.51.100.1", "198.51.100.1"),
            ("203.0.113.9, 198.51.100.1", "198.51.100.1"),
            ("203.0.113.9, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
            ("203.0.113.9, 198.51.100.1, fd00::2, 192.0.2.1", "198.51.100.1"),
            // All are trusted: the farthest.
            ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
            // What is to the left of the malformed part is not read, whatever it is.
            ("198.51.100.1, nonsense", "10.0.0.1"),
            ("198.51.100.1, nonsense, 10.0.0.2", "10.0.0.2"),
            ("198.51.100.1, , 10.0.0.2", "10.0.0.2"),
            ("nonsense, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(client(&proxies, "10.0.0.1", &[("x-forwarded-for", value)]), ip(told), "{value}");
        }
    }

    #[test]
    fn lines_of_one_header_are_one_list() {
        let lines = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "198.51.100.1, 10.0.0.2")];
        assert_eq!(client(&proxies(), "10.0.0.1", &lines), ip("198.51.100.1"));
        let lines = [("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "10.0.0.2")];
        assert_eq!(client(&proxies(), "10.0.0.1", &lines), ip("198.51.100.1"));
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_the_client_whatever_it_says() {
        let lines = [("x-forwarded-for", "198.51.100.1"), ("forwarded", "for=198.51.100.1")];
        assert_eq!(client(&proxies(), "203.0.113.9", &lines), ip("203.0.113.9"));
        assert_eq!(client(&TrustedProxies::default(), "10.0.0.1", &lines), ip("10.0.0.1"));
    }

    #[test]
    fn a_trusted_peer_that_says_nothing_is_the_client_itself() {
        assert_eq!(client(&proxies(), "::ffff:10.0.0.1", &[]), ip("10.0.0.1"));
    }

    #[test]
    fn of_two_headers_that_differ_neither_is_believed() {
        let (forwarded, other) = (("forwarded", "for=198.51.100.1"), ("x-forwarded-for", "203.0.113.9"));
        let same = ("x-forwarded-for", "198.51.100.1, 10.0.0.2");
        let proxies = proxies();
        assert_eq!(client(&proxies, "10.0.0.1", &[forwarded]), ip("198.51.100.1"));
        assert_eq!(client(&proxies, "10.0.0.1", &[other]), ip("203.0.113.9"));
        assert_eq!(client(&proxies, "10.0.0.1", &[forwarded, same]), ip("198.51.100.1"));
        assert_eq!(client(&proxies, "10.0.0.1", &[forwarded, other]), ip("10.0.0.1"));
        assert_eq!(client(&proxies, "10.0.0.1", &[("forwarded", "for=_hidden"), other]), ip("10.0.0.1"));
    }

    #[test]
    fn a_header_that_was_not_chosen_is_not_read() {
        let lines = [("forwarded", "for=198.51.100.1"), ("x-forwarded-for", "203.0.113.9")];
        for (header, told) in [
            (ForwardedHeader::Forwarded, "198.51.100.1"),
            (ForwardedHeader::XForwardedFor, "203.0.113.9"),
            (ForwardedHeader::None, "10.0.0.1"),
        ] {
            assert_eq!(client(&proxies().header(header), "10.0.0.1", &lines), ip(told), "{header:?}");
        }
    }

    #[test]
    fn over_a_unix_domain_socket_a_client_is_believed_in_only_where_that_is_said() {
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static("x-forwarded-for"),
            HeaderValue::from_static("203.0.113.9, 198.51.100.1, 10.0.0.2"),
        )]);
        assert_eq!(proxies().client(None, &headers), None);
        let proxies = proxies().and_unix_sockets();
        assert_eq!(proxies.client(None, &headers), Some(ip("198.51.100.1")));
        assert_eq!(proxies.client(None, &HeaderMap::new()), None);
    }

    #[test]
    fn a_list_is_shown_as_it_is_written() {
        assert_eq!(proxies().to_string(), "10.0.0.0/8, 192.0.2.1/32, fd00::/8");
    }
}
