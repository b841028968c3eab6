//! What a connect tells, and how long that may take. Nothing listens where these clients connect to.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{net::TcpListener, time::Instant};
use websockets_simple_core::{ConnectionEventKind, EventError, Events, SubscribeOptions, Token};

use super::*;

/// Parameters for an address where nothing listens.
async fn nowhere() -> ClientParams {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    ClientParams::new("127.0.0.1", listener.local_addr().unwrap().port())
}

fn name(event: &ClientEvent) -> String {
    match event {
        ClientEvent::Connection(event) => match &event.kind {
            ConnectionEventKind::Connecting(_) => "connecting".to_owned(),
            ConnectionEventKind::Refused(_, why) => format!("refused: {why}"),
            other => format!("{other:?}"),
        },
        ClientEvent::Error(event) => format!("{:?}: {}", event.stage, event.error),
        ClientEvent::Message(_) => "message".to_owned(),
        ClientEvent::MessagePart(_) => "part".to_owned(),
    }
}

fn story(events: &mut Events<ClientEvent>) -> Vec<String> {
    std::iter::from_fn(|| events.try_recv()).map(|event| name(&event)).collect()
}

#[tokio::test(start_paused = true)]
async fn handlers_do_not_make_a_connect_longer_than_its_timeout() {
    let client = WebsocketClient::new(nowhere().await.connect_timeout(Duration::from_millis(300))).unwrap();
    let mut events = client.events();
    let (begun, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    client.on({
        let (begun, done) = (Arc::clone(&begun), Arc::clone(&done));
        move |_| {
            let (begun, done) = (Arc::clone(&begun), Arc::clone(&done));
            async move {
                begun.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(3)).await;
                done.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let mut behind = client.events();
    let at = Instant::now();
    assert!(matches!(client.connect().await, Err(ConnectError::Timeout)));
    assert_eq!(at.elapsed(), Duration::from_millis(300));
    tokio::time::sleep(Duration::from_secs(20)).await;
    let expected =
        ["connecting", "Handshake: the connect timeout expired", "refused: the connect timeout expired"];
    assert_eq!(story(&mut events), expected);
    assert_eq!(story(&mut behind), expected, "behind a handler that was dropped");
    assert!(begun.load(Ordering::SeqCst) >= 2 && done.load(Ordering::SeqCst) == 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_of_refused_that_ends_in_time_is_waited_for_and_one_that_is_late_goes_on_for_a_second() {
    for (takes, waited, finished) in [(200, 200, true), (1200, 300, true), (5000, 300, false)] {
        let client =
            WebsocketClient::new(nowhere().await.connect_timeout(Duration::from_millis(300))).unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        client.on({
            let done = Arc::clone(&done);
            move |event| {
                let done = Arc::clone(&done);
                async move {
                    if name(&event).starts_with("refused") {
                        tokio::time::sleep(Duration::from_millis(takes)).await;
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        });
        let at = Instant::now();
        assert!(matches!(client.connect().await, Err(ConnectError::Connect(_))));
        assert_eq!(at.elapsed(), Duration::from_millis(waited));
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(done.load(Ordering::SeqCst) == 1, finished, "{takes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_is_given_up_anywhere_tells_one_end_and_leaves_the_client_idle() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = ClientParams::new("127.0.0.1", listener.local_addr().unwrap().port());
    let provider = async |_| {
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(Token::new("secret"))
    };
    for (params, stage) in [(silent.clone(), 2500), (silent.token_provider(provider), 1500)] {
        let client = WebsocketClient::new(params.connect_timeout(Duration::from_secs(20))).unwrap();
        let mut events = client.events();
        let handled = Arc::new(Mutex::new(Vec::new()));
        client.on({
            let handled = Arc::clone(&handled);
            move |event| {
                let handled = Arc::clone(&handled);
                async move {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    handled.lock().unwrap_or_else(PoisonError::into_inner).push(name(&event));
                }
            }
        });
        let connecting = tokio::time::timeout(Duration::from_millis(stage), client.connect());
        assert!(connecting.await.is_err());
        tokio::time::sleep(Duration::from_secs(5)).await;
        let expected = ["connecting", "refused: the connect was cancelled"];
        assert_eq!(story(&mut events), expected);
        assert_eq!(*handled.lock().unwrap(), expected);
        // While the handler of Connecting runs.
        let again = tokio::time::timeout(Duration::from_millis(50), client.connect());
        assert!(again.await.is_err(), "it is not connected");
        assert_eq!(story(&mut events), expected);
    }
}

/// A client whose handler panics at the events that begin with this.
fn panicking(params: ClientParams, at: &'static str) -> WebsocketClient {
    let client = WebsocketClient::new(params).unwrap();
    client.on(move |event| {
        assert!(!name(&event).starts_with(at), "at {at}");
        async {}
    });
    client.on(move |event| async move {
        tokio::task::yield_now().await;
        assert!(!name(&event).starts_with(at), "later at {at}");
    });
    client
}

#[tokio::test]
async fn a_handler_that_panics_at_connecting_ends_the_attempt_and_nothing_else() {
    let client = panicking(nowhere().await, "connecting");
    let mut events = client.events();
    for _ in 0..2 {
        let error = client.connect().await.unwrap_err();
        assert!(matches!(error, ConnectError::HandlerPanic), "{error:?}");
        let told =
            ["connecting", "HandlerPanic: a handler panicked: at connecting", "refused: a handler panicked"];
        assert_eq!(story(&mut events), told);
    }
}

#[tokio::test]
async fn a_handler_that_panics_at_refused_or_at_an_error_does_not_unwind_who_connects() {
    for at in ["refused", "Transport", "HandlerPanic"] {
        let client = panicking(nowhere().await, at);
        let mut events = client.events();
        assert!(matches!(client.connect().await, Err(ConnectError::Connect(_))), "{at}");
        let story = story(&mut events);
        let panics: Vec<_> = story.iter().filter(|event| event.starts_with("HandlerPanic")).collect();
        match at {
            "HandlerPanic" => assert!(panics.is_empty(), "{story:?}"),
            _ => assert_eq!(panics, [&format!("HandlerPanic: a handler panicked: at {at}")], "{story:?}"),
        }
        assert_eq!(story.iter().filter(|event| event.starts_with("refused")).count(), 1, "{story:?}");
    }
}

#[tokio::test]
async fn a_token_provider_that_panics_is_one_that_fails() {
    let params = nowhere().await.token_provider(async |_| -> Result<Token, _> { panic!("no token today") });
    let client = WebsocketClient::new(params).unwrap();
    let mut events = client.events();
    let error = client.connect().await.unwrap_err();
    let ConnectError::TokenProvider(source) = &error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "the token provider panicked");
    assert_eq!(story(&mut events).len(), 3);
    assert!(
        matches!(client.connect().await, Err(ConnectError::TokenProvider(_))),
        "and it can be asked again"
    );
}

#[tokio::test]
async fn attempts_that_fail_fill_a_stream_that_is_not_read_once_and_are_counted_then() {
    const ATTEMPTS: u64 = 300;
    let client = WebsocketClient::new(nowhere().await).unwrap();
    let mut events = client.events_with(SubscribeOptions::default().capacity(20 * 300));
    let handled = Arc::new(AtomicUsize::new(0));
    client.on({
        let handled = Arc::clone(&handled);
        move |_| {
            handled.fetch_add(1, Ordering::Relaxed);
            async {}
        }
    });
    for _ in 0..ATTEMPTS {
        assert!(matches!(client.connect().await, Err(ConnectError::Connect(_))));
    }
    let kept = story(&mut events);
    assert!((20..=23).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept[..3], ["connecting", "Transport: cannot connect", "refused: cannot connect"]);
    assert!(client.connect().await.is_err());
    let missed = std::iter::from_fn(|| events.try_recv()).find_map(|event| match event {
        ClientEvent::Error(event) => Some(event.missed),
        _ => None,
    });
    assert_eq!(missed, Some(3 * ATTEMPTS - kept.len() as u64));
    assert_eq!(handled.load(Ordering::Relaxed) as u64, 3 * (ATTEMPTS + 1), "handlers get all of them");
}

/// The error of the Refused that comes next, and that of the error event before it, if there is one.
fn errors(events: &mut Events<ClientEvent>) -> (Option<EventError>, Arc<ConnectError>) {
    let mut failed = None;
    while let Some(event) = events.try_recv() {
        match event {
            ClientEvent::Error(event) => failed = Some(event.error),
            ClientEvent::Connection(event) => {
                if let ConnectionEventKind::Refused(_, why) = event.kind {
                    return (failed, why);
                }
            }
            _ => {}
        }
    }
    panic!("nothing was refused");
}

#[tokio::test]
async fn events_of_a_failed_connect_carry_its_typed_error() {
    let client = WebsocketClient::new(nowhere().await).unwrap();
    let mut events = client.events();
    assert!(client.connect().await.is_err());
    let (failed, why) = errors(&mut events);
    let failed = failed.expect("an error event");
    let (failed, is_same) = (failed.downcast_ref::<ConnectError>(), failed.to_string() == why.to_string());
    assert!(matches!(failed, Some(ConnectError::Connect(_))), "{failed:?}");
    assert!(matches!(*why, ConnectError::Connect(_)) && is_same && why.is_worth_retrying(), "{why:?}");
}

#[tokio::test(start_paused = true)]
async fn events_of_a_refusal_by_the_server_carry_its_status_and_of_one_given_up_that_it_was() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client =
        WebsocketClient::new(ClientParams::new("127.0.0.1", listener.local_addr().unwrap().port())).unwrap();
    let mut events = client.events();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let answer = b"HTTP/1.1 503 Gone\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
    };
    let (refused, ()) = tokio::join!(client.connect(), server);
    assert!(matches!(refused, Err(ConnectError::Rejected { status: 503, .. })), "{refused:?}");
    let (failed, why) = errors(&mut events);
    let failed = failed.expect("an error event");
    for told in [&*why, failed.downcast_ref().expect("the same")] {
        assert_eq!((told.retry_after(), told.is_worth_retrying()), (Some(Duration::from_secs(7)), true));
    }
    assert!(tokio::time::timeout(Duration::from_millis(1), client.connect()).await.is_err());
    let (failed, why) = errors(&mut events);
    assert!(failed.is_none() && matches!(*why, ConnectError::Cancelled) && !why.is_worth_retrying());
}

#[tokio::test(start_paused = true)]
async fn provider_dial_handshake_and_the_text_of_a_dotnet_server_share_one_connect_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let slow = async |_| {
        tokio::time::sleep(Duration::from_millis(700)).await;
        Ok(Token::new("secret"))
    };
    let params = || ClientParams::new("127.0.0.1", port).connect_timeout(Duration::from_secs(1));
    let v6 = || params().compatibility(websockets_simple_core::Compatibility::DotNetV6);
    let server = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                assert_ne!(tokio::io::AsyncReadExt::read_buf(&mut stream, &mut head).await.unwrap(), 0);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            let head = String::from_utf8(head).unwrap();
            let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
            let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await;
            // The text for which a client of .NET v6 waits never comes.
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(60)).await;
                drop(stream)
            });
        }
    };
    let connects = async {
        for (params, waits) in
            [(v6(), true), (v6().token_provider(slow), true), (params().token_provider(slow), false)]
        {
            let (client, at) = (WebsocketClient::new(params).unwrap(), Instant::now());
            let connected = client.connect().await;
            let took = at.elapsed().as_millis();
            match connected {
                Err(ConnectError::Timeout) => assert!(waits && took == 1000, "{took}"),
                other => assert!(!waits && other.is_ok() && (900..1000).contains(&took), "{other:?} {took}"),
            }
        }
    };
    tokio::select! {
        () = server => {}
        () = connects => {}
    }
}
