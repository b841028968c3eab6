//! cargo run --release --bin cluster
//!
//! One chat on three servers, which are processes, behind one address; one of them is killed. It starts what it needs,
//! the bus (NATS) included. See `examples/README.md`.
#![expect(clippy::print_stdout, reason = "a program with an output")]

use std::{
    error::Error,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args as Arguments, Parser, Subcommand};
use tokio::io::AsyncReadExt;
use websockets_simple_examples::{
    chat::{self, DEMO_USERS, Room},
    cluster::{self, ClusterArgs},
    demo::{BusServer, Line, Nodes, Person, keep_bus},
    in_one_line,
    members::Members,
    page::Page,
    stop_request,
};
use websockets_simple_server::{Endpoint, SqlUsers, WebsocketServerAuth};

/// After how long a node that was killed is gone for the others. That is short, so that nobody has to wait for it.
const LEASE: Duration = Duration::from_secs(3);

/// The names of the nodes.
const NODES: [&str; 3] = ["a", "b", "c"];

/// Shows one chat on three servers, of which one is killed.
#[derive(Parser)]
struct Args {
    /// The address that leads to the servers; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Go on until Ctrl-C, for browsers.
    #[arg(long)]
    keep: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What this program is when it has started itself.
#[derive(Subcommand)]
enum Command {
    /// One of the servers, until the standard input ends.
    #[command(hide = true)]
    Node(NodeArgs),
    /// What ends the bus when the standard input ends.
    #[command(hide = true)]
    Bus { program: PathBuf, folder: PathBuf },
}

#[derive(Arguments)]
struct NodeArgs {
    #[arg(long)]
    store: PathBuf,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match &args.command {
        None => run(&args).await,
        Some(Command::Node(args)) => node(args).await,
        Some(Command::Bus { program, folder }) => keep_bus(program, folder).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluster: {}", in_one_line(&*error));
            ExitCode::FAILURE
        }
    }
}

/// A server of the chat, as `chat-server --cluster` is one.
async fn node(args: &NodeArgs) -> Result<(), Box<dyn Error>> {
    let params = args.cluster.params()?.ok_or("a node needs a cluster")?.lease(LEASE);
    let users = SqlUsers::<String>::sqlite(&args.store).await?;
    let page = Page::for_members_of_cluster();
    let endpoint = Endpoint::tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    let server = WebsocketServerAuth::<String>::new(
        page.behind(chat::params(endpoint).same_origin()),
        Members::new(users),
    );
    let server = server.with_cluster(params);
    Room::open_to_users(&server);
    let mut lines = cluster::lines(&server);
    server.start().await?;
    println!("listening on {}", server.local_addr().ok_or("the server has stopped already")?);
    let (mut stdin, mut ignored) = (tokio::io::stdin(), Vec::new());
    let ended = stdin.read_to_end(&mut ignored);
    tokio::pin!(ended);
    loop {
        tokio::select! {
            _ = &mut ended => break,
            Some(line) = lines.recv() => println!("{line}"),
        }
    }
    server.stop().await;
    Ok(())
}

async fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let stop = stop_request()?;
    let folder = Folder::new()?;
    let story = async {
        let bus = BusServer::start(&std::env::current_exe()?, &folder.0.join("bus")).await?;
        println!("bus: {} at {}", bus.program.display(), bus.url);
        let store = folder.0.join("chat.sqlite");
        let users = SqlUsers::<String>::sqlite(&store).await?;
        let invites = users.first_invites(&DEMO_USERS.map(str::to_owned)).await?;
        let mut nodes = Nodes::start(&bus.url, &store, &NODES).await?;
        let line = Line::start(args.listen, nodes.addresses()).await?;
        println!("line: {}, which leads to these in turn", line.address);
        let mut people = Vec::new();
        for (token, info) in &invites {
            people.push(Person::connect(&info.user, token.clone(), &line).await?);
        }
        let [ronald, john, adam] = people.as_mut_slice() else { return Err("there are three".into()) };
        tell(ronald, john, adam, &mut nodes, &line).await?;
        if args.keep {
            for person in &mut people {
                person.leave().await;
            }
            println!("In browsers, until Ctrl-C:");
            for (token, info) in &invites {
                println!("  {}: http://{}/#{}", info.user, line.address, token.expose());
            }
            nodes.show().await;
            return Err("the servers have ended".into());
        }
        Ok(())
    };
    tokio::select! {
        told = story => told,
        () = stop => Ok(()),
    }
}

/// What happens, in order. Each line that somebody hears is waited for.
async fn tell(
    ronald: &mut Person,
    john: &mut Person,
    adam: &mut Person,
    nodes: &mut Nodes,
    line: &Line,
) -> Result<(), Box<dyn Error>> {
    ronald.hears("Adam joined.").await?;
    ronald.asks_who("Online: Adam, John, Ronald.").await?;

    ronald.says_to("John", "only for you").await?;
    john.hears("Ronald says to John: only for you").await?;
    john.enters("rust").await?;
    adam.enters("rust").await?;
    john.hears("Adam entered rust.").await?;
    adam.says_in("rust", "who is here?").await?;
    john.hears("Adam says in rust: who is here?").await?;

    nodes.kill("b").await?;
    john.comes_back(line).await?;
    ronald.asks_who("Online: Adam, John, Ronald.").await?;
    nodes.wait_for("a", "cluster: node b left").await?;
    ronald.says_to("John", "still there?").await?;
    john.hears("Ronald says to John: still there?").await?;
    adam.says_in("rust", "and in the room?").await?;
    john.hears("Adam says in rust: and in the room?").await?;

    nodes.start_again("b", line).await?;
    nodes.wait_for("a", "cluster: node b joined").await?;
    adam.leave().await;
    john.hears("Adam left.").await?;
    ronald.asks_who("Online: John, Ronald.").await
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("cluster-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(Path::new(&self.0));
    }
}
