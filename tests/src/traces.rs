//! The bytes of recorded .NET peers.

/// The v6 client against a raw server.
pub const V6_CLIENT: &str = include_str!("../traces/v6.0.10-e5.txt");

/// The v6 server, plain.
pub const V6_SERVER: &str = include_str!("../traces/v6.0.10-e1.txt");

/// The v6 server, authenticated.
pub const V6_AUTH_SERVER: &str = include_str!("../traces/v6.0.10-e3.txt");

/// The v6 server, closing.
pub const V6_CLOSING: &str = include_str!("../traces/v6.0.10-e10.txt");

/// The v7 client against a raw server.
pub const V7_CLIENT: &str = include_str!("../traces/v7.0.9-f3.txt");

/// The v7 server, plain.
pub const V7_SERVER: &str = include_str!("../traces/v7.0.9-f1.txt");

/// All complete byte strings that a trace says were moved in this way, such as `request:` or `recv`, in order.
#[must_use]
pub fn bytes(trace: &str, way: &str) -> Vec<Vec<u8>> {
    let lines = trace.lines().filter_map(|line| line.split_once("| ").map(|(_, what)| what.trim_start()));
    lines.filter_map(|what| literal(what.strip_prefix(way)?.trim_start())).collect()
}

/// A Python bytes literal, unless it was cut.
fn literal(text: &str) -> Option<Vec<u8>> {
    let mut text = text.strip_prefix("b'")?.bytes();
    let mut bytes = Vec::new();
    loop {
        match text.next()? {
            b'\'' => break,
            b'\\' => bytes.push(match text.next()? {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'x' => {
                    let digits = [text.next()?, text.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                other => other,
            }),
            byte => bytes.push(byte),
        }
    }
    // A literal that was cut is followed by dots.
    (text.next() != Some(b'.')).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshakes_of_both_clients_are_whole() {
        for (trace, version) in [(V6_CLIENT, "v6"), (V7_CLIENT, "v7")] {
            let requests = bytes(trace, "request:");
            assert!(requests.len() > 10, "{version}");
            for request in requests {
                assert!(request.starts_with(b"GET /") && request.ends_with(b"\r\n\r\n"), "{version}");
            }
        }
    }

    #[test]
    fn a_cut_literal_is_left_out() {
        assert_eq!(literal(r"b'\x81\x02h\'' len=4"), Some(b"\x81\x02h'".to_vec()));
        assert_eq!(literal(r"b'GET /'..."), None);
    }
}
