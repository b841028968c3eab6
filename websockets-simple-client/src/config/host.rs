//! The host that a client connects to.

use crate::error::ParamsError;

/// A host in the forms that a dial needs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Host {
    /// For the resolver: IPv6 without brackets, with its zone.
    pub(crate) name: String,
    /// For the `Host` header: IPv6 in brackets. A zone means nothing to the server (RFC 6874 section 4).
    pub(crate) shown: String,
    /// What the server's certificate has to be for: IPv6 without brackets and zone.
    pub(crate) certified: String,
}

impl Host {
    pub(crate) fn parse(host: &str) -> Result<Self, ParamsError> {
        if host.is_empty() {
            return Err(ParamsError::BlankHost);
        }
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let (bare, zone) = match bare.split_once('%') {
            Some((address, zone)) if address.contains(':') => (address, Some(zone)),
            _ => (bare, None),
        };
        if zone.is_some_and(|zone| !is_zone(zone)) {
            return Err(ParamsError::Host);
        }
        let parsed = if bare.contains(':') {
            bare.parse().map(url::Host::Ipv6).map_err(|_| ParamsError::Host)
        } else {
            url::Host::parse(bare).map_err(|_| ParamsError::Host)
        };
        let shown = parsed?.to_string();
        let certified = shown.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = zone.map_or_else(|| certified.clone(), |zone| format!("{certified}%{zone}"));
        Ok(Self { name, shown, certified })
    }
}

/// Whether this can be the name or number of a network interface, as a URL writes it (RFC 6874 section 2).
fn is_zone(zone: &str) -> bool {
    !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

/// A URL without the zone of its IPv6 address, and the zone: `%25` and the name of an interface (RFC 6874 section 2),
/// or `%` alone, as people write it.
pub(super) fn without_zone(url: &str) -> Option<(String, String)> {
    let (before, rest) = url.split_once("://[")?;
    // A scheme (RFC 3986 section 3.1), and not the beginning of a query.
    if !before.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
        return None;
    }
    let (address, behind) = rest.split_once(']')?;
    let (address, zone) = address.split_once('%')?;
    let zone = zone.strip_prefix("25").filter(|zone| !zone.is_empty()).unwrap_or(zone);
    is_zone(zone).then(|| (format!("{before}://[{address}]{behind}"), zone.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_form_for_the_resolver_the_header_and_the_certificate() {
        for (given, name, shown, certified) in [
            ("localhost", "localhost", "localhost", "localhost"),
            ("127.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"),
            ("[::1]", "::1", "[::1]", "::1"),
            ("0:0:0:0:0:0:0:1", "::1", "[::1]", "::1"),
            ("fe80::1%eth0", "fe80::1%eth0", "[fe80::1]", "fe80::1"),
            ("[FE80::1%3]", "fe80::1%3", "[fe80::1]", "fe80::1"),
        ] {
            let host = Host::parse(given).unwrap();
            assert_eq!((&*host.name, &*host.shown, &*host.certified), (name, shown, certified), "{given}");
        }
        for wrong in ["fe80::1%", "fe80::1%a b", "fe80::1%a%b", "fe80::1%\r\n", "::x%1", "127.0.0.1%1", "h%1"]
        {
            assert_eq!(Host::parse(wrong), Err(ParamsError::Host), "{wrong:?}");
        }
    }

    #[test]
    fn a_zone_is_taken_out_of_a_url() {
        let zone = |url| without_zone(url);
        let taken = |url: &str, zone: &str| Some((url.to_owned(), zone.to_owned()));
        assert_eq!(zone("ws://[fe80::1%25eth0]:80/%25x?y"), taken("ws://[fe80::1]:80/%25x?y", "eth0"));
        assert_eq!(zone("ws://[fe80::1%eth0]"), taken("ws://[fe80::1]", "eth0"));
        assert_eq!(zone("ws://[fe80::1%25]"), taken("ws://[fe80::1]", "25"));
        assert_eq!(zone("ws://h/?next=ws://[fe80::1%25eth0]/"), None);
        for without in ["ws://[fe80::1]/%25x", "ws://h/[a%25b]", "ws://[fe80::1%25a/b]", "ws://[fe80::1%]"] {
            assert_eq!(zone(without), None, "{without}");
        }
    }
}
