//! The module for browsers: by itself, and against servers of the library.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use chrono::{TimeDelta, Utc};
use tokio::process::Command;
use websockets_simple_server::{
    CloseCode, Event, Heartbeat, HeartbeatMode, MemoryUsers, ServerParams, WebsocketServerAuth,
};

use crate::{
    installed::{node, node_modules},
    program::Program,
};

/// The steps that the Rust library takes.
const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/reconnect.json");

#[tokio::test]
async fn the_module_does_by_itself_what_its_declarations_say() {
    let codes = (1000..5000).filter(|code| CloseCode::try_from(*code).is_ok_and(CloseCode::should_reconnect));
    let codes: Vec<String> = codes.map(|code| code.to_string()).collect();
    let mut tests = module(node().await);
    let scripts = ["groups", "living", "module", "package", "random", "reconnect"];
    tests.arg("--test").args(scripts.map(|name| script(&format!("{name}.test.mjs"))));
    tests.env("RECONNECT_CODES", codes.join(",")).env("VECTORS", VECTORS);
    succeeds(&mut tests).await;
}

#[tokio::test]
async fn module_page_and_declarations_are_what_the_typescript_compiler_expects() {
    let mut compiler = Command::new(node_modules().await.join(".bin/tsc"));
    let strict = ["--noEmit", "--strict", "--allowJs", "--checkJs"];
    let target = ["--target", "es2023", "--module", "es2022", "--moduleResolution", "bundler"];
    let browser = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    compiler.args(strict).args(target).args(["--lib", "es2023,dom,dom.iterable"]);
    let scripts = ["websockets-simple.js", "chat.js"].map(|script| browser.join(script));
    compiler.args(scripts).arg(script("usage.ts"));
    succeeds(&mut compiler).await;
}

#[tokio::test]
async fn the_module_renews_its_token_and_answers_the_text_ping() {
    let users = MemoryUsers::new();
    users.add_until("first", "Ronald".to_owned(), Utc::now() + TimeDelta::seconds(120));
    users.add_until("second", "Ronald".to_owned(), Utc::now() + TimeDelta::hours(2));
    // Asked at once, as the notice is longer than the first token is good.
    let params = ServerParams::local()
        .expiry(Duration::from_secs(300), Duration::from_secs(30))
        .heartbeat(Heartbeat::new(Duration::from_millis(300), HeartbeatMode::Text));
    let server = WebsocketServerAuth::<String>::new(params, users);
    let mut events = server.events();
    server.start().await.unwrap();
    let mut client = client(&server, &["first", "second"]).await;
    client.shows(&["connected websockets-simple"]).await;
    let renewed = client.line().await;
    assert!(renewed.starts_with("renewed 20"), "{renewed}");
    answers_a_ping(&server).await;
    client.type_line("still here").await;
    let heard = loop {
        if let Event::Message(event) = events.recv().await.expect("the server runs") {
            break event.message;
        }
    };
    assert_eq!(heard.as_text(), Some("still here"), "neither tokens nor pongs are messages");
}

#[tokio::test]
async fn the_module_comes_back_when_it_was_unresponsive_and_stays_away_when_it_was_revoked() {
    let users = MemoryUsers::new();
    let token = users.issue("Ronald".to_owned());
    let server = WebsocketServerAuth::<String>::new(ServerParams::local(), users.clone());
    server.start().await.unwrap();
    let mut client = client(&server, &[token.expose()]).await;
    client.shows(&["connected websockets-simple"]).await;
    server.disconnect_user("Ronald", CloseCode::UNRESPONSIVE, "").await;
    client.shows(&["disconnected 4000 for now", "connected websockets-simple"]).await;
    users.revoke(&token);
    assert_eq!(client.end().await.lines, ["disconnected 4004 for good"]);
}

#[tokio::test]
async fn the_module_is_in_its_groups_again_beside_a_subprotocol_of_the_application() {
    let users = MemoryUsers::new();
    let token = users.issue("Ronald".to_owned());
    let params = ServerParams::local().subprotocols(["chat.v1"]);
    let server = WebsocketServerAuth::<String>::new(params, users).with_group_rule(|_, group| group == "red");
    server.start().await.unwrap();
    let url = format!("ws://{}", server.local_addr().expect("it listens"));
    let mut node = module(node().await);
    node.arg(script("client.mjs")).arg(url).arg(token.expose()).env("SUBPROTOCOL", "chat.v1");
    let mut client = Program::spawn(&mut node);
    client.shows(&["connected chat.v1"]).await;
    client.type_line("join red").await;
    client.shows(&["group red true null", "joined red"]).await;
    client.type_line("join blue").await;
    client.shows(&["group blue false not allowed here", "not joined blue refused"]).await;
    server.disconnect_user("Ronald", CloseCode::UNRESPONSIVE, "").await;
    client.shows(&["disconnected 4000 for now", "connected chat.v1", "group red true null"]).await;
    server.to_group("/", "red").send_text("to red").unwrap();
    client.shows(&["message to red"]).await;
    server.stop().await;
    client.shows(&["disconnected 1001 for now"]).await;
}

/// The module in Node, with these tokens.
async fn client(server: &WebsocketServerAuth<String>, tokens: &[&str]) -> Program {
    let url = format!("ws://{}", server.local_addr().expect("it listens"));
    Program::spawn(module(node().await).arg(script("client.mjs")).arg(url).args(tokens))
}

/// Waits until the only connection has answered a ping.
async fn answers_a_ping(server: &WebsocketServerAuth<String>) {
    let answered = async {
        while server.connections()[0].statistics().round_trip.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), answered).await.expect("an answer in time");
}

/// Tells a script where the module is.
fn module(mut node: Command) -> Command {
    node.env("MODULE", Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/websockets-simple.js"));
    node
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/browser_module").join(name)
}

async fn succeeds(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complaint}");
}
