//! The client of the command line on a terminal.

use tokio::process::Command;
use websockets_simple_server::{CloseCode, Message};

use super::{WS, serve, silent, url_of};
use crate::pseudo_terminal::Terminal;

fn connect(args: &[&str]) -> Terminal {
    Terminal::start(Command::new(WS).arg("connect").args(args))
}

/// Waits for a line, and then for the prompt: a key that is pressed before it may be lost, as in every shell.
async fn shows_and_prompts(terminal: &mut Terminal, line: &str) {
    terminal.shows(&format!("{line}\r\n")).await;
    terminal.shows("> ").await;
}

#[tokio::test]
async fn lines_are_edited_and_come_back_from_the_history() {
    let server = silent();
    server.on_message(|connection, message| async move {
        let _ = connection.send_text(format!("heard: {message}")).await;
    });
    let url = url_of(&server).await;
    let mut terminal = connect(&[&url]);
    let connected = format!("ws: connected to {}", url.trim_start_matches("ws://"));
    shows_and_prompts(&mut terminal, &connected).await;
    // The key Backspace.
    terminal.press("first\x7fd lime\x7f\x7fne\r");
    shows_and_prompts(&mut terminal, "heard: firsd line").await;
    terminal.press("second\r");
    shows_and_prompts(&mut terminal, "heard: second").await;
    // The key for the line before, twice.
    terminal.press("\x1b[A\x1b[A again\r");
    shows_and_prompts(&mut terminal, "heard: firsd line again").await;
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
    terminal.shows("news  [2J\r\n").await;
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
    for line in ["{", "  \"a\": [", "    1", "  ]", "}", "(6 bytes)"] {
        terminal.shows(&format!("{line}\r\n")).await;
    }
    let mut terminal = connect(&["--binary", &url]);
    terminal.shows("> ").await;
    terminal.press("zz\r");
    shows_and_prompts(&mut terminal, "ws: not sent: write hexadecimal digits, such as 00 ff").await;
    terminal.press("6869\r");
    let dump = |bytes: &str, text: &str| format!("00000000  {bytes:<49} |{text}|\r\n");
    terminal.shows(&dump("68 69", "hi")).await;
    terminal.shows(&dump("62 79 74 65 73 00", "bytes.")).await;
}

#[tokio::test]
async fn who_types_while_there_is_no_connection_is_told() {
    let server = silent();
    let url = url_of(&server).await;
    let mut terminal = connect(&["--reconnect", &url]);
    terminal.shows("> ").await;
    server.stop().await;
    terminal.shows("ws: lost: the connection ended by the peer with 1001").await;
    terminal.shows("> ").await;
    terminal.press("anybody there?\r");
    shows_and_prompts(&mut terminal, "ws: not sent: there is no connection").await;
    terminal.press("\x04");
    assert!(terminal.ends(0).await.is_as_before());
}
