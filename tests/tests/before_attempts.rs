//! What the application changes before each attempt to connect.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::net::TcpListener;
use websockets_simple_client::{
    ClientEvent, ClientState, ConnectError, ConnectionEventKind, LossCause, NoAttempt, Reconnect, Token,
    WebsocketClient,
};
use websockets_simple_tests::{params, raw::RawPeer, within};

fn eager() -> Reconnect {
    Reconnect::new().delays(Duration::from_millis(1), Duration::from_millis(2))
}

async fn refused(listener: &TcpListener, status: &str) -> String {
    let (stream, _) = within(listener.accept()).await.unwrap();
    let mut peer = RawPeer::new(stream);
    let head = peer.head().await;
    peer.write(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await;
    head
}

/// The refusal after which the client gives up.
async fn given_up(client: &WebsocketClient) -> Arc<ConnectError> {
    let mut states = client.states();
    let loss = within(async {
        loop {
            if let ClientState::GivenUp(loss) = states.recv().await.unwrap() {
                return loss;
            }
        }
    })
    .await;
    let LossCause::Refused(error) = &loss.cause else { panic!("{loss:?}") };
    Arc::clone(error)
}

#[tokio::test]
async fn each_attempt_is_signed_anew_and_knows_what_was_lost_before() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let signed = Arc::new(AtomicUsize::new(0));
    let params = params(listener.local_addr().unwrap()).path("/feed").reconnect(eager());
    let client = WebsocketClient::new(params.before_attempt({
        let (told, signed) = (Arc::clone(&told), Arc::clone(&signed));
        move |attempt, params| {
            told.lock().unwrap().push((attempt.attempt, attempt.loss.map(|loss| loss.to_string())));
            let n = signed.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Ok(params
                .query("signature", n.to_string())
                .header("x-attempt", n.to_string())))
        }
    }))
    .unwrap();
    let mut events = client.events();
    client.start();
    let (head, peer) = RawPeer::accept_with(&listener, "").await;
    assert!(head.starts_with("GET /feed?signature=0 ") && head.contains("x-attempt: 0\r\n"), "{head}");
    drop(peer);
    let head = refused(&listener, "503 Service Unavailable").await;
    assert!(head.starts_with("GET /feed?signature=1 ") && head.contains("x-attempt: 1\r\n"), "{head}");
    let (head, _peer) = RawPeer::accept_with(&listener, "").await;
    assert!(head.starts_with("GET /feed?signature=2 "), "{head}");
    within(client.connected()).await.unwrap();
    let lost = "the connection ended by the transport (the peer hung up without Close)".to_owned();
    let refused = "cannot connect: the server refused the handshake with HTTP status 503".to_owned();
    assert_eq!(*told.lock().unwrap(), [(0, None), (1, Some(lost)), (2, Some(refused))]);
    let ClientEvent::Connection(first) = events.recv().await.unwrap() else {
        panic!("Connecting is the first")
    };
    let ConnectionEventKind::Connecting(attempt) = first.kind else { panic!("{first:?}") };
    assert_eq!(attempt.path.to_string(), "/feed", "what the hook adds is told by no event");
}

#[tokio::test]
async fn a_hook_that_wants_no_attempt_ends_it_unless_it_says_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let asked = AtomicUsize::new(0);
    let params = params(listener.local_addr().unwrap()).reconnect(eager().first(true));
    let client = WebsocketClient::new(params.before_attempt(move |_, params| {
        std::future::ready(match asked.fetch_add(1, Ordering::SeqCst) {
            0 | 2 => Err(NoAttempt::again("the signer is down")),
            1 => Ok(params),
            _ => Err(NoAttempt::new("signed out")),
        })
    }))
    .unwrap();
    client.start();
    drop(RawPeer::accept(&listener).await);
    let error = given_up(&client).await;
    assert_eq!(error.to_string(), "no attempt: signed out");
}

#[tokio::test]
async fn invalid_parameters_of_a_hook_are_final_and_one_that_is_slow_is_late() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let invalid = params(addr).reconnect(eager().first(true));
    let invalid = invalid.before_attempt(async |_, params| Ok(params.header("connection", "close")));
    let client = WebsocketClient::new(invalid).unwrap();
    let error = within(client.connect()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Params(_)), "{error:?}");
    // A client that does not reconnect has attempts as well.
    let slow = params(addr).connect_timeout(Duration::from_millis(50));
    let slow = slow.before_attempt(async |_, _| std::future::pending().await);
    let client = WebsocketClient::new(slow).unwrap();
    assert!(matches!(within(client.connect()).await, Err(ConnectError::Timeout)));
}

#[tokio::test]
async fn a_hook_is_asked_before_the_token_provider_and_once_more_after_a_401() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let hook = async |_, params: websockets_simple_client::ClientParams| Ok(params.token("of-the-hook"));
    let provided = params(addr).token_provider(async |_| Ok(Token::new("of-the-provider")));
    let client = WebsocketClient::new(provided.before_attempt(hook)).unwrap();
    let connecting = tokio::spawn(async move { client.connect().await });
    let head = refused(&listener, "404 Not Found").await;
    assert!(head.contains("Bearer of-the-provider\r\n") && !head.contains("of-the-hook"), "{head}");
    assert!(within(connecting).await.unwrap().is_err());

    let client =
        WebsocketClient::new(params(addr).reconnect(eager().first(true)).before_attempt(hook)).unwrap();
    client.start();
    for _ in 0..2 {
        let head = refused(&listener, "401 Unauthorized").await;
        assert!(head.contains("Bearer of-the-hook\r\n"), "{head}");
    }
    assert!(matches!(*given_up(&client).await, ConnectError::Unauthorized { .. }));
}

#[tokio::test]
async fn a_hook_that_asks_for_tls_never_gets_a_connection_without_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = params(listener.local_addr().unwrap());
    let client =
        WebsocketClient::new(plain.before_attempt(async |_, params| Ok(params.secured(true)))).unwrap();
    let connecting = tokio::spawn(async move { client.connect().await });
    let (stream, _) = within(listener.accept()).await.unwrap();
    let hello = within(RawPeer::new(stream).take(3)).await;
    assert_eq!(hello[..2], [22, 3], "a ClientHello and no request (RFC 8446 section 5.1)");
    assert!(matches!(within(connecting).await.unwrap(), Err(ConnectError::Tls(_) | ConnectError::Lost(_))));
}
