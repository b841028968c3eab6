//! Whether a client begins with HTTP/2.

use std::{future::poll_fn, io};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::net::rewound::poll_read_some;

/// What an HTTP/2 client sends first (RFC 9113 section 3.4), and no HTTP/1.1 client.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Any stream of bytes.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// Reads the first bytes of a stream up to where it is clear whether they are those of HTTP/2. They are to be read again.
pub(crate) async fn begins_with_http2<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<(bool, Bytes)> {
    let mut read = Bytes::new();
    loop {
        let more = poll_fn(|cx| poll_read_some(stream, cx)).await?;
        let is_over = more.is_empty();
        read = if read.is_empty() { more } else { [read, more].concat().into() };
        let compared = read.len().min(PREFACE.len());
        if read[..compared] != PREFACE[..compared] || is_over {
            return Ok((false, read));
        }
        if compared == PREFACE.len() {
            return Ok((true, read));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::net::rewound::Rewound;

    /// What is said of bytes that come one by one or together, and that all of them are read again.
    async fn judged(bytes: &[u8]) -> bool {
        let mut said = Vec::new();
        for piece in [1, 3, bytes.len().max(1)] {
            let (mut far, mut near) = duplex(1);
            let sent = bytes.to_vec();
            let sending = tokio::spawn(async move {
                for piece in sent.chunks(piece) {
                    far.write_all(piece).await.unwrap();
                }
            });
            let (is_http2, first) = begins_with_http2(&mut near).await.unwrap();
            let mut stream = Rewound::new(near, first, None);
            let mut read = Vec::new();
            stream.read_to_end(&mut read).await.unwrap();
            sending.await.unwrap();
            assert_eq!(read, bytes);
            said.push(is_http2);
        }
        assert!(said.iter().all(|one| *one == said[0]));
        said[0]
    }

    #[tokio::test]
    async fn only_the_whole_preface_is_http_2_and_nothing_of_anything_is_lost() {
        assert!(judged(PREFACE).await);
        assert!(judged(&[PREFACE.as_slice(), b"\0\0\0\x04\0\0\0\0\0"].concat()).await);
        for other in [
            &b""[..],
            b"G",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\n",
            b"PRI * HTTP/1.1",
        ] {
            assert!(!judged(other).await, "{other:?}");
        }
        for at in 0..PREFACE.len() {
            let mut changed = *PREFACE;
            changed[at] ^= 1;
            assert!(!judged(&changed).await, "{at}");
        }
    }
}
