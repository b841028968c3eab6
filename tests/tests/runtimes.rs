//! Servers, and the tokio runtimes that they are started in.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{future::pending, sync::Arc, task::Poll, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    sync::Notify,
};
use websockets_simple_server::{Endpoint, Event, Limits, ServerParams, StartError, WebsocketServer};
use websockets_simple_tests::{
    authority::{Authority, secured},
    connected, opened, params, started, within,
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
            let client = connected(params(addr)).await;
            opened(&mut events).await;
            assert_eq!(server.connection_count(), 1);
            drop(client);
            let report = within(server.stop()).await;
            assert_eq!(report.dropped, 0);
        });
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
