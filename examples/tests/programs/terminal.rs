//! The chat client on a terminal, played by the other end of a pseudo-terminal.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command},
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};
use tokio::sync::mpsc;

use crate::program::Program;

const PATIENCE: Duration = Duration::from_secs(30);

/// A chat client and the terminal it runs on.
struct Terminal {
    client: Child,
    keyboard: File,
    /// Kept open so that what the client wrote last can still be read.
    line: File,
    output: mpsc::UnboundedReceiver<Vec<u8>>,
    screen: String,
}

impl Terminal {
    fn start(url: &str, name: &str) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let path = ptsname(&keyboard, Vec::new()).unwrap();
        let line = File::from(open(path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap());
        let client = Command::new(env!("CARGO_BIN_EXE_chat-client"))
            .args(["--url", url, "--name", name])
            .env("TERM", "xterm")
            .stdin(line.try_clone().unwrap())
            .stdout(line.try_clone().unwrap())
            .spawn()
            .unwrap();
        let keyboard = File::from(keyboard);
        let mut shown = keyboard.try_clone().unwrap();
        let (sender, output) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read) = shown.read(&mut bytes)
                && read > 0
                && sender.send(bytes[..read].to_vec()).is_ok()
            {}
        });
        Self { client, keyboard, line, output, screen: String::new() }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this appears, behind what was waited for before.
    async fn shows(&mut self, text: &str) {
        let appears = async {
            loop {
                if let Some(at) = self.screen.find(text) {
                    self.screen.drain(..at + text.len());
                    return;
                }
                let bytes = self.output.recv().await.expect("the terminal lives");
                self.screen.push_str(&String::from_utf8_lossy(&bytes));
            }
        };
        if tokio::time::timeout(PATIENCE, appears).await.is_err() {
            panic!("{text:?} did not appear in {:?}", self.screen);
        }
    }

    /// Whether the terminal echoes what is typed and hands over whole lines, as a shell expects it.
    fn is_as_before(&self) -> bool {
        tcgetattr(&self.line).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    async fn ends(mut self) -> Self {
        let ending = async {
            loop {
                if let Some(status) = self.client.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, ending).await.expect("it ends in time").success());
        self
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
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
    let mut ronald = Terminal::start(&url, "Ronald");
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
    assert!(ronald.ends().await.is_as_before());
}

#[tokio::test]
async fn ctrl_c_and_ctrl_d_leave_the_chat() {
    let (_server, url) = server().await;
    for key in ["\x03", "\x04"] {
        let mut ronald = Terminal::start(&url, "Ronald");
        ronald.shows("Welcome Ronald.").await;
        ronald.shows("> ").await;
        ronald.press(key);
        ronald.shows("You left.").await;
        assert!(ronald.ends().await.is_as_before());
    }
}

#[tokio::test]
async fn the_terminal_is_given_back_to_who_leaves_while_the_server_is_away() {
    let (server, url) = server().await;
    let mut ronald = Terminal::start(&url, "Ronald");
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
    assert!(ronald.ends().await.is_as_before());
}
