//! The server, in a process of its own.

use std::{net::SocketAddr, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
};
use websockets_simple_tests::{
    crowd::{Asked, Broadcast, Counted, Told, cpu},
    server_process::resident,
    within,
};

use crate::plan::Plan;

const PROGRAM: &str = env!("CARGO_BIN_EXE_crowd-server");

/// A process of the program `crowd-server`, which is killed when this is dropped.
pub(crate) struct ServerProcess {
    process: Child,
    commands: ChildStdin,
    told: JoinHandle<Log>,
    pub(crate) addr: SocketAddr,
}

/// All that a server has told, in the order of time.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) rows: Vec<Row>,
    pub(crate) asked: Vec<Asked>,
    /// `None` if the server ended before.
    pub(crate) counted: Option<Counted>,
}

/// A broadcast, and what was seen from outside when it was told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) broadcast: Broadcast,
    /// Bytes of memory of the server.
    pub(crate) resident: u64,
    /// CPU time of the clients so far.
    pub(crate) clients_cpu: u64,
}

impl ServerProcess {
    pub(crate) async fn start(plan: &Plan) -> Self {
        let mut command = Command::new(PROGRAM);
        command.arg(plan.connections.to_string());
        command.args([plan.pace, plan.heartbeat].map(|time| time.as_millis().to_string()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("a program");
        let commands = process.stdin.take().expect("a pipe");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let line = within(lines.next_line()).await.expect("a pipe").expect("it has not started");
        let Told::Listens(addr) = read(&line) else { panic!("it has told {line}") };
        let told = tokio::spawn(log(lines, process.id().expect("it runs")));
        Self { process, commands, told, addr }
    }

    /// Bytes of memory.
    pub(crate) fn resident(&self) -> u64 {
        resident(self.process.id().expect("it runs"))
    }

    pub(crate) async fn say(&mut self, command: &str) {
        self.commands.write_all(format!("{command}\n").as_bytes()).await.expect("it runs");
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Log {
        let log = self.told.await.unwrap();
        let status = self.process.wait().await.unwrap();
        assert!(status.success(), "the server: {status}");
        log
    }
}

/// Reads what the server tells, until it ends.
async fn log(mut lines: Lines<BufReader<ChildStdout>>, process: u32) -> Log {
    let mut log = Log::default();
    while let Some(line) = lines.next_line().await.unwrap() {
        match read(&line) {
            Told::Broadcast(broadcast) => {
                log.rows.push(Row { broadcast, resident: resident(process), clients_cpu: cpu() });
            }
            Told::Asked(asked) => log.asked.push(asked),
            Told::Counted(counted) => log.counted = Some(counted),
            Told::Listens(_) => panic!("it listens already"),
        }
    }
    log
}

fn read(line: &str) -> Told {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}
