//! tokio-tungstenite, as its examples `echo-server`, `server` (a chat) and `server-headers` (the path) have it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{
    StreamExt, TryStreamExt, future,
    stream::{SplitSink, SplitStream, poll_fn},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc::{UnboundedSender, unbounded_channel},
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Callback, ErrorResponse, Request, Response},
    },
};

use crate::servers::Listening;

type Tx = UnboundedSender<Message>;
type PeerMap = Arc<Mutex<HashMap<SocketAddr, Tx>>>;
type Sink<S> = SplitSink<WebSocketStream<S>, Message>;
type Stream<S> = SplitStream<WebSocketStream<S>>;

/// Serves for ever.
pub(super) async fn serve(listening: Listening) -> anyhow::Result<()> {
    let (listener, tls) = listening.into_async()?;
    let peers = PeerMap::default();
    loop {
        let (stream, addr) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let peers = peers.clone();
        match tls.clone() {
            Some(tls) => {
                tokio::spawn(async move { handle_connection(peers, tls.accept(stream).await?, addr).await })
            }
            None => tokio::spawn(handle_connection(peers, stream, addr)),
        };
    }
}

/// Its default limits, 64 MiB a message and 16 MiB a frame, are large enough.
async fn handle_connection<S>(peers: PeerMap, stream: S, addr: SocketAddr) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut path = String::new();
    let (outgoing, incoming) = accept_hdr_async(stream, Path(&mut path)).await?.split();
    match path.as_str() {
        "/pub" => publish(&peers, incoming).await,
        "/sub" => subscribe(&peers, addr, outgoing, incoming).await,
        _ => echo(outgoing, incoming).await,
    }
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(
    outgoing: Sink<S>,
    incoming: Stream<S>,
) -> anyhow::Result<()> {
    incoming.try_filter(|message| future::ready(is_data(message))).forward(outgoing).await?;
    Ok(())
}

async fn publish<S: AsyncRead + AsyncWrite + Unpin>(
    peers: &PeerMap,
    incoming: Stream<S>,
) -> anyhow::Result<()> {
    incoming
        .try_filter(|message| future::ready(is_data(message)))
        .try_for_each(|message| {
            for peer in peers.lock().unwrap_or_else(PoisonError::into_inner).values() {
                let _ = peer.send(message.clone());
            }
            future::ok(())
        })
        .await?;
    Ok(())
}

async fn subscribe<S: AsyncRead + AsyncWrite + Unpin>(
    peers: &PeerMap,
    addr: SocketAddr,
    outgoing: Sink<S>,
    incoming: Stream<S>,
) -> anyhow::Result<()> {
    let (sender, mut receiver) = unbounded_channel();
    peers.lock().unwrap_or_else(PoisonError::into_inner).insert(addr, sender);
    let discard_incoming = incoming.try_for_each(|_| future::ok(()));
    let receive_from_others = poll_fn(move |context| receiver.poll_recv(context)).map(Ok).forward(outgoing);
    let ended = future::select(discard_incoming, receive_from_others).await;
    peers.lock().unwrap_or_else(PoisonError::into_inner).remove(&addr);
    Ok(ended.factor_first().0?)
}

fn is_data(message: &Message) -> bool {
    message.is_text() || message.is_binary()
}

/// Learns the path of a request.
struct Path<'a>(&'a mut String);

impl Callback for Path<'_> {
    fn on_request(self, request: &Request, response: Response) -> Result<Response, ErrorResponse> {
        request.uri().path().clone_into(self.0);
        Ok(response)
    }
}
