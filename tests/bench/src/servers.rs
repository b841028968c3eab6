//! The servers that are measured, all with the same three paths: `/echo` sends back what it gets, a message from
//! `/pub` goes to everybody on `/sub`.

use std::{
    future::Future,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
};

use clap::{Args, ValueEnum};
use tokio_rustls::TlsAcceptor;

use crate::{scenario::Needs, wire};

mod axum;
pub mod bun;
mod fastwebsockets;
mod limit;
mod ours;
mod tokio_tungstenite;
mod yawc;

/// A server.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Server {
    /// The least the kernel asks for: epoll, read, write.
    Limit,
    /// `WebsocketServer`.
    Ours,
    /// `WebsocketServer` as a node of a cluster, alone on a bus over NATS, where nats-server is installed.
    OursNode,
    /// `WebsocketServer` with all that an operator may look at: a live page, figures that are asked for every second, a log.
    OursWatched,
    /// `WebsocketServerAuth`, every peer with a user of its own.
    OursAuth,
    TokioTungstenite,
    Axum,
    Fastwebsockets,
    Yawc,
    /// `Bun.serve`, where Bun is installed.
    Bun,
}

/// How a server is to serve.
#[derive(Args, Clone, Copy, Debug)]
pub struct Setup {
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Where nats-server listens, for a server that is a node of a cluster.
    #[arg(long)]
    pub bus: Option<SocketAddr>,
    #[command(flatten)]
    pub needs: Needs,
}

/// Broadcasts that a receiver of the peers with a broadcast channel may be behind.
const BROADCASTS: usize = 65_536;

/// Largest message any of them has to take.
pub const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// Where a server with TLS leaves the certificate that its clients are to trust.
pub fn certificate_of(process: u32) -> PathBuf {
    std::env::temp_dir().join(format!("websockets-simple-bench-{process}.pem"))
}

impl Server {
    /// Whether it can do what a row needs.
    pub fn can(self, needs: Needs) -> bool {
        match self {
            Self::Limit | Self::Ours | Self::OursNode | Self::OursWatched => true,
            Self::OursAuth | Self::Yawc | Self::Bun => !needs.groups,
            Self::TokioTungstenite | Self::Axum | Self::Fastwebsockets => !needs.groups && !needs.deflate,
        }
    }

    /// Serves for ever on a free loopback port, which it prints first.
    pub fn serve(self, setup: Setup) -> anyhow::Result<()> {
        let served: Pin<Box<dyn Future<Output = anyhow::Result<()>>>> = match self {
            Self::Limit => return limit::serve(listening(setup)?, setup),
            Self::Bun => return bun::serve(setup),
            Self::Ours | Self::OursNode => Box::pin(ours::serve(setup)),
            Self::OursWatched => Box::pin(ours::serve_watched(setup)),
            Self::OursAuth => Box::pin(ours::serve_users(setup)),
            Self::TokioTungstenite => Box::pin(tokio_tungstenite::serve(listening(setup)?)),
            Self::Axum => Box::pin(axum::serve(listening(setup)?)),
            Self::Fastwebsockets => Box::pin(fastwebsockets::serve(listening(setup)?)),
            Self::Yawc => Box::pin(yawc::serve(listening(setup)?, setup)),
        };
        let mut builder = match setup.threads {
            1 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        builder.worker_threads(setup.threads.max(1)).enable_all().build()?.block_on(served)
    }
}

/// A certificate and its key, as PEM.
struct Identity {
    certificate: String,
    key: String,
}

impl Identity {
    fn server_config(&self) -> anyhow::Result<Arc<rustls::ServerConfig>> {
        wire::server_config(&self.certificate, &self.key)
    }
}

/// A certificate for `localhost`, left where clients look for it.
fn identity() -> anyhow::Result<Identity> {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let identity = Identity { certificate: cert.pem(), key: signing_key.serialize_pem() };
    std::fs::write(certificate_of(std::process::id()), &identity.certificate)?;
    Ok(identity)
}

/// Where a server listens, and what it accepts TLS with.
struct Listening {
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Listening {
    /// The same for tokio.
    fn into_async(self) -> std::io::Result<(tokio::net::TcpListener, Option<TlsAcceptor>)> {
        Ok((tokio::net::TcpListener::from_std(self.listener)?, self.tls.map(TlsAcceptor::from)))
    }
}

/// Listens as it is set up to. The certificate is there before the port is known.
fn listening(setup: Setup) -> anyhow::Result<Listening> {
    let tls = setup.needs.tls.then(|| identity()?.server_config()).transpose()?;
    Ok(Listening { listener: listener()?, tls })
}

/// A listener whose backlog takes a whole benchmark's connections at once; its port is printed.
fn listener() -> anyhow::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from(socket);
    announce(listener.local_addr()?);
    Ok(listener)
}

fn announce(addr: SocketAddr) {
    println!("{addr}");
}
