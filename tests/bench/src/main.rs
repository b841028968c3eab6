//! cargo run --release
//!
//! Measures websockets-simple beside plain tokio-tungstenite, axum, fastwebsockets, yawc, Bun and the least that the
//! kernel asks for. Every server and the load generator run as processes of their own on free loopback ports.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{clients::Client, machine::Core, measure::Plan, sample::Sample, servers::Server};

mod bus;
mod clients;
mod load;
mod machine;
mod measure;
mod plot;
mod report;
mod sample;
mod scenario;
mod servers;
mod wire;

/// Measures websockets-simple beside its peers. Without a command it runs the whole table.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    plan: Plan,
    /// Where to write every sample and summary as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to draw the cost of a delivery against the number of receivers.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// The processes that the measuring one starts.
#[derive(Subcommand)]
enum Role {
    /// Serves for ever on a free loopback port, which is printed.
    Serve {
        #[arg(value_enum)]
        server: Server,
        #[command(flatten)]
        setup: servers::Setup,
        #[arg(long)]
        core: Option<usize>,
    },
    /// Is nats-server.
    Bus {
        #[arg(long)]
        core: Option<usize>,
    },
    /// Puts load on a server and prints one sample as JSON.
    Load {
        #[command(flatten)]
        target: load::Target,
        #[arg(long)]
        core: Option<usize>,
    },
    /// Is a client under load and prints one sample as JSON.
    Client {
        #[arg(value_enum)]
        client: Client,
        #[command(flatten)]
        target: load::Target,
        #[arg(long)]
        core: Option<usize>,
    },
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    machine::raise_file_limit()?;
    match args.role {
        Some(Role::Serve { server, setup, core }) => {
            Core::pin(core)?;
            server.serve(setup)
        }
        Some(Role::Bus { core }) => {
            Core::pin(core)?;
            bus::serve()
        }
        Some(Role::Load { target, core }) => {
            Core::pin(core)?;
            print_sample(&load::run(&target)?)
        }
        Some(Role::Client { client, target, core }) => {
            Core::pin(core)?;
            print_sample(&client.run(&target)?)
        }
        None => {
            let mut samples = Vec::new();
            let measured = measure::measure(&args.plan, &mut samples);
            println!("{}", report::table(&samples));
            if let Some(path) = &args.json {
                std::fs::write(path, report::json(&samples)?)?;
            }
            measured?;
            if let Some(path) = &args.svg {
                plot::fanout(&report::summaries(&samples), path)?;
            }
            Ok(())
        }
    }
}

fn print_sample(sample: &Sample) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(sample)?);
    Ok(())
}
