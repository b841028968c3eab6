//! `ws bench`, against servers that echo.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::Command,
};
use tokio_tungstenite::tungstenite::Message;

const PATIENCE: Duration = Duration::from_secs(60);

struct Measured {
    report: Value,
    code: Option<i32>,
}

fn program(addr: SocketAddr, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ws"));
    command.args(["bench", &format!("ws://{addr}")]).args(args).kill_on_drop(true);
    command
}

async fn bench(addr: SocketAddr, args: &[&str]) -> Measured {
    let output = tokio::time::timeout(PATIENCE, program(addr, args).arg("--json").output());
    let output = output.await.expect("the program ends in time").unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    Measured { report, code: output.status.code() }
}

impl Measured {
    #[track_caller]
    fn count(&self, group: &str, name: &str) -> u64 {
        self.report[group][name].as_u64().unwrap_or_else(|| panic!("{group}.{name}: {}", self.report))
    }

    #[track_caller]
    fn assert_ascending(&self, times: &str) {
        let times = &self.report[times];
        let values: Vec<_> =
            ["p50", "p90", "p99", "p99.9", "max"].map(|name| times[name].as_f64().unwrap()).into();
        assert!(values.is_sorted() && values[0] > 0.0, "{times}");
    }
}

/// What a server does with a connection.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Service {
    Echo,
    /// Echoes, but every second connection is refused with 503.
    RefuseHalf,
    /// Takes messages and says nothing.
    Swallow,
    /// Echoes one message and closes with 1013.
    CloseSoon,
    /// Holds back what it would echo until this much has come.
    EchoLate(Duration),
}

/// What a server has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
}

async fn server(service: Service) -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, seen) = (listener.local_addr().unwrap(), Arc::new(Seen::default()));
    let counted = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = counted.connections.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(serve(stream, service, number, Arc::clone(&counted)));
        }
    });
    (addr, seen)
}

async fn serve(mut stream: TcpStream, service: Service, number: u64, seen: Arc<Seen>) {
    if service == Service::RefuseHalf && number % 2 == 1 {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let _ = stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
        return;
    }
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    let mut is_first = true;
    while let Some(Ok(message)) = socket.next().await {
        if !message.is_text() && !message.is_binary() {
            continue;
        }
        seen.messages.fetch_add(1, Ordering::Relaxed);
        seen.bytes.fetch_add(message.len() as u64, Ordering::Relaxed);
        if let Service::EchoLate(time) = service
            && std::mem::take(&mut is_first)
        {
            tokio::time::sleep(time).await;
        }
        if service == Service::Swallow {
            continue;
        }
        let _ = socket.send(message).await;
        if service == Service::CloseSoon {
            let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame {
                code: 1013.into(),
                reason: "full".into(),
            };
            let _ = socket.send(Message::Close(Some(frame))).await;
        }
    }
}

#[tokio::test]
async fn as_fast_as_answers_come_every_message_is_counted_on_both_sides() {
    let (addr, seen) = server(Service::Echo).await;
    let measured = bench(addr, &["--connections", "4", "--size", "100", "--duration", "0.5"]).await;
    assert_eq!(measured.code, Some(0), "{}", measured.report);
    assert_eq!(measured.count("connections", "opened"), 4);
    assert_eq!(seen.connections.load(Ordering::Relaxed), 4);
    let sent = measured.count("messages", "sent");
    assert!(sent >= 8, "{}", measured.report);
    assert_eq!(measured.count("messages", "answered"), sent);
    assert_eq!(seen.messages.load(Ordering::Relaxed), sent);
    assert_eq!(seen.bytes.load(Ordering::Relaxed), 100 * sent);
    assert_eq!(measured.report["latency_ms"]["count"], sent);
    assert!(measured.report.get("send_delay_ms").is_none(), "{}", measured.report);
    measured.assert_ascending("latency_ms");
}

#[tokio::test]
async fn with_a_rate_as_many_messages_are_sent_as_are_due() {
    let (addr, seen) = server(Service::Echo).await;
    let args = ["--connections", "5", "--connect-rate", "100", "--rate", "20", "--duration", "1", "--binary"];
    let measured = bench(addr, &args).await;
    assert_eq!(measured.code, Some(0), "{}", measured.report);
    // Each sends at 0, 1/20 s and so on, later by its turn, and before one second has passed.
    assert_eq!(measured.count("messages", "sent"), 100, "{}", measured.report);
    assert_eq!(seen.messages.load(Ordering::Relaxed), 100);
    assert_eq!(measured.report["send_delay_ms"]["count"], 100);
    measured.assert_ascending("latency_ms");
}

#[tokio::test]
async fn a_pause_of_the_server_is_seen_in_every_message_that_was_due_meanwhile() {
    let pause = Duration::from_millis(500);
    let (addr, _seen) = server(Service::EchoLate(pause)).await;
    let args = ["--connections", "1", "--rate", "100", "--duration", "1"];
    let measured = bench(addr, &args).await;
    // Half of the messages were due while the server slept. Those wait for 250 ms on average: with a latency that counts
    // from when a message could be sent after the last answer, it would be one message.
    let latency = &measured.report["latency_ms"];
    assert!(latency["p90"].as_f64().unwrap() > 200.0, "{}", measured.report);
    assert!(latency["max"].as_f64().unwrap() >= 500.0, "{}", measured.report);
}

#[tokio::test]
async fn what_is_due_and_cannot_be_sent_is_counted() {
    let (addr, _seen) = server(Service::Swallow).await;
    // As much as one connection may have under way: one message of a mebibyte.
    let args =
        ["--connections", "1", "--size", "1048576", "--rate", "100", "--duration", "0.2", "--timeout", "0.5"];
    let measured = bench(addr, &args).await;
    assert_eq!(measured.code, Some(1));
    let counts = ["sent", "unanswered", "overdue"].map(|name| measured.count("messages", name));
    assert_eq!(counts, [1, 1, 19], "{}", measured.report);
}

#[tokio::test]
async fn of_a_server_that_refuses_half_of_the_connections_half_are_reported_with_the_reason() {
    let (addr, _seen) = server(Service::RefuseHalf).await;
    let args = ["--connections", "10", "--duration", "0.2"];
    let measured = bench(addr, &args).await;
    assert_eq!(measured.code, Some(1), "{}", measured.report);
    assert_eq!(measured.count("connections", "asked"), 10);
    assert_eq!(measured.count("connections", "opened"), 5);
    assert_eq!(measured.count("connections", "failed"), 5);
    let reason = "the server refused the handshake with HTTP status 503";
    assert_eq!(measured.report["connections"]["failures"], serde_json::json!({ reason: 5 }));
    assert!(measured.count("messages", "answered") > 0, "{}", measured.report);

    let output = program(addr, &args).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("5 of 10 connections opened, 5 failed, 0 were lost\n"), "{text}");
    assert!(text.contains(&format!("\n  5 x {reason}\n")), "{text}");
    assert!(text.contains("\nlatency, from when a message was sent:\n  p50 "), "{text}");
}

#[tokio::test]
async fn messages_without_an_answer_and_connections_that_end_are_counted() {
    let (addr, seen) = server(Service::Swallow).await;
    let args = ["--connections", "2", "--duration", "0.1", "--timeout", "1"];
    let measured = bench(addr, &args).await;
    assert_eq!(measured.code, Some(1));
    assert_eq!((measured.count("messages", "sent"), measured.count("messages", "unanswered")), (2, 2));
    assert_eq!(seen.messages.load(Ordering::Relaxed), 2);

    let (addr, _seen) = server(Service::CloseSoon).await;
    let measured = bench(addr, &["--connections", "3", "--duration", "30"]).await;
    assert_eq!(measured.code, Some(1));
    assert_eq!(measured.count("connections", "lost"), 3);
    let losses = measured.report["connections"]["losses"].as_object().unwrap();
    assert!(losses.keys().all(|reason| reason.contains("1013 (full)")), "{losses:?}");
    assert_eq!(measured.count("messages", "answered"), 3);
}

#[tokio::test]
async fn a_server_that_is_not_there_has_the_exit_code_of_one() {
    let addr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let measured = bench(addr, &["--connections", "2", "--duration", "30"]).await;
    assert_eq!((measured.code, measured.count("connections", "failed")), (Some(3), 2), "{}", measured.report);
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_ends_it_with_the_report() {
    use std::process::Stdio;
    use tokio::io::{AsyncBufReadExt, BufReader};

    let (addr, seen) = server(Service::Echo).await;
    let mut command = program(addr, &["--connections", "2", "--duration", "600", "--json"]);
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Lines come once a second, as standard error is no terminal. After the first with messages it is under way.
    let mut lines = BufReader::new(running.stderr.take().unwrap()).lines();
    let sending = async { while !lines.next_line().await.unwrap().unwrap().ends_with(" came back") {} };
    tokio::time::timeout(PATIENCE, sending).await.expect("messages are sent in time");
    let pid = rustix::process::Pid::from_raw(running.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = tokio::time::timeout(PATIENCE, running.wait_with_output()).await.unwrap().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["interrupted"], true);
    assert!(report["seconds"].as_f64().unwrap() < 600.0, "{report}");
    assert_eq!(report["messages"]["sent"], report["messages"]["answered"]);
    assert_eq!(report["messages"]["sent"], seen.messages.load(Ordering::Relaxed));
    assert_eq!(output.status.code(), Some(0), "{report}");
}

#[tokio::test]
async fn a_rate_has_to_be_one() {
    let addr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for args in [["--rate", "0"], ["--connect-rate", "NaN"], ["--connections", "0"], ["--size", "0"]] {
        let output = program(addr, &args).output().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
}
