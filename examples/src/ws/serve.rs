//! `ws serve`: a server that echoes or relays messages, and serves files beside.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use websockets_simple_server::{
    Anonymous, CloseCode, Compression, Connection, Endpoint, Event, Heartbeat, HeartbeatMode, Limits,
    Message, OverflowPolicy, SendError, ServerParams, ServerTls, TlsIdentity, WebsocketServer,
};

use crate::{
    chat::wire::one_line,
    compat::Compat,
    in_one_line, service, stop_request,
    ws::{
        exit::{Exit, Failure},
        output,
    },
};

mod files;

/// How long an echo waits for a client that does not read.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to serve, and where.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// The address to listen on; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Send every message back to its sender. The default.
    #[arg(long, conflicts_with = "relay")]
    echo: bool,
    /// Send every message to all others on the same path; a client that has joined groups speaks to those alone.
    #[arg(long)]
    relay: bool,
    /// Serve the files of this folder beside, and index.html for a folder.
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
    /// A subprotocol that the server speaks, the preferred one first. May be given several times.
    #[arg(long = "subprotocol", short = 's', value_name = "NAME")]
    subprotocols: Vec<String>,
    /// Compress messages for clients that offer it (permessage-deflate).
    #[arg(long)]
    compress: bool,
    /// Serve deployed clients of the .NET library, which are welcomed by `Connected Successfully`.
    #[arg(long, value_enum)]
    compat: Option<Compat>,
    /// Use TLS, with the chain of certificates in this PEM file.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The private key of the certificate: a PEM file.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The largest message that is accepted, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 16 * 1024 * 1024)]
    max_message: usize,
    /// Say nothing about clients that come and go.
    #[arg(long, short = 'q')]
    quiet: bool,
}

/// Serves until it is asked to stop, and then closes the connections in order.
///
/// # Errors
///
/// A [`Failure`]: it cannot listen.
pub async fn run(args: ServeArgs) -> Result<(), Failure> {
    let server = WebsocketServer::new(params(&args)?).with_group_rule(|_connection, _group| true);
    if args.relay {
        server.on_message(|connection, message| async move { relay(&connection, &message) });
    } else {
        server.on_message(|connection, message| async move { echo(&connection, message).await });
    }
    if !args.quiet {
        server.on(|event| async move { tell(&event) });
    }
    let stop = stop_request().map_err(|error| Failure::local(error.to_string()))?;
    server.start().await.map_err(|error| Failure::local(in_one_line(&error)))?;
    let addr = server.local_addr().ok_or_else(|| Failure::new(Exit::Failed, "the server has stopped"))?;
    // Scripts wait for this line. Standard output is flushed after each line.
    output::line(&format!("listening on {addr}"))?;
    stop.await;
    let report = service::stop(&server).await;
    output::status(&format!(
        "stopped: {} ended in order, {} without a goodbye, {} at the deadline",
        report.clean, report.unclean, report.dropped
    ));
    Ok(())
}

async fn echo(connection: &Connection<Anonymous>, message: Message) {
    if let Err(SendError::Timeout) = connection.send(message).await {
        // Otherwise the client could not detect that an echo is missing.
        connection.close(CloseCode::OVERFLOW, "the echo was not read");
    }
}

fn relay(connection: &Connection<Anonymous>, message: &Message) {
    let groups = connection.groups();
    // Cannot fail: a received message needs no encoding.
    if groups.is_empty() {
        let _ = connection.to_channel().except(connection).send(message);
    }
    for group in groups {
        let _ = connection.to_group(&group).except(connection).send(message);
    }
}

/// Says who comes and goes.
fn tell(event: &Event<Anonymous>) {
    if let Some(connection) = event.connected() {
        output::status(&one_line(&format!("{} connected to {}", name(connection), connection.channel())));
    } else if let Some((connection, end)) = event.disconnected() {
        output::status(&one_line(&format!("{} {end}", name(connection))));
    }
}

fn name(connection: &Connection<Anonymous>) -> String {
    connection.peer_addr().map_or_else(|| connection.id().to_string(), |addr| addr.to_string())
}

fn params(args: &ServeArgs) -> Result<ServerParams, Failure> {
    let endpoint = Endpoint::tcp(args.listen);
    let endpoint = match (&args.cert, &args.key) {
        (Some(chain), Some(key)) => endpoint.tls(ServerTls::new(TlsIdentity::pem_files(chain, key))),
        _ => endpoint,
    };
    // A tool for one's own tests: what is sent fast, or from one address, is no attack.
    let limits = Limits::default()
        .message_size(args.max_message)
        .messages_per_second(None::<u32>)
        .bytes_per_second(None::<u64>)
        .connections_per_ip(usize::MAX)
        .idle(None::<Duration>);
    let mut params = ServerParams::local();
    if let Some(compat) = args.compat {
        params = params.compatibility(compat.into()).success_text("Connected Successfully");
    }
    if args.compress {
        params = params.compression(Compression::new());
    }
    if let Some(folder) = &args.files {
        params = files::behind(folder_at(folder)?, params);
    }
    Ok(params
        .endpoint(endpoint)
        .subprotocols(&args.subprotocols)
        .limits(limits)
        .heartbeat(Heartbeat::new(Duration::from_secs(30), HeartbeatMode::Ping))
        .outbox(args.max_message.saturating_add(1024 * 1024))
        .overflow(OverflowPolicy::Wait(PATIENCE)))
}

/// A folder that is there: a mistyped one would be a server that knows no file.
fn folder_at(path: &Path) -> Result<&Path, Failure> {
    match path.metadata() {
        Ok(found) if found.is_dir() => Ok(path),
        Ok(_) => Err(Failure::local(format!("{} is no folder", path.display()))),
        Err(error) => Err(Failure::local(format!("cannot read {}: {error}", path.display()))),
    }
}
