//! How a client ends with handlers that do not end, or that end it themselves.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use websockets_simple_client::{ClientEvent, EndedBy, WebsocketClient};
use websockets_simple_server::{ServerParams, WebsocketServer};
use websockets_simple_tests::{
    client_story::{OnDrop, client_ended, story},
    params, started, within,
};

async fn until_dropped(dropped: &AtomicBool) {
    within(async {
        while !dropped.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A client with a handler that never ends a message, and a server that sends one.
async fn stuck(close_timeout: Duration) -> (WebsocketServer, WebsocketClient, Arc<AtomicBool>) {
    let server = WebsocketServer::new(ServerParams::local().success_text("hello"));
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr).close_timeout(close_timeout)).unwrap();
    let began = Arc::new(tokio::sync::Notify::new());
    let dropped = Arc::new(AtomicBool::new(false));
    client.on({
        let (began, dropped) = (Arc::clone(&began), Arc::clone(&dropped));
        move |event| {
            let (began, dropped) = (Arc::clone(&began), Arc::clone(&dropped));
            async move {
                if let ClientEvent::Message(_) = event {
                    let _dropped = OnDrop(dropped);
                    began.notify_one();
                    std::future::pending::<()>().await;
                }
            }
        }
    });
    client.connect().await.unwrap();
    within(began.notified()).await;
    (server, client, dropped)
}

#[tokio::test]
async fn disconnect_waits_for_a_handler_at_most_for_the_close_timeout_and_then_drops_it() {
    let (_server, client, dropped) = stuck(Duration::from_millis(200)).await;
    let mut events = client.events_with(websockets_simple_client::SubscribeOptions::default().replay());
    let begun = Instant::now();
    let end = within(client.disconnect()).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!((end.by, end.clean), (EndedBy::Local, true));
    assert!(dropped.load(Ordering::SeqCst));
    assert_eq!(story(&mut events), ["connected", "disconnected"]);
    within(client.connect()).await.unwrap();
}

#[tokio::test]
async fn the_last_handle_drops_a_handler_that_does_not_end_too() {
    let (_server, client, dropped) = stuck(Duration::from_millis(100)).await;
    drop(client);
    until_dropped(&dropped).await;
}

#[tokio::test]
async fn the_last_handle_drops_a_handler_of_a_connection_that_has_ended_already() {
    let (server, client, dropped) = stuck(Duration::from_millis(100)).await;
    within(server.stop()).await;
    within(async {
        while client.connection().is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!dropped.load(Ordering::SeqCst));
    drop(client);
    until_dropped(&dropped).await;
}

#[tokio::test]
async fn disconnect_ends_although_a_handler_awaits_a_task_that_calls_it() {
    let server = WebsocketServer::new(ServerParams::local().success_text("hello"));
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr).close_timeout(Duration::from_millis(200))).unwrap();
    let mut events = client.events();
    let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
    client.on({
        let client = client.clone();
        move |event| {
            let (client, sender) = (client.clone(), sender.clone());
            async move {
                if let ClientEvent::Message(_) = event {
                    let task = tokio::spawn(async move {
                        let _ = sender.send(client.disconnect().await);
                    });
                    let _ = task.await;
                }
            }
        }
    });
    client.connect().await.unwrap();
    let end = within(done.recv()).await.unwrap().unwrap();
    assert_eq!(end.by, EndedBy::Local);
    assert_eq!(client_ended(&mut events).await, end);
    assert!(!client.is_running() && client.connection().is_none());
}

#[tokio::test]
async fn a_handler_that_disconnects_by_itself_is_not_dropped_for_it() {
    let server = WebsocketServer::new(ServerParams::local().success_text("hello"));
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr).close_timeout(Duration::from_millis(100))).unwrap();
    let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
    let mut events = client.events();
    client.on({
        let client = client.clone();
        move |event| {
            let (client, sender) = (client.clone(), sender.clone());
            async move {
                if let ClientEvent::Message(_) = event {
                    let end = client.disconnect().await;
                    // Longer than the close timeout.
                    tokio::time::sleep(Duration::from_millis(400)).await;
                    let _ = sender.send(end);
                }
            }
        }
    });
    client.connect().await.unwrap();
    let end = within(done.recv()).await.unwrap().unwrap();
    assert_eq!((end.by, end.clean), (EndedBy::Local, true));
    assert_eq!(client_ended(&mut events).await, end);
}
