//! Runs the rows: every repetition goes once through all servers, so that what disturbs the machine disturbs all.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, anyhow, bail, ensure};
use clap::{Args, ValueEnum};

use crate::{
    bus,
    clients::Client,
    machine::{self, Core},
    sample::Sample,
    scenario::Scenario,
    servers::{Server, Setup, bun, certificate_of},
};

/// What to measure, and how often.
#[derive(Args, Debug)]
pub struct Plan {
    /// Only rows whose name contains one of these.
    #[arg(long, value_name = "TEXT")]
    rows: Vec<String>,
    /// Only these servers.
    #[arg(long, value_enum, value_name = "SERVER", value_delimiter = ',')]
    servers: Vec<Server>,
    /// Only these clients.
    #[arg(long, value_enum, value_name = "CLIENT", value_delimiter = ',')]
    clients: Vec<Client>,
    /// Samples of every server in every row.
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
    /// Further tries of a sample in which somebody waited for a CPU.
    #[arg(long, default_value_t = 3)]
    retries: usize,
    /// Milliseconds of load before each window.
    #[arg(long, default_value_t = 300)]
    warm_up: u64,
    /// Milliseconds of each window.
    #[arg(long, default_value_t = 800)]
    window: u64,
    /// Measures ours with two worker threads too, one of which shares its core with the load.
    #[arg(long)]
    two_threads: bool,
    /// One publisher and 10 to 10,000 receivers instead of the table: the points of the plot.
    #[arg(long, conflicts_with = "small")]
    sweep: bool,
    /// Everything once, small and short: shows that it works, measures nothing.
    #[arg(long)]
    small: bool,
}

/// What is measured.
#[derive(Clone, Copy)]
enum Subject {
    Server(Server, usize),
    Client(Client),
}

/// What is installed of what somebody else has made.
#[derive(Clone, Copy)]
struct Here {
    bun: bool,
    bus: bool,
}

/// A process that ends with its handle.
struct Process(Child);

/// Runs all rows of the plan. What was measured before an error is in `samples`.
pub fn measure(plan: &Plan, samples: &mut Vec<Sample>) -> anyhow::Result<()> {
    let rows = match plan {
        Plan { small: true, .. } => Scenario::small(),
        Plan { sweep: true, .. } => Scenario::sweep(),
        _ => Scenario::all(machine::most_connections()?),
    };
    let here = Here { bun: plan.bun_is_here()?, bus: plan.bus_is_here()? };
    let wanted =
        |row: &Scenario| plan.rows.is_empty() || plan.rows.iter().any(|text| row.to_string().contains(text));
    for row in rows.into_iter().filter(wanted) {
        let subjects = plan.subjects(row, here);
        for repetition in 1..=if plan.small { 1 } else { plan.repetitions } {
            for subject in &subjects {
                eprintln!("{row}, {repetition} of {}: {}", plan.repetitions, subject.name());
                samples
                    .push(plan.sample(row, *subject).with_context(|| format!("{row}: {}", subject.name()))?);
            }
        }
    }
    ensure!(!samples.is_empty(), "no row has such a name");
    Ok(())
}

impl Plan {
    /// Finds Bun, where it is to be measured, or leaves it out. A program that is only to show that it works installs
    /// nothing.
    fn bun_is_here(&self) -> anyhow::Result<bool> {
        let is_named = self.servers.contains(&Server::Bun);
        if !self.servers.is_empty() && !is_named {
            return Ok(false);
        }
        if is_named {
            bun::installed()?;
            return Ok(true);
        }
        let found = match bun::find() {
            None if self.small => Err(anyhow!(bun::missing())),
            _ => bun::installed(),
        };
        if let Err(reason) = &found {
            eprintln!("bun is left out: {reason:#}");
        }
        Ok(found.is_ok())
    }

    /// Finds nats-server, where a node is to be measured, or leaves that out.
    fn bus_is_here(&self) -> anyhow::Result<bool> {
        let is_named = self.servers.contains(&Server::OursNode);
        if !self.servers.is_empty() && !is_named {
            return Ok(false);
        }
        let found = bus::find();
        match &found {
            Err(reason) if is_named => bail!("{reason:#}"),
            Err(reason) => eprintln!("ours-node is left out: {reason:#}"),
            Ok(_) => {}
        }
        Ok(found.is_ok())
    }

    fn subjects(&self, row: Scenario, here: Here) -> Vec<Subject> {
        let chosen = |server: &Server| self.servers.is_empty() || self.servers.contains(server);
        let client = |client: &Client| self.clients.is_empty() || self.clients.contains(client);
        if row.is_of_clients() {
            return Client::value_variants()
                .iter()
                .filter(|c| client(c))
                .map(|c| Subject::Client(*c))
                .collect();
        }
        let needs = row.needs();
        let servers = Server::value_variants().iter().filter(|server| chosen(server));
        let is_here = |server: &Server| match server {
            Server::Bun => here.bun,
            Server::OursNode => here.bus && row.is_of_nodes(),
            Server::OursWatched => row.is_of_nodes() || self.servers.contains(server),
            _ => true,
        };
        let servers = servers.filter(|server| server.can(needs) && is_here(server));
        let mut subjects: Vec<_> = servers.map(|server| Subject::Server(*server, 1)).collect();
        if self.two_threads && chosen(&Server::Ours) && !needs.tls {
            subjects.push(Subject::Server(Server::Ours, 2));
        }
        subjects
    }

    /// One sample; tried again if it was not quiet.
    fn sample(&self, row: Scenario, subject: Subject) -> anyhow::Result<Sample> {
        let mut sample = self.window(row, subject)?;
        for _ in 0..if self.small { 0 } else { self.retries } {
            if sample.is_quiet() {
                break;
            }
            let again = self.window(row, subject)?;
            if again.waited < sample.waited {
                sample = again;
            }
        }
        Ok(sample)
    }

    fn window(&self, row: Scenario, subject: Subject) -> anyhow::Result<Sample> {
        let (first, second) = Core::pair();
        let (server, threads) = match subject {
            Subject::Server(server, threads) => (server, threads),
            Subject::Client(_) => (Server::Limit, 1),
        };
        let server_core = if threads == 1 { first } else { None };
        // Beside the load: the core of the server is its own.
        let bus = (server == Server::OursNode).then(|| Process::bus(second)).transpose()?;
        let bus = bus.as_ref().map(|(_process, addr)| *addr);
        let setup = Setup { threads, bus, needs: row.needs() };
        let (served, addr) = Process::serve(server, setup, server_core)?;
        let scenario = serde_json::to_string(&row)?;
        let (warm_up, window) = if self.small { (10, 100) } else { (self.warm_up, self.window) };
        let mut load = this_program()?;
        match subject {
            Subject::Server(..) => load.arg("load"),
            Subject::Client(client) => load.args(["client", &name_of(&client)]),
        };
        load.args(["--addr", &addr.to_string(), "--process", &served.0.id().to_string()])
            .args(["--scenario", &scenario])
            .args(["--warm-up", &warm_up.to_string(), "--window", &window.to_string()]);
        if let Some(core) = second {
            load.args(["--core", &core.to_string()]);
        }
        let output = load.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            bail!("the load failed");
        }
        let mut sample: Sample = serde_json::from_slice(&output.stdout).context("the sample")?;
        sample.server = subject.name();
        Ok(sample)
    }
}

impl Subject {
    fn name(self) -> String {
        match self {
            Self::Server(server, 1) => name_of(&server),
            Self::Server(server, threads) => format!("{} ({threads} threads)", name_of(&server)),
            Self::Client(client) => format!("{} client", name_of(&client)),
        }
    }
}

fn name_of(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn this_program() -> anyhow::Result<Command> {
    Ok(Command::new(std::env::current_exe()?))
}

impl Process {
    /// Starts nats-server; it listens when this returns.
    fn bus(core: Option<usize>) -> anyhow::Result<(Self, SocketAddr)> {
        let mut command = this_program()?;
        command.arg("bus");
        if let Some(core) = core {
            command.args(["--core", &core.to_string()]);
        }
        let process = Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
        let addr = bus::addr(process.0.id())?;
        Ok((process, addr))
    }

    /// Starts a server; it listens when this returns.
    fn serve(server: Server, setup: Setup, core: Option<usize>) -> anyhow::Result<(Self, SocketAddr)> {
        let Setup { threads, bus, needs } = setup;
        let mut command = this_program()?;
        command.args(["serve", &name_of(&server), "--threads", &threads.to_string()]);
        let flags = [(needs.tls, "--tls"), (needs.deflate, "--deflate"), (needs.groups, "--groups")];
        command.args(flags.iter().filter(|(needed, _)| *needed).map(|(_, flag)| flag));
        if let Some(bus) = bus {
            command.args(["--bus", &bus.to_string()]);
        }
        if let Some(core) = core {
            command.args(["--core", &core.to_string()]);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("standard output of the server")?;
        let process = Self(child);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let addr = line.trim().parse().with_context(|| format!("the address of the server, not {line:?}"))?;
        Ok((process, addr))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        // What only a bus has left, and only a server with TLS.
        let _ = std::fs::remove_file(bus::ports_of(self.0.id()));
        let _ = std::fs::remove_file(certificate_of(self.0.id()));
    }
}
