//! The servers that are measured, all with the same three paths: `/echo` sends back what it gets, a message from
//! `/pub` goes to everybody on `/sub`.

use std::{
    future::Future,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    pin::Pin,
};

use clap::ValueEnum;

mod axum;
mod fastwebsockets;
mod limit;
mod ours;
mod tokio_tungstenite;

/// A server.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Server {
    /// The least the kernel asks for: epoll, read, write.
    Limit,
    /// `WebsocketServer`.
    Ours,
    /// `WebsocketServerAuth`, every peer with a user of its own.
    OursAuth,
    /// `WebsocketServer` with TLS.
    OursTls,
    TokioTungstenite,
    Axum,
    Fastwebsockets,
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
    /// Serves for ever on a free loopback port, which it prints first.
    pub fn serve(self, threads: usize) -> anyhow::Result<()> {
        let served: Pin<Box<dyn Future<Output = anyhow::Result<()>>>> = match self {
            Self::Limit => return limit::serve(listener()?),
            Self::Ours => Box::pin(ours::serve()),
            Self::OursAuth => Box::pin(ours::serve_users()),
            Self::OursTls => Box::pin(ours::serve_tls()),
            Self::TokioTungstenite => Box::pin(tokio_tungstenite::serve(listener()?)),
            Self::Axum => Box::pin(axum::serve(listener()?)),
            Self::Fastwebsockets => Box::pin(fastwebsockets::serve(listener()?)),
        };
        let mut builder = match threads {
            1 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        builder.worker_threads(threads.max(1)).enable_all().build()?.block_on(served)
    }
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
