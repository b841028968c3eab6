//! This library, as an application uses it: a handler, connection handles, statistics, limits and heartbeat on.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Context;
use websockets_simple_server::{
    Authenticated, Credentials, Endpoint, Event, HandshakeRequest, Heartbeat, HeartbeatMode, Identity,
    Limits, MessageEvent, OverflowPolicy, Server, ServerParams, ServerTls, UserService, UserServiceError,
    WebsocketServer, WebsocketServerAuth, async_trait,
};

use crate::servers::{MAX_MESSAGE, announce, certificate_of};

/// Serves everybody.
pub(super) async fn serve() -> anyhow::Result<()> {
    run(&WebsocketServer::new(params().endpoint(endpoint()))).await
}

/// Serves everybody, with TLS and a certificate of its own.
pub(super) async fn serve_tls() -> anyhow::Result<()> {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    std::fs::write(certificate_of(std::process::id()), cert.pem())?;
    let tls = ServerTls::from_pem(cert.pem(), signing_key.serialize_pem());
    run(&WebsocketServer::new(params().endpoint(endpoint().tls(tls)))).await
}

/// Serves users, each with a token of their own.
pub(super) async fn serve_users() -> anyhow::Result<()> {
    run(&WebsocketServerAuth::new(params().endpoint(endpoint()), Anybody)).await
}

async fn run<I: Identity>(server: &Server<I>) -> anyhow::Result<()> {
    server.on(|event| async move {
        let Event::Message(MessageEvent { message, connection, .. }) = event else { return };
        if connection.channel() == "/pub" {
            let _ = connection.server().to_channel("/sub").send(message);
        } else {
            let _ = connection.send(message).await;
        }
    });
    server.start().await?;
    announce(server.local_addr().context("stopped already")?);
    std::future::pending().await
}

fn endpoint() -> Endpoint {
    Endpoint::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

/// What an application would write, but for the limits that a benchmark from one address has to lift: all are
/// checked, none is reached.
fn params() -> ServerParams {
    let limits = Limits::default()
        .message_size(MAX_MESSAGE)
        .connections(100_000)
        .connections_per_ip(100_000)
        .messages_per_second(100_000_000u32)
        .bytes_per_second(1_000_000_000_000u64)
        .idle(Duration::from_secs(3600));
    ServerParams::local()
        .limits(limits)
        .heartbeat(Heartbeat::new(Duration::from_secs(30), HeartbeatMode::Ping))
        .outbox(8 * 1024 * 1024)
        .overflow(OverflowPolicy::Wait(Duration::from_secs(30)))
}

/// Knows everybody who shows a token.
struct Anybody;

#[async_trait]
impl UserService for Anybody {
    type Id = String;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<String>>, UserServiceError> {
        Ok(credentials.token().map(|token| Authenticated::new(token.expose().to_owned())))
    }
}
