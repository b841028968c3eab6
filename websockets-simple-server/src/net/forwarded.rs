//! The hops that the headers of a request name, the nearest first.
//!
//! The lists are parsed from their right end, where the nearest proxy writes: nothing that a client wrote to the left,
//! not even an open quote, changes how the hops to its right are read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderValue, header::FORWARDED};

/// The hops in `Forwarded` (RFC 7239 section 4); `None` for a hop that is unknown, obfuscated or malformed.
pub(crate) fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.get_all(FORWARDED).into_iter().rev();
    lines.flat_map(|line| Elements::of(line, true)).map(|element| of_element(text(element)?))
}

/// The hops in `X-Forwarded-For`; `None` for a hop that is not an address.
pub(crate) fn x_forwarded_for(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.get_all("x-forwarded-for").into_iter().rev();
    lines.flat_map(|line| Elements::of(line, false)).map(|element| {
        let element = text(element)?;
        // There is no grammar, but some proxies write a port, and IPv6 addresses with or without brackets.
        let ip = element.parse::<Ipv6Addr>().map(IpAddr::from).ok().or_else(|| node(element))?;
        Some(ip.to_canonical())
    })
}

/// The elements of a comma-separated list, from right to left.
struct Elements<'a> {
    rest: Option<&'a [u8]>,
    quotes: bool,
}

impl<'a> Elements<'a> {
    fn of(line: &'a HeaderValue, quotes: bool) -> Self {
        Self { rest: Some(line.as_bytes()), quotes }
    }

    /// The index at which the last element begins.
    fn start(&self, list: &[u8]) -> usize {
        let mut quoted = false;
        for at in (0..list.len()).rev() {
            match list[at] {
                b'"' if self.quotes => {
                    let escapes = list[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
                    // An escaped quote belongs to the string it is in.
                    quoted ^= escapes % 2 == 0;
                }
                b',' if !quoted => return at + 1,
                _ => {}
            }
        }
        0
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let list = self.rest?;
        let start = self.start(list);
        self.rest = start.checked_sub(1).map(|comma| &list[..comma]);
        Some(&list[start..])
    }
}

/// The element without the white space around it; `None` if it is not UTF-8.
fn text(element: &[u8]) -> Option<&str> {
    str::from_utf8(element).ok().map(|element| element.trim_matches([' ', '\t']))
}

/// The address of `for` in an element such as `for="[2001:db8::1]:4711";proto=https`.
fn of_element(element: &str) -> Option<IpAddr> {
    let mut found = None;
    let mut rest = element;
    loop {
        let (name, value) = rest.split_once('=')?;
        if !is_token(name) {
            return None;
        }
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (value, behind) = value.split_at(value.find(';').unwrap_or(value.len()));
                (is_token(value).then(|| value.to_owned())?, behind)
            }
        };
        // RFC 7239 section 4: each parameter occurs at most once.
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            return None;
        }
        match behind.strip_prefix(';') {
            Some(more) => rest = more,
            None if behind.is_empty() => break,
            None => return None,
        }
    }
    node(&found?).map(|ip| ip.to_canonical())
}

/// The content of a quoted string (RFC 9110 section 5.6.4) without its opening quote, and the text after it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut content = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((content, &text[at + 1..])),
            (_, '\\') => content.push(chars.next()?.1),
            (_, other) => content.push(other),
        }
    }
}

/// Whether this is a token (RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(of_token)
}

/// The address of a node (RFC 7239 section 6): `192.0.2.1` or `[2001:db8::1]`, with or without a port.
fn node(text: &str) -> Option<IpAddr> {
    let (ip, behind) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (ip, behind) = bracketed.split_once(']')?;
            (ip.parse::<Ipv6Addr>().ok()?.into(), behind)
        }
        None => {
            let (ip, behind) = text.split_at(text.find(':').unwrap_or(text.len()));
            (ip.parse::<Ipv4Addr>().ok()?.into(), behind)
        }
    };
    (behind.is_empty() || is_port(behind.strip_prefix(':')?)).then_some(ip)
}

/// Whether this is a port (RFC 7239 section 6.3), which may be obfuscated.
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(hidden) => {
            let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !hidden.is_empty() && hidden.bytes().all(of_name)
        }
        None => (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(name: &'static str, value: &[u8]) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())])
    }

    /// The hops of one line of `Forwarded`, `-` for an unknown one.
    fn hops(value: &str) -> Vec<String> {
        let headers = headers("forwarded", value.as_bytes());
        forwarded(&headers).map(|hop| hop.map_or_else(|| "-".to_owned(), |ip| ip.to_string())).collect()
    }

    fn x_hops(value: &str) -> Vec<String> {
        let headers = headers("x-forwarded-for", value.as_bytes());
        x_forwarded_for(&headers).map(|hop| hop.map_or_else(|| "-".to_owned(), |ip| ip.to_string())).collect()
    }

    #[test]
    fn hops_are_read_from_right_to_left_in_every_form_an_address_has() {
        for (value, told) in [
            ("for=192.0.2.43", vec!["192.0.2.43"]),
            ("For=192.0.2.43", vec!["192.0.2.43"]),
            ("for=\"192.0.2.43:47011\"", vec!["192.0.2.43"]),
            ("for=\"192.0.2.43:_p-o.r_t\"", vec!["192.0.2.43"]),
            ("for=\"[2001:db8:cafe::17]:4711\"", vec!["2001:db8:cafe::17"]),
            ("for=\"[2001:db8:cafe::17]\"", vec!["2001:db8:cafe::17"]),
            ("for=\"[::ffff:192.0.2.43]\"", vec!["192.0.2.43"]),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", vec!["192.0.2.60"]),
            ("proto=http;host=\"a, b;for=1.1.1.1\";for=192.0.2.60", vec!["192.0.2.60"]),
            ("for=192.0.2.43, for=198.51.100.17", vec!["198.51.100.17", "192.0.2.43"]),
            ("for=192.0.2.43,\tfor=\"[2001:db8::1]\"", vec!["2001:db8::1", "192.0.2.43"]),
            ("host=\"a\\\"b\\\\\";for=192.0.2.1", vec!["192.0.2.1"]),
        ] {
            assert_eq!(hops(value), told, "{value}");
        }
    }

    #[test]
    fn who_is_unknown_or_hidden_is_no_address_and_neither_is_what_is_malformed() {
        for value in [
            "",
            "for=unknown",
            "for=_hidden",
            "for=\"_SEVKISEK:80\"",
            "proto=https",
            "for=",
            "for",
            "for=192.0.2.43:80",
            "for=[2001:db8::1]",
            "for=\"2001:db8::1\"",
            "for=\"[2001:db8::1%eth0]\"",
            "for=\"[2001:db8::1\"",
            "for=\"192.0.2.1",
            "for=\"192.0.2.1:\"",
            "for=\"192.0.2.1:123456\"",
            "for=\"192.0.2.1\"x",
            "for=\"192.0.2.1\";",
            "for=192.0.2.1;;by=_a",
            "for=192.0.2.1;for=192.0.2.2",
            "for = 192.0.2.1",
            "for=0300.0.2.1",
            "for=256.0.2.1",
        ] {
            assert_eq!(hops(value), ["-"], "{value}");
        }
    }

    #[test]
    fn what_a_client_left_open_does_not_swallow_what_the_proxy_adds() {
        for begun in
            ["for=\"", "x=\"\\", "for=\"1.2.3.4", "\"", "\\\"", "é", "for=1.2.3.4;x=\", for=1.1.1.1\""]
        {
            for added in
                ["for=192.0.2.1", "for=\"[2001:db8::1]\";proto=https", "host=\"a\\\"b\";for=192.0.2.1"]
            {
                let told = hops(&format!("{begun}, {added}"));
                assert_eq!(told[0], hops(added)[0], "{begun} {added}");
            }
        }
    }

    #[test]
    fn the_older_header_has_addresses_with_and_without_ports_and_brackets() {
        for (value, told) in [
            ("192.0.2.1", vec!["192.0.2.1"]),
            (
                "192.0.2.1:80 , 2001:db8::1,[2001:db8::2], [2001:db8::3]:80",
                vec!["2001:db8::3", "2001:db8::2", "2001:db8::1", "192.0.2.1"],
            ),
            ("::ffff:192.0.2.1", vec!["192.0.2.1"]),
            ("unknown, 192.0.2.1", vec!["192.0.2.1", "-"]),
            ("\"192.0.2.1, 192.0.2.2\"", vec!["-", "-"]),
            ("", vec!["-"]),
            ("192.0.2.1,", vec!["-", "192.0.2.1"]),
            ("fe80::1%eth0", vec!["-"]),
        ] {
            assert_eq!(x_hops(value), told, "{value}");
        }
    }

    #[test]
    fn text_that_is_no_text_spoils_its_own_hop_alone() {
        let headers = headers("x-forwarded-for", b"\xff\xfe, 192.0.2.1");
        assert_eq!(
            x_forwarded_for(&headers).collect::<Vec<_>>(),
            [Some(Ipv4Addr::new(192, 0, 2, 1).into()), None]
        );
    }

    proptest! {
        #[test]
        fn whatever_comes_before_it_the_last_hop_is_read(begun in "[ -~]{0,60}", ip: IpAddr) {
            let added = match ip {
                IpAddr::V4(ip) => format!("for={ip}"),
                IpAddr::V6(ip) => format!("for=\"[{ip}]\""),
            };
            prop_assert_eq!(&hops(&format!("{begun},{added}"))[0], &ip.to_canonical().to_string());
            prop_assert_eq!(&x_hops(&format!("{begun},{ip}"))[0], &ip.to_canonical().to_string());
        }

        #[test]
        fn no_line_makes_it_panic_or_run_on(value in proptest::collection::vec(prop_oneof![32_u8..127, 128_u8..=255], 0..80)) {
            let most = value.len() + 1;
            prop_assert!(forwarded(&headers("forwarded", &value)).count() <= most);
            prop_assert!(x_forwarded_for(&headers("x-forwarded-for", &value)).count() <= most);
        }
    }
}
