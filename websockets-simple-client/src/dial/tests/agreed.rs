//! Responses that open a WebSocket, or nearly do.

use super::*;

async fn opened(
    adapt: impl FnOnce(ClientParams) -> ClientParams,
    answer: impl FnOnce(String) -> Vec<u8>,
) -> Dialed {
    exchange(adapt, |head| answer(accept_key(head))).await.1.ok().unwrap()
}

/// Why a 101 is not accepted.
async fn why(change: impl FnOnce(String) -> String) -> String {
    let answer = |head: &str| change(switching(&accept_key(head), "")).into_bytes();
    bad(exchange(|params| params, answer).await.1.err().unwrap())
}

#[tokio::test]
async fn a_101_opens_the_websocket_and_its_facts_are_told() {
    let (listener, params) = listener().await;
    let server = async {
        let (mut stream, peer) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        stream.write_all(switching(&accept_key(&head), "X-Room: 7\r\n").as_bytes()).await.unwrap();
        (stream, peer)
    };
    let ((mut far, peer), dialed) = tokio::join!(server, dial(params));
    let Dialed { mut stream, leftover, info, .. } = dialed.ok().unwrap();
    assert!(leftover.is_empty() && info.subprotocol.is_none() && info.tls.is_none());
    assert_eq!((info.local_addr, info.peer_addr), (Some(peer), listener.local_addr().ok()));
    assert_eq!(info.response_headers.get("x-room").unwrap(), "7");
    stream.write_all(b"ping").await.unwrap();
    far.write_all(b"pong").await.unwrap();
    let (mut here, mut there) = ([0; 4], [0; 4]);
    stream.read_exact(&mut here).await.unwrap();
    far.read_exact(&mut there).await.unwrap();
    assert_eq!((&here, &there), (b"pong", b"ping"));
    drop(stream);
    assert_eq!(far.read(&mut here).await.unwrap(), 0);
}

#[tokio::test]
async fn an_interim_answer_in_front_of_the_101_is_passed_over() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
    let answer = |accept: String| format!("{interim}{}", switching(&accept, "X-Room: 7\r\n")).into_bytes();
    let dialed = opened(|params| params, answer).await;
    assert_eq!(dialed.info.response_headers.len(), 4, "of the 101 alone");
}

#[tokio::test]
async fn bytes_behind_the_101_are_kept() {
    let big = vec![7; 100_000];
    for behind in [b"\x81\x02hi".as_slice(), b"\x81", &big] {
        let dialed = opened(|params| params, |key| [switching(&key, "").as_bytes(), behind].concat()).await;
        let Dialed { mut stream, leftover: mut came, .. } = dialed;
        stream.read_to_end(&mut came).await.unwrap();
        assert!(came == behind, "{} bytes became {}", behind.len(), came.len());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_come_one_byte_at_a_time() {
    let answer = judged(
        |params| params,
        1,
        async |mut far| far.write_all(switching(ACCEPT, "X-A: b\r\n").as_bytes()).await.unwrap(),
    );
    let answer = answer.await.unwrap();
    assert_eq!(answer.headers.get("x-a").unwrap(), "b");
    assert!(answer.leftover.is_empty());
}

#[tokio::test]
async fn other_spellings_of_the_same_answer_will_do() {
    for (from, to) in [
        ("Connection: Upgrade", "Connection: keep-alive, Upgrade"),
        ("Connection: Upgrade", "connection:UPGRADE"),
        ("Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade"),
        ("Upgrade: websocket", "UPGRADE:   WebSocket  "),
        ("Sec-WebSocket-Accept", "sec-websocket-accept"),
        ("101 Switching Protocols", "101 Web Socket Protocol Handshake"),
        ("101 Switching Protocols", "101"),
    ] {
        opened(|params| params, |key| switching(&key, "").replacen(from, to, 1).into_bytes()).await;
    }
}

#[tokio::test]
async fn a_101_that_is_not_for_this_request_is_none() {
    let without = |line: &'static str| move |head: String| head.replace(line, "");
    assert_eq!(why(without("Upgrade: websocket\r\n")).await, "the Upgrade header is not `websocket`");
    assert_eq!(why(without("Connection: Upgrade\r\n")).await, "the Connection header is not `Upgrade`");
    assert_eq!(
        why(|head| head.replace("websocket\r", "h2c\r")).await,
        "the Upgrade header is not `websocket`"
    );
    let closing = |head: String| head.replace("Connection: Upgrade", "Connection: close");
    assert_eq!(why(closing).await, "the Connection header is not `Upgrade`");
    let accept = "Sec-WebSocket-Accept is missing or does not match";
    assert_eq!(why(|_| switching(ACCEPT, "")).await, accept);
    assert_eq!(why(|head| head.replace("Accept", "Deny")).await, accept);
    assert_eq!(why(|head| head.to_lowercase().replacen("http", "HTTP", 1)).await, accept);
}

#[tokio::test]
async fn an_extension_that_was_not_offered_is_not_accepted() {
    let deflate =
        |head: String| head.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    assert_eq!(why(deflate).await, "it chooses an extension that was not offered");
}

#[tokio::test]
async fn folded_lines_and_empty_elements_of_lists_are_no_fault() {
    for (from, to) in [
        ("Connection: Upgrade", "Connection: keep-alive,\r\n Upgrade"),
        ("Upgrade: websocket", "Upgrade:\r\n\twebsocket"),
        ("Connection: Upgrade", "Connection: ,, Upgrade ,"),
        ("\r\n\r\n", "\r\nX-Long: a\r\n b\r\n  c\r\n\r\n"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: \r\n\r\n"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions:\r\nSec-WebSocket-Extensions: , ,\t\r\n\r\n"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: \r\n\r\n"),
    ] {
        let dialed =
            opened(|params| params, |key| switching(&key, "").replacen(from, to, 1).into_bytes()).await;
        if let Some(long) = dialed.info.response_headers.get("x-long") {
            assert_eq!(long, "a b c");
        }
    }
    let extensions = |head: String| {
        head.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: ,\r\n permessage-deflate\r\n\r\n")
    };
    assert_eq!(why(extensions).await, "it chooses an extension that was not offered");
    assert_eq!(agreed(&["chat", "v2"], ", v2 ,", Compatibility::None).await.unwrap().unwrap(), "v2");
}

#[tokio::test]
async fn http_1_0_is_not_spoken() {
    assert_eq!(why(|head| head.replace("HTTP/1.1", "HTTP/1.0")).await, "the version is not HTTP/1.1");
}

/// The negotiated subprotocol.
async fn agreed(offers: &[&str], chosen: &str, mode: Compatibility) -> Result<Option<String>, ConnectError> {
    let offer = |params: ClientParams| {
        offers.iter().fold(params.compatibility(mode), |params, offer| params.subprotocol(*offer))
    };
    let lines: String = chosen.lines().map(|line| format!("Sec-WebSocket-Protocol: {line}\r\n")).collect();
    let answer = |head: &str| switching(&accept_key(head), &lines).into_bytes();
    exchange(offer, answer).await.1.map(|dialed| dialed.info.subprotocol)
}

#[tokio::test]
async fn a_subprotocol_has_to_be_one_of_those_offered() {
    let none = Compatibility::None;
    assert_eq!(agreed(&["chat", "v2"], "v2", none).await.unwrap().unwrap(), "v2");
    assert_eq!(agreed(&[], "", none).await.unwrap(), None);
    for (offers, chosen) in [(&["chat"][..], "other"), (&["chat"], "Chat"), (&["chat"], ""), (&[], "chat")] {
        let error = agreed(offers, chosen, none).await.unwrap_err();
        assert!(matches!(error, ConnectError::SubprotocolRejected), "{offers:?} {chosen} {error:?}");
    }
    for two in ["chat\nv2", "chat\nchat"] {
        assert_eq!(
            bad(agreed(&["chat", "v2"], two, none).await.unwrap_err()),
            "it chooses more than one subprotocol"
        );
    }
    let list = agreed(&["chat", "v2"], "chat, v2", none).await.unwrap_err();
    assert!(matches!(list, ConnectError::SubprotocolRejected), "{list:?}");
}

#[tokio::test]
async fn a_server_that_knows_control_messages_agrees_to_them_beside_the_subprotocol() {
    let chosen = async |offers: &[&str], chosen: &str| {
        let line = format!("Sec-WebSocket-Protocol: {chosen}\r\n");
        let answer = |head: &str| switching(&accept_key(head), &line).into_bytes();
        let offer =
            |params| offers.iter().fold(params, |params: ClientParams, offer| params.subprotocol(*offer));
        let info = exchange(offer, answer).await.1.ok().unwrap().info;
        (info.subprotocol.unwrap(), info.controls)
    };
    for (choice, name, controls) in [
        ("websockets-simple+v2", "v2", true),
        ("v2", "v2", false),
        ("chat", "chat", false),
        ("websockets-simple+chat", "chat", true),
    ] {
        assert_eq!(chosen(&["chat", "v2"], choice).await, (name.to_owned(), controls));
    }
    let alone = chosen(&["websockets-simple"], "websockets-simple").await;
    assert_eq!(alone, ("websockets-simple".to_owned(), true));
    // Servers of .NET have no control messages, and are offered none.
    let offered =
        |params: ClientParams| params.subprotocol("chat").check().unwrap().offers.expose().to_owned();
    let plain = ClientParams::new("localhost", 80).compatibility(Compatibility::DotNetV7);
    assert_eq!(offered(plain), "chat");
    assert_eq!(offered(ClientParams::new("localhost", 80)), "websockets-simple+chat, chat");
}

#[tokio::test]
async fn a_dotnet_server_may_keep_quiet_about_the_subprotocol() {
    for mode in [Compatibility::DotNetV6, Compatibility::DotNetV7] {
        assert_eq!(agreed(&["chat"], "", mode).await.unwrap(), None);
        assert_eq!(agreed(&["chat"], "chat", mode).await.unwrap().unwrap(), "chat");
        assert_eq!(
            agreed(&["v2", "chat"], "CHAT", mode).await.unwrap().unwrap(),
            "chat",
            "as it was offered"
        );
        assert!(matches!(agreed(&["chat"], "other", mode).await, Err(ConnectError::SubprotocolRejected)));
    }
}

#[tokio::test]
async fn the_subprotocol_that_carries_the_token_must_not_be_chosen() {
    let bearer = |params: ClientParams| params.token(SECRET).token_placement(TokenPlacement::Subprotocol);
    let choose = async |chosen: &'static str| {
        let answer = move |head: &str| {
            let offered = value(head, "Sec-WebSocket-Protocol").unwrap();
            let chosen = offered.split(", ").find(|offer| offer.starts_with(chosen)).unwrap();
            switching(&accept_key(head), &format!("Sec-WebSocket-Protocol: {chosen}\r\n")).into_bytes()
        };
        exchange(bearer, answer).await.1.map(|dialed| dialed.info.subprotocol)
    };
    assert!(matches!(choose("bearer.").await, Err(ConnectError::SubprotocolRejected)));
    assert_eq!(choose("websockets-simple").await.unwrap().unwrap(), "websockets-simple");
    opened(bearer, |key| switching(&key, "").into_bytes()).await;
}
