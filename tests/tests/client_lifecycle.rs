//! How a client ends, and connects again: a runtime that goes, a server that keeps the socket, handlers that panic.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{io::AsyncReadExt, net::TcpListener, runtime::Runtime};
use websockets_simple_client::{
    ClientEvent, ConnectError, ConnectionEventKind, EndedBy, Heartbeat, HeartbeatMode, Message,
    OverflowPolicy, SendError, WebsocketClient,
};
use websockets_simple_server::{CloseCode, Event, ServerParams, WebsocketServer};
use websockets_simple_tests::{
    client_story::{OnDrop, client_ended, story},
    ended, next, params,
    raw::RawPeer,
    started, text, within,
};

fn runtime(workers: Option<usize>) -> Runtime {
    match workers {
        None => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        Some(workers) => {
            tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()
        }
    }
    .unwrap()
}

#[test]
fn a_client_whose_runtime_is_gone_has_ended_and_connects_in_another() {
    let serving = runtime(Some(1));
    let server = WebsocketServer::new(ServerParams::local().success_text("hello"));
    let mut seen = server.events();
    let addr = serving.block_on(started(&server));
    for workers in [None, Some(1), Some(2)] {
        let client = WebsocketClient::new(params(addr)).unwrap();
        let mut events = client.events();
        let told = Arc::new(AtomicUsize::new(0));
        client.on({
            let told = Arc::clone(&told);
            move |event| {
                let told = Arc::clone(&told);
                async move {
                    if let ClientEvent::Connection(event) = event
                        && let ConnectionEventKind::Disconnected(_, end) = event.kind
                    {
                        assert_eq!((end.by, end.code), (EndedBy::Local, Some(1001)));
                        told.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        });
        let first = runtime(workers);
        let connection = first.block_on(client.connect()).unwrap();
        assert!(client.is_running());
        drop(first);
        assert!(!client.is_running() && !connection.is_open() && client.connection().is_none());
        assert_eq!(connection.end().map(|end| end.by), Some(EndedBy::Local));
        assert_eq!(told.load(Ordering::SeqCst), 1);
        assert_eq!(story(&mut events), ["connecting", "connected", "disconnected"]);
        // The socket is gone, although a handle of the connection is still there.
        serving.block_on(ended(&mut seen));
        let second = runtime(workers);
        second.block_on(async {
            assert!(matches!(client.send("x").await, Err(SendError::Closed)));
            assert!(matches!(connection.send("x").await, Err(SendError::Closed)));
            assert_eq!(within(client.disconnect()).await, None);
            within(client.connect()).await.unwrap();
            assert_eq!(text(&mut events).await, "hello");
            client.send("x").await.unwrap();
            next(&mut seen, |event| matches!(event, Event::Message(_)).then_some(())).await;
            assert!(within(client.disconnect()).await.unwrap().clean);
        });
        drop(connection);
        serving.block_on(ended(&mut seen));
    }
    serving.block_on(server.stop());
}

#[test]
fn a_runtime_that_goes_in_the_middle_of_a_handler_drops_it_and_tells_one_disconnected() {
    let serving = runtime(Some(1));
    let server = WebsocketServer::new(ServerParams::local().success_text("hello"));
    let addr = serving.block_on(started(&server));
    let client = WebsocketClient::new(params(addr)).unwrap();
    let began = Arc::new(tokio::sync::Notify::new());
    let (told, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    client.on({
        let (began, told, dropped) = (Arc::clone(&began), Arc::clone(&told), Arc::clone(&dropped));
        move |event| {
            let (began, told, dropped) = (Arc::clone(&began), Arc::clone(&told), Arc::clone(&dropped));
            async move {
                if let ClientEvent::Message(_) = event {
                    let _dropped = OnDrop(dropped);
                    began.notify_one();
                    std::future::pending::<()>().await;
                } else if let ClientEvent::Connection(event) = event
                    && let ConnectionEventKind::Disconnected(..) = event.kind
                {
                    told.fetch_add(1, Ordering::SeqCst);
                    // What a handler awaits in a runtime that is gone never comes.
                    std::future::pending::<()>().await;
                }
            }
        }
    });
    let mut events = client.events();
    let first = runtime(Some(1));
    first.block_on(async {
        client.connect().await.unwrap();
        within(began.notified()).await;
    });
    assert!(!dropped.load(Ordering::SeqCst));
    drop(first);
    assert!(dropped.load(Ordering::SeqCst));
    assert_eq!(told.load(Ordering::SeqCst), 1);
    assert_eq!(story(&mut events), ["connecting", "connected", "disconnected"]);
    assert!(!client.is_running());
    runtime(None).block_on(async {
        within(client.connect()).await.unwrap();
    });
    serving.block_on(server.stop());
}

#[test]
fn a_runtime_that_goes_during_a_connect_leaves_the_client_idle_and_the_attempt_refused() {
    let serving = runtime(Some(1));
    for workers in [None, Some(1)] {
        // Of its own, as the last connect of each is given up and may be in the queue of the listener.
        let (listener, addr) = serving.block_on(listener());
        let client = WebsocketClient::new(params(addr)).unwrap();
        let mut events = client.events();
        let first = runtime(workers);
        let connecting = client.clone();
        first.spawn(async move { connecting.connect().await });
        // The request has come, so that the client waits for the answer.
        let reading = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_u8().await.unwrap();
            stream
        };
        let driving = std::thread::scope(|scope| {
            let driving = scope.spawn(|| serving.block_on(within(reading)));
            while !driving.is_finished() {
                first.block_on(tokio::task::yield_now());
            }
            driving.join().unwrap()
        });
        drop(first);
        drop(driving);
        assert_eq!(story(&mut events), ["connecting", "refused: the connect was cancelled"]);
        let again = runtime(None)
            .block_on(async { tokio::time::timeout(Duration::from_millis(50), client.connect()).await });
        assert!(again.is_err(), "it is tried again: {again:?}");
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Waits until the client has noticed that its connection closes.
async fn closing(client: &WebsocketClient) {
    within(async {
        while client.is_running() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_connect_while_the_old_connection_closes_waits_for_its_end() {
    let (listener, addr) = listener().await;
    let client = WebsocketClient::new(params(addr).close_timeout(Duration::from_millis(300))).unwrap();
    let mut events = client.events();
    let (mut peer, first) = tokio::join!(RawPeer::accept(&listener), client.connect());
    let first = first.unwrap();
    // The server says Close and keeps TCP open.
    peer.write(&[&[0x88, 10], &1012_u16.to_be_bytes()[..], b"restarts"].concat()).await;
    closing(&client).await;
    assert!(matches!(client.send("x").await, Err(SendError::Closed)));
    let (_second_peer, second) = tokio::join!(RawPeer::accept(&listener), within(client.connect()));
    let second = second.unwrap();
    assert!(client.is_running() && second.is_open() && !first.is_open());
    assert_eq!(first.end().unwrap().code, Some(1012));
    assert!(matches!(client.connect().await, Err(ConnectError::AlreadyConnected)));
    assert_eq!(
        story(&mut events)[..4],
        ["connecting", "connected", "disconnected", "connecting"],
        "the old end comes first"
    );
    drop(peer);
}

#[tokio::test]
async fn a_server_that_was_given_up_for_dead_does_not_keep_the_client_from_connecting() {
    let (listener, addr) = listener().await;
    let heartbeat = Heartbeat::new(Duration::from_millis(50), HeartbeatMode::Ping);
    let params = params(addr).heartbeat(heartbeat).close_timeout(Duration::from_millis(200));
    let client = WebsocketClient::new(params).unwrap();
    let (_silent, first) = tokio::join!(RawPeer::accept(&listener), client.connect());
    let first = first.unwrap();
    closing(&client).await;
    assert!(matches!(client.send("x").await, Err(SendError::Closed)));
    let (_second, second) = tokio::join!(RawPeer::accept(&listener), within(client.connect()));
    assert!(second.is_ok());
    assert_eq!(first.end().map(|end| end.by), Some(EndedBy::Heartbeat));
}

#[tokio::test]
async fn of_two_connects_that_wait_for_the_old_end_one_connects_and_one_is_told_so() {
    let (listener, addr) = listener().await;
    let client = WebsocketClient::new(params(addr).close_timeout(Duration::from_millis(200))).unwrap();
    let (_peer, connected) = tokio::join!(RawPeer::accept(&listener), client.connect());
    // This side closes, and the server never answers.
    connected.unwrap().close(CloseCode::NORMAL, "");
    assert!(!client.is_running());
    let (_second, one, other) =
        tokio::join!(RawPeer::accept(&listener), within(client.connect()), within(client.connect()));
    assert_eq!(usize::from(one.is_ok()) + usize::from(other.is_ok()), 1, "{one:?} {other:?}");
    assert!(matches!(one.and(other), Err(ConnectError::AlreadyConnected)));
}

#[tokio::test]
async fn a_handler_may_connect_again_while_its_own_connection_closes() {
    let (listener, addr) = listener().await;
    let client = WebsocketClient::new(params(addr).close_timeout(Duration::from_millis(200))).unwrap();
    let (sender, mut again) = tokio::sync::mpsc::unbounded_channel();
    client.on({
        let client = client.clone();
        move |event| {
            let (client, sender) = (client.clone(), sender.clone());
            async move {
                if let ClientEvent::Message(_) = event {
                    closing(&client).await;
                    let _ = sender.send(client.connect().await);
                }
            }
        }
    });
    let (mut peer, _) = tokio::join!(RawPeer::accept(&listener), client.connect());
    peer.write(b"\x81\x02hi\x88\x02\x03\xe8").await;
    let (_second, again) = tokio::join!(RawPeer::accept(&listener), within(again.recv()));
    assert!(again.unwrap().is_ok());
}

/// A handler that panics at one kind of event keeps it from nobody else, and ends at most the connection.
#[tokio::test]
async fn a_handler_that_panics_keeps_no_event_from_the_other_subscribers() {
    let server = WebsocketServer::new(ServerParams::local().success_text("hello"));
    let addr = started(&server).await;
    for (at, expected) in [
        (
            "Connected",
            &["connecting", "connected", "HandlerPanic: a handler panicked: at Connected", "disconnected"][..],
        ),
        (
            "Message",
            &["connecting", "connected", "HandlerPanic: a handler panicked: at Message", "disconnected"],
        ),
        (
            "Disconnected",
            &["connecting", "connected", "disconnected", "HandlerPanic: a handler panicked: at Disconnected"],
        ),
    ] {
        let client = WebsocketClient::new(params(addr)).unwrap();
        client.on(move |event| async move {
            let kind = match &event {
                ClientEvent::Message(_) => "Message",
                ClientEvent::Connection(event) => match event.kind {
                    ConnectionEventKind::Connected(_) => "Connected",
                    ConnectionEventKind::Disconnected(..) => "Disconnected",
                    _ => "",
                },
                _ => "",
            };
            assert_ne!(kind, at, "at {at}");
        });
        let mut events = client.events();
        let connection = client.connect().await.unwrap();
        if at == "Disconnected" {
            within(client.disconnect()).await;
        }
        closing(&client).await;
        within(client.disconnect()).await;
        assert!(connection.end().is_some());
        let mut told = Vec::new();
        within(async {
            while told.len() < expected.len() {
                told.extend(story(&mut events));
                tokio::task::yield_now().await;
            }
        })
        .await;
        // What a panic said begins with what the assertion says of it.
        let told: Vec<_> =
            told.iter().map(|event| event.replace("assertion `left != right` failed: ", "")).collect();
        let told: Vec<_> = told.iter().map(|event| event.lines().next().unwrap()).collect();
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn a_handler_of_disconnected_that_does_not_end_keeps_it_from_no_other_subscriber() {
    let server = WebsocketServer::new(ServerParams::local());
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr).close_timeout(Duration::from_millis(100))).unwrap();
    client.on(|event| async move {
        if let ClientEvent::Connection(event) = event
            && let ConnectionEventKind::Disconnected(..) = event.kind
        {
            std::future::pending::<()>().await;
        }
    });
    let mut events = client.events();
    client.connect().await.unwrap();
    assert!(within(client.disconnect()).await.unwrap().clean);
    assert_eq!(story(&mut events), ["connecting", "connected", "disconnected"]);
}

#[tokio::test]
async fn times_of_a_nanosecond_end_what_they_bound_at_once() {
    let nanosecond = Duration::from_nanos(1);
    let (_never_answers, silent) = listener().await;
    let hurried = WebsocketClient::new(params(silent).connect_timeout(nanosecond)).unwrap();
    assert!(matches!(within(hurried.connect()).await, Err(ConnectError::Timeout)));

    let (listener, silent) = listener().await;
    let client = WebsocketClient::new(params(silent).close_timeout(nanosecond)).unwrap();
    let (_peer, connected) = tokio::join!(RawPeer::accept(&listener), client.connect());
    connected.unwrap();
    let end = within(client.disconnect()).await.unwrap();
    assert_eq!((end.by, end.clean), (EndedBy::Local, false));

    let heartbeat = Heartbeat::new(nanosecond, HeartbeatMode::Ping);
    let client = WebsocketClient::new(params(silent).heartbeat(heartbeat).close_timeout(nanosecond)).unwrap();
    let mut events = client.events();
    let (_peer, connected) = tokio::join!(RawPeer::accept(&listener), client.connect());
    connected.unwrap();
    assert_eq!(client_ended(&mut events).await.by, EndedBy::Heartbeat);

    let policy = OverflowPolicy::Wait(nanosecond);
    let client = WebsocketClient::new(params(silent).overflow(policy).close_timeout(nanosecond)).unwrap();
    let (_peer, connected) = tokio::join!(RawPeer::accept(&listener), client.connect());
    connected.unwrap();
    let full = within(async {
        loop {
            if let Err(full) = client.send(Message::binary(vec![0; 1 << 20])).await {
                return full;
            }
        }
    })
    .await;
    assert!(matches!(full, SendError::Timeout), "{full:?}");
}

#[tokio::test]
async fn any_number_of_tasks_of_both_ends_wait_for_the_end_of_a_connection_and_learn_how_it_was() {
    let server = WebsocketServer::new(ServerParams::local());
    let client = WebsocketClient::new(params(started(&server).await)).unwrap();
    let ours = client.connect().await.unwrap();
    let theirs = within(async {
        loop {
            match server.connections().pop() {
                Some(connection) => return connection,
                None => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    let waiters: Vec<_> = (0..20)
        .map(|_| {
            let (ours, theirs) = (ours.clone(), theirs.clone());
            tokio::spawn(async move { tokio::join!(ours.closed(), theirs.closed()) })
        })
        .collect();
    let waits = tokio::time::timeout(Duration::from_millis(50), ours.closed()).await;
    assert!(waits.is_err(), "it is open, and a wait that is given up closes nothing");
    theirs.close(CloseCode::RESTART, "soon back");
    for waiter in waiters {
        let (ours, theirs) = within(waiter).await.unwrap();
        assert_eq!((ours.code, ours.by, theirs.by), (Some(1012), EndedBy::Peer, EndedBy::Local));
        assert!(ours.should_reconnect());
    }
    assert_eq!(Some(&within(ours.closed()).await), ours.end(), "also once it has ended");
    within(client.connect()).await.expect("it can connect again");
    assert!(!within(client.disconnect()).await.unwrap().should_reconnect());
}

#[tokio::test]
async fn the_end_can_be_awaited_in_a_handler_of_the_connection_and_comes_before_its_disconnected() {
    let server = WebsocketServer::new(ServerParams::local());
    server.on_connect(|connection| async move {
        connection.send_text("bye").await.unwrap();
        connection.close(CloseCode::GOING_AWAY, "");
    });
    // A Close is answered behind the handlers, or after this time.
    let params = params(started(&server).await).close_timeout(Duration::from_millis(200));
    let client = WebsocketClient::new(params).unwrap();
    let (told, mut story) = tokio::sync::mpsc::unbounded_channel();
    client.on_message({
        let told = told.clone();
        move |connection, _| {
            let told = told.clone();
            async move { drop(told.send(format!("closed {:?}", connection.closed().await.code))) }
        }
    });
    client.on_disconnect(move |_, end| {
        let _ = told.send(format!("disconnected {:?}", end.code));
        async {}
    });
    client.connect().await.unwrap();
    for expected in ["closed Some(1001)", "disconnected Some(1001)"] {
        assert_eq!(within(story.recv()).await.as_deref(), Some(expected));
    }
}
