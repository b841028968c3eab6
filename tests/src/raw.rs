//! A peer that speaks raw bytes.

use std::net::SocketAddr;

pub use websockets_simple_core::test_util::{KEY, RawFrame, RawPeer, masked, request, unmasked};

/// Head and body of the answer to a request on a connection of its own.
///
/// # Panics
///
/// If there is none that is text.
pub async fn ask(addr: SocketAddr, request: &str, headers: &str) -> (String, String) {
    let mut peer = RawPeer::connect(addr).await;
    peer.write(format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").as_bytes())
        .await;
    let head = peer.head().await;
    let body = String::from_utf8(peer.all().await).expect("the body is text");
    (head, body)
}

/// The status that a handshake with this token gets.
///
/// # Panics
///
/// When there is no answer.
pub async fn status(addr: SocketAddr, token: &str) -> u16 {
    let mut peer = RawPeer::connect(addr).await;
    let head = peer.request("/", &format!("Authorization: Bearer {token}\r\n")).await;
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no answer: {head}"))
}

/// The seconds in the `Retry-After` of an answer.
#[must_use]
pub fn retry_after(head: &str) -> Option<u64> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(name, _)| name.eq_ignore_ascii_case("retry-after"))?.1.parse().ok()
}
