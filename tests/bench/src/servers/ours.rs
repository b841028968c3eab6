//! This library, as an application uses it: a handler, connection handles, statistics, limits and heartbeat on.

use std::{
    convert::Infallible,
    hint::black_box,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, anyhow};
use tracing_subscriber::filter::LevelFilter;
use websockets_simple_server::{
    Authenticated, ClusterParams, Compression, Credentials, Endpoint, Event, Guard, HandshakeRequest,
    Heartbeat, HeartbeatMode, Identity, Limits, MessageEvent, NatsBus, Operations, OverflowPolicy, Placement,
    Server, ServerParams, ServerTls, UserService, UserServiceError, WebsocketServer, WebsocketServerAuth,
    async_trait,
};

use crate::servers::{MAX_MESSAGE, Setup, announce, identity};

/// Serves everybody.
pub(super) async fn serve(setup: Setup) -> anyhow::Result<()> {
    serve_as(WebsocketServer::new(params(setup)?), setup).await
}

/// The same, with everything that an operator may look at.
pub(super) async fn serve_watched(setup: Setup) -> anyhow::Result<()> {
    let log = tracing_subscriber::fmt().with_max_level(LevelFilter::INFO).with_writer(std::io::sink);
    log.try_init().map_err(|error| anyhow!("{error}"))?;
    let operations = Operations::new().metrics(Guard::loopback()).live_page(Guard::loopback());
    let server = WebsocketServer::new(params(setup)?.operations(operations).log_users(true));
    tokio::select! {
        served = serve_as(server.clone(), setup) => served,
        never = look_at(&server) => match never {},
    }
}

/// Asks every second for what a monitoring system asks for every quarter of a minute, and for what the live page asks for.
async fn look_at<I: Identity>(server: &Server<I>) -> Infallible {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    loop {
        every.tick().await;
        black_box((server.figures().prometheus(), server.snapshot(25), server.health()));
    }
}

async fn serve_as(server: WebsocketServer, setup: Setup) -> anyhow::Result<()> {
    if let Some(bus) = setup.bus {
        let bus = NatsBus::new(format!("nats://{bus}"))?;
        let server = server.with_cluster(ClusterParams::new("bench", bus));
        return run(&server).await;
    }
    if !setup.needs.groups {
        return run(&server).await;
    }
    let server = server.with_placement(|request, _| {
        let group = request.head().query("group");
        group.map_or_else(Placement::new, |group| Placement::new().group(&group))
    });
    server.on(|event| async move {
        let Event::Message(MessageEvent { message, connection, .. }) = event else { return };
        if let Some(group) = connection.query("group") {
            let _ = connection.server().to_group("/sub", &group).send(message);
        }
    });
    start(&server).await
}

/// Serves users, each with a token of their own.
pub(super) async fn serve_users(setup: Setup) -> anyhow::Result<()> {
    run(&WebsocketServerAuth::new(params(setup)?, Anybody)).await
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
    start(server).await
}

async fn start<I: Identity>(server: &Server<I>) -> anyhow::Result<()> {
    server.start().await?;
    if server.cluster().node().is_some() {
        server.cluster().until_ready().await;
    }
    announce(server.local_addr().context("stopped already")?);
    std::future::pending().await
}

fn params(setup: Setup) -> anyhow::Result<ServerParams> {
    let endpoint = Endpoint::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let endpoint = if setup.needs.tls {
        let identity = identity()?;
        endpoint.tls(ServerTls::from_pem(identity.certificate, identity.key))
    } else {
        endpoint
    };
    let params = limited().endpoint(endpoint);
    Ok(if setup.needs.deflate { params.compression(Compression::new()) } else { params })
}

/// What an application would write, but for the limits that a benchmark from one address has to lift: all are
/// checked, none is reached.
fn limited() -> ServerParams {
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
