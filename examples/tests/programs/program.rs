//! A program that runs, and what it shows.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdin, ChildStdout, Command},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A running program, killed when it is dropped.
pub(crate) struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
}

/// What is left of a program.
pub(crate) struct Ended {
    pub(crate) lines: Vec<String>,
    pub(crate) stderr: String,
    pub(crate) success: bool,
    /// None if a signal ended it.
    pub(crate) code: Option<i32>,
}

impl Program {
    pub(crate) fn start(program: &str, args: &[&str]) -> Self {
        Self::spawn(Command::new(program).args(args).env_remove("CHAT_TOKEN").env_remove("RUST_LOG"))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self::spawn_with(command, Stdio::piped())
    }

    pub(crate) fn spawn_with(command: &mut Command, stdin: Stdio) -> Self {
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { stdin: child.stdin.take(), child, stdout }
    }

    pub(crate) async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.stdout.next_line()).await.expect("a line in time");
        line.unwrap().expect("the program still runs")
    }

    pub(crate) async fn shows(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.line().await, *line);
        }
    }

    /// Its input, for a task that writes while the test reads.
    pub(crate) fn keyboard(&mut self) -> ChildStdin {
        self.stdin.take().unwrap()
    }

    pub(crate) async fn type_line(&mut self, line: &str) {
        self.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// The address of its first line.
    pub(crate) async fn address(&mut self) -> String {
        self.line().await.strip_prefix("listening on ").expect("the first line").to_owned()
    }

    #[cfg(unix)]
    pub(crate) fn interrupt(&self) {
        self.signal(rustix::process::Signal::INT);
    }

    /// As by `kill`, and by service managers.
    #[cfg(unix)]
    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    #[cfg(unix)]
    fn signal(&self, signal: rustix::process::Signal) {
        use rustix::process::{Pid, kill_process};
        let pid = Pid::from_raw(self.child.id().expect("it runs").try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// As by `kill -9`. It is gone then, and with it what it listened on.
    #[cfg(unix)]
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Closes its input and waits for its end.
    pub(crate) async fn end(mut self) -> Ended {
        drop(self.stdin.take());
        let ending = async {
            let mut lines = Vec::new();
            while let Some(line) = self.stdout.next_line().await.unwrap() {
                lines.push(line);
            }
            let mut stderr = String::new();
            self.child.stderr.take().unwrap().read_to_string(&mut stderr).await.unwrap();
            let status = self.child.wait().await.unwrap();
            Ended { lines, stderr, success: status.success(), code: status.code() }
        };
        tokio::time::timeout(PATIENCE, ending).await.expect("the program ends in time")
    }
}

/// The answer to a request, as text.
pub(crate) async fn asked(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request}\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
