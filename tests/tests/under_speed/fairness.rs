//! A broadcast to many leaves room for others.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use websockets_simple_server::{Limits, Message, ServerParams, WebsocketServer};
use websockets_simple_tests::{opened, started, within};

use crate::wire::StrictPeer;

/// As many files as this process may have.
fn raise_file_limit() {
    let mut files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    files.current = files.maximum;
    // What cannot be had is missed when the connections are opened.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, files);
}

#[tokio::test]
async fn on_one_thread_others_get_their_turn_between_the_first_and_the_last_write_of_a_broadcast() {
    const RECEIVERS: usize = 1000;
    /// Writes between two turns of others: a millisecond's worth or two.
    const WRITES: usize = 500;
    raise_file_limit();
    let limits = Limits::default().connections(2 * RECEIVERS).connections_per_ip(2 * RECEIVERS);
    let server = WebsocketServer::new(ServerParams::local().limits(limits));
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peers = Vec::new();
    for _ in 0..RECEIVERS {
        peers.push(StrictPeer::open(addr, "/").await);
        opened(&mut events).await;
    }
    let connections = server.connections();
    for round in 1..=3 {
        let written = move |connections: &[websockets_simple_server::Connection<_>]| {
            connections.iter().filter(|connection| connection.statistics().bytes_sent == 7 * round).count()
        };
        assert_eq!(written(&connections), 0);
        let done = Arc::new(AtomicBool::new(false));
        // Somebody else, who only wants the thread now and then, and looks how far the broadcast is.
        let others = tokio::spawn({
            let (connections, done) = (connections.clone(), Arc::clone(&done));
            async move {
                let mut seen = vec![0];
                while !done.load(Ordering::Relaxed) {
                    seen.push(written(&connections));
                    tokio::task::yield_now().await;
                }
                seen
            }
        });
        tokio::task::yield_now().await;
        assert_eq!(server.broadcast(Message::text("hello")).unwrap().accepted, RECEIVERS);
        within(async {
            while written(&connections) < RECEIVERS {
                tokio::task::yield_now().await;
            }
        })
        .await;
        done.store(true, Ordering::Relaxed);
        let mut seen = within(others).await.unwrap();
        seen.push(RECEIVERS);
        let longest = seen.windows(2).map(|turns| turns[1] - turns[0]).max().unwrap();
        assert!(longest <= WRITES, "{longest} writes in a row");
        assert!(seen.iter().any(|written| (1..RECEIVERS).contains(written)), "others had their turn");
    }
    for peer in &mut peers {
        for _ in 0..3 {
            assert_eq!(peer.next().await.unwrap().payload, b"hello");
        }
    }
}
