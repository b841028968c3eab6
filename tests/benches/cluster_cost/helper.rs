//! Another process of the same program, which does what it is told, line by line.

use std::{fs, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines, Stdin},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// Another process of the same program, until it is dropped.
pub(crate) struct Helper {
    process: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Helper {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { orders: process.stdin.take().unwrap(), answers, process }
    }

    /// Waits for a line.
    pub(crate) async fn line(&mut self) -> String {
        self.answers.next_line().await.unwrap().expect("the other process has failed")
    }

    /// Gives an order, and waits for the answer.
    pub(crate) async fn say(&mut self, order: &str) -> String {
        self.tell(order).await;
        self.line().await
    }

    pub(crate) async fn tell(&mut self, order: &str) {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.unwrap();
    }

    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(self.process.id().expect("it runs"))
    }
}

/// CPU time of all threads of a process.
pub(crate) fn cpu_of(process: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok());
    let times = stats.map(|stat| stat.split(' ').next().unwrap().parse::<u64>().unwrap());
    Duration::from_nanos(times.sum())
}

/// The orders of the process that has started this one.
pub(crate) fn orders() -> Lines<BufReader<Stdin>> {
    BufReader::new(tokio::io::stdin()).lines()
}

/// The arguments, without what cargo adds.
pub(crate) fn arguments() -> Vec<String> {
    std::env::args().skip(1).filter(|argument| argument != "--bench").collect()
}

/// What is in the middle, and what 99 of 100 do not exceed.
pub(crate) fn middle_and_99(values: &mut [Duration]) -> (Duration, Duration) {
    values.sort_unstable();
    (values[values.len() / 2], values[values.len() * 99 / 100])
}
