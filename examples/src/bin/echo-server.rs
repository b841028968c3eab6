//! cargo run --release --bin echo-server -- --listen 127.0.0.1:9002
//!
//! Sends every message back unchanged. On the path `/bcast` it sends each message to all other connections of that path
//! instead. It sends no messages of its own. The conformance and performance tests use it.
#![expect(clippy::print_stdout, reason = "a program with an output")]

use std::{error::Error, net::SocketAddr, process::ExitCode, time::Duration};

use clap::Parser;
use websockets_simple_examples::{compat::Compat, in_one_line, service, stop_request};
use websockets_simple_server::{
    CloseCode, Compression, Endpoint, Event, Heartbeat, HeartbeatMode, Limits, MessageEvent, OverflowPolicy,
    SendError, ServerParams, WebsocketServer,
};

/// The path that broadcasts.
const BROADCAST: &str = "/bcast";

/// How long an echo waits for a peer that does not read.
const PATIENCE: Duration = Duration::from_secs(30);

/// An echo server without rate, per-IP and idle limits.
#[derive(Parser)]
struct Args {
    /// The address to listen on; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// The largest message that is accepted, in bytes; a larger one closes the connection with 1009.
    #[arg(long, value_name = "BYTES", default_value_t = 16 * 1024 * 1024 + 64 * 1024)]
    max_message: usize,
    /// Worker threads; by default as many as there are cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Compress messages of this many bytes and more, for clients that offer it (permessage-deflate).
    #[arg(long, value_name = "BYTES", num_args = 0..=1, require_equals = true, default_missing_value = "1024")]
    compress: Option<u32>,
    /// Serve deployed clients of the .NET library: they are welcomed by `Connected Successfully`, as their own servers
    /// do it.
    #[arg(long, value_enum)]
    compat: Option<Compat>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let served = runtime(args.threads).and_then(|runtime| runtime.block_on(serve(&args)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo-server: {}", in_one_line(&*error));
            ExitCode::FAILURE
        }
    }
}

fn runtime(threads: Option<u16>) -> Result<tokio::runtime::Runtime, Box<dyn Error>> {
    let mut builder = match threads {
        Some(1) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if let Some(threads) = threads.filter(|threads| *threads > 1) {
        builder.worker_threads(threads.into());
    }
    Ok(builder.enable_all().build()?)
}

async fn serve(args: &Args) -> Result<(), Box<dyn Error>> {
    let server = WebsocketServer::new(params(args));
    server.on(|event| async move {
        let Event::Message(MessageEvent { message, connection, .. }) = event else { return };
        if connection.channel() == BROADCAST {
            // Cannot fail: a received message needs no encoding.
            let _ = connection.to_channel().except(&connection).send(message);
            return;
        }
        if let Err(SendError::Timeout) = connection.send(message).await {
            // Otherwise the peer could not detect that an echo is missing.
            connection.close(CloseCode::OVERFLOW, "the echo was not read");
        }
    });
    let stop = stop_request()?;
    server.start().await?;
    let addr = server.local_addr().ok_or("the server has stopped already")?;
    // Scripts wait for this line. Standard output is flushed after each line.
    println!("listening on {addr}");
    stop.await;
    service::stop(&server).await;
    Ok(())
}

fn params(args: &Args) -> ServerParams {
    let limits = Limits::default()
        .message_size(args.max_message)
        .messages_per_second(None::<u32>)
        .bytes_per_second(None::<u64>)
        .connections_per_ip(usize::MAX)
        .idle(None::<Duration>);
    let params = match args.compat {
        Some(compat) => {
            ServerParams::local().compatibility(compat.into()).success_text("Connected Successfully")
        }
        None => ServerParams::local(),
    };
    let params = match args.compress {
        Some(threshold) => params.compression(Compression::new().threshold(threshold)),
        None => params,
    };
    params
        .endpoint(Endpoint::tcp(args.listen))
        .limits(limits)
        .heartbeat(Heartbeat::new(Duration::from_secs(30), HeartbeatMode::Ping))
        // Room for the largest message and 1 MiB more. When it is full, an echo waits, and a broadcast skips the slow
        // receiver.
        .outbox(args.max_message.saturating_add(1024 * 1024))
        .overflow(OverflowPolicy::Wait(PATIENCE))
}
