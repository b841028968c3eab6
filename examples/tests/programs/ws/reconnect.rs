//! Connections that are lost and come back.

use std::time::Duration;

use tokio::sync::mpsc;
use websockets_simple_server::{Anonymous, CloseCode, Server};

use super::{silent, url_of, ws};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that tells the test what it receives and when a connection has ended, and drops the connection of who says
/// "drop me".
fn listening() -> (Server<Anonymous>, mpsc::UnboundedReceiver<String>) {
    let (server, (heard, messages)) = (silent(), mpsc::unbounded_channel());
    let ends = heard.clone();
    server.on_disconnect(move |_, _| {
        let _ = ends.send("(gone)".to_owned());
        std::future::ready(())
    });
    server.on_message(move |connection, message| {
        let _ = heard.send(message.as_text().unwrap().to_owned());
        async move {
            if message.as_text() == Some("drop me") {
                connection.close(CloseCode::new(1012).unwrap(), "restart");
            }
        }
    });
    (server, messages)
}

async fn hears(messages: &mut mpsc::UnboundedReceiver<String>, texts: &[&str]) {
    for text in texts {
        let heard = tokio::time::timeout(PATIENCE, messages.recv()).await.expect("a message in time");
        assert_eq!(heard.as_deref(), Some(*text));
    }
}

#[tokio::test]
async fn what_comes_first_comes_first_on_every_connection() {
    let (server, mut messages) = listening();
    let url = url_of(&server).await;
    let mut program = ws(&["connect", "--reconnect", "--first", "I am", "--first", "Ronald", &url]);
    program.type_line("drop me").await;
    hears(&mut messages, &["I am", "Ronald", "drop me", "(gone)", "I am", "Ronald"]).await;
    program.type_line("still here").await;
    hears(&mut messages, &["still here"]).await;
    let ended = program.end().await;
    assert_eq!(ended.code, Some(0));
    let news: Vec<_> = ended.stderr.lines().collect();
    assert!(
        news[1].starts_with("ws: lost: the connection ended by the peer with 1012 (restart); again in "),
        "{news:?}"
    );
    assert!(news[2].starts_with("ws: connected to "), "{news:?}");
    assert_eq!(news[3], "ws: the connection ended by this side with 1000");
}

#[tokio::test]
async fn lines_that_are_piped_in_while_there_is_no_connection_wait_for_the_next_one() {
    let (server, mut messages) = listening();
    let mut program = ws(&["connect", "-q", "--reconnect", &url_of(&server).await]);
    program.type_line("drop me").await;
    // What is on its way to a connection that ends may be lost, but no line that comes later.
    hears(&mut messages, &["drop me", "(gone)"]).await;
    for line in ["one", "two"] {
        program.type_line(line).await;
    }
    hears(&mut messages, &["one", "two"]).await;
    assert_eq!(program.end().await.code, Some(0));
}

#[tokio::test]
async fn a_server_that_wants_nobody_back_ends_it_with_1() {
    let server = silent();
    server.on_message(|connection, _| async move {
        connection.close(CloseCode::new(4600).unwrap(), "never again");
    });
    let mut program = ws(&["connect", "--reconnect", &url_of(&server).await]);
    program.type_line("hello").await;
    // Its input is still open.
    let ended = program.end().await;
    assert_eq!(ended.code, Some(1));
    let last = ended.stderr.lines().last();
    assert_eq!(last, Some("ws: the connection ended by the peer with 4600 (never again)"));
}
