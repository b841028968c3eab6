//! cargo run --release --bin ws -- connect ws://127.0.0.1:8080
//!
//! WebSockets on the command line: `connect` talks to a server, `serve` is one, `doctor` finds out why there is none,
//! `bench` measures one, `token` makes and reads tokens. `ws help` and `ws help COMMAND` say the rest.

use std::{env, io, process::ExitCode};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use websockets_simple_examples::ws::{
    Exit,
    bench::{self, BenchArgs},
    connect::{self, ConnectArgs},
    doctor::{self, DoctorArgs},
    exit::HELP,
    serve::{self, ServeArgs},
    token::{self, TokenArgs},
};

/// WebSockets on the command line.
#[derive(Parser)]
#[command(name = "ws", version, after_help = HELP, arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure how many messages a server echoes, and how fast.
    Bench(Box<BenchArgs>),
    /// Find out step by step why a WebSocket cannot be had.
    ///
    /// Each step shows its time and what was seen: the addresses of the host, a connection to each of them, the
    /// certificate, every header that was sent and received, the rules of RFC 6455, a ping and a close. The first step
    /// that fails ends the diagnosis; it decides the exit code, and comes with what to do. Tokens, cookies and values in
    /// queries are not shown. `--timeout` is the time for each step.
    Doctor(Box<DoctorArgs>),
    /// Talk to a server: lines are sent as messages, messages are shown as lines.
    Connect(Box<ConnectArgs>),
    /// Be a server that echoes messages or relays them, and serves files beside.
    Serve(ServeArgs),
    /// Make and read tokens.
    Token(TokenArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    // Unasked, the log would stand between the lines of the commands.
    if env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::from_default_env())
            .with_writer(io::stderr)
            .init();
    }
    let done = match args.command {
        Command::Bench(args) => bench::run(*args).await,
        Command::Doctor(args) => doctor::run(*args).await,
        Command::Connect(args) => connect::run(*args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Token(args) => token::run(args).await,
    };
    match done {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            if !failure.is_told() {
                eprintln!("ws: {failure}");
            }
            failure.exit().into()
        }
    }
}
