//! Clients of other languages in the chat, installed by the names of their packages.

use std::{path::Path, time::Duration};

use tokio::process::Command;
use websockets_simple_examples::chat::{self, Room};
use websockets_simple_server::{Endpoint, Heartbeat, HeartbeatMode, MemoryUsers, WebsocketServerAuth};

use crate::{
    chat::{CLIENT, SERVER, invites},
    installed::{node, python},
    program::Program,
};

#[tokio::test]
async fn python_websockets_chats_with_a_token_in_the_header() {
    chats("python_websockets.py").await;
}

#[tokio::test]
async fn python_websockets_answers_the_text_ping() {
    answers_the_text_ping("python_websockets.py").await;
}

#[tokio::test]
async fn python_websocket_client_chats_with_a_token_in_the_query() {
    chats("python_websocket_client.py").await;
}

#[tokio::test]
async fn python_websocket_client_answers_the_text_ping() {
    answers_the_text_ping("python_websocket_client.py").await;
}

#[tokio::test]
async fn python_aiohttp_chats_with_a_token_in_the_header() {
    chats("python_aiohttp.py").await;
}

#[tokio::test]
async fn python_aiohttp_answers_the_text_ping() {
    answers_the_text_ping("python_aiohttp.py").await;
}

#[tokio::test]
async fn node_ws_chats_with_a_token_among_the_subprotocols() {
    chats("node_ws.cjs").await;
}

#[tokio::test]
async fn node_ws_answers_the_text_ping() {
    answers_the_text_ping("node_ws.cjs").await;
}

/// With the chat server as it is started by hand, and the terminal client on the other side.
async fn chats(script: &str) {
    let mut server = Program::start(SERVER, &["--listen", "127.0.0.1:0", "--store", ":memory:"]);
    let url = format!("ws://{}", server.address().await);
    let invites = invites(&mut server).await;
    let token = |nth: usize| {
        invites[nth].1.iter().find_map(|arg| arg.strip_prefix("--token=")).expect("a token").to_owned()
    };
    meets(script, &url, [&token(0), &token(1)], 0).await;
}

/// In a chat that pings by text, as the servers of the .NET library do.
async fn answers_the_text_ping(script: &str) {
    let users = MemoryUsers::new();
    let tokens = ["Ronald", "John"].map(|name| users.issue(name.to_owned()));
    let params = chat::params(Endpoint::tcp(([127, 0, 0, 1], 0).into()))
        .heartbeat(Heartbeat::new(Duration::from_millis(500), HeartbeatMode::Text));
    let server = WebsocketServerAuth::<String>::new(params, users);
    Room::open_to_users(&server);
    server.start().await.unwrap();
    let url = format!("ws://{}", server.local_addr().expect("it listens"));
    // Whoever leaves two of them unanswered is not there for a third.
    meets(script, &url, [tokens[0].expose(), tokens[1].expose()], 3).await;
}

/// John, who runs the script, says hello and leaves when Ronald has told him something in private, which he does
/// when John has seen so many pings.
async fn meets(script: &str, url: &str, [ronald, john]: [&str; 2], pings: usize) {
    let mut ronald = Program::start(CLIENT, &["--url", url, &format!("--token={ronald}")]);
    ronald.shows(&["Ronald joined.", "Welcome Ronald."]).await;

    let mut john = Program::spawn(interpreter(script).await.args([url, john]));
    john.shows(&["speaks chat.v1"]).await;
    ronald.shows(&["John joined.", "John says: hello"]).await;
    for _ in 0..pings {
        john.shows(&["ping"]).await;
    }
    ronald.type_line("/msg John bye, Jöhn").await;
    let john = john.end().await;
    assert!(john.success, "{}", john.stderr);
    let lines: Vec<_> = john.lines.iter().filter(|line| *line != "ping").collect();
    assert_eq!(lines, ["Ronald to John: bye, Jöhn", "closed 1000"], "{}", john.stderr);
    ronald.shows(&["Ronald says to John: bye, Jöhn", "John left."]).await;
}

/// Whatever runs this script, which finds its packages.
pub(crate) async fn interpreter(script: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/other_clients").join(script);
    let mut command = if script.ends_with(".py") {
        let mut command = Command::new(python().await);
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUTF8", "1");
        command
    } else {
        node().await
    };
    command.arg(path);
    command
}
