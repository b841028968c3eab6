//! A daemon that outlives its server.

use std::time::{Duration, SystemTime};

use crate::program::Program;

/// The next line that begins like this. Before it only losses are told.
async fn told(daemon: &mut Program, wanted: &str) -> String {
    loop {
        let line = daemon.line().await;
        if line.starts_with(wanted) {
            return line;
        }
        assert!(line.contains("; again in "), "{line} instead of {wanted}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_daemon_survives_the_death_of_its_server_and_says_what_it_missed() {
    // Started first, on a port where nobody listens yet.
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let mut daemon = Program::start(env!("CARGO_BIN_EXE_feed"), &["--url", &format!("ws://{port}")]);
    assert!(daemon.line().await.starts_with("cannot connect: cannot connect; again in "));
    for round in 0..3 {
        let mut server = Program::start(env!("CARGO_BIN_EXE_feed"), &["--serve", &port]);
        assert_eq!(server.address().await, port);
        told(&mut daemon, "connected to ").await;
        if round > 0 {
            let missed = told(&mut daemon, "missed ").await;
            assert!(missed.contains(" prices before "), "{missed}");
        }
        told(&mut daemon, "from price ").await;
        server.kill().await;
        // Two prices are due every 200 ms, and the daemon tells each attempt.
        let killed = SystemTime::now();
        while killed.elapsed().unwrap() < Duration::from_millis(300) {
            told(&mut daemon, "").await;
        }
    }
    daemon.interrupt();
    let ended = daemon.end().await;
    assert!(ended.success, "{}", ended.stderr);
    let last = ended.lines.last().unwrap();
    assert!(last.contains(" prices received, ") && !last.ends_with(" 0 missed"), "{last}");
}
