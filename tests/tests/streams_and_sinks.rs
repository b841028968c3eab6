//! A client and connections as streams and sinks, and the short ways to open one.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::{Sink, SinkExt, StreamExt, stream};
use serde::Deserialize;
use tokio::net::TcpListener;
use websockets_simple_client::{
    ClientParams, ConnectError, DecodeError, DefaultPacket, Message, MessageParts, OpenError, OverflowPolicy,
    ParamsError, Reconnect, SendError, Url, WebsocketClient, connect, params::Offline,
};
use websockets_simple_server::{ServerParams, WebsocketServer};
use websockets_simple_tests::{
    connected, opened, params,
    raw::{RawPeer, unmasked},
    received, started, within,
};

async fn listener() -> (TcpListener, ClientParams) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let params = params(listener.local_addr().unwrap());
    (listener, params)
}

/// A connected client, and the raw end of its connection.
async fn pair(params: ClientParams, listener: &TcpListener) -> (WebsocketClient, RawPeer) {
    let client = WebsocketClient::new(params).unwrap();
    let connecting = tokio::spawn({
        let client = client.clone();
        async move { client.connect().await.map(drop) }
    });
    let peer = RawPeer::accept(listener).await;
    within(connecting).await.unwrap().unwrap();
    (client, peer)
}

#[tokio::test]
async fn messages_are_those_of_all_connections_without_other_events_and_parts() {
    let (listener, params) = listener().await;
    let params = params.message_parts(MessageParts::new(16 * 1024, 1 << 20));
    let reconnect = Reconnect::new().delays(Duration::from_millis(1), Duration::from_millis(1));
    let client = WebsocketClient::new(params.reconnect(reconnect)).unwrap();
    let mut messages = client.messages();
    assert!(messages.try_recv().is_none());
    client.start();
    for round in ["one", "two"] {
        let mut peer = RawPeer::accept(&listener).await;
        let large = vec![b'x'; 20_000];
        let mut frame = vec![0x82, 126];
        frame.extend(u16::try_from(large.len()).unwrap().to_be_bytes());
        frame.extend(large);
        peer.write(&frame).await;
        peer.write(&unmasked(0x81, round.as_bytes())).await;
        assert_eq!(within(messages.recv()).await, Some(Message::text(round)));
    }
    let mut stream = messages.map(|message| message.to_string());
    let _peer = RawPeer::accept(&listener).await;
    drop(client);
    assert_eq!(within(stream.next()).await, None, "the client is gone");
}

#[derive(Debug, Deserialize, PartialEq)]
struct Quote {
    symbol: String,
    price: f64,
}

#[tokio::test]
async fn packets_and_values_are_read_and_what_cannot_be_is_an_error_and_not_the_end() {
    let (listener, params) = listener().await;
    let client = WebsocketClient::new(params).unwrap();
    let (mut packets, mut quotes) = (client.packets::<DefaultPacket>(), client.values::<Quote>());
    let connecting = tokio::spawn(async move {
        client.connect().await.unwrap();
        client
    });
    let mut peer = RawPeer::accept(&listener).await;
    let client = within(connecting).await.unwrap();
    let quote = br#"{"symbol":"ACME","price":12.5}"#;
    for (first, payload) in [(0x81, &quote[..]), (0x82, b"\x00"), (0x81, b"just words"), (0x81, quote)] {
        peer.write(&unmasked(first, payload)).await;
    }
    let acme = || Quote { symbol: "ACME".to_owned(), price: 12.5 };
    assert_eq!(within(quotes.recv()).await.unwrap().unwrap(), acme());
    assert!(matches!(within(quotes.recv()).await, Some(Err(DecodeError::Binary))));
    assert!(matches!(within(quotes.next()).await, Some(Err(DecodeError::Json { .. }))));
    assert_eq!(within(quotes.next()).await.unwrap().unwrap(), acme());
    assert_eq!(within(packets.next()).await.unwrap().unwrap().data, String::from_utf8_lossy(quote));
    assert!(matches!(within(packets.recv()).await, Some(Err(DecodeError::Binary))));
    assert_eq!(packets.try_recv().unwrap().unwrap().data, "just words");
    drop(client);
}

/// The message of this number, which fills a good part of a small outbox.
fn numbered(number: u32) -> Message {
    Message::binary([&number.to_be_bytes()[..], &[0; 60_000]].concat())
}

/// Fills a sink until it holds its producer back. Returns how many messages it took.
async fn fill(sink: &mut (impl Sink<Message, Error = SendError> + Unpin)) -> u32 {
    for number in 0.. {
        let polled = Pin::new(&mut *sink).poll_ready(&mut Context::from_waker(Waker::noop()));
        match polled {
            Poll::Ready(ready) => ready.unwrap(),
            Poll::Pending => return number,
        }
        Pin::new(&mut *sink).start_send(numbered(number)).unwrap();
        tokio::task::yield_now().await;
    }
    unreachable!("it has to have an end")
}

async fn numbers_of(peer: &mut RawPeer, count: u32) {
    for number in 0..count {
        let frame = within(peer.next()).await.unwrap();
        assert_eq!(frame.payload[..4], number.to_be_bytes());
    }
}

#[tokio::test]
async fn a_sink_holds_its_producer_back_while_the_peer_does_not_read_and_loses_nothing() {
    for of_client in [true, false] {
        let (listener, params) = listener().await;
        let (client, mut peer) = pair(params.outbox(100_000).send_buffer(50_000), &listener).await;
        let connection = client.connection().unwrap();
        let taken = if of_client {
            let mut sink = client.sink();
            let taken = fill(&mut sink).await;
            let flushing = tokio::spawn(async move { sink.close().await });
            numbers_of(&mut peer, taken).await;
            within(flushing).await.unwrap().unwrap();
            taken
        } else {
            let mut sink = connection.sink();
            let taken = fill(&mut sink).await;
            // The one that waits is not sent.
            drop(sink);
            numbers_of(&mut peer, taken - 1).await;
            taken
        };
        assert!(taken > 1, "{taken}");
        client.send_text("after").await.unwrap();
        assert_eq!(within(peer.next()).await.unwrap().as_text(), "after", "closing a sink closes nothing");
    }
}

#[tokio::test]
async fn a_stream_is_forwarded_into_a_client_and_echoed_by_the_sink_of_a_server() {
    let server = WebsocketServer::new(ServerParams::local());
    server.on_message(|connection, message| async move {
        connection.sink().send(message).await.unwrap();
    });
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr)).unwrap();
    let messages = client.messages();
    within(client.connect()).await.unwrap();
    let texts = || (0..1000).map(|number| Message::text(number.to_string()));
    within(stream::iter(texts()).map(Ok).forward(client.sink())).await.unwrap();
    let echoed: Vec<_> = within(messages.take(1000).collect()).await;
    assert!(echoed.into_iter().eq(texts()));
}

#[tokio::test]
async fn a_sink_fails_without_a_connection_and_goes_on_with_the_next_one() {
    let (listener, params) = listener().await;
    let client = WebsocketClient::new(params).unwrap();
    let mut sink = client.sink();
    assert!(matches!(sink.send(Message::text("early")).await, Err(SendError::Closed)));
    let connecting = tokio::spawn(async move { client.connect().await.map(drop) });
    let mut peer = RawPeer::accept(&listener).await;
    within(connecting).await.unwrap().unwrap();
    // The sink is a handle of the client.
    sink.send(Message::text("later")).await.unwrap();
    assert_eq!(within(peer.next()).await.unwrap().as_text(), "later");
}

#[tokio::test]
async fn a_sink_waits_for_a_connection_where_that_is_asked_for_and_for_room_as_long_as_the_policy_says() {
    let (listener, params) = listener().await;
    let params = params.reconnect(Reconnect::new()).offline(Offline::Wait(Duration::from_secs(3600)));
    let policy = OverflowPolicy::Wait(Duration::from_millis(20));
    let client = WebsocketClient::new(params.outbox(100_000).send_buffer(50_000).overflow(policy)).unwrap();
    client.start();
    let mut sink = client.sink();
    {
        let mut sending = pin!(sink.send(Message::text("patient")));
        let polled = sending.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        let mut peer = RawPeer::accept(&listener).await;
        within(sending).await.unwrap();
        assert_eq!(within(peer.next()).await.unwrap().as_text(), "patient");
        fill(&mut sink).await;
        let late = within(sink.flush()).await;
        assert!(matches!(late, Err(SendError::Timeout)), "{late:?}");
    }
}

#[tokio::test]
async fn a_handler_with_a_weak_handle_does_not_keep_its_client() {
    let server = WebsocketServer::new(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let client = connected(params(addr)).await;
    let weak = client.downgrade();
    client.on_message({
        let weak = weak.clone();
        move |_, message| {
            let client = weak.upgrade();
            async move {
                client.expect("it is there").send(message).await.unwrap();
            }
        }
    });
    let connection = opened(&mut events).await;
    connection.send_text("hello").await.unwrap();
    assert_eq!(received(&mut events).await, Message::text("hello"));
    assert_eq!(weak.upgrade().unwrap().connection(), client.connection());
    drop(client);
    assert_eq!(within(connection.closed()).await.code, Some(1001));
    assert!(weak.upgrade().is_none());
}

#[tokio::test]
async fn a_client_is_opened_by_its_url_in_any_form_or_its_parameters() {
    let server = WebsocketServer::new(ServerParams::local());
    server.on_connect(|connection| async move {
        let _ = connection.send_text(connection.channel().to_owned()).await;
    });
    let text = format!("ws://{}/news", started(&server).await);
    let url = Url::parse(&text).unwrap();
    let parsed: ClientParams = text.parse().unwrap();
    for opening in [
        Box::pin(connect(text.as_str())) as Pin<Box<dyn Future<Output = _>>>,
        Box::pin(connect(text.clone())),
        Box::pin(connect(&text)),
        Box::pin(connect(&url)),
        Box::pin(connect(url.clone())),
        Box::pin(connect(parsed)),
    ] {
        let (client, mut events) = within(opening).await.unwrap();
        let mut opened = None;
        let message = within(async {
            loop {
                let event = events.recv().await.unwrap();
                opened = event.connected().cloned().or_else(|| opened.take());
                if let Some(message) = event.message() {
                    assert!(event.disconnected().is_none());
                    assert_eq!(event.clone().into_message().as_ref(), Some(message));
                    return message.clone();
                }
            }
        })
        .await;
        assert_eq!((message, opened), (Message::text("/news"), client.connection()));
        within(client.disconnect()).await;
        let end = within(async {
            loop {
                if let Some((_, end)) = events.recv().await.unwrap().disconnected() {
                    return end.clone();
                }
            }
        })
        .await;
        assert_eq!(end.code, Some(1000));
    }
    let failed = connect("ftp://localhost").await.err();
    assert!(matches!(failed, Some(OpenError::Params(ParamsError::Url(_)))), "{failed:?}");
    let (listener, _) = listener().await;
    let nowhere = format!("ws://{}", listener.local_addr().unwrap());
    drop(listener);
    let failed = connect(nowhere).await.err();
    assert!(matches!(failed, Some(OpenError::Connect(ConnectError::Connect(_)))), "{failed:?}");
    let zoned = ClientParams::try_from("ws://[fe80::1%25lo]:8080/").unwrap();
    assert!(format!("{zoned:?}").contains("fe80::1%lo"), "{zoned:?}");
}
