//! cargo run --release --bin tls-chat
//!
//! A chat over TLS between people on this machine. The first start makes a certificate authority and a certificate for
//! the server; the clients trust that authority. SIGHUP reloads the certificate.
#![expect(clippy::print_stdout, reason = "a program with an output")]

use std::{
    error::Error,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use tokio::io::{AsyncBufReadExt, BufReader};
use websockets_simple_client::{ClientEvent, ClientParams, ConnectionEventKind, WebsocketClient};
use websockets_simple_examples::{authority::Authority, in_one_line, service, stop_request};
use websockets_simple_server::{
    Endpoint, ServerParams, ServerTls, TlsIdentity, TlsVersions, WebsocketServer,
};

/// A chat over TLS 1.3 with a certificate made on the first start.
#[derive(Parser)]
struct Args {
    /// The folder of the certificates.
    #[arg(long, global = true, value_name = "FOLDER", default_value = "tls-chat")]
    certificates: PathBuf,
    /// The address to listen on, or to connect to.
    #[arg(long, global = true, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    address: SocketAddr,
    #[command(subcommand)]
    end: Option<End>,
}

#[derive(Subcommand)]
enum End {
    /// Join the chat: every line is sent to all.
    Join {
        /// Your name.
        name: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.end {
        None => serve(&args).await,
        Some(End::Join { name }) => join(&args, name).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tls-chat: {}", in_one_line(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: &Args) -> Result<(), Box<dyn Error>> {
    let folder = &args.certificates;
    if make_certificates(folder)? {
        println!("made an authority and a certificate in {}", folder.display());
    }
    let identity = TlsIdentity::pem_files(folder.join("server.pem"), folder.join("server-key.pem"));
    let tls = ServerTls::new(identity).versions(TlsVersions::Tls13);
    let endpoint = Endpoint::tcp(args.address).tls(tls.clone());
    let server = WebsocketServer::new(ServerParams::local().endpoint(endpoint));
    server.on_message(|connection, message| async move {
        let Some(text) = message.as_text() else { return };
        let name = connection.query("name").unwrap_or_else(|| "somebody".into());
        // Lines are shown on terminals: control characters could move the cursor.
        let line: String = format!("{name}: {text}").replace(char::is_control, " ");
        let _ = connection.server().broadcast_text(line);
    });
    let stop = stop_request()?;
    reload_on_hangup(tls)?;
    server.start().await?;
    let addr = server.local_addr().ok_or("the server has stopped already")?;
    println!("listening on {addr}");
    for name in ["Ronald", "John"] {
        println!(
            "    cargo run --release --bin tls-chat -- join {name} --address {addr} --certificates {}",
            folder.display()
        );
    }
    stop.await;
    service::stop(&server).await;
    Ok(())
}

/// Makes the certificates unless they exist. True if it made them.
fn make_certificates(folder: &Path) -> Result<bool, Box<dyn Error>> {
    if folder.join("server-key.pem").exists() {
        return Ok(false);
    }
    std::fs::create_dir_all(folder)?;
    let authority = Authority::new("tls-chat")?;
    std::fs::write(folder.join("authority.pem"), authority.pem())?;
    authority.issue(&["localhost", "127.0.0.1", "::1"], 1)?.write(folder, "server")?;
    Ok(true)
}

/// Reads the certificate again on SIGHUP, as daemons do.
#[cfg(unix)]
fn reload_on_hangup(tls: ServerTls) -> Result<(), Box<dyn Error>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match tls.reload() {
                Ok(()) => println!("reloaded the certificate"),
                Err(error) => eprintln!("tls-chat: the old certificate stays: {}", in_one_line(&error)),
            }
        }
    });
    Ok(())
}

#[cfg(not(unix))]
fn reload_on_hangup(_tls: ServerTls) -> Result<(), Box<dyn Error>> {
    Ok(())
}

async fn join(args: &Args, name: &str) -> Result<(), Box<dyn Error>> {
    let path = args.certificates.join("authority.pem");
    let authority = std::fs::read(&path)
        .map_err(|error| format!("cannot read {}; start the server first: {error}", path.display()))?;
    let params = ClientParams::new(args.address.ip().to_string(), args.address.port())
        .secured(true)
        .tls_versions(TlsVersions::Tls13)
        .root_pem(authority)
        .only_given_roots()
        .query("name", name);
    let client = WebsocketClient::new(params)?;
    let mut events = client.events();
    let connection = client.connect().await?;
    if let Some(tls) = connection.tls() {
        println!("connected with {} and {}", tls.version, tls.cipher);
    }
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => match line? {
                Some(line) => {
                    client.send_text(line).await?;
                }
                None => break,
            },
            event = events.recv() => match event {
                Some(ClientEvent::Message(event)) => println!("{}", event.message.as_text().unwrap_or("?")),
                Some(ClientEvent::Connection(event))
                    if matches!(event.kind, ConnectionEventKind::Disconnected(..)) => break,
                Some(_) => {}
                None => break,
            },
        }
    }
    client.disconnect().await;
    Ok(())
}
