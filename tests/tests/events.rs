//! What is told, when, and in which order.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use websockets_simple_client::{ClientEvent, WebsocketClient};
use websockets_simple_server::{
    Authenticated, ConnectionEventKind, Credentials, Direction, Endpoint, ErrorEvent, ErrorStage, Event,
    HandshakeRequest, Heartbeat, HeartbeatMode, Limits, Message, OverflowPolicy, ServerParams, ServerTls,
    SubscribeOptions, UserService, UserServiceError, WebsocketServer, WebsocketServerAuth,
};
use websockets_simple_tests::{
    connected, ended, message, next, opened, params,
    raw::{self, RawPeer},
    started, text, within,
};

fn error<I: websockets_simple_server::Identity>(
    event: Event<I>,
) -> Option<ErrorEvent<websockets_simple_server::Connection<I>>> {
    match event {
        Event::Error(event) => Some(event),
        _ => None,
    }
}

#[tokio::test]
async fn connecting_comes_once_and_then_connected_messages_and_one_disconnected_in_order() {
    let server = WebsocketServer::new(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let client = connected(params(addr).path("/room")).await;
    for n in 0..50 {
        client.send(Message::text(format!("{n}"))).await.unwrap();
    }
    within(client.disconnect()).await;
    let (mut story, mut last) = (Vec::new(), 0);
    next(&mut events, |event| {
        assert!(event.id().get() > last, "ids ascend");
        last = event.id().get();
        match event {
            Event::Connection(event) => match event.kind {
                ConnectionEventKind::Connecting(attempt) => {
                    assert_eq!(&*attempt.path, "/room");
                    story.push("connecting".to_owned());
                }
                ConnectionEventKind::Connected(_) => story.push("connected".to_owned()),
                ConnectionEventKind::Disconnected(_, end) => {
                    assert!(end.clean);
                    return Some(());
                }
                other => panic!("{other:?}"),
            },
            Event::Message(event) => story.push(event.message.as_text().unwrap().to_owned()),
            Event::Error(event) => panic!("{event:?}"),
            _ => {}
        }
        None
    })
    .await;
    let expected: Vec<String> = ["connecting".to_owned(), "connected".to_owned()]
        .into_iter()
        .chain((0..50).map(|n| n.to_string()))
        .collect();
    assert_eq!(story, expected);
}

#[tokio::test]
async fn a_refused_request_is_connecting_and_one_refused() {
    let server = WebsocketServer::new(ServerParams::local().origins(["https://good.example"]));
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = RawPeer::connect(addr).await;
    assert!(peer.request("/x", "Origin: https://evil.example\r\n").await.starts_with("HTTP/1.1 403 "));
    let mut connecting = 0;
    let why = next(&mut events, |event| match event {
        Event::Connection(event) => match event.kind {
            ConnectionEventKind::Connecting(_) => {
                connecting += 1;
                None
            }
            ConnectionEventKind::Refused(attempt, why) => {
                assert_eq!(&*attempt.path, "/x");
                Some(why)
            }
            other => panic!("{other:?}"),
        },
        _ => None,
    })
    .await;
    assert_eq!(connecting, 1);
    assert!(why.starts_with("403"), "{why}");
}

#[tokio::test]
async fn a_panicking_handler_ends_its_own_connection_only_with_an_error_and_one_disconnected() {
    let server = WebsocketServer::new(ServerParams::local());
    server.on(|event| async move {
        if let Event::Message(event) = event {
            assert_ne!(event.message.as_text(), Some("panic"), "as asked");
            let _ = event.connection.send(event.message).await;
        }
    });
    let mut events = server.events();
    let addr = started(&server).await;
    let bystander = WebsocketClient::new(params(addr)).unwrap();
    let mut heard = bystander.events();
    bystander.connect().await.unwrap();
    let victim = connected(params(addr)).await;
    victim.send(Message::text("panic")).await.unwrap();
    let (mut errors, mut ends) = (0, Vec::new());
    next(&mut events, |event| {
        match event {
            Event::Error(event) => {
                assert_eq!(event.stage, ErrorStage::HandlerPanic);
                assert!(event.error.to_string().contains("as asked"));
                errors += 1;
            }
            Event::Connection(event) => {
                if let ConnectionEventKind::Disconnected(_, end) = event.kind {
                    ends.push(end.code);
                    return Some(());
                }
            }
            _ => {}
        }
        None
    })
    .await;
    assert_eq!((errors, ends), (1, vec![Some(1011)]));
    bystander.send(Message::text("still here")).await.unwrap();
    assert_eq!(text(&mut heard).await, "still here");
    drop(server);
    let mut more = 0;
    within(async {
        while let Some(event) = events.recv().await {
            if let Event::Connection(event) = event
                && let ConnectionEventKind::Disconnected(connection, end) = event.kind
            {
                more += 1;
                assert_eq!((connection.channel(), end.code), ("/", Some(1001)));
            }
            if more == 1 {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_protocol_error_is_told_with_its_stage() {
    let server = WebsocketServer::new(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = RawPeer::open(addr, "/", "").await;
    peer.write(b"\x81\x02hi").await;
    let event = next(&mut events, error).await;
    assert_eq!(
        (event.stage, event.peer_addr),
        (ErrorStage::Protocol, Some(peer.stream.local_addr().unwrap()))
    );
    assert!(event.connection.is_some());
    assert_eq!(peer.rest().await.last().unwrap().close_code(), Some(1002));
}

#[tokio::test]
async fn a_message_above_the_limit_is_a_limit_error() {
    let server = WebsocketServer::new(ServerParams::local().limits(Limits::default().message_size(10)));
    let mut events = server.events();
    let addr = started(&server).await;
    let client = connected(params(addr)).await;
    client.send(Message::text("more than ten bytes")).await.unwrap();
    assert_eq!(next(&mut events, error).await.stage, ErrorStage::Limit);
}

#[tokio::test]
async fn an_overflow_is_an_error_and_closes_with_4001() {
    let server =
        WebsocketServer::new(ServerParams::local().outbox(1000).overflow(OverflowPolicy::Disconnect));
    let mut events = server.events();
    let addr = started(&server).await;
    let _silent = RawPeer::open(addr, "/", "").await;
    let connection = opened(&mut events).await;
    let big = Message::binary(vec![0; 1 << 20]);
    while connection.send(big.clone()).await.is_ok() {}
    assert_eq!(next(&mut events, error).await.stage, ErrorStage::Overflow);
    let end = ended(&mut events).await;
    assert_eq!(end.code, Some(4001));
}

#[tokio::test]
async fn a_peer_that_does_not_answer_pings_is_a_heartbeat_error() {
    let heartbeat = Heartbeat::new(Duration::from_millis(50), HeartbeatMode::Text);
    let server = WebsocketServer::new(ServerParams::local().heartbeat(heartbeat));
    let mut events = server.events();
    let addr = started(&server).await;
    let mut silent = RawPeer::open(addr, "/", "").await;
    let event = next(&mut events, error).await;
    assert_eq!(event.stage, ErrorStage::Heartbeat);
    silent.frame(0x88, &4000_u16.to_be_bytes()).await;
    let frames = silent.rest().await;
    let texts: Vec<_> = frames.iter().map(raw::RawFrame::as_text).collect();
    assert_eq!(texts[..2], ["ping", "No ping response - disconnected."]);
    assert_eq!(frames[2].close_code(), Some(4000));
}

#[tokio::test]
async fn a_reset_is_a_transport_error() {
    let server = WebsocketServer::new(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let peer = RawPeer::open(addr, "/", "").await;
    next(&mut events, |event| {
        matches!(&event, Event::Connection(event) if matches!(event.kind, ConnectionEventKind::Connected(_)))
            .then_some(())
    })
    .await;
    peer.stream.set_zero_linger().unwrap();
    drop(peer);
    assert_eq!(next(&mut events, error).await.stage, ErrorStage::Transport);
}

#[tokio::test]
async fn junk_instead_of_a_request_is_refused() {
    let server = WebsocketServer::new(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = RawPeer::connect(addr).await;
    peer.write(b"\x00\x01\x02 this is no HTTP\r\n\r\n").await;
    let refused = next(&mut events, |event| match event {
        Event::Connection(event) => Some(event.kind),
        _ => None,
    });
    let ConnectionEventKind::Refused(_, why) = refused.await else { panic!("nothing was attempted") };
    assert_eq!(why, "400: the request is malformed");
    assert!(String::from_utf8_lossy(&peer.all().await).starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn a_failed_tls_handshake_is_a_tls_error() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = ServerTls::from_pem(made.cert.pem(), made.signing_key.serialize_pem());
    let endpoint = Endpoint::tcp("127.0.0.1:0".parse().unwrap()).tls(tls);
    let server = WebsocketServer::new(ServerParams::local().endpoint(endpoint));
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = RawPeer::connect(addr).await;
    peer.write(b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(next(&mut events, error).await.stage, ErrorStage::Tls);
}

struct Broken;

#[async_trait]
impl UserService for Broken {
    type Id = i64;

    async fn authenticate(
        &self,
        _credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<i64>>, UserServiceError> {
        Err(UserServiceError::new("the database is down"))
    }
}

#[tokio::test]
async fn a_failing_user_service_is_an_error_and_503() {
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), Broken);
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = RawPeer::connect(addr).await;
    let answer = peer.request("/", "Authorization: Bearer x\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(raw::retry_after(&answer).is_some_and(|wait| (5..=10).contains(&wait)), "{answer}");
    assert_eq!(next(&mut events, error).await.stage, ErrorStage::UserService);
}

#[tokio::test]
async fn sent_notices_are_opt_in_and_come_once_per_message() {
    let server = WebsocketServer::new(ServerParams::local());
    let mut plain = server.events();
    let mut with_sent = server.events_with(SubscribeOptions::default().sent());
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr)).unwrap();
    let mut client_sent = client.events_with(SubscribeOptions::default().sent());
    client.connect().await.unwrap();
    client.send(Message::text("in")).await.unwrap();
    next(&mut plain, |event| matches!(event, Event::Message(_)).then_some(())).await;
    for n in 0..10 {
        server.broadcast(Message::text(format!("{n}"))).unwrap();
        server.connections()[0].send(Message::text(format!("{n}!"))).await.unwrap();
    }
    let (mut sent, mut received) = (Vec::new(), 0);
    next(&mut with_sent, |event| {
        if let Event::Message(event) = event {
            match event.direction {
                Direction::Sent => sent.push(event.message.as_text().unwrap().to_owned()),
                Direction::Received => received += 1,
            }
        }
        (sent.len() == 20).then_some(())
    })
    .await;
    let expected: Vec<String> = (0..10).flat_map(|n| [format!("{n}"), format!("{n}!")]).collect();
    assert_eq!((sent, received), (expected, 1));
    let first = within(async {
        loop {
            if let Some(ClientEvent::Message(event)) = client_sent.recv().await {
                return (event.direction, event.message);
            }
        }
    })
    .await;
    assert_eq!(first, (Direction::Sent, Message::text("in")));
    within(server.stop()).await;
    while let Some(event) = plain.try_recv() {
        assert!(!matches!(event, Event::Message(_)), "nobody asked for Sent here");
    }
}

#[tokio::test]
async fn a_late_subscription_sees_no_end_of_older_connections_unless_it_asked_for_a_replay() {
    let server = WebsocketServer::new(ServerParams::local());
    let mut first = server.events();
    let addr = started(&server).await;
    let client = connected(params(addr)).await;
    client.send("x").await.unwrap();
    next(&mut first, |event| matches!(event, Event::Message(_)).then_some(())).await;
    let mut late = server.events();
    let mut replayed = server.events_with(SubscribeOptions::default().replay());
    next(&mut replayed, |event| {
        matches!(&event, Event::Connection(event) if matches!(event.kind, ConnectionEventKind::Connected(_)))
            .then_some(())
    })
    .await;
    within(client.disconnect()).await;
    let disconnected = |event: Event<_>| {
        matches!(&event, Event::Connection(event) if matches!(event.kind, ConnectionEventKind::Disconnected(..)))
            .then_some(())
    };
    next(&mut replayed, disconnected).await;
    next(&mut first, disconnected).await;
    within(server.stop()).await;
    while let Some(event) = late.try_recv() {
        assert!(!matches!(event, Event::Connection(_)), "{event:?}");
    }
}

#[tokio::test]
async fn a_handler_may_be_unregistered_while_it_is_called() {
    let server = WebsocketServer::new(ServerParams::local());
    let calls = Arc::new(AtomicUsize::new(0));
    let own: Arc<Mutex<Option<websockets_simple_server::Subscription<_>>>> = Arc::default();
    let subscription = server.on({
        let (calls, own) = (Arc::clone(&calls), Arc::clone(&own));
        move |event| {
            let (calls, own) = (Arc::clone(&calls), Arc::clone(&own));
            async move {
                if let Event::Message(_) = event {
                    calls.fetch_add(1, Ordering::SeqCst);
                    if let Some(subscription) = own.lock().unwrap().take() {
                        subscription.unsubscribe();
                    }
                }
            }
        }
    });
    *own.lock().unwrap() = Some(subscription);
    let mut events = server.events();
    let addr = started(&server).await;
    let client = connected(params(addr)).await;
    for _ in 0..5 {
        client.send("x").await.unwrap();
    }
    let mut messages = 0;
    next(&mut events, |event| {
        messages += usize::from(matches!(event, Event::Message(_)));
        (messages == 5).then_some(())
    })
    .await;
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

/// 20 requests, answered by 200 messages each, through queues that hold next to nothing: who consumes also sends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_that_send_from_inside_their_loops_do_not_lock_each_other_up() {
    let wait = OverflowPolicy::Wait(Duration::from_secs(20));
    let no_rate = Limits::default().messages_per_second(None).bytes_per_second(None);
    let server = WebsocketServer::new(ServerParams::local().outbox(2000).overflow(wait).limits(no_rate));
    let mut requests = server.events_with(SubscribeOptions::default().capacity(1000).sent());
    let addr = started(&server).await;
    let answering = tokio::spawn(async move {
        let mut notices = 0;
        while let Some(event) = requests.recv().await {
            let Event::Message(event) = event else { continue };
            if event.direction == Direction::Sent {
                notices += 1 + event.missed;
                continue;
            }
            for n in 0..200 {
                event.connection.send(Message::text(format!("{n}"))).await.unwrap();
            }
        }
        notices
    });
    let client = WebsocketClient::new(params(addr).outbox(1000).overflow(wait)).unwrap();
    let mut answers = client.events_with(SubscribeOptions::default().capacity(1000));
    client.connect().await.unwrap();
    client.send("first").await.unwrap();
    let mut received = 0;
    within(async {
        while received < 4000 {
            message(&mut answers).await;
            received += 1;
            if received % 200 == 0 && received < 4000 {
                client.send("next").await.unwrap();
            }
        }
    })
    .await;
    assert_eq!(received, 4000);
    within(server.stop()).await;
    drop(server);
    drop(client);
    let _ = within(answering).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_sends_with_the_waiting_policy_does_not_lock_itself_up() {
    let wait = OverflowPolicy::Wait(Duration::from_secs(20));
    let server = WebsocketServer::new(ServerParams::local().outbox(500).overflow(wait));
    server.on(|event| async move {
        if let Event::Message(event) = event {
            for n in 0..200 {
                event.connection.send(Message::text(format!("{n}"))).await.unwrap();
            }
        }
    });
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr)).unwrap();
    let mut answers = client.events();
    client.connect().await.unwrap();
    for _ in 0..20 {
        client.send("request").await.unwrap();
        for n in 0..200 {
            assert_eq!(text(&mut answers).await, format!("{n}"));
        }
    }
}

#[tokio::test]
async fn the_heartbeat_can_be_another_one_for_some_requests() {
    let server_params = ServerParams::local().heartbeat(Heartbeat::off()).heartbeat_of(|request| {
        let interval = Duration::from_millis(50);
        (request.head().channel() == "/pinged").then(|| Heartbeat::new(interval, HeartbeatMode::Text))
    });
    let server = WebsocketServer::new(server_params);
    let mut events = server.events();
    let addr = started(&server).await;
    let mut pinged = RawPeer::open(addr, "/pinged", "").await;
    let mut quiet = RawPeer::open(addr, "/quiet", "").await;
    assert_eq!(pinged.next().await.unwrap().as_text(), "ping");
    assert_eq!(next(&mut events, error).await.connection.unwrap().channel(), "/pinged");
    server.broadcast(Message::text("first")).unwrap();
    assert_eq!(quiet.next().await.unwrap().as_text(), "first");
}
