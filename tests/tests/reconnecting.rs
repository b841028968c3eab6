//! A client that connects again by itself.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::net::{TcpListener, TcpStream};
use websockets_simple_client::{
    ClientEvent, ClientParams, ClientState, CloseCode, ConnectError, ErrorStage, LossCause, Message,
    Reconnect, SendError, States, Token, Verdict, WebsocketClient,
    messages::SendStatus,
    params::{NotAuthorized, Offline, TokenReason},
};
use websockets_simple_server::{ServerParams, WebsocketServer};
use websockets_simple_tests::{
    client_story::story,
    opened, params,
    raw::{RawPeer, unmasked},
    started, text, within,
};

/// Comes back at once.
fn eager() -> Reconnect {
    Reconnect::new().delays(Duration::from_millis(1), Duration::from_millis(2))
}

fn client(params: ClientParams, reconnect: Reconnect) -> WebsocketClient {
    WebsocketClient::new(params.reconnect(reconnect)).unwrap()
}

/// A server that a test accepts connections of, one by one.
async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

fn name(state: &ClientState) -> String {
    match state {
        ClientState::Idle => "idle".to_owned(),
        ClientState::Connecting { attempt } => format!("connecting {attempt}"),
        ClientState::Open(_) => "open".to_owned(),
        ClientState::Waiting { attempt, .. } => format!("waiting {attempt}"),
        ClientState::GivenUp(_) => "given up".to_owned(),
        other => format!("{other:?}"),
    }
}

/// The first state with that name, and those before it.
async fn until(states: &mut States, wanted: &str) -> Vec<String> {
    let mut seen = Vec::new();
    within(async {
        loop {
            let state = states.recv().await.expect("the client lives");
            seen.push(name(&state));
            if name(&state).starts_with(wanted) {
                return;
            }
        }
    })
    .await;
    seen
}

/// Answers one request with a status.
async fn refuse(listener: &TcpListener, status: &str) {
    let (stream, _) = within(listener.accept()).await.unwrap();
    let mut peer = RawPeer::new(stream);
    peer.head().await;
    peer.write(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await;
}

#[tokio::test]
async fn a_client_comes_back_whenever_its_connection_is_lost_and_tells_the_whole_story() {
    let (listener, addr) = listener().await;
    // This server answers no Close.
    let client = client(params(addr).close_timeout(Duration::from_millis(50)), eager());
    let mut events = client.events();
    let connecting = tokio::spawn({
        let client = client.clone();
        async move { client.connect().await.unwrap() }
    });
    let mut peer = RawPeer::accept(&listener).await;
    let first = within(connecting).await.unwrap();
    for n in 0..3 {
        peer.write(&unmasked(0x81, format!("hello {n}").as_bytes())).await;
        assert_eq!(text(&mut events).await, format!("hello {n}"));
        drop(peer);
        peer = RawPeer::accept(&listener).await;
        let next = within(client.connected()).await.unwrap();
        assert_ne!(next, first);
    }
    peer.write(&unmasked(0x81, b"the last")).await;
    assert_eq!(text(&mut events).await, "the last");
    assert!(within(client.disconnect()).await.is_some());
    assert!(matches!(client.state(), ClientState::Idle) && client.connection().is_none());
}

#[tokio::test]
async fn states_come_in_order_and_each_loss_says_why() {
    let (listener, addr) = listener().await;
    let client = client(params(addr), eager());
    let mut states = client.states();
    assert_eq!(until(&mut states, "idle").await, ["idle"]);
    client.start();
    client.start();
    until(&mut states, "connecting 0").await;
    let peer = RawPeer::accept(&listener).await;
    assert_eq!(until(&mut states, "open").await, ["open"]);
    assert!(matches!(client.connect().await, Err(ConnectError::AlreadyConnected)));
    drop(peer);
    let lost = within(async {
        loop {
            if let ClientState::Waiting { attempt, pause, why } = states.recv().await.unwrap() {
                assert!(pause <= Duration::from_millis(1), "{pause:?}");
                return (attempt, why);
            }
        }
    })
    .await;
    assert_eq!((lost.0, lost.1.attempt), (1, 0));
    assert_eq!(lost.1.to_string(), "the connection ended by the transport (the peer hung up without Close)");
    until(&mut states, "connecting 1").await;
    refuse(&listener, "404 Not Found").await;
    until(&mut states, "given up").await;
    let ClientState::GivenUp(loss) = client.state() else { panic!("{:?}", client.state()) };
    let LossCause::Refused(error) = &loss.cause else { panic!("{loss:?}") };
    assert!(matches!(**error, ConnectError::Rejected { status: 404, .. }));
    assert!(matches!(client.connected().await, Err(why) if Arc::ptr_eq(&why, &loss)));
    assert!(client.reconnect_now(), "it begins again");
    until(&mut states, "connecting 0").await;
    let peer = RawPeer::accept(&listener).await;
    until(&mut states, "open").await;
    drop(peer);
    refuse(&listener, "404 Not Found").await;
    until(&mut states, "given up").await;
    assert!(within(client.disconnect()).await.is_none());
    assert_eq!(name(&client.state()), "idle", "it has not lost anything any more");
}

#[tokio::test]
async fn the_first_connect_is_one_attempt_unless_it_is_to_be_tried_again() {
    let (listener, addr) = listener().await;
    let once = client(params(addr), eager());
    let connecting = tokio::spawn({
        let once = once.clone();
        async move { once.connect().await }
    });
    refuse(&listener, "503 Service Unavailable").await;
    let error = within(connecting).await.unwrap().unwrap_err();
    assert!(matches!(error, ConnectError::Rejected { status: 503, .. }), "{error:?}");
    assert_eq!(name(&once.state()), "given up");

    let patient = client(params(addr), eager().first(true));
    let connecting = tokio::spawn({
        let patient = patient.clone();
        async move { patient.connect().await }
    });
    for _ in 0..3 {
        refuse(&listener, "503 Service Unavailable").await;
    }
    let _peer = RawPeer::accept(&listener).await;
    assert!(within(connecting).await.unwrap().is_ok());
}

#[tokio::test]
async fn nothing_is_tried_after_disconnect_or_once_the_last_handle_is_gone() {
    for how in ["disconnect", "drop", "cancel"] {
        let (listener, addr) = listener().await;
        // Waits for longer than the test takes.
        let slow = Reconnect::new().delays(Duration::from_secs(3600), Duration::from_secs(3600)).first(true);
        let client = client(params(addr), slow);
        let mut states = client.states();
        let connecting = tokio::spawn({
            let client = client.clone();
            async move { client.connect().await }
        });
        refuse(&listener, "503 Service Unavailable").await;
        until(&mut states, "waiting").await;
        match how {
            "disconnect" => {
                assert!(within(client.disconnect()).await.is_none());
                assert_eq!(name(&client.state()), "idle");
                let ended = within(connecting).await.unwrap();
                assert!(matches!(ended, Err(ConnectError::Cancelled)), "{ended:?}");
            }
            "cancel" => {
                connecting.abort();
                until(&mut states, "idle").await;
            }
            _ => {
                connecting.abort();
                drop(client);
                until(&mut states, "idle").await;
                assert!(within(states.recv()).await.is_none(), "the client is gone");
            }
        }
    }
}

#[tokio::test]
async fn a_disconnect_during_an_attempt_ends_that_attempt_and_its_connection() {
    let (listener, addr) = listener().await;
    let client = client(params(addr), eager());
    let mut events = client.events();
    client.start();
    // The attempt waits for the answer.
    let (stream, _) = within(listener.accept()).await.unwrap();
    assert!(within(client.disconnect()).await.is_none());
    assert_eq!(name(&client.state()), "idle");
    let mut peer = RawPeer::new(stream);
    peer.head().await;
    assert!(within(peer.all()).await.is_empty(), "the socket is closed");
    within(async {
        while story(&mut events) != ["connecting", "refused: the connect was cancelled"] {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let again = tokio::spawn({
        let client = client.clone();
        async move { client.connect().await }
    });
    let _peer = RawPeer::accept(&listener).await;
    assert!(within(again).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_token_is_asked_for_with_its_reason_and_a_second_refusal_is_the_last() {
    let (listener, addr) = listener().await;
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&reasons);
    let provider = move |reason| {
        asked.lock().unwrap().push(reason);
        std::future::ready(Ok(Token::new("secret")))
    };
    let client = client(params(addr).token_provider(provider), eager());
    let mut states = client.states();
    client.start();
    drop(RawPeer::accept_with(&listener, "Sec-WebSocket-Protocol: websockets-simple\r\n").await);
    refuse(&listener, "401 Unauthorized").await;
    drop(RawPeer::accept_with(&listener, "Sec-WebSocket-Protocol: websockets-simple\r\n").await);
    for _ in 0..2 {
        refuse(&listener, "401 Unauthorized").await;
    }
    until(&mut states, "given up").await;
    use TokenReason::{Again, First, Refused};
    assert_eq!(*reasons.lock().unwrap(), [First, Again, Refused, Again, Refused]);
}

#[tokio::test]
async fn a_provider_that_is_not_authorized_ends_it_and_any_other_failure_does_not() {
    let (listener, addr) = listener().await;
    let asked = AtomicUsize::new(0);
    let provider = move |_| {
        std::future::ready(match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(Token::new("secret")),
            1 | 2 => Err("the issuer is down".into()),
            _ => Err(NotAuthorized.into()),
        })
    };
    let client = client(params(addr).token_provider(provider), eager());
    let mut events = client.events();
    let mut states = client.states();
    client.start();
    drop(RawPeer::accept_with(&listener, "Sec-WebSocket-Protocol: websockets-simple\r\n").await);
    until(&mut states, "given up").await;
    let failed = "TokenProvider: the token provider returned no usable token";
    let refused = "refused: the token provider returned no usable token";
    let mut expected = vec!["connecting", "connected", "disconnected"];
    expected.extend(["connecting", failed, refused].repeat(3));
    assert_eq!(story(&mut events), expected);
}

#[tokio::test]
async fn a_judge_decides_and_one_that_panics_does_as_usual() {
    let (listener, addr) = listener().await;
    let judge = eager().judge(|loss| match &loss.cause {
        LossCause::Refused(error) if matches!(**error, ConnectError::Rejected { status: 404, .. }) => {
            Verdict::Again
        }
        LossCause::Ended(_) => panic!("no opinion"),
        _ => Verdict::AsUsual,
    });
    let client = client(params(addr), judge);
    let mut events = client.events();
    let mut states = client.states();
    client.start();
    drop(RawPeer::accept(&listener).await);
    refuse(&listener, "404 Not Found").await;
    refuse(&listener, "403 Forbidden").await;
    until(&mut states, "given up").await;
    let said = within(async {
        loop {
            if let ClientEvent::Error(event) = events.recv().await.unwrap()
                && event.stage == ErrorStage::HandlerPanic
            {
                return event.error.to_string();
            }
        }
    })
    .await;
    assert_eq!(said, "the judge of losses panicked");
}

#[tokio::test]
async fn groups_are_joined_again_unless_they_were_left_or_are_refused() {
    let allowed = Arc::new(Mutex::new(vec!["red", "green", "blue"]));
    let rule = Arc::clone(&allowed);
    let server = WebsocketServer::new(ServerParams::local())
        .with_group_rule(move |_, group| rule.lock().unwrap().contains(&group));
    let mut seen = server.events();
    let addr = started(&server).await;
    let client = client(params(addr).subprotocol("websockets-simple"), eager());
    let mut events = client.events();
    within(client.connect()).await.unwrap();
    let connection = opened(&mut seen).await;
    for group in ["red", "green", "blue"] {
        within(client.join(group)).await.unwrap();
    }
    within(client.leave("green")).await.unwrap();
    assert_eq!(client.wanted_groups(), ["blue", "red"]);
    allowed.lock().unwrap().retain(|group| *group != "red");
    connection.close(CloseCode::RESTART, "");
    let connection = opened(&mut seen).await;
    within(async {
        while client.wanted_groups() != ["blue"]
            || connection.groups().iter().map(ToString::to_string).collect::<Vec<_>>() != ["blue"]
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let said = within(async {
        loop {
            if let ClientEvent::Error(event) = events.recv().await.unwrap() {
                assert_eq!(event.stage, ErrorStage::Group);
                return event.error.to_string();
            }
        }
    })
    .await;
    assert!(said.starts_with("cannot join the group `red` again: "), "{said}");
    within(client.disconnect()).await;
    assert!(client.wanted_groups().is_empty());
}

#[tokio::test]
async fn a_client_that_does_not_reconnect_tells_its_states_as_well() {
    let (listener, addr) = listener().await;
    let client = WebsocketClient::new(params(addr)).unwrap();
    client.start();
    assert_eq!(name(&client.state()), "idle", "there is nothing to start");
    let mut states = client.states();
    let connecting = tokio::spawn({
        let client = client.clone();
        async move { client.connect().await.unwrap() }
    });
    let peer = RawPeer::accept(&listener).await;
    until(&mut states, "open").await;
    within(connecting).await.unwrap();
    drop(peer);
    until(&mut states, "idle").await;
    assert!(!client.reconnect_now());
}

/// One server goes, another comes, over and over: never two connections of one client at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_often_it_is_lost_there_is_one_connection_at_a_time() {
    let (listener, addr) = listener().await;
    let client = client(params(addr), eager());
    let live = Arc::new(AtomicUsize::new(0));
    client.start();
    for round in 0..50 {
        let mut peer = RawPeer::accept(&listener).await;
        assert_eq!(live.fetch_add(1, Ordering::SeqCst), 0);
        within(client.connected()).await.unwrap();
        match round % 3 {
            0 => peer.write(&unmasked(0x88, &1001u16.to_be_bytes())).await,
            1 => peer.write(&unmasked(0x88, &[])).await,
            _ => {}
        }
        live.fetch_sub(1, Ordering::SeqCst);
        drop(peer);
        within(async {
            while client.connection().is_some_and(|connection| connection.is_open()) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    let _last: TcpStream = within(listener.accept()).await.unwrap().0;
}

#[tokio::test]
async fn messages_are_kept_while_there_is_no_connection_and_come_first_and_in_order() {
    let (listener, addr) = listener().await;
    let offline = Offline::Keep { bytes: 40, age: Duration::from_secs(3600) };
    let client = client(params(addr).offline(offline), eager());
    assert!(matches!(client.send_text("early").await, Err(SendError::Closed)), "none is wanted");
    client.start();
    for n in 0..3 {
        assert!(matches!(client.send_text(format!("kept {n}")).await, Ok(SendStatus::Kept)));
    }
    assert!(matches!(client.try_send(Message::text("kept 3")), Ok(SendStatus::Kept)));
    assert!(matches!(client.send_text("x".repeat(17)).await, Err(SendError::Full)));
    let mut peer = RawPeer::accept(&listener).await;
    for n in 0..4 {
        assert_eq!(within(peer.next()).await.unwrap().as_text(), format!("kept {n}"));
    }
    within(async {
        while matches!(client.send_text("later").await, Ok(SendStatus::Kept)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(within(peer.next()).await.unwrap().as_text(), "later");
}

#[tokio::test]
async fn kept_messages_that_are_too_old_or_never_can_be_sent_are_counted() {
    let (listener, addr) = listener().await;
    let offline = Offline::Keep { bytes: 1000, age: Duration::ZERO };
    // This server answers no Close.
    let params = params(addr).close_timeout(Duration::from_millis(50));
    let client = client(params.offline(offline), eager().first(true));
    let mut events = client.events();
    client.start();
    client.send_text("old").await.unwrap();
    let _peer = RawPeer::accept(&listener).await;
    let mut errors = async || {
        within(async {
            loop {
                if let ClientEvent::Error(event) = events.recv().await.unwrap() {
                    assert_eq!(event.stage, ErrorStage::Send);
                    return event.error.to_string();
                }
            }
        })
        .await
    };
    assert_eq!(errors().await, "1 kept messages were not sent: they are too old");
    within(client.disconnect()).await;
    client.start();
    client.send_text("unsent").await.unwrap();
    client.send_text("unsent").await.unwrap();
    within(client.disconnect()).await;
    assert_eq!(errors().await, "2 kept messages were not sent: the client does not connect again");
}

#[tokio::test]
async fn a_send_waits_for_a_connection_where_that_is_asked_for() {
    let (listener, addr) = listener().await;
    let offline = Offline::Wait(Duration::from_secs(3600));
    let client = client(params(addr).offline(offline), eager());
    assert!(matches!(client.send_text("early").await, Err(SendError::Closed)), "none is wanted");
    client.start();
    let sending = tokio::spawn({
        let client = client.clone();
        async move { client.send_text("patient").await }
    });
    let mut peer = RawPeer::accept(&listener).await;
    assert!(within(sending).await.unwrap().is_ok());
    assert_eq!(within(peer.next()).await.unwrap().as_text(), "patient");
    let impatient = params(addr).offline(Offline::Wait(Duration::from_millis(1)));
    let impatient = WebsocketClient::new(impatient.reconnect(eager())).unwrap();
    impatient.start();
    assert!(matches!(within(impatient.send_text("x")).await, Err(SendError::Closed)));
}
