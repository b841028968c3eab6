//! nats-server, the bus of a server that is a node of a cluster.

use std::{
    fs,
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

/// How long it may take to start.
const STARTED_WITHIN: Duration = Duration::from_secs(10);

/// What it says of where it listens.
#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
}

/// Becomes nats-server, on a free port, which it leaves in a file.
pub fn serve() -> anyhow::Result<()> {
    let mut bus = Command::new(find()?);
    bus.args(["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir"]).arg(std::env::temp_dir());
    Err(bus.stderr(Stdio::null()).exec()).context("starting nats-server")
}

/// Where it is: on the path, or where Debian has the servers.
pub fn find() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let mut programs = folders.map(|folder| folder.join("nats-server"));
    programs.find(|program| program.is_file()).context("nats-server is missing: apt-get install nats-server")
}

/// Where the one of this process listens, once it does.
pub fn addr(process: u32) -> anyhow::Result<SocketAddr> {
    let (file, begun) = (ports_of(process), Instant::now());
    loop {
        ensure!(begun.elapsed() < STARTED_WITHIN, "nats-server does not start");
        // What is there of it may be half of it.
        let said = fs::read(&file).ok().and_then(|json| serde_json::from_slice::<Ports>(&json).ok());
        let Some(ports) = said else {
            sleep(Duration::from_millis(5));
            continue;
        };
        let Some(url) = ports.nats.first() else { bail!("nats-server listens nowhere") };
        let addr = url.rsplit('/').next().unwrap_or_default();
        return addr.parse().with_context(|| format!("the address of nats-server, not {url:?}"));
    }
}

/// The file in which it leaves its port.
pub fn ports_of(process: u32) -> PathBuf {
    std::env::temp_dir().join(format!("nats-server_{process}.ports"))
}
