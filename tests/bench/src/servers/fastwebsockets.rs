//! fastwebsockets, as its examples `echo_server` and, for subscribers, `echo_server_split` have it; TLS as in
//! `tls_server`.

use std::sync::Arc;

use fastwebsockets::{
    FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError, WebSocketRead,
    WebSocketWrite,
    upgrade::{self, UpgradeFut},
};
use http_body_util::Empty;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf},
    sync::{broadcast, mpsc},
    task::unconstrained,
};

use crate::servers::{BROADCASTS, Listening};

type Io = TokioIo<Upgraded>;

/// What goes to every subscriber; its `Frame` cannot be cloned.
type Broadcast = Arc<(OpCode, Vec<u8>)>;

/// Serves for ever.
pub(super) async fn serve(listening: Listening) -> anyhow::Result<()> {
    let (listener, tls) = listening.into_async()?;
    let (sender, _) = broadcast::channel(BROADCASTS);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let sender = sender.clone();
        match tls.clone() {
            Some(tls) => {
                tokio::spawn(async move { handle_connection(tls.accept(stream).await?, sender).await })
            }
            None => tokio::spawn(handle_connection(stream, sender)),
        };
    }
}

async fn handle_connection<S>(stream: S, sender: broadcast::Sender<Broadcast>) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(|request| server_upgrade(request, sender.clone()));
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await?;
    Ok(())
}

/// Subscribes before it answers, so that a peer misses nothing that is sent once it is connected.
async fn server_upgrade(
    mut request: Request<Incoming>,
    sender: broadcast::Sender<Broadcast>,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgrade) = upgrade::upgrade(&mut request)?;
    match request.uri().path() {
        "/pub" => drop(tokio::spawn(unconstrained(publish(upgrade, sender)))),
        "/sub" => drop(tokio::spawn(unconstrained(subscribe(upgrade, sender.subscribe())))),
        _ => drop(tokio::spawn(unconstrained(echo(upgrade)))),
    }
    Ok(response)
}

/// Its default limit, 64 MiB a message, is large enough.
async fn echo(upgrade: UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(upgrade.await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}

async fn publish(upgrade: UpgradeFut, sender: broadcast::Sender<Broadcast>) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(upgrade.await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => {
                let _ = sender.send(Arc::new((frame.opcode, frame.payload.into())));
            }
            _ => {}
        }
    }
}

/// Reads and writes at the same time, which takes halves: a read that is dropped may lose part of a frame.
async fn subscribe(
    upgrade: UpgradeFut,
    broadcasts: broadcast::Receiver<Broadcast>,
) -> Result<(), WebSocketError> {
    let (incoming, outgoing) = upgrade.await?.split(tokio::io::split);
    let (answers, due) = mpsc::unbounded_channel();
    tokio::select! {
        ended = read(incoming, answers) => ended,
        ended = write(outgoing, broadcasts, due) => ended,
    }
}

/// Reads until the peer closes; pongs are left to the writing half.
async fn read(
    incoming: WebSocketRead<ReadHalf<Io>>,
    answers: mpsc::UnboundedSender<Frame<'static>>,
) -> Result<(), WebSocketError> {
    let mut incoming = FragmentCollectorRead::new(incoming);
    loop {
        let frame = incoming.read_frame(&mut |frame| std::future::ready(answers.send(frame))).await?;
        if frame.opcode == OpCode::Close {
            return Ok(());
        }
    }
}

async fn write(
    mut outgoing: WebSocketWrite<WriteHalf<Io>>,
    mut broadcasts: broadcast::Receiver<Broadcast>,
    mut answers: mpsc::UnboundedReceiver<Frame<'static>>,
) -> Result<(), WebSocketError> {
    loop {
        tokio::select! {
            broadcast = broadcasts.recv() => {
                let Ok(broadcast) = broadcast else { return Ok(()) };
                let (opcode, payload) = &*broadcast;
                outgoing.write_frame(Frame::new(true, *opcode, None, Payload::Borrowed(payload))).await?;
            }
            Some(answer) = answers.recv() => outgoing.write_frame(answer).await?,
        }
    }
}
