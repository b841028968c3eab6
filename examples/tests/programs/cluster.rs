//! The chat on three nodes, and the chat server as a node.

use std::{path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};
use websockets_simple_examples::demo::BusServer;

use crate::{
    chat::{CLIENT, SERVER},
    program::Program,
};

const CLUSTER: &str = env!("CARGO_BIN_EXE_cluster");

#[tokio::test]
async fn a_node_is_killed_and_its_client_goes_on_at_another_one() {
    let ended = Program::start(CLUSTER, &[]).end().await;
    assert_eq!((ended.success, &*ended.stderr), (true, ""), "{:#?}", ended.lines);
    let lines = ended.lines;
    assert!(lines.len() < 30, "{lines:#?}");
    let mut rest = lines.iter();
    for begun in [
        "bus: ",
        "node a: 127.0.0.1:",
        "node b: 127.0.0.1:",
        "node c: 127.0.0.1:",
        "line: 127.0.0.1:",
        "Ronald is at node a",
        "John is at node b",
        "Adam is at node c",
        "Ronald at node a hears: Adam joined.",
        "Ronald at node a asks who is there. Online: Adam, John, Ronald.",
        "John at node b hears: Ronald says to John: only for you",
        "John at node b hears: Adam says in rust: who is here?",
        "kill -9: node b",
        "John has lost node b, and is at node ",
        "Ronald at node a asks who is there. Online: Adam, John, Ronald.",
        "node a says: cluster: node b left",
        "John at node ",
        "John at node ",
        "node b: 127.0.0.1:",
        "node a says: cluster: node b joined",
        "John at node ",
        "Ronald at node a asks who is there. Online: John, Ronald.",
    ] {
        assert!(rest.any(|line| line.starts_with(begun)), "{begun} in {lines:#?}");
    }
    assert_eq!(rest.next(), None);
    // Nothing is left behind.
    let bus = lines[0].rsplit("//").next().unwrap();
    let gone = async { while TcpStream::connect(bus).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the bus ends");
}

#[cfg(unix)]
#[tokio::test]
async fn chat_servers_are_nodes_of_one_chat_and_say_what_happens_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let bus = BusServer::start(Path::new(CLUSTER), &folder.path().join("bus")).await.unwrap();
    let store = folder.path().join("chat.sqlite");
    let node = |name: &str| {
        let mut command = Command::new(SERVER);
        command.args(["--listen", "127.0.0.1:0", "--node", name, "--store"]).arg(&store);
        // In place of an argument.
        Program::spawn(command.env("CHAT_CLUSTER", &bus.url).env("CHAT_CLUSTER_KEY", "of 16 bytes or more"))
    };
    let mut one = node("one");
    one.address().await;
    let invites = crate::chat::invites(&mut one).await;
    one.shows(&["cluster: this is node one", "cluster: up"]).await;
    let mut two = node("two");
    let address = two.address().await;
    while two.line().await != "cluster: node one joined" {}
    one.shows(&["cluster: node two joined"]).await;
    while asked(&address, "GET /readyz").await != "HTTP/1.1 200 OK" {}
    let ticket = asked(&address, "POST /ticket").await;
    assert!(ticket.starts_with("HTTP/1.1 404 "), "another node would not know it: {ticket}");

    let at_one: Vec<&str> = invites[0].1.iter().map(String::as_str).collect();
    let mut ronald = Program::start(CLIENT, &at_one);
    ronald.shows(&["Ronald joined.", "Welcome Ronald."]).await;
    let token = invites[1].1.iter().find(|arg| arg.starts_with("--token=")).unwrap();
    let mut john = Program::start(CLIENT, &["--url", &format!("ws://{address}"), token]);
    while john.line().await != "Welcome John." {}
    ronald.shows(&["John joined."]).await;
    ronald.type_line("/msg John across").await;
    ronald.shows(&["Ronald says to John: across"]).await;
    while john.line().await != "Ronald says to John: across" {}

    two.interrupt();
    one.shows(&["cluster: node two left"]).await;
    ronald.shows(&["John left."]).await;
    assert!(two.end().await.success);
}

#[tokio::test]
async fn what_a_cluster_needs_and_a_server_has_not_is_said() {
    for (args, why) in [
        (
            ["--cluster", "nats://u:hidden@127.0.0.1:0"].as_slice(),
            "the URL of the cluster is not one of a bus",
        ),
        (&["--cluster", "nats://127.0.0.1", "--anonymous"], "guests cannot be in a cluster"),
        (&["--cluster", "nats://127.0.0.1", "--node", "a.b", "--store", ":memory:"], "`a.b` is not a name"),
        (&["--node", "a"], "--node and --cluster-root need --cluster"),
    ] {
        let ended = Program::start(SERVER, &[&["--listen", "127.0.0.1:0"], args].concat()).end().await;
        assert!(!ended.success && ended.stderr.contains(why), "{}", ended.stderr);
        assert!(!ended.stderr.contains("hidden"), "{}", ended.stderr);
    }
}

/// The first line of the answer to a request.
async fn asked(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap().to_owned()
}
