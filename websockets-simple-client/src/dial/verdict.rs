//! Refusals after an upgrade: browsers see the reason only then, so servers upgrade, send it and close.

use std::time::Duration;

use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncReadExt};
use websockets_simple_core::{
    CloseCode, Farewell,
    handshake_words::{VERDICT_HEADER, VERDICT_UNAUTHORIZED},
};

use crate::config::CheckedParams;

/// Time for the refusal to arrive.
const PATIENCE: Duration = Duration::from_secs(1);

/// The message if a 101 and the bytes after it are a refusal.
pub(crate) async fn refusal<S>(
    stream: &mut S,
    params: &CheckedParams,
    headers: &HeaderMap,
    leftover: &[u8],
) -> Option<String>
where
    S: AsyncRead + Unpin,
{
    let is_announced = headers.get(VERDICT_HEADER).is_some_and(|verdict| verdict == VERDICT_UNAUTHORIZED);
    if !is_announced && !params.shows_token() {
        return None;
    }
    let mut farewell = Farewell::new();
    let has_ended = farewell.read(leftover);
    if is_announced {
        if !has_ended {
            let _ = tokio::time::timeout(PATIENCE, hear_out(stream, &mut farewell)).await;
        }
    } else if farewell.code() != Some(CloseCode::POLICY.get()) {
        // Other servers may refuse a token with a Close right after the 101.
        return None;
    }
    Some(params.without_reason_token(farewell.text()))
}

async fn hear_out(stream: &mut (impl AsyncRead + Unpin), farewell: &mut Farewell) {
    let mut piece = [0; 1024];
    while let Ok(len @ 1..) = stream.read(&mut piece).await {
        if farewell.read(&piece[..len]) {
            return;
        }
    }
}
