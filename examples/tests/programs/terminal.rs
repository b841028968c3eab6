//! The chat client on a terminal, played by the other end of a pseudo-terminal.

use tokio::process::Command;

use crate::{program::Program, pseudo_terminal::Terminal};

fn chat(url: &str, name: &str) -> Terminal {
    Terminal::start(Command::new(env!("CARGO_BIN_EXE_chat-client")).args(["--url", url, "--name", name]))
}

async fn server() -> (Program, String) {
    let args = ["--listen", "127.0.0.1:0", "--anonymous"];
    let mut server = Program::start(env!("CARGO_BIN_EXE_chat-server"), &args);
    let url = format!("ws://{}", server.address().await);
    (server, url)
}

#[tokio::test]
async fn what_others_say_appears_while_somebody_types() {
    let (_server, url) = server().await;
    let mut ronald = chat(&url, "Ronald");
    ronald.shows("Welcome Ronald.").await;
    ronald.shows("> ").await;
    ronald.press("half a li");
    ronald.shows("half a li").await;

    let john = Program::start(env!("CARGO_BIN_EXE_chat-client"), &["--url", &url, "--name", "John"]);
    ronald.shows("John joined.").await;
    // The line that was begun is drawn again below.
    ronald.shows("half a li").await;
    ronald.press("ne\r");
    ronald.shows("Ronald says: half a line").await;
    assert!(john.end().await.lines.contains(&"Ronald says: half a line".to_owned()));

    // The key for the line before.
    ronald.press("\x1b[A");
    ronald.shows("half a line").await;
    ronald.press(" again\r");
    ronald.shows("Ronald says: half a line again").await;

    ronald.press("Bye\r");
    ronald.shows("You left.").await;
    assert!(ronald.ends(0).await.is_as_before());
}

#[tokio::test]
async fn ctrl_c_and_ctrl_d_leave_the_chat() {
    let (_server, url) = server().await;
    for key in ["\x03", "\x04"] {
        let mut ronald = chat(&url, "Ronald");
        ronald.shows("Welcome Ronald.").await;
        ronald.shows("> ").await;
        ronald.press(key);
        ronald.shows("You left.").await;
        assert!(ronald.ends(0).await.is_as_before());
    }
}

#[tokio::test]
async fn the_terminal_is_given_back_to_who_leaves_while_the_server_is_away() {
    let (server, url) = server().await;
    let mut ronald = chat(&url, "Ronald");
    ronald.shows("Welcome Ronald.").await;
    ronald.shows("> ").await;
    ronald.press("unfinished");
    ronald.shows("unfinished").await;
    assert!(!ronald.is_as_before());
    server.interrupt();
    ronald.shows("Lost: the connection ended by the peer with 1001").await;
    // The line that was begun is drawn again below.
    ronald.shows("unfinished").await;
    ronald.press("\x03");
    ronald.shows("You left.").await;
    assert!(ronald.ends(0).await.is_as_before());
}
