//! Headers of the PROXY protocol in every form, whole, in pieces and spoilt.

use std::net::SocketAddr;

use proptest::prelude::*;
use tokio::io::{AsyncWriteExt, duplex};

use super::*;

/// Reads a header from these bytes; also returns the bytes that were left unread.
async fn read_from(bytes: &[u8]) -> (Result<Source, HeaderError>, Vec<u8>) {
    let mut stream = bytes;
    let source = read(&mut stream).await;
    (source, stream.to_vec())
}

fn version_2_header(command: u8, kind: u8, addresses: &[u8]) -> Vec<u8> {
    let len = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, kind], &len, addresses].concat()
}

/// Address family, and addresses and ports in the format of version 2, with extensions after them.
fn addresses(from: SocketAddr, to: SocketAddr, extensions: &[u8]) -> (u8, Vec<u8>) {
    let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            (TCP_4, [&from.octets()[..], &to.octets(), &ports, extensions].concat())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            (TCP_6, [&from.octets()[..], &to.octets(), &ports, extensions].concat())
        }
        _ => panic!("of one family"),
    }
}

fn client(ip: &str) -> Source {
    Source::Client(ip.parse().unwrap())
}

#[tokio::test]
async fn a_header_tells_the_client_and_what_follows_is_left_alone() {
    let (v4, v4_addresses) =
        addresses("192.0.2.1:4711".parse().unwrap(), "192.0.2.2:443".parse().unwrap(), b"");
    let (v6, v6_addresses) =
        addresses("[2001:db8::1]:4711".parse().unwrap(), "[::1]:443".parse().unwrap(), &[0xEA, 0, 1, 7]);
    let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
    assert_eq!(long.len(), LONGEST);
    for (header, told) in [
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n".to_vec(), client("192.0.2.1")),
        (b"PROXY TCP4 1.1.1.1 1.1.1.2 0 65535\r\n".to_vec(), client("1.1.1.1")),
        (b"PROXY TCP6 2001:db8::1 ::1 4711 443\r\n".to_vec(), client("2001:db8::1")),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 1\r\n".to_vec(), client("192.0.2.1")),
        (b"PROXY UNKNOWN\r\n".to_vec(), Source::Unknown),
        (b"PROXY UNKNOWN nobody looks here\r\n".to_vec(), Source::Unknown),
        (long.into_bytes(), Source::Unknown),
        (version_2_header(PROXY, v4, &v4_addresses), client("192.0.2.1")),
        (version_2_header(PROXY, v6, &v6_addresses), client("2001:db8::1")),
        (version_2_header(PROXY, UNIX_STREAM, &[b'x'; 216]), Source::Unknown),
        (version_2_header(PROXY, UNSPECIFIED, b""), Source::Unknown),
        (version_2_header(PROXY, UNSPECIFIED, &[7; 9]), Source::Unknown),
        (version_2_header(LOCAL, UNSPECIFIED, b""), Source::Proxy),
        (version_2_header(LOCAL, v4, &v4_addresses), Source::Proxy),
        (version_2_header(PROXY, v4, &[&v4_addresses[..], &[0; 60_000]].concat()), client("192.0.2.1")),
    ] {
        let shown = String::from_utf8_lossy(&header).into_owned();
        let (source, left) = read_from(&[&header[..], b"GET / HTTP/1.1"].concat()).await;
        assert_eq!((source.unwrap(), &left[..]), (told, &b"GET / HTTP/1.1"[..]), "{shown}");
    }
}

#[tokio::test]
async fn what_is_no_header_is_malformed() {
    let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(92));
    let (v4, v4_addresses) = addresses("1.1.1.1:1".parse().unwrap(), "1.1.1.2:2".parse().unwrap(), b"");
    for wrong in [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00".to_vec(),
        b"\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_vec(),
        b"proxy TCP4 192.0.2.1 192.0.2.2 4711 443\r\n".to_vec(),
        b"PROXY  TCP4 192.0.2.1 192.0.2.2 4711 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 192.0.2.2 4711\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443 1\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 65536\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 192.0.2.2 +4711 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1  4711 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.256 192.0.2.2 4711 443\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::1 ::1 4711 443\r\n".to_vec(),
        b"PROXY TCP6 192.0.2.1 192.0.2.2 4711 443\r\n".to_vec(),
        b"PROXY UDP4 192.0.2.1 192.0.2.2 4711 443\r\n".to_vec(),
        b"PROXY UNKNOWN\nx\r\n".to_vec(),
        b"PROXY \r\n1234567\r\n".to_vec(),
        b"PROXY \xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\r\n".to_vec(),
        long.into_bytes(),
        version_2_header(PROXY, 0x12, &v4_addresses),
        version_2_header(PROXY, 0x40, b""),
        version_2_header(0x11, v4, &v4_addresses),
        version_2_header(0x22, v4, &v4_addresses),
        version_2_header(PROXY, v4, &v4_addresses[1..]),
        version_2_header(PROXY, TCP_6, &[0; 35]),
        version_2_header(PROXY, UNIX_STREAM, &[0; 215]),
    ] {
        let shown = String::from_utf8_lossy(&wrong).into_owned();
        let (source, _) = read_from(&[&wrong[..], b"GET / HTTP/1.1"].concat()).await;
        assert!(matches!(source, Err(HeaderError::Malformed)), "{shown}: {source:?}");
    }
}

#[tokio::test]
async fn a_request_is_told_from_a_header_by_its_first_byte() {
    let (mut ours, mut theirs) = duplex(64);
    theirs.write_all(b"G").await.unwrap();
    assert!(matches!(read(&mut ours).await, Err(HeaderError::Malformed)));
}

#[tokio::test]
async fn an_end_within_the_header_is_told_from_a_malformed_one() {
    let (v4, v4_addresses) = addresses("1.1.1.1:1".parse().unwrap(), "1.1.1.2:2".parse().unwrap(), &[0; 400]);
    for header in [b"PROXY TCP4 1.1.1.1 1.1.1.2 1 2\r\n".to_vec(), version_2_header(PROXY, v4, &v4_addresses)]
    {
        for cut in 0..header.len() {
            let (source, _) = read_from(&header[..cut]).await;
            assert!(matches!(source, Err(HeaderError::Ended(held)) if held <= cut), "{cut}: {source:?}");
        }
    }
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte() {
    let (v6, v6_addresses) =
        addresses("[2001:db8::1]:4711".parse().unwrap(), "[::1]:443".parse().unwrap(), &[0xEA, 0, 1, 7]);
    for header in
        [b"PROXY TCP6 2001:db8::1 ::1 4711 443\r\n".to_vec(), version_2_header(PROXY, v6, &v6_addresses)]
    {
        let (mut ours, mut theirs) = duplex(1);
        let write = async {
            for byte in header.iter().chain(b"G") {
                theirs.write_all(&[*byte]).await.unwrap();
            }
        };
        let (source, ()) = tokio::join!(read(&mut ours), write);
        assert_eq!(source.unwrap(), client("2001:db8::1"));
        assert_eq!(ours.read_u8().await.unwrap(), b'G');
    }
}

/// The source, and the number of bytes that a reader takes if all that it asks for is there.
fn taken(bytes: &[u8]) -> Option<(Source, usize)> {
    let mut held = 0;
    loop {
        match next(&bytes[..held])? {
            Next::Done { source, behind } => return Some((source, held + behind)),
            Next::More(more) => {
                assert!(more > 0 && held + more <= LONGEST);
                held += more;
                if held > bytes.len() {
                    return None;
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused(
        begin in prop_oneof![Just(SIGNATURE), Just(PREFIX), Just(&b"PROXY TCP4 "[..]), Just(&b""[..])],
        rest in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        taken(&[begin, &rest].concat());
    }

    #[test]
    fn what_was_written_is_read(
        from: SocketAddr,
        port: u16,
        extensions in proptest::collection::vec(any::<u8>(), 0..300),
        behind in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        let to = SocketAddr::new(from.ip(), port);
        let told = Source::Client(from.ip().to_canonical());
        let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
        let line = format!("PROXY {family} {} {} {} {port}\r\n", from.ip(), to.ip(), from.port());
        let (kind, held) = addresses(from, to, &extensions);
        for header in [line.into_bytes(), version_2_header(PROXY, kind, &held)] {
            prop_assert_eq!(taken(&[&header[..], &behind].concat()), Some((told, header.len())));
        }
    }
}
