//! Compressed messages between a server and its clients.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress};
use tokio::net::TcpListener;
use websockets_simple_client::{ClientEvent, ConnectError, SubscribeOptions, WebsocketClient};
use websockets_simple_server::{
    Compression, Json, Message, ParamsError, ServerParams, StartError, Uncompressed, WebsocketServer,
};
use websockets_simple_tests::{
    connected, message, opened, params,
    raw::{RawFrame, RawPeer, unmasked},
    received, started, within,
};

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
const COMPRESSED_TEXT: u8 = 0xC1;

fn server() -> ServerParams {
    ServerParams::local().compression(Compression::new())
}

/// A document that gets shorter.
fn document() -> String {
    (0..100).map(|n| format!("{{\"id\":{n},\"name\":\"somebody\",\"online\":true}}")).collect()
}

/// What a peer that keeps no window makes of a frame.
fn inflated(frame: &RawFrame) -> String {
    let mut text = Vec::with_capacity(1 << 20);
    let payload = [&frame.payload[..], &[0, 0, 0xFF, 0xFF]].concat();
    Decompress::new(false).decompress_vec(&payload, &mut text, FlushDecompress::Sync).unwrap();
    String::from_utf8(text).unwrap()
}

/// Compresses with a window that is kept.
fn deflated(compress: &mut Compress, text: &str) -> Vec<u8> {
    let mut output = Vec::with_capacity(text.len() + 100);
    compress.compress_vec(text.as_bytes(), &mut output, FlushCompress::Sync).unwrap();
    output.strip_suffix(&[0, 0, 0xFF, 0xFF]).unwrap().to_vec()
}

fn extensions(head: &str) -> Option<&str> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-extensions").then_some(value)
    })
}

#[tokio::test]
async fn a_client_and_a_server_that_both_want_it_compress_in_both_directions() {
    let server = WebsocketServer::new(server());
    let mut events = server.events();
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr).compression(Compression::new())).unwrap();
    let mut client_events = client.events();
    within(client.connect()).await.unwrap();
    let connection = opened(&mut events).await;
    assert!(connection.is_compressed() && client.connection().unwrap().is_compressed());
    let document = document();
    for text in [document.as_str(), "short", "", &document] {
        client.send_text(text).await.unwrap();
        assert_eq!(received(&mut events).await, Message::text(text));
        connection.send_text(text).await.unwrap();
        assert_eq!(message(&mut client_events).await, Message::text(text));
    }
    client.send(document.as_bytes().to_vec()).await.unwrap();
    assert_eq!(received(&mut events).await, Message::binary(document.clone().into_bytes()));
    // On the wire it was a fraction of that, and for the application it was not.
    let statistics = connection.statistics();
    assert_eq!(statistics.bytes_received, 3 * document.len() as u64 + 5);
    assert!(statistics.bytes_sent < document.len() as u64, "{statistics:?}");
    within(client.disconnect()).await;
    within(server.stop()).await;
}

#[tokio::test]
async fn neither_end_compresses_what_the_other_does_not_want() {
    for (server_wants, client_wants) in [(false, false), (false, true), (true, false)] {
        let server = WebsocketServer::new(if server_wants { server() } else { ServerParams::local() });
        let mut events = server.events();
        let addr = started(&server).await;
        let params = if client_wants { params(addr).compression(Compression::new()) } else { params(addr) };
        let client = connected(params).await;
        let connection = opened(&mut events).await;
        assert!(!connection.is_compressed() && !client.connection().unwrap().is_compressed());
        client.send_text(document()).await.unwrap();
        assert_eq!(received(&mut events).await, Message::text(document()));
    }
}

#[tokio::test]
async fn the_answer_has_the_extension_only_if_it_was_agreed_on() {
    let params = server().compression_if(|request| request.head().query("plain").is_none());
    let server = WebsocketServer::new(params);
    let mut events = server.events();
    let addr = started(&server).await;
    let safari = "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                  Version/15.2 Safari/605.1.15\r\n";
    for (target, headers, answer) in [
        ("/", OFFER.to_owned(), Some("")),
        ("/", OFFER.replace("deflate", "deflate; client_max_window_bits"), Some("")),
        (
            "/",
            OFFER.replace("deflate", "deflate; server_max_window_bits=10"),
            Some("; server_max_window_bits=10"),
        ),
        ("/", OFFER.replace("deflate", "deflate; mode=fast"), None),
        ("/", String::new(), None),
        ("/?plain", OFFER.to_owned(), None),
        ("/", OFFER.to_owned() + safari, None),
    ] {
        let mut peer = RawPeer::connect(addr).await;
        let head = peer.request(target, &headers).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let expected = answer.map(|bits| {
            format!("permessage-deflate; server_no_context_takeover; client_no_context_takeover{bits}")
        });
        assert_eq!(extensions(&head), expected.as_deref(), "{target} {headers}");
        let connection = opened(&mut events).await;
        assert_eq!(connection.is_compressed(), answer.is_some());
        assert_eq!(connection.header("sec-websocket-extensions"), None, "of no use any more");
        // Without an agreement a compressed frame is a breach.
        peer.frame(COMPRESSED_TEXT, &deflated(&mut Compress::new(Default::default(), false), "hi")).await;
        match answer {
            Some(_) => assert_eq!(received(&mut events).await, Message::text("hi")),
            None => assert_eq!(peer.next().await.unwrap().close_code(), Some(1002)),
        }
    }
}

#[tokio::test]
async fn a_header_that_cannot_be_read_is_refused_with_400_and_only_where_it_is_looked_at() {
    let bad = "Sec-WebSocket-Extensions: permessage-deflate; =\r\n";
    for (params, status) in [(server(), 400), (ServerParams::local(), 101)] {
        let server = WebsocketServer::new(params);
        let addr = started(&server).await;
        let mut peer = RawPeer::connect(addr).await;
        let head = peer.request("/", bad).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        if status == 400 {
            let body = String::from_utf8(peer.all().await).unwrap();
            assert_eq!(body, "Sec-WebSocket-Extensions is malformed");
        }
    }
}

#[tokio::test]
async fn a_hook_that_panics_refuses_the_client_with_500_and_no_other() {
    let params = server().compression_if(|request| match request.head().query("bad") {
        Some(_) => panic!("the hook"),
        None => true,
    });
    let server = WebsocketServer::new(params);
    let addr = started(&server).await;
    for (target, status) in [("/?bad", "500"), ("/", "101")] {
        let mut peer = RawPeer::connect(addr).await;
        let head = peer.request(target, OFFER).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
    // Who offers nothing is not asked about.
    let head = RawPeer::connect(addr).await.request("/?bad", "").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

#[tokio::test]
async fn an_unauthorized_client_is_answered_without_the_extension() {
    use websockets_simple_server::{MemoryUsers, UnauthorizedDelivery, WebsocketServerAuth};
    let params = server().unauthorized_delivery(UnauthorizedDelivery::UpgradeAndClose);
    let server = WebsocketServerAuth::new(params, MemoryUsers::<String>::new());
    let addr = started(&server).await;
    let mut peer = RawPeer::connect(addr).await;
    let head = peer.request("/?token=unknown", OFFER).await;
    assert!(head.starts_with("HTTP/1.1 101 ") && extensions(&head).is_none(), "{head}");
    assert_eq!(peer.next().await.unwrap(), RawFrame::text("Unauthorized"));
}

#[tokio::test]
async fn a_broadcast_reaches_each_receiver_in_the_form_that_it_agreed_on() {
    let server = WebsocketServer::new(server());
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peers = Vec::new();
    for headers in [
        String::new(),
        OFFER.to_owned(),
        OFFER.replace("deflate", "deflate; server_max_window_bits=9"),
        OFFER.replace("deflate", "deflate; server_max_window_bits=8"),
        OFFER.to_owned(),
    ] {
        peers.push(RawPeer::open(addr, "/", &headers).await);
        opened(&mut events).await;
    }
    let document = document();
    server.broadcast(Message::text(document.clone())).unwrap();
    server.broadcast(Message::text("short")).unwrap();
    server.broadcast(Uncompressed(Json(&document))).unwrap();
    let mut frames = Vec::new();
    for peer in &mut peers {
        frames.push(peer.next().await.unwrap());
        assert_eq!(peer.next().await.unwrap(), RawFrame::text("short"));
        assert_eq!(peer.next().await.unwrap(), RawFrame::text(&format!("{document:?}")));
    }
    let [plain, window, small, least, other] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(plain, &RawFrame::text(&document));
    assert_eq!(least, plain, "zlib has no window of 8 bits");
    assert_eq!(window, other);
    for compressed in [window, small] {
        assert_eq!((compressed.first, inflated(compressed)), (COMPRESSED_TEXT, document.clone()));
        assert!(compressed.payload.len() < document.len() / 2);
    }
}

#[tokio::test]
async fn messages_in_parts_go_as_they_are_between_compressed_ones() {
    let server = WebsocketServer::new(server());
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = RawPeer::open(addr, "/", OFFER).await;
    let connection = opened(&mut events).await;
    let document = document();
    connection.send_text(document.clone()).await.unwrap();
    let mut writer = connection.send_parts::<str>().await.unwrap();
    writer.write(&document).await.unwrap();
    connection.try_send(Message::text(document.clone())).unwrap();
    writer.finish().await.unwrap();
    let first = peer.next().await.unwrap();
    assert_eq!((first.first, inflated(&first)), (COMPRESSED_TEXT, document.clone()));
    assert_eq!(peer.next().await.unwrap(), RawFrame { first: 0x01, payload: document.clone().into_bytes() });
    let mut last = peer.next().await.unwrap();
    assert_eq!(last.first & 0x7F, 0, "a continuation without RSV1");
    if last.first == 0 {
        last = peer.next().await.unwrap();
    }
    assert_eq!(last.first, 0x80);
    let compressed = peer.next().await.unwrap();
    assert_eq!((compressed.first, inflated(&compressed)), (COMPRESSED_TEXT, document));
}

/// A server that answers the offer with this.
async fn foreign(answer: &'static str) -> (WebsocketClient, tokio::task::JoinHandle<RawPeer>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = params(listener.local_addr().unwrap()).compression(Compression::new());
    let server = tokio::spawn(async move {
        let headers = format!("Sec-WebSocket-Extensions: {answer}\r\n");
        RawPeer::accept_with(&listener, &headers).await.1
    });
    (WebsocketClient::new(client).unwrap(), server)
}

#[tokio::test]
async fn a_client_keeps_a_window_for_a_server_that_does_and_sends_what_that_can_read() {
    let (client, server) = foreign("permessage-deflate; client_max_window_bits=9").await;
    let mut events = client.events();
    within(client.connect()).await.unwrap();
    let mut server = within(server).await.unwrap();
    let mut window = Compress::new(Default::default(), false);
    let document = document();
    let (first, again) = (deflated(&mut window, &document), deflated(&mut window, &document));
    assert!(again.len() < first.len());
    for payload in [&first, &again] {
        server.write(&unmasked(COMPRESSED_TEXT, payload)).await;
        assert_eq!(message(&mut events).await, Message::text(document.clone()));
    }
    client.send_text(document.clone()).await.unwrap();
    let sent = server.next().await.unwrap();
    let mut text = Vec::with_capacity(1 << 20);
    let payload = [&sent.payload[..], &[0, 0, 0xFF, 0xFF]].concat();
    let mut small = Decompress::new_with_window_bits(false, 9);
    small.decompress_vec(&payload, &mut text, FlushDecompress::Sync).unwrap();
    assert_eq!((sent.first, text), (COMPRESSED_TEXT, document.into_bytes()));
}

#[tokio::test]
async fn a_client_refuses_an_answer_that_it_did_not_ask_for_or_cannot_read() {
    for (answer, why) in [
        ("permessage-bzip2", "it chooses an extension that was not offered"),
        ("permessage-deflate, permessage-deflate", "it chooses an extension that was not offered"),
        (
            "permessage-deflate; server_max_window_bits=7",
            "it chooses permessage-deflate with parameters that are not valid",
        ),
        (
            "permessage-deflate; client_max_window_bits",
            "it chooses permessage-deflate with parameters that are not valid",
        ),
        ("permessage-deflate; \"", "Sec-WebSocket-Extensions is malformed"),
    ] {
        let (client, server) = foreign(answer).await;
        match within(client.connect()).await.unwrap_err() {
            ConnectError::BadResponse(text) => assert_eq!(text, why, "{answer}"),
            error => panic!("{answer}: {error:?}"),
        }
        within(server).await.unwrap();
    }
    // A server that knows no extensions is fine.
    let (client, server) = foreign(",").await;
    within(client.connect()).await.unwrap();
    assert!(!client.connection().unwrap().is_compressed());
    within(server).await.unwrap();
}

#[tokio::test]
async fn a_level_that_zlib_does_not_have_is_an_error_before_anything_is_opened() {
    for level in [0, 10, 255] {
        let compression = Compression::new().level(level);
        let server = WebsocketServer::new(ServerParams::local().compression(compression));
        let error = server.start().await.unwrap_err();
        assert!(matches!(error, StartError::Params(ParamsError::CompressionLevel)), "{error:?}");
        let client = WebsocketClient::new(params(([127, 0, 0, 1], 1).into()).compression(compression));
        assert_eq!(client.unwrap_err().to_string(), "the compression level is not one of 1 to 9");
    }
    for level in 1..=9 {
        let server = WebsocketServer::new(server().compression(Compression::new().level(level)));
        let addr = started(&server).await;
        let client = WebsocketClient::new(params(addr).compression(Compression::new().level(level))).unwrap();
        let mut events = client.events();
        server.on_message(|connection, message| async move {
            let _ = connection.send(message).await;
        });
        within(client.connect()).await.unwrap();
        client.send_text(document()).await.unwrap();
        assert_eq!(message(&mut events).await, Message::text(document()));
    }
}

#[tokio::test]
async fn events_of_sent_messages_show_the_message_and_not_what_became_of_it() {
    let server = WebsocketServer::new(server());
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr).compression(Compression::new())).unwrap();
    let mut events = client.events_with(SubscribeOptions::default().sent());
    within(client.connect()).await.unwrap();
    client.send_text(document()).await.unwrap();
    let sent = within(async {
        loop {
            if let ClientEvent::Message(event) = events.recv().await.unwrap() {
                return event.message;
            }
        }
    });
    assert_eq!(sent.await, Message::text(document()));
}
