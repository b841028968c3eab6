//! cargo run --release --bin uploads
//!
//! A server that takes uploads of any size, each one message, and answers with their number of bytes and SHA-256. It holds
//! a part of 256 KiB at a time. With `--send` the same program uploads what it reads from standard input.
#![expect(clippy::print_stdout, reason = "a program with an output")]

use std::{
    error::Error,
    fmt::Write,
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use clap::Parser;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use websockets_simple_client::{
    ClientEvent, ClientParams, ConnectionEventKind, MessageWriter, WebsocketClient,
};
use websockets_simple_examples::{in_one_line, stop_request};
use websockets_simple_server::{
    Anonymous, Connection, Endpoint, Json, Limits, MessagePart, MessageParts, ServerParams, WebsocketServer,
};

/// Bytes of a part, and of a message that comes whole.
const PART: usize = 256 * 1024;

/// Takes uploads, or sends one.
#[derive(Parser)]
struct Args {
    /// The address to listen on; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Most bytes of an upload.
    #[arg(long, value_name = "BYTES", default_value_t = 10 << 30)]
    limit: u64,
    /// Uploads standard input to this server.
    #[arg(long, value_name = "URL")]
    send: Option<String>,
}

/// An upload that has come in part.
#[derive(Default)]
struct Upload {
    bytes: usize,
    hash: Sha256,
}

/// What the client is told.
#[derive(Serialize)]
struct Receipt {
    bytes: usize,
    sha256: String,
}

impl Upload {
    /// Takes a part; the receipt follows from the last one.
    fn take(&mut self, part: &MessagePart) -> Option<Receipt> {
        if part.first {
            *self = Self::default();
        }
        self.bytes += part.len();
        self.hash.update(part.payload.as_bytes());
        part.last.then(|| {
            let mut sha256 = String::new();
            for byte in std::mem::take(&mut self.hash).finalize() {
                // Writing to a string does not fail.
                let _ = write!(sha256, "{byte:02x}");
            }
            Receipt { bytes: self.bytes, sha256 }
        })
    }
}

async fn take(connection: Connection<Anonymous>, part: MessagePart) {
    let Some(upload) = connection.get::<Arc<Mutex<Upload>>>() else { return };
    let receipt = upload.lock().unwrap_or_else(PoisonError::into_inner).take(&part);
    if let Some(receipt) = receipt {
        let _ = connection.send(Json(receipt)).await;
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.send {
        Some(url) => send(url).await,
        None => serve(&args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("uploads: {}", in_one_line(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: &Args) -> Result<(), Box<dyn Error>> {
    // A peer that uploads as fast as it can is no flood here. One that says nothing for a minute is closed.
    let limits = Limits::default().bytes_per_second(None).idle(Duration::from_secs(60));
    let params = ServerParams::local().endpoint(Endpoint::tcp(args.listen)).limits(limits);
    let params = params.message_parts(MessageParts::new(PART, args.limit));
    let server = WebsocketServer::new(params);
    server.on_connect(|connection| async move {
        connection.insert(Arc::new(Mutex::new(Upload::default())));
    });
    server.on_message_part(take);
    server.on_message(|connection, message| take(connection, MessagePart::whole(message)));
    let stop = stop_request()?;
    server.start().await?;
    println!("listening on {}", server.local_addr().ok_or("the server has stopped already")?);
    stop.await;
    println!("{}", server.stop().await);
    Ok(())
}

async fn send(url: &str) -> Result<(), Box<dyn Error>> {
    let client = WebsocketClient::new(ClientParams::url(url)?)?;
    let mut events = client.events();
    client.connect().await?;
    let mut input = tokio::io::stdin();
    let mut read = Ok(());
    let sent = client.send_parts(async |upload: &mut MessageWriter<'_, [u8]>| {
        let mut buffer = vec![0; PART];
        loop {
            match input.read(&mut buffer).await {
                Ok(0) => return Ok(()),
                Ok(len) => upload.write(&buffer[..len]).await?,
                Err(error) => {
                    read = Err(error);
                    return Ok(());
                }
            }
        }
    });
    let sent = sent.await;
    read?;
    sent?;
    while let Some(event) = events.recv().await {
        match event {
            ClientEvent::Message(event) => {
                println!("{}", event.message);
                client.disconnect().await;
                return Ok(());
            }
            ClientEvent::Connection(event) => {
                if let ConnectionEventKind::Disconnected(_, end) = event.kind {
                    return Err(format!("the server has not taken it: {end}").into());
                }
            }
            _ => {}
        }
    }
    Ok(())
}
