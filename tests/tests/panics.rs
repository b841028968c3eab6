//! What panics of the application's handlers, hooks and values lead to.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use websockets_simple_client::GroupError;
use websockets_simple_server::{
    Anonymous, ChannelEventKind, ConnectionEventKind, EndedBy, ErrorEvent, ErrorStage, Event, Events,
    Inbound, ServerEventKind, ServerParams, UnauthorizedDelivery, WebsocketServer, WebsocketServerAuth,
};
use websockets_simple_tests::{
    connected, ended, failed, next, opened, params, raw::RawPeer, received, started, within,
};

type Errors = Vec<ErrorEvent<websockets_simple_server::Connection<Anonymous>>>;

/// The reason of the next Refused, and the errors before it.
async fn refused(events: &mut Events<Event<Anonymous>>) -> (String, Errors) {
    let mut errors = Vec::new();
    let why = next(events, |event| match event {
        Event::Error(event) => {
            errors.push(event);
            None
        }
        Event::Connection(event) => match event.kind {
            ConnectionEventKind::Refused(_, why) => Some(why),
            _ => None,
        },
        _ => None,
    })
    .await;
    (why, errors)
}

#[tokio::test]
async fn a_hook_that_panics_in_a_handshake_is_answered_with_500_and_told() {
    let panics = |path: &str| assert_ne!(path, "/panic", "a secret");
    let placement = WebsocketServer::new(ServerParams::local()).with_placement(move |request, _| {
        panics(request.head().channel());
        Default::default()
    });
    let heartbeat = WebsocketServer::new(ServerParams::local().heartbeat_of(move |request| {
        panics(request.head().channel());
        None
    }));
    for server in [placement, heartbeat] {
        let mut events = server.events();
        let addr = started(&server).await;
        let mut peer = RawPeer::connect(addr).await;
        assert!(peer.request("/panic", "").await.starts_with("HTTP/1.1 500 "));
        assert_eq!(peer.all().await, b"internal error");
        let (why, errors) = refused(&mut events).await;
        assert_eq!(why, "500: internal error");
        let [error] = &errors[..] else { panic!("{errors:?}") };
        assert_eq!((error.stage, error.peer_addr.is_some()), (ErrorStage::HandlerPanic, true));
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        connected(params(addr)).await;
    }
}

#[tokio::test]
async fn a_handler_that_panics_at_connecting_refuses_with_500_and_others_are_told_of_both() {
    let server = WebsocketServer::new(ServerParams::local());
    server.on(|event| {
        if let Event::Connection(event) = &event
            && let ConnectionEventKind::Connecting(attempt) = &event.kind
        {
            assert_ne!(&*attempt.path, "/at-once");
        }
        async move {
            if let Event::Connection(event) = event
                && let ConnectionEventKind::Connecting(attempt) = event.kind
            {
                assert_ne!(&*attempt.path, "/later");
            }
        }
    });
    let mut events = server.events();
    let addr = started(&server).await;
    for path in ["/at-once", "/later"] {
        let head = RawPeer::connect(addr).await.request(path, "").await;
        assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
        let (why, errors) = refused(&mut events).await;
        assert_eq!(why, "500: internal error");
        assert_eq!(errors.iter().map(|error| error.stage).collect::<Vec<_>>(), [ErrorStage::HandlerPanic]);
        assert!(errors[0].error.to_string().contains(path), "{}", errors[0].error);
    }
    connected(params(addr)).await;
}

#[tokio::test]
async fn handlers_that_panic_at_other_events_without_a_connection_end_nothing() {
    let server = WebsocketServer::new(ServerParams::local());
    server.on(|event| async move {
        let panics = match &event {
            Event::Server(_) => true,
            Event::Connection(event) => matches!(event.kind, ConnectionEventKind::Refused(..)),
            Event::Error(event) => event.stage == ErrorStage::Handshake,
            _ => false,
        };
        assert!(!panics, "this handler");
    });
    let mut events = server.events();
    let addr = started(&server).await;
    assert!(server.is_running(), "the start has not failed");
    let mut peer = RawPeer::connect(addr).await;
    assert!(peer.request("/%ff", "").await.starts_with("HTTP/1.1 400 "));
    drop(peer);
    let mut peer = RawPeer::connect(addr).await;
    peer.write(b"GET / HTTP/1.1\r\nHo").await;
    drop(peer);
    let panicked = Arc::new(AtomicUsize::new(0));
    let client = connected(params(addr)).await;
    let count = |events: &mut Events<Event<Anonymous>>| {
        while let Some(event) = events.try_recv() {
            if let Event::Error(event) = event
                && event.stage == ErrorStage::HandlerPanic
            {
                panicked.fetch_add(1, Ordering::Relaxed);
            }
        }
        panicked.load(Ordering::Relaxed)
    };
    // Started, Refused, and the failed handshake.
    within(async {
        while count(&mut events) < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let report = within(server.stop()).await;
    assert_eq!(report.clean, 1, "the report is not lost by a panic at Stopped");
    assert_eq!(count(&mut events), 4);
    assert!(!client.is_running());
    assert_eq!(started(&server).await, addr);
}

#[tokio::test]
async fn a_handler_that_panics_at_an_error_of_accept_does_not_end_the_accept_loop() {
    const CHILD: &str = "WEBSOCKETS_SIMPLE_FEW_FILES";
    if std::env::var_os(CHILD).is_none() {
        let program = std::env::current_exe().unwrap();
        let test = "a_handler_that_panics_at_an_error_of_accept_does_not_end_the_accept_loop";
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("ulimit -n 40; exec \"$0\" --exact {test}")])
            .arg(program)
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let limits = websockets_simple_server::Limits::default().connections(1000);
    let server = WebsocketServer::new(ServerParams::local().limits(limits));
    server.on(|event| -> std::future::Ready<()> {
        assert!(!matches!(&event, Event::Error(event) if event.stage == ErrorStage::Accept));
        std::future::ready(())
    });
    let mut events = server.events();
    let addr = started(&server).await;
    let mut held = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect(addr) {
        held.push(stream);
    }
    let mut stages = Vec::new();
    next(&mut events, |event| {
        if let Event::Error(event) = event {
            stages.push(event.stage);
        }
        stages.contains(&ErrorStage::HandlerPanic).then_some(())
    })
    .await;
    held.clear();
    connected(params(addr)).await;
    assert!(!stages.contains(&ErrorStage::Task), "no task had to be started again: {stages:?}");
}

#[tokio::test]
async fn a_handler_that_panics_at_the_refusal_of_an_upgraded_peer_is_an_error_event() {
    let users = websockets_simple_server::MemoryUsers::<i64>::new();
    let params = ServerParams::local().unauthorized_delivery(UnauthorizedDelivery::UpgradeAndClose);
    let server = WebsocketServerAuth::<i64>::new(params, users);
    server.on(|event| {
        let refused = matches!(
            &event,
            Event::Connection(event) if matches!(event.kind, ConnectionEventKind::Refused(..))
        );
        assert!(!refused, "this handler");
        std::future::ready(())
    });
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = RawPeer::open(addr, "/", "").await;
    while peer.next().await.unwrap().close_code() != Some(1008) {}
    assert_eq!(failed(&mut events).await, ErrorStage::HandlerPanic);
}

#[tokio::test]
async fn a_handler_that_panics_at_the_panic_of_a_local_connection_still_gets_its_disconnected() {
    use http_body_util::Full;
    use hyper::{Request, body::Bytes, body::Incoming, server::conn::http1, service::service_fn};

    let server = WebsocketServer::new(ServerParams::mounted());
    server.on(|event| {
        assert!(!matches!(&event, Event::Error(_)), "again");
        std::future::ready(())
    });
    let mut events = server.events();
    server.start().await.unwrap();
    let (theirs, ours) = tokio::io::duplex(4096);
    let application = server.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let upgrade = application.upgrade(request).local(|_| async { panic!("a secret") });
        async move { Ok::<hyper::Response<Full<Bytes>>, std::convert::Infallible>(upgrade.await) }
    });
    let connection = http1::Builder::new().serve_connection(hyper_util::rt::TokioIo::new(ours), service);
    tokio::spawn(connection.with_upgrades());
    let mut peer = RawPeer::new(theirs);
    assert!(peer.request("/", "").await.starts_with("HTTP/1.1 101 "));
    assert_eq!(peer.next().await.unwrap().close_code(), Some(1011));
    peer.frame(0x88, &1000_u16.to_be_bytes()).await;
    let mut errors = Vec::new();
    next(&mut events, |event| match event {
        Event::Error(event) => {
            errors.push(event.error.to_string());
            None
        }
        Event::Connection(event) => matches!(event.kind, ConnectionEventKind::Disconnected(..)).then_some(()),
        Event::Server(event) => {
            assert!(matches!(event.kind, ServerEventKind::Started(_)));
            None
        }
        Event::Message(_) => None,
        _ => None,
    })
    .await;
    assert_eq!(errors[0], "the future of a local connection panicked");
}

/// A body that panics when it is dropped.
struct Bomb;

impl hyper::body::Body for Bomb {
    type Data = hyper::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Ready(None)
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a secret");
    }
}

#[tokio::test]
async fn a_panic_that_nothing_else_catches_ends_its_connection_and_is_an_error_event() {
    let params = ServerParams::local().fallback(|_| async { hyper::Response::new(Bomb) });
    let limits = websockets_simple_server::Limits::default().connections(1);
    let server = WebsocketServer::new(params.limits(limits));
    let mut events = server.events();
    let addr = started(&server).await;
    for _ in 0..2 {
        // Its place is free again.
        let mut peer = RawPeer::connect(addr).await;
        peer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        peer.all().await;
        let error = next(&mut events, |event| match event {
            Event::Error(event) => Some(event),
            _ => None,
        })
        .await;
        assert_eq!(error.stage, ErrorStage::HandlerPanic);
        assert!(!format!("{error:?} {}", error.error).contains("secret"), "{error:?}");
    }
    within(server.stop()).await;
}

#[tokio::test]
async fn a_hook_or_route_for_messages_that_panics_ends_its_own_connection_alone() {
    let hook = WebsocketServer::new(ServerParams::local()).with_inbound(|_, message| {
        assert_ne!(message.as_text(), Some("panic"));
        Inbound::Deliver(message)
    });
    let route = WebsocketServer::new(ServerParams::local());
    route
        .route("/", |signal| async move {
            assert!(signal.data.message != "panic");
        })
        .unwrap();
    for (server, panic) in [(hook, "panic"), (route, r#"{"message":"panic"}"#)] {
        let mut events = server.events();
        let addr = started(&server).await;
        let mut other = RawPeer::open(addr, "/", "").await;
        opened(&mut events).await;
        let mut peer = RawPeer::open(addr, "/", "").await;
        opened(&mut events).await;
        peer.text(panic).await;
        assert_eq!(peer.next().await.unwrap().close_code(), Some(1011));
        assert_eq!(failed(&mut events).await, ErrorStage::HandlerPanic);
        drop(peer);
        assert_eq!(ended(&mut events).await.by, EndedBy::HandlerPanic);
        other.text(r#"{"message":"fine"}"#).await;
        assert_eq!(received(&mut events).await.as_text(), Some(r#"{"message":"fine"}"#));
    }
}

#[tokio::test]
async fn a_group_rule_that_panics_ends_the_connection_of_who_asked_and_no_other() {
    let server = WebsocketServer::new(ServerParams::local()).with_group_rule(|_, group| {
        assert_ne!(group, "panic", "a secret");
        true
    });
    let mut events = server.events();
    let addr = started(&server).await;
    let asking = params(addr).subprotocol("websockets-simple");
    let other = connected(asking.clone()).await;
    opened(&mut events).await;
    for leaves in [false, true] {
        let client = connected(asking.clone()).await;
        let asked = within(async {
            match leaves {
                true => client.leave("panic").await,
                false => client.join("panic").await,
            }
        });
        assert_eq!(asked.await, Err(GroupError::Ended));
        let error = next(&mut events, |event| match event {
            Event::Error(event) => Some(event),
            _ => None,
        })
        .await;
        assert_eq!((error.stage, error.connection.is_some()), (ErrorStage::HandlerPanic, true));
        let end = ended(&mut events).await;
        assert_eq!((end.by, end.code), (EndedBy::HandlerPanic, Some(1011)));
        within(other.join("red")).await.unwrap();
        within(other.leave("red")).await.unwrap();
    }
    assert_eq!(server.connection_count(), 1);
}

#[tokio::test]
async fn a_registered_handler_of_a_channel_that_panics_ends_at_most_its_own_connection() {
    let server = WebsocketServer::new(ServerParams::local());
    for (kind, channel) in
        [(ChannelEventKind::Connect, "/connect"), (ChannelEventKind::Disconnect, "/disconnect")]
    {
        // Once in the call and once in the future that it makes.
        server
            .register(kind, channel, "at once", |_| -> std::future::Ready<()> { panic!("at once") })
            .unwrap();
        server
            .register(kind, &format!("{channel}/later"), "later", |_| async {
                tokio::task::yield_now().await;
                panic!("later");
            })
            .unwrap();
    }
    let mut events = server.events();
    let addr = started(&server).await;
    let mut other = RawPeer::open(addr, "/", "").await;
    opened(&mut events).await;
    for channel in ["/connect", "/connect/later", "/disconnect", "/disconnect/later"] {
        let mut peer = RawPeer::open(addr, channel, "").await;
        opened(&mut events).await;
        if channel.starts_with("/connect") {
            assert_eq!(peer.next().await.unwrap().close_code(), Some(1011), "{channel}");
        }
        drop(peer);
        let (mut panics, mut ends) = (0, 0);
        next(&mut events, |event| {
            match event {
                Event::Error(event) => panics += usize::from(event.stage == ErrorStage::HandlerPanic),
                Event::Connection(event) => {
                    ends += usize::from(matches!(event.kind, ConnectionEventKind::Disconnected(..)));
                }
                _ => {}
            }
            (panics > 0 && ends > 0).then_some(())
        })
        .await;
        other.text(channel).await;
        assert_eq!(received(&mut events).await.as_text(), Some(channel), "the other one goes on");
        assert_eq!(server.connection_count(), 1);
    }
}
