//! tokio-tungstenite, tuned.

use std::sync::Arc;

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use super::Round;

/// Reads of small messages need a small buffer, which is zeroed each time; large ones need a large one.
fn read_buffer(size: usize) -> usize {
    if size <= 1024 { 4096 } else { 32 * 1024 }
}

/// Connects one client and sends what it has to send first.
pub(super) async fn open(round: &Arc<Round>) -> anyhow::Result<()> {
    let stream = TcpStream::connect(round.addr).await?;
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default().read_buffer_size(read_buffer(round.size));
    let url = format!("ws://{}/echo", round.addr);
    let (mut stream, _) = client_async_with_config(url, stream, Some(config)).await?;
    let mut seat = round.seat();
    for text in &round.texts {
        stream.feed(Message::text(text.as_str())).await?;
    }
    stream.flush().await?;
    tokio::spawn(async move {
        while let Some(mut next) = stream.next().await {
            loop {
                let Ok(Message::Text(text)) = next else { return };
                if seat.came(&text) && stream.feed(Message::Text(text)).await.is_err() {
                    return;
                }
                // What is here already is answered in the same write.
                match stream.next().now_or_never() {
                    Some(Some(more)) => next = more,
                    Some(None) => return,
                    None => break,
                }
            }
            if stream.flush().await.is_err() {
                return;
            }
        }
    });
    Ok(())
}
