//! A terminal that a test plays: the other end of a pseudo-terminal.

use std::{
    fs::File,
    io::{Read, Write},
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};
use tokio::{
    process::{Child, Command},
    sync::mpsc,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A program and the terminal it runs on.
pub(crate) struct Terminal {
    program: Child,
    keyboard: File,
    /// Kept open so that what the program wrote last can still be read.
    line: File,
    output: mpsc::UnboundedReceiver<Vec<u8>>,
    screen: String,
}

impl Terminal {
    pub(crate) fn start(command: &mut Command) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let path = ptsname(&keyboard, Vec::new()).unwrap();
        let line = File::from(open(path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap());
        let program = command
            .env("TERM", "xterm")
            .stdin(line.try_clone().unwrap())
            .stdout(line.try_clone().unwrap())
            .stderr(line.try_clone().unwrap())
            .kill_on_drop(true)
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
        Self { program, keyboard, line, output, screen: String::new() }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this appears, behind what was waited for before.
    pub(crate) async fn shows(&mut self, text: &str) {
        self.before(text).await;
    }

    /// Waits until this appears, and returns what appeared before it since the last wait.
    pub(crate) async fn before(&mut self, text: &str) -> String {
        let appears = async {
            loop {
                if let Some(at) = self.screen.find(text) {
                    let mut before: String = self.screen.drain(..at + text.len()).collect();
                    before.truncate(at);
                    return before;
                }
                let bytes = self.output.recv().await.expect("the terminal lives");
                self.screen.push_str(&String::from_utf8_lossy(&bytes));
            }
        };
        match tokio::time::timeout(PATIENCE, appears).await {
            Ok(before) => before,
            Err(_) => panic!("{text:?} did not appear in {:?}", self.screen),
        }
    }

    /// Whether the terminal echoes what is typed and hands over whole lines, as a shell expects it.
    pub(crate) fn is_as_before(&self) -> bool {
        tcgetattr(&self.line).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Waits for its end, with this exit code.
    pub(crate) async fn ends(mut self, code: i32) -> Self {
        let ended = tokio::time::timeout(PATIENCE, self.program.wait()).await.expect("it ends in time");
        assert_eq!(ended.unwrap().code(), Some(code));
        self
    }
}
