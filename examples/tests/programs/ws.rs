//! The program `ws`, the command line.

use tokio::process::Command;
use websockets_simple_server::{
    Anonymous, Identity, Server, ServerParams, User, UserService, WebsocketServer, WebsocketServerAuth,
};

use crate::program::{Ended, Program};

mod connect;
mod exit_codes;
mod reconnect;
mod secured;
mod serve;
#[cfg(unix)]
mod terminal;
mod token_sources;
mod tokens;

const WS: &str = env!("CARGO_BIN_EXE_ws");

/// `ws` with these arguments.
fn ws(args: &[&str]) -> Program {
    Program::start(WS, args)
}

/// What is left of `ws` with these arguments, once these lines were piped into it.
async fn piped(args: &[&str], lines: &[&str]) -> Ended {
    let mut program = ws(args);
    for line in lines {
        program.type_line(line).await;
    }
    program.end().await
}

/// `ws serve` with these options, and its address.
async fn serve(options: &[&str]) -> (Program, String) {
    let args = ["serve", "--listen", "127.0.0.1:0"];
    let mut server = ws(&[&args[..], options].concat());
    let address = server.address().await;
    (server, address)
}

/// The URL of a server in this process that has started.
async fn url_of<I: Identity>(server: &Server<I>) -> String {
    server.start().await.unwrap();
    format!("ws://{}", server.local_addr().unwrap())
}

/// A server in this process, to which the tests add what it does.
fn silent() -> Server<Anonymous> {
    WebsocketServer::new(ServerParams::local())
}

/// A server in this process that greets its users by their names.
fn greeting_users(users: impl UserService<Id = String>) -> Server<User<String>> {
    let server = WebsocketServerAuth::<String>::new(ServerParams::local(), users);
    server.on_connect(|connection| async move {
        let _ = connection.send_text(format!("hello {}", connection.user_id())).await;
    });
    server
}

/// Ronald was greeted by it, and nothing else was said.
fn greeted(ended: &Ended) {
    assert_eq!(
        (ended.code, &ended.lines[..]),
        (Some(0), &["hello Ronald".to_owned()][..]),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn the_help_lists_the_commands_and_the_exit_codes() {
    let help = piped(&["--help"], &[]).await;
    assert_eq!(help.code, Some(0));
    for begun in ["  connect  ", "  serve  ", "  token  ", "  0  ", "  5  "] {
        assert!(help.lines.iter().any(|line| line.starts_with(begun)), "{begun}: {:?}", help.lines);
    }
    let nothing = Program::spawn(&mut Command::new(WS)).end().await;
    assert_eq!(nothing.code, Some(2));
    assert!(nothing.stderr.contains("Usage: ws <COMMAND>"), "{}", nothing.stderr);
}

#[tokio::test]
async fn it_logs_where_it_is_asked_to_and_keeps_the_token_out_of_it() {
    let (_server, address) = serve(&[]).await;
    let mut logged = Command::new(WS);
    logged.args(["connect", "-q", "--first", "hello", "--token-env", "WS_TEST_TOKEN", &address]);
    logged.env("RUST_LOG", "trace").env("WS_TEST_TOKEN", "the-secret-token");
    let ended = Program::spawn(&mut logged).end().await;
    assert_eq!((ended.code, ended.lines), (Some(0), vec!["hello".to_owned()]), "{}", ended.stderr);
    assert!(ended.stderr.contains("websockets_simple_client"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("the-secret-token"), "{}", ended.stderr);
}
