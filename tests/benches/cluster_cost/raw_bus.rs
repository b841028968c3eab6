//! The bus alone: its protocol over TCP, and no library.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{MissedTickBehavior, interval},
};

use crate::helper::orders;

/// Between two messages whose way is timed.
pub(crate) const PACE: Duration = Duration::from_millis(1);

/// Since some moment in the past that is the same for all processes.
pub(crate) fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// The time, as text of one length.
pub(crate) fn stamp() -> String {
    format!("<{:020}>", now().as_nanos())
}

/// How long ago such a text was made.
pub(crate) fn age(stamp: &str) -> Duration {
    let made = stamp.trim_matches(['<', '>']).parse().unwrap();
    now() - Duration::from_nanos(made)
}

async fn connect(url: &str) -> TcpStream {
    let (scheme, addr) = url.split_once("://").unwrap();
    let mut connection = TcpStream::connect(addr).await.unwrap();
    connection.set_nodelay(true).unwrap();
    if scheme == "nats" {
        connection.write_all(b"CONNECT {\"verbose\":false}\r\n").await.unwrap();
    }
    connection
}

/// What the process does that publishes.
pub(crate) async fn publish(url: String) {
    let (mut connection, is_nats) = (connect(&url).await, url.starts_with("nats"));
    let mut orders = orders();
    println!("ready");
    while let Some(order) = orders.next_line().await.unwrap() {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..order.parse().unwrap() {
            pace.tick().await;
            let stamp = stamp();
            let command = match is_nats {
                true => format!("PUB raw {}\r\n{stamp}\r\n", stamp.len()),
                false => format!("PUBLISH raw {stamp}\r\n"),
            };
            connection.write_all(command.as_bytes()).await.unwrap();
        }
        println!("done");
    }
}

/// One that is subscribed to.
pub(crate) struct RawSubscriber {
    connection: TcpStream,
    unread: String,
}

impl RawSubscriber {
    pub(crate) async fn connect(url: &str) -> Self {
        let mut connection = connect(url).await;
        let subscribe = if url.starts_with("nats") { "SUB raw 1\r\nPING\r\n" } else { "SUBSCRIBE raw\r\n" };
        connection.write_all(subscribe.as_bytes()).await.unwrap();
        let mut subscriber = Self { connection, unread: String::new() };
        while !["PONG", "subscribe"].iter().any(|answer| subscriber.unread.contains(answer)) {
            subscriber.read().await;
        }
        subscriber.unread.clear();
        subscriber
    }

    async fn read(&mut self) {
        let mut part = [0; 4096];
        let length = self.connection.read(&mut part).await.unwrap();
        assert!(length > 0, "the bus is gone");
        self.unread.push_str(std::str::from_utf8(&part[..length]).unwrap());
    }

    /// How long the next message was on its way.
    pub(crate) async fn next(&mut self) -> Duration {
        loop {
            if let (Some(begin), Some(end)) = (self.unread.find('<'), self.unread.find('>')) {
                let age = age(&self.unread[begin..=end]);
                self.unread.drain(..=end);
                return age;
            }
            self.read().await;
        }
    }
}
