//! A body in pieces: h2 keeps each piece whole until the client gives it room, and lets nobody take it back.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Most bytes of a piece: a DATA frame of the size that every peer takes (RFC 9113 section 4.2).
const PIECE: usize = 16 * 1024;

/// A body, no frame of which is larger than a piece.
pub(super) struct Pieces<B> {
    body: B,
    /// What is left of its last frame.
    rest: Bytes,
}

impl<B> Pieces<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, rest: Bytes::new() }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Pieces<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                other => return Poll::Ready(other),
            }
        }
        let piece = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut both = SizeHint::new();
        both.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper().and_then(|upper| upper.checked_add(rest)) {
            both.set_upper(upper);
        }
        both
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn a_body_comes_out_as_it_went_in_but_in_pieces() {
        for size in [0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 7] {
            let whole = Bytes::from((0..size).map(|at| u8::try_from(at % 251).unwrap()).collect::<Vec<_>>());
            let mut pieces = Pieces::new(Full::new(whole.clone()));
            let mut read = Vec::new();
            while !pieces.is_end_stream() {
                assert_eq!(pieces.size_hint().exact(), Some((size - read.len()) as u64));
                let Some(frame) = pieces.frame().await else { break };
                let data = frame.unwrap().into_data().unwrap();
                assert!(data.len() <= PIECE);
                read.extend_from_slice(&data);
            }
            assert_eq!(read, whole, "{size}");
        }
    }
}
