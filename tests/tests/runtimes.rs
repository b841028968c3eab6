//! Servers, and the tokio runtimes that they are started in.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::{Notify, Semaphore},
};
use websockets_simple_client::{ConnectError, WebsocketClient};
use websockets_simple_server::{
    Anonymous, ClientId, CloseCode, ConnectionEventKind, Endpoint, Event, Limits, ServerParams, StartError,
    WebsocketServer,
};
use websockets_simple_tests::{
    authority::{Authority, secured},
    connected, opened, params,
    raw::RawPeer,
    started, within,
};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn a_runtime_without_a_driver_is_an_error_of_start_that_changes_nothing() {
    let without_timers = Builder::new_current_thread().enable_io().build().unwrap();
    let without_sockets = Builder::new_current_thread().enable_time().build().unwrap();
    let server = WebsocketServer::new(ServerParams::local());
    let error = without_timers.block_on(server.start()).unwrap_err();
    assert!(matches!(error, StartError::NoDriver("timers")), "{error:?}");
    let shown = error.to_string();
    assert_eq!(shown, "the tokio runtime has no driver for timers: build it with `enable_all`");
    let error = without_sockets.block_on(server.start()).unwrap_err();
    assert!(matches!(error, StartError::NoDriver("sockets")), "{error:?}");
    assert!(!server.is_running());
    runtime().block_on(async {
        let addr = started(&server).await;
        connected(params(addr)).await;
        within(server.stop()).await;
    });
    // A server that opens no socket needs no driver for them.
    let mounted = WebsocketServer::new(ServerParams::mounted());
    without_sockets.block_on(async {
        mounted.start().await.unwrap();
        within(mounted.stop()).await;
    });
}

/// Starts the server in a runtime, and drops that while a connection is open and its handler is busy.
fn lose_a_runtime(server: &WebsocketServer, and_then: impl AsyncFnOnce()) {
    let busy = Arc::new(Notify::new());
    let begun = Arc::clone(&busy);
    let subscription = server.on(move |event| {
        let begun = Arc::clone(&begun);
        async move {
            if let Event::Message(_) = event {
                begun.notify_one();
                pending::<()>().await;
            }
        }
    });
    let first = runtime();
    first.block_on(async {
        let addr = started(server).await;
        let client = connected(params(addr)).await;
        client.send("work").await.unwrap();
        within(busy.notified()).await;
        and_then().await;
    });
    first.shutdown_background();
    subscription.unsubscribe();
}

#[test]
fn a_server_that_lost_its_runtime_starts_again_before_and_after_a_stop_and_holds_no_places() {
    let limits = Limits::default().connections(1).connections_per_ip(1);
    let server = WebsocketServer::new(ServerParams::local().limits(limits));
    for stops in [false, true, false, true] {
        lose_a_runtime(&server, async || ());
        runtime().block_on(async {
            within(async {
                while server.is_running() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            if stops {
                within(server.stop()).await;
            }
            let addr = started(&server).await;
            let mut events = server.events();
            let client = WebsocketClient::new(params(addr)).unwrap();
            // The old runtime gives its places back as it drops its tasks, in threads of its own.
            within(async {
                while let Err(error) = client.connect().await {
                    assert!(matches!(error, ConnectError::Rejected { status: 503 | 429, .. }), "{error:?}");
                }
            })
            .await;
            opened(&mut events).await;
            assert_eq!(server.connection_count(), 1);
            drop(client);
            let report = within(server.stop()).await;
            assert_eq!(report.dropped, 0);
        });
    }
}

/// How often each connection was told to have begun and to have ended.
type Told = HashMap<ClientId, (usize, usize)>;

fn note(told: &mut Told, event: &Event<Anonymous>) {
    if let Event::Connection(event) = event {
        match &event.kind {
            ConnectionEventKind::Connected(connection) => {
                told.entry(connection.id().clone()).or_default().0 += 1;
            }
            ConnectionEventKind::Disconnected(connection, end) => {
                assert_eq!(connection.end(), Some(end));
                told.entry(connection.id().clone()).or_default().1 += 1;
            }
            _ => {}
        }
    }
}

#[test]
fn a_server_that_loses_its_runtime_tells_one_disconnected_for_each_connected() {
    let server = WebsocketServer::new(ServerParams::local());
    let heard = Arc::new(Mutex::new(Told::new()));
    let handled = Arc::new(Semaphore::new(0));
    server.on({
        let (heard, handled) = (Arc::clone(&heard), Arc::clone(&handled));
        move |event| {
            note(&mut heard.lock().unwrap(), &event);
            let handled = Arc::clone(&handled);
            async move {
                match event {
                    Event::Message(event) if event.message.as_text() == Some("close") => {
                        event.connection.close(CloseCode::NORMAL, "");
                        handled.add_permits(1);
                    }
                    Event::Message(_) => {
                        handled.add_permits(1);
                        pending::<()>().await;
                    }
                    // What a handler awaits in a runtime that is gone never comes.
                    Event::Connection(event)
                        if matches!(event.kind, ConnectionEventKind::Disconnected(..)) =>
                    {
                        pending::<()>().await;
                    }
                    _ => {}
                }
            }
        }
    });
    // The peers outlive the server's runtime.
    let peers = Builder::new_current_thread().enable_all().build().unwrap();
    let one_thread = Builder::new_current_thread().enable_all().build().unwrap();
    for first in [one_thread, runtime()] {
        heard.lock().unwrap().clear();
        let mut events = server.events();
        let addr = first.block_on(started(&server));
        let opening = async {
            let mut open = Vec::new();
            for _ in 0..5 {
                open.push(RawPeer::open(addr, "/", "").await);
            }
            // Two that rest, two with a busy handler, more waiting for it, and one that is closing.
            for busy_one in [2, 3] {
                open[busy_one].text("work").await;
                open[busy_one].text("more").await;
            }
            open[4].text("close").await;
            open
        };
        let open = std::thread::scope(|scope| {
            let opening = scope.spawn(|| peers.block_on(within(opening)));
            first.block_on(async {
                for _ in 0..5 {
                    opened(&mut events).await;
                }
                within(handled.acquire_many(3)).await.unwrap().forget();
            });
            opening.join().unwrap()
        });
        drop(first);
        let mut told: Told = heard.lock().unwrap().clone();
        assert_eq!(told.len(), 5);
        assert!(told.values().all(|told| *told == (1, 1)), "to a handler: {told:?}");
        // The stream has given out the five beginnings.
        told.values_mut().for_each(|told| *told = (1, 0));
        while let Some(event) = events.try_recv() {
            note(&mut told, &event);
        }
        assert!(told.values().all(|told| *told == (1, 1)), "to a stream: {told:?}");
        assert_eq!(server.connection_count(), 0);
        drop(open);
    }
}

#[test]
fn a_server_that_lost_its_runtime_in_the_middle_of_a_stop_starts_again() {
    let server = WebsocketServer::new(ServerParams::local().stop_timeout(Duration::from_secs(300)));
    lose_a_runtime(&server, async || {
        let stopping = server.clone();
        tokio::spawn(async move { stopping.stop().await });
        while server.is_running() {
            tokio::task::yield_now().await;
        }
        assert!(matches!(server.start().await, Err(StartError::AlreadyRunning)), "the stop is not over");
    });
    runtime().block_on(async {
        let addr = within(async {
            loop {
                match server.start().await {
                    Ok(()) => break server.local_addr().unwrap(),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await;
        connected(params(addr)).await;
        within(server.stop()).await;
    });
}

#[test]
fn a_start_that_is_cancelled_is_none() {
    // The one thread for files is taken, so the certificates are waited for.
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let blocking = tokio::task::spawn_blocking(move || wait.recv());
        let authority = Authority::new();
        let server = WebsocketServer::new(secured(authority.server()));
        let mut starting = Box::pin(server.start());
        let polled = std::future::poll_fn(|cx| Poll::Ready(starting.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        assert!(matches!(server.start().await, Err(StartError::AlreadyRunning)));
        drop(starting);
        drop(go_on);
        assert!(blocking.await.unwrap().is_err());
        let addr = started(&server).await;
        connected(authority.trusted(addr.port())).await;
        within(server.stop()).await;
    });
}

#[tokio::test]
async fn a_start_that_fails_can_be_repeated() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::tcp(taken.local_addr().unwrap());
    let server = WebsocketServer::new(ServerParams::local().endpoint(endpoint));
    for _ in 0..3 {
        assert!(matches!(server.start().await, Err(StartError::Bind { .. })));
    }
    drop(taken);
    started(&server).await;
    within(server.stop()).await;
}
