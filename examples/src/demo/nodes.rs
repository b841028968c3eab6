//! The servers, each in a process of its own.
#![expect(clippy::print_stdout, reason = "for a program with an output")]

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdout},
    task::JoinSet,
    time::sleep,
};

use super::{Line, Outcome, start_beside, within};

/// The servers, which end with this program.
#[derive(Debug)]
pub struct Nodes {
    bus: String,
    store: PathBuf,
    key: String,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    name: &'static str,
    address: SocketAddr,
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Nodes {
    /// Starts these, and waits until each of them is ready.
    ///
    /// # Errors
    ///
    /// When one of them does not start, or is not ready in time.
    ///
    /// # Cancel safety
    ///
    /// Those that were started end.
    pub async fn start(bus: &str, store: &Path, names: &[&'static str]) -> Outcome<Self> {
        let key = format!("{:032x}", rand::random::<u128>());
        let mut nodes = Self { bus: bus.to_owned(), store: store.to_owned(), key, nodes: Vec::new() };
        for name in names {
            let node = nodes.start_one(name).await?;
            nodes.nodes.push(node);
        }
        for node in &nodes.nodes {
            until_ready(node.address).await?;
            println!("node {}: {}", node.name, node.address);
        }
        Ok(nodes)
    }

    async fn start_one(&self, name: &'static str) -> Outcome<Node> {
        let mut process = start_beside(&std::env::current_exe()?, |command| {
            // Others can see arguments.
            command.env("CHAT_CLUSTER_KEY", &self.key).kill_on_drop(true);
            command.args(["node", "--cluster", &self.bus, "--node", name, "--store"]).arg(&self.store)
        })?;
        let mut said = BufReader::new(process.stdout.take().ok_or("it has an output")?).lines();
        let address = within("a server", async {
            let line = said.next_line().await?.ok_or("a server has ended")?;
            Ok(line.strip_prefix("listening on ").ok_or("that is no address")?.parse()?)
        });
        Ok(Node { name, address: address.await?, process, said })
    }

    /// Their names and addresses.
    #[must_use]
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        self.nodes.iter().map(|node| (node.name, node.address)).collect()
    }

    fn node(&mut self, name: &str) -> Outcome<&mut Node> {
        Ok(self.nodes.iter_mut().find(|node| node.name == name).ok_or("there is no such node")?)
    }

    /// Kills one, as `kill -9` does.
    ///
    /// # Errors
    ///
    /// When it is not there.
    ///
    /// # Cancel safety
    ///
    /// It is killed if the future was polled.
    pub async fn kill(&mut self, name: &str) -> Outcome<()> {
        self.node(name)?.process.kill().await?;
        println!("kill -9: node {name}");
        Ok(())
    }

    /// Starts one again that was killed, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    ///
    /// # Cancel safety
    ///
    /// One that was started ends.
    pub async fn start_again(&mut self, name: &str, line: &Line) -> Outcome<()> {
        let name = self.node(name)?.name;
        let node = self.start_one(name).await?;
        until_ready(node.address).await?;
        println!("node {name}: {}, again", node.address);
        line.moved(name, node.address);
        *self.node(name)? = node;
        Ok(())
    }

    /// Waits until one has said something.
    ///
    /// # Errors
    ///
    /// When it does not in time.
    ///
    /// # Cancel safety
    ///
    /// What it has said until then is not said again.
    pub async fn wait_for(&mut self, name: &str, line: &str) -> Outcome<()> {
        let node = self.node(name)?;
        let said = async {
            while let Some(said) = node.said.next_line().await? {
                if said == line {
                    println!("node {name} says: {line}");
                    return Ok(());
                }
            }
            Err("a server has ended".into())
        };
        within(line, said).await
    }

    /// Shows what they say from now on, until they have ended.
    ///
    /// # Cancel safety
    ///
    /// They end.
    pub async fn show(self) {
        let mut showing = JoinSet::new();
        for Node { name, mut said, process, .. } in self.nodes {
            showing.spawn(async move {
                // With the process it would end.
                let _process = process;
                while let Ok(Some(line)) = said.next_line().await {
                    println!("node {name} says: {line}");
                }
            });
        }
        while showing.join_next().await.is_some() {}
    }
}

/// Asks a server as a load balancer does, until it is ready to be given clients.
async fn until_ready(address: SocketAddr) -> Outcome<()> {
    within("a server that is ready", async {
        loop {
            let mut connection = TcpStream::connect(address).await?;
            let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
            connection.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer).await?;
            if answer.starts_with("HTTP/1.1 200 ") {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}
