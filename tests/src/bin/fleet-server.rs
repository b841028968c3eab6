//! A server that is killed and started again: `fleet-server <address>`. Prints where it listens, and sends each client the
//! number of its process.
#![expect(clippy::print_stdout, reason = "a program")]

use std::{error::Error, future::pending, net::SocketAddr};

use websockets_simple_server::{Endpoint, Limits, ServerParams, WebsocketServer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr: SocketAddr = std::env::args().nth(1).ok_or("where?")?.parse()?;
    let limits = Limits::default().connections_per_ip(usize::MAX);
    let server = WebsocketServer::new(ServerParams::local().endpoint(Endpoint::tcp(addr)).limits(limits));
    server.on_connect(|connection| async move {
        let _ = connection.send_text(std::process::id().to_string()).await;
    });
    server.start().await?;
    println!("{}", server.local_addr().ok_or("it listens")?);
    pending().await
}
