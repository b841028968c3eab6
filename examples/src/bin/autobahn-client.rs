//! cargo run --release --bin autobahn-client -- ws://127.0.0.1:9001 websockets-simple
//!
//! Runs all cases of an Autobahn fuzzing server: sends every message back unchanged, then asks for the reports.
#![expect(clippy::print_stdout, reason = "a program with an output")]

use std::{error::Error, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use tokio::sync::Notify;
use websockets_simple_client::{
    ClientEvent, ClientParams, Compression, ConnectionEventKind, Heartbeat, OverflowPolicy, WebsocketClient,
};
use websockets_simple_examples::in_one_line;

/// Largest message accepted, in bytes. The largest of the suite has 16 MiB.
const MESSAGE_SIZE: usize = 32 * 1024 * 1024;

/// How long one case may take; the slowest take a minute or two.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs the cases of an Autobahn fuzzing server.
#[derive(Parser)]
struct Args {
    /// The fuzzing server, such as ws://127.0.0.1:9001.
    url: String,
    /// The name under which the reports list this client.
    agent: String,
    /// Offer compression (permessage-deflate), and compress messages of this many bytes and more.
    #[arg(long, value_name = "BYTES", num_args = 0..=1, require_equals = true, default_missing_value = "1024")]
    compress: Option<u32>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("autobahn-client: {}", in_one_line(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let cases = case_count(args).await?;
    println!("{cases} cases");
    for case in 1..=cases {
        let params = params(args, "/runCase")?.query("case", case.to_string()).query("agent", &args.agent);
        echo(params).await.map_err(|error| format!("case {case}: {}", in_one_line(&*error)))?;
        println!("case {case} of {cases} done");
    }
    echo(params(args, "/updateReports")?.query("agent", &args.agent)).await?;
    println!("reports updated");
    Ok(())
}

/// Asks the server for the number of cases, which it sends in one message.
async fn case_count(args: &Args) -> Result<u32, Box<dyn Error>> {
    let client = WebsocketClient::new(params(args, "/getCaseCount")?)?;
    let mut events = client.events();
    client.connect().await?;
    let mut count = None;
    while let Some(event) = tokio::time::timeout(PATIENCE, events.recv()).await? {
        match event {
            ClientEvent::Message(event) => count = event.message.as_text().map(str::parse).transpose()?,
            ClientEvent::Connection(event) if is_end(&event.kind) => break,
            _ => {}
        }
    }
    count.ok_or_else(|| "the server did not send the number of cases".into())
}

/// Connects and sends every message back until the connection ends.
async fn echo(params: ClientParams) -> Result<(), Box<dyn Error>> {
    let client = WebsocketClient::new(params)?;
    // A handler, as it sends the answer before the connection reads further, such as a Close.
    client.on_message(|connection, message| async move {
        // Many cases end in the middle of a message: the server decides whether a case has passed.
        let _ = connection.send(message).await;
    });
    let over = Arc::new(Notify::new());
    client.with_state(Arc::clone(&over)).on_disconnect(|over, _, _| async move { over.notify_one() });
    client.connect().await?;
    tokio::time::timeout(PATIENCE, over.notified()).await?;
    Ok(())
}

fn is_end<C, R>(kind: &ConnectionEventKind<C, R>) -> bool {
    matches!(kind, ConnectionEventKind::Disconnected(..))
}

fn params(args: &Args, path: &str) -> Result<ClientParams, Box<dyn Error>> {
    let params = ClientParams::url(&args.url)?
        .path(path)
        .message_size(MESSAGE_SIZE)
        .outbox(MESSAGE_SIZE)
        .overflow(OverflowPolicy::Wait(Duration::from_secs(30)))
        .heartbeat(Heartbeat::off());
    Ok(match args.compress {
        Some(threshold) => params.compression(Compression::new().threshold(threshold)),
        None => params,
    })
}
