//! The client of the command line on a terminal.

use std::process::Command;

use websockets_simple_server::{CloseCode, Message};

use super::{WS, serve, silent, url_of};
use crate::pseudo_terminal::Terminal;

fn connect(args: &[&str]) -> Terminal {
    Terminal::start(Command::new(WS).arg("connect").args(args))
}

#[tokio::test]
async fn lines_are_edited_and_come_back_from_the_history() {
    let (_server, address) = serve(&[]).await;
    let mut terminal = connect(&[&address]);
    terminal.shows(&format!("ws: connected to {address}")).await;
    terminal.shows("> ").await;
    // The key Backspace.
    terminal.press("first\x7fd lime\x7f\x7fne\r");
    terminal.shows("\nfirsd line").await;
    terminal.press("second\r");
    terminal.shows("\nsecond").await;
    // The key for the line before, twice.
    terminal.press("\x1b[A\x1b[A");
    terminal.shows("firsd line").await;
    terminal.press(" again\r");
    terminal.shows("\nfirsd line again").await;
    terminal.press("\x04");
    terminal.shows("ws: the connection ended by this side with 1000").await;
    assert!(terminal.ends(0).await.is_as_before());
}

#[tokio::test]
async fn what_arrives_while_somebody_types_appears_above_the_line() {
    let server = silent();
    let url = url_of(&server).await;
    let mut terminal = connect(&[&url]);
    terminal.shows("> ").await;
    terminal.press("half a li");
    terminal.shows("half a li").await;
    server.to_all().send_text("news \x1b[2J").unwrap();
    terminal.shows("news  [2J").await;
    terminal.shows("half a li").await;
    server.to_all().close(CloseCode::new(4321).unwrap(), "enough");
    terminal.shows("ws: the connection ended by the peer with 4321 (enough)").await;
    assert!(terminal.ends(1).await.is_as_before());
}

#[tokio::test]
async fn the_prompt_shows_the_round_trip_of_the_last_ping() {
    let (_server, address) = serve(&[]).await;
    let mut terminal = connect(&["--ping", "0.05", &address]);
    let mut prompt = String::new();
    while !prompt.ends_with(" ms") {
        // Enter alone sends nothing, and asks for another prompt.
        terminal.press("\r");
        prompt = terminal.before("> ").await;
    }
    terminal.press("\x03");
    terminal.shows("ws: the connection ended by this side with 1000").await;
    assert!(terminal.ends(0).await.is_as_before());
}

#[tokio::test]
async fn json_is_indented_and_bytes_are_dumped() {
    let server = silent();
    server.on_message(|connection, message| async move {
        let _ = connection.send(message).await;
        let _ = connection.send(Message::binary(&b"bytes\0"[..])).await;
    });
    let url = url_of(&server).await;
    let mut terminal = connect(&["--json", &url]);
    terminal.shows("> ").await;
    terminal.press("{\"a\":[1]}\r");
    for line in ["\n{", "\n  \"a\": [", "\n    1", "\n  ]", "\n}", "\n(6 bytes)"] {
        terminal.shows(line).await;
    }
    let mut terminal = connect(&["--binary", &url]);
    terminal.shows("> ").await;
    terminal.press("zz\r");
    terminal.shows("ws: not sent: write hexadecimal digits, such as 00 ff").await;
    terminal.press("6869\r");
    terminal.shows("00000000  68 69 ").await;
    terminal.shows("|hi|").await;
    terminal.shows("00000000  62 79 74 65 73 00 ").await;
    terminal.shows("|bytes.|").await;
}

#[tokio::test]
async fn who_types_while_there_is_no_connection_is_told() {
    let server = silent();
    let url = url_of(&server).await;
    let mut terminal = connect(&["--reconnect", &url]);
    terminal.shows("> ").await;
    server.stop().await;
    terminal.shows("ws: lost: the connection ended by the peer with 1001").await;
    terminal.press("anybody there?\r");
    terminal.shows("ws: not sent: there is no connection").await;
    terminal.press("\x04");
    assert!(terminal.ends(0).await.is_as_before());
}
