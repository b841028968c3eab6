//! yawc, as its example `echo_server` has it; a subscriber is split into halves, as its documents recommend.

use futures_util::{SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::broadcast,
};
use yawc::{Frame, OpCode, Options, UpgradeFut, WebSocket};

use crate::servers::{BROADCASTS, Listening, MAX_MESSAGE, Setup};

/// Serves for ever.
pub(super) async fn serve(listening: Listening, setup: Setup) -> anyhow::Result<()> {
    let (listener, tls) = listening.into_async()?;
    let (sender, _) = broadcast::channel(BROADCASTS);
    // The limit is exclusive.
    let options = Options::default().with_utf8().with_max_payload_read(MAX_MESSAGE + 1);
    let options = if setup.needs.deflate { options.with_low_latency_compression() } else { options };
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (sender, options) = (sender.clone(), options.clone());
        match tls.clone() {
            Some(tls) => {
                tokio::spawn(
                    async move { handle_connection(tls.accept(stream).await?, sender, options).await },
                )
            }
            None => tokio::spawn(handle_connection(stream, sender, options)),
        };
    }
}

async fn handle_connection<S>(
    stream: S,
    sender: broadcast::Sender<Frame>,
    options: Options,
) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(|request| server_upgrade(request, sender.clone(), options.clone()));
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await?;
    Ok(())
}

/// Subscribes before it answers, so that a peer misses nothing that is sent once it is connected.
async fn server_upgrade(
    mut request: Request<Incoming>,
    sender: broadcast::Sender<Frame>,
    options: Options,
) -> yawc::Result<Response<Empty<Bytes>>> {
    let (response, upgrade) = WebSocket::upgrade_with_options(&mut request, options)?;
    match request.uri().path() {
        "/pub" => drop(tokio::spawn(publish(upgrade, sender))),
        "/sub" => drop(tokio::spawn(subscribe(upgrade, sender.subscribe()))),
        _ => drop(tokio::spawn(echo(upgrade))),
    }
    Ok(response)
}

async fn echo(upgrade: UpgradeFut) -> yawc::Result<()> {
    let mut socket = upgrade.await?;
    while let Some(frame) = socket.next().await {
        if is_data(&frame) {
            socket.send(frame).await?;
        }
    }
    Ok(())
}

async fn publish(upgrade: UpgradeFut, sender: broadcast::Sender<Frame>) -> yawc::Result<()> {
    let mut socket = upgrade.await?;
    while let Some(frame) = socket.next().await {
        if is_data(&frame) {
            let _ = sender.send(frame);
        }
    }
    Ok(())
}

async fn subscribe(upgrade: UpgradeFut, mut broadcasts: broadcast::Receiver<Frame>) -> yawc::Result<()> {
    let (mut sender, mut receiver) = upgrade.await?.split();
    let send = async {
        while let Ok(frame) = broadcasts.recv().await {
            sender.send(frame).await?;
        }
        yawc::Result::Ok(())
    };
    let receive = async { while receiver.next().await.is_some() {} };
    tokio::select! {
        sent = send => sent,
        () = receive => Ok(()),
    }
}

fn is_data(frame: &Frame) -> bool {
    matches!(frame.opcode(), OpCode::Text | OpCode::Binary)
}
