//! Nodes in processes of their own.

use std::{
    collections::VecDeque,
    fs,
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use websockets_simple_client::{ClientParams, WebsocketClient};

use crate::{cluster::token, within};

/// The lease that nodes have if they are given no other.
pub const LEASE: Duration = Duration::from_secs(12);

/// A process of the program `cluster-node`, which is killed when this is dropped.
#[derive(Debug)]
pub struct NodeProcess {
    _process: Child,
    pid: Pid,
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub addr: SocketAddr,
    commands: mpsc::UnboundedSender<(Value, oneshot::Sender<Value>)>,
    told: watch::Receiver<Vec<Told>>,
    _talk: JoinSet<()>,
}

/// An event of a node, and when it was read.
#[derive(Clone, Debug)]
pub struct Told {
    /// When.
    pub at: Instant,
    /// What: its `event`, and what belongs to it.
    pub what: Value,
}

/// A client that notes down all that it hears.
#[derive(Debug)]
pub struct Listener {
    /// The client.
    pub client: WebsocketClient,
    heard: Arc<Mutex<Vec<String>>>,
}

impl NodeProcess {
    /// Starts the program, which is `env!("CARGO_BIN_EXE_cluster-node")`, with a bus and a name.
    ///
    /// # Panics
    ///
    /// When it does not start in time.
    pub async fn start(program: &str, bus: &str, name: &str, lease: Duration) -> Self {
        Self::start_by(Command::new(program), bus, name, "127.0.0.1:0", lease).await
    }

    /// The same, by a command that runs the program, at an address.
    ///
    /// # Panics
    ///
    /// When it does not start in time.
    pub async fn start_by(
        mut command: Command,
        bus: &str,
        name: &str,
        address: &str,
        lease: Duration,
    ) -> Self {
        command.args([bus, name, address, &lease.as_millis().to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("a program");
        let pid = process.id().and_then(|pid| pid.try_into().ok()).and_then(Pid::from_raw);
        let stdin = process.stdin.take().expect("a pipe");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        // An event may come before.
        let (mut events, mut addr) = (Vec::new(), None);
        while addr.is_none() {
            let line = within(lines.next_line()).await.expect("a pipe").expect("it has not started");
            let what = read(&line);
            addr = what["address"].as_str().map(|addr| addr.parse().expect("an address"));
            events.push(Told { at: Instant::now(), what });
        }
        events.pop();
        let (commands, taken) = mpsc::unbounded_channel();
        let (tell, told) = watch::channel(events);
        let mut talk = JoinSet::new();
        talk.spawn(converse(stdin, lines, taken, tell));
        let (name, addr) = (name.to_owned(), addr.expect("it was told"));
        Self { _process: process, pid: pid.expect("it runs"), name, addr, commands, told, _talk: talk }
    }

    /// Tells it to do something, and returns what it answers.
    ///
    /// # Panics
    ///
    /// When it does not answer in time.
    pub async fn ask(&self, command: Value) -> Value {
        let (answer, answered) = oneshot::channel();
        self.commands.send((command, answer)).expect("it runs");
        within(answered).await.unwrap_or_else(|_| panic!("{} has ended", self.name))
    }

    /// Whether it knows a user to be connected, at whatever node.
    ///
    /// # Panics
    ///
    /// When it does not answer in time.
    pub async fn is_online(&self, user: &str) -> bool {
        self.ask(json!({ "do": "online", "user": user })).await == true
    }

    /// One of its figures.
    ///
    /// # Panics
    ///
    /// When it does not answer in time.
    pub async fn figure(&self, name: &str) -> i64 {
        self.ask(json!({ "do": "figures" })).await[name].as_i64().expect("a figure")
    }

    /// Whether it is ready, and knows these nodes.
    ///
    /// # Panics
    ///
    /// When it does not answer in time.
    pub async fn knows(&self, nodes: &[&str]) -> bool {
        let presence = self.ask(json!({ "do": "presence" })).await;
        presence["ready"] == true && presence["nodes"] == json!(nodes)
    }

    /// Connects a client of a user.
    ///
    /// # Panics
    ///
    /// When it cannot connect.
    pub async fn client(&self, user: &str, path: &str) -> WebsocketClient {
        let client = self.device(user, path);
        client.connect().await.expect("it connects");
        client
    }

    /// A client of a user that is not connected yet.
    ///
    /// # Panics
    ///
    /// When it is not valid.
    #[must_use]
    pub fn device(&self, user: &str, path: &str) -> WebsocketClient {
        let params = ClientParams::url(&format!("ws://{}{path}", self.addr)).expect("a URL");
        WebsocketClient::new(params.token(token(user))).expect("the parameters are right")
    }

    /// Connects a client that notes down what it hears, and waits until the bus knows that it is there.
    ///
    /// # Panics
    ///
    /// When it cannot connect.
    pub async fn listener(&self, user: &str, path: &str) -> Listener {
        let (client, heard) = (self.device(user, path), Arc::new(Mutex::new(Vec::new())));
        let notes = Arc::clone(&heard);
        client.on_message(move |_, message| {
            notes.lock().unwrap_or_else(PoisonError::into_inner).push(message.to_string());
            std::future::ready(())
        });
        client.connect().await.expect("it connects");
        assert_eq!(self.ask(json!({ "do": "settled" })).await, true);
        Listener { client, heard }
    }

    /// How many events it has told so far.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.told.borrow().len()
    }

    /// The events that it has told behind a mark.
    #[must_use]
    pub fn told(&self, mark: usize) -> Vec<Told> {
        self.told.borrow()[mark..].to_vec()
    }

    /// Waits for an event behind a mark, such as `{"event": "Up"}`. Returns when it came.
    ///
    /// # Panics
    ///
    /// When it does not come in time.
    pub async fn until(&self, mark: usize, what: &Value) -> Told {
        let first = |told: &Vec<Told>| told[mark..].iter().find(|told| contains(&told.what, what)).cloned();
        let mut told = self.told.clone();
        let found =
            tokio::time::timeout(Duration::from_secs(60), told.wait_for(|told| first(told).is_some()));
        let Ok(Ok(told)) = found.await else {
            panic!("{} has not told {what}, but {:?}", self.name, self.told(mark))
        };
        first(&told).expect("it is there")
    }

    /// Ends it by SIGKILL: it says nothing to anybody. Returns when.
    ///
    /// # Panics
    ///
    /// When it does not run.
    #[must_use]
    pub fn kill(&self) -> Instant {
        kill_process(self.pid, Signal::KILL).expect("it runs");
        Instant::now()
    }

    /// Suspends it by SIGSTOP: its sockets stay open. Returns when all of it stands still.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub async fn suspend(&self) {
        kill_process(self.pid, Signal::STOP).expect("it runs");
        within(async {
            while !self.stands_still() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    fn stands_still(&self) -> bool {
        let folder = format!("/proc/{}/task", self.pid.as_raw_nonzero());
        let threads = fs::read_dir(folder).expect("it runs").flatten();
        let stats: Vec<_> =
            threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok()).collect();
        stats.iter().all(|stat| stat.contains(") T "))
    }

    /// Lets it go on by SIGCONT. Returns when.
    ///
    /// # Panics
    ///
    /// When that fails.
    #[must_use]
    pub fn resume(&self) -> Instant {
        let at = Instant::now();
        kill_process(self.pid, Signal::CONT).expect("it runs");
        at
    }
}

impl Listener {
    /// What it has heard.
    #[must_use]
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Hands on what is said on either side. The answers come in the order of the commands.
async fn converse(
    mut stdin: ChildStdin,
    mut lines: Lines<BufReader<ChildStdout>>,
    mut commands: mpsc::UnboundedReceiver<(Value, oneshot::Sender<Value>)>,
    tell: watch::Sender<Vec<Told>>,
) {
    let mut waiting = VecDeque::new();
    loop {
        tokio::select! {
            biased;
            line = lines.next_line() => {
                let Ok(Some(line)) = line else { return };
                let mut what = read(&line);
                match what.get_mut("answer") {
                    None => tell.send_modify(|told| told.push(Told { at: Instant::now(), what })),
                    Some(answer) => {
                        let waits: oneshot::Sender<_> = waiting.pop_front().expect("it was asked");
                        // Who has asked may be gone.
                        let _ = waits.send(answer.take());
                    }
                }
            }
            command = commands.recv() => {
                let Some((command, answer)) = command else { return };
                waiting.push_back(answer);
                if stdin.write_all(format!("{command}\n").as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn read(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))
}

/// Whether an object has all that another one has.
fn contains(object: &Value, part: &Value) -> bool {
    part.as_object().is_some_and(|part| part.iter().all(|(key, value)| object.get(key) == Some(value)))
}
