//! cargo run --release --bin chat-server
//!
//! A chat for invited users, or with `--anonymous` for all. Tokens are stored in a SQLite file. With `--cluster` it is one
//! of several servers of one chat. See `examples/README.md`.
#![expect(clippy::print_stdout, reason = "a program with an output")]

use std::{
    error::Error,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand};
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;
use websockets_simple_examples::{
    chat::{self, DEMO_USERS, Room},
    cluster::{self, ClusterArgs},
    compat::Compat,
    in_one_line,
    members::Members,
    page::Page,
    service, stop_request,
    tokens::TokensCommand,
};
use websockets_simple_server::{
    Compression, Endpoint, Identity, Server, ServerTls, SqlUsers, TlsIdentity, WebsocketServer,
    WebsocketServerAuth,
};

/// A chat server that prints invites for three demo users when it starts for the first time.
#[derive(Parser)]
struct Args {
    /// The address to listen on; port 0 lets the system choose. A listener that a service manager gives goes before it.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Admit all clients, with the name in `?name=`, instead of invited users.
    #[arg(long)]
    anonymous: bool,
    /// Use TLS with this certificate chain, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of that certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Use TLS with the certificate in this .pfx or .p12 file. Its password is read from the environment variable
    /// CHAT_PFX_PASSWORD, as other users of the machine can see command lines.
    #[arg(long, value_name = "FILE", conflicts_with = "tls_cert")]
    pfx: Option<PathBuf>,
    /// Offer HTTP/2 beside HTTP/1.1, which needs TLS: browsers then load the page and chat over one connection.
    #[arg(long)]
    http2: bool,
    /// The SQLite file that holds the tokens, created if missing; `:memory:` keeps them until the server stops.
    #[arg(long, global = true, value_name = "FILE", default_value = "chat.sqlite")]
    store: String,
    /// Compress messages for clients that offer it, as browsers do.
    #[arg(long)]
    compress: bool,
    /// Also serve deployed clients of the .NET library, which send the token in the path (v6) or in a header (v7).
    #[arg(long, value_enum)]
    compat: Option<Compat>,
    /// How many seconds a stop takes at most to close the connections one after the other, so that their clients do not
    /// come back all at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    drain: u64,
    /// For how many seconds a stop only says that the server is not ready, for a load balancer to notice.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    notice: u64,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Issue, list and revoke tokens, also while the server runs.
    #[command(subcommand)]
    Tokens(TokensCommand),
}

impl Args {
    /// The TLS configuration, if there is one. Changed files are reloaded.
    fn tls(&self) -> Option<ServerTls> {
        let identity = match (&self.tls_cert, &self.tls_key, &self.pfx) {
            (Some(chain), Some(key), _) => TlsIdentity::pem_files(chain, key),
            (_, _, Some(archive)) => {
                TlsIdentity::pkcs12_file(archive, std::env::var("CHAT_PFX_PASSWORD").unwrap_or_default())
            }
            _ => return None,
        };
        let tls = ServerTls::new(identity).watch_files(Duration::from_secs(60));
        Some(if self.http2 { tls.http2() } else { tls })
    }
}

fn main() -> ExitCode {
    // Before the runtime has threads.
    let given = service::given_listener();
    run_until_stopped(given)
}

#[tokio::main]
async fn run_until_stopped(given: io::Result<Option<TcpListener>>) -> ExitCode {
    tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env()).with_writer(io::stderr).init();
    match run(&Args::parse(), given).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat-server: {}", in_one_line(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args, given: io::Result<Option<TcpListener>>) -> Result<(), Box<dyn Error>> {
    if let Some(Command::Tokens(command)) = &args.command {
        return command.run(&open(&args.store).await?, io::stdout()).await;
    }
    let tls = args.tls();
    if args.http2 && tls.is_none() {
        return Err("--http2 needs a certificate: --tls-cert and --tls-key, or --pfx".into());
    }
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    let given =
        given.map_err(|error| format!("what the service manager gives is no TCP listener: {error}"))?;
    let endpoint = given.map_or_else(|| Endpoint::tcp(args.listen), Endpoint::listener);
    let endpoint = match tls {
        Some(tls) => endpoint.tls(tls),
        None => endpoint,
    };
    let params = chat::params(endpoint)
        // Of browsers, only our own page may connect.
        .same_origin();
    let params = match args.compat {
        Some(compat) => params.compatibility(compat.into()),
        None => params,
    };
    let params = if args.compress { params.compression(Compression::new()) } else { params };
    let cluster = args.cluster.params()?;
    if args.anonymous {
        if cluster.is_some() {
            return Err("guests cannot be in a cluster: their names differ at one node alone".into());
        }
        let page = Page::for_guests();
        let server = WebsocketServer::new(page.behind(params));
        Room::open_to_guests(&server);
        let invite = async |url: &str| {
            invite_anybody(url);
            Ok(())
        };
        return serve(server, scheme, args, invite).await;
    }
    let users = open(&args.store).await?;
    let members = Members::new(users.clone());
    let page = match &cluster {
        Some(_) => Page::for_members_of_cluster(),
        None => Page::for_members(members.clone()),
    };
    let server = WebsocketServerAuth::<String>::new(page.behind(params), members);
    let server = match cluster {
        Some(cluster) => server.with_cluster(cluster),
        None => server,
    };
    Room::open_to_users(&server);
    // Invites are issued only once the server listens, as they cannot be shown again.
    serve(server, scheme, args, async |url| invite(url, &users).await).await
}

async fn open(store: &str) -> Result<SqlUsers<String>, Box<dyn Error>> {
    let opened = match store {
        ":memory:" => SqlUsers::sqlite_in_memory().await,
        path => SqlUsers::sqlite(path).await,
    };
    opened.map_err(|error| format!("cannot open the store {store}: {}", in_one_line(&error)).into())
}

/// Runs the server until it is asked to stop. `invite` gets the URL for clients on this machine.
async fn serve<I: Identity>(
    server: Server<I>,
    scheme: &str,
    args: &Args,
    invite: impl AsyncFnOnce(&str) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let stop = stop_request()?;
    let lines = cluster::lines(&server);
    server.start().await?;
    let mut addr = server.local_addr().ok_or("the server has stopped already")?;
    println!("listening on {addr}");
    if addr.ip().is_unspecified() {
        addr.set_ip(if addr.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    invite(&format!("{scheme}://{addr}")).await?;
    println!("In a browser: {}://{addr}/", if scheme == "wss" { "https" } else { "http" });
    println!("Ctrl-C stops the server.");
    if let Some(node) = server.cluster().node() {
        println!("cluster: this is node {}", node.name);
    }
    service::is_ready(&format!("listening on {addr}"));
    tokio::select! {
        () = stop => {}
        () = show(lines) => {}
    }
    let seconds = Duration::from_secs;
    let report =
        service::drain(&server, seconds(args.notice), seconds(args.drain), |status| println!("{status}"))
            .await?;
    println!(
        "stopped: {} ended in order, {} without a goodbye, {} at the deadline",
        report.clean, report.unclean, report.dropped
    );
    Ok(())
}

async fn show(mut lines: mpsc::Receiver<String>) {
    while let Some(line) = lines.recv().await {
        println!("{line}");
    }
    std::future::pending().await
}

async fn invite(url: &str, users: &SqlUsers<String>) -> Result<(), Box<dyn Error>> {
    let invites = users.first_invites(&DEMO_USERS.map(str::to_owned)).await?;
    if invites.is_empty() {
        println!("Invited users can connect. To invite another user:");
        println!("    cargo run --release --bin chat-server -- tokens issue NAME");
        return Ok(());
    }
    println!("Invites, which are shown this once:");
    for (token, info) in invites {
        println!("  {}", info.user);
        // With `=`, as a token may begin like an option.
        println!("    cargo run --release --bin chat-client -- --url {url} --token={}", token.expose());
    }
    Ok(())
}

fn invite_anybody(url: &str) {
    println!("No invite is needed; each client chooses a name:");
    for name in DEMO_USERS {
        println!("    cargo run --release --bin chat-client -- --url {url} --name {name}");
    }
}
