//! A server in a process of its own.

use std::{net::SocketAddr, process::Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::within;

/// A process of the program `fleet-server`, which is killed when this is dropped.
#[derive(Debug)]
pub struct ServerProcess {
    process: Child,
    /// The number of the process, which the server sends to each client.
    pub number: u32,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl ServerProcess {
    /// Starts the program, which is `env!("CARGO_BIN_EXE_fleet-server")`, at an address.
    ///
    /// # Panics
    ///
    /// When it does not start in time.
    pub async fn start(program: &str, addr: SocketAddr) -> Self {
        let mut command = Command::new(program);
        command.arg(addr.to_string()).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("a program");
        let number = process.id().expect("it runs");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let line = within(lines.next_line()).await.expect("a pipe").expect("it has not started");
        Self { process, number, addr: line.parse().expect("an address") }
    }

    /// Ends it by SIGKILL: it says nothing to its clients. Returns where it listened.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub async fn kill(mut self) -> SocketAddr {
        self.process.kill().await.expect("it runs");
        self.addr
    }

    /// Suspends it, or lets it go on: its sockets stay open meanwhile, and the system accepts connections for it.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn suspend(&self, suspended: bool) {
        let pid = self.number.try_into().ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, if suspended { Signal::STOP } else { Signal::CONT }).expect("it runs");
    }
}

/// Bytes of memory of a process.
///
/// # Panics
///
/// When it does not run, or the system is not Linux.
#[must_use]
pub fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it runs");
    let kib: u64 = line.trim_end_matches("kB").trim().parse().expect("a number");
    kib * 1024
}
