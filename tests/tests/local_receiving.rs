//! A connection as a loop: a future of the application that receives its messages.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{future::pending, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::Request, response::IntoResponse, routing::get};
use tokio::{
    net::TcpListener,
    sync::{
        Notify,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
};
use websockets_simple_client::WebsocketClient;
use websockets_simple_server::{
    Anonymous, CloseCode, EndedBy, ErrorStage, Inbound, Limits, LocalConnection, Message, OverflowPolicy,
    SendError, ServerParams, WebsocketServer,
};
use websockets_simple_tests::{ended, failed, message, opened, params, raw::RawPeer, received, within};

/// What a future has to report.
type Report = UnboundedSender<String>;

/// An application whose only route makes local connections with this work.
async fn serve<F, Fut>(
    params: ServerParams,
    work: F,
) -> (WebsocketServer, SocketAddr, UnboundedReceiver<String>)
where
    F: Fn(LocalConnection<Anonymous>, Report) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let server = WebsocketServer::new(params);
    server.start().await.unwrap();
    let (report, reports) = unbounded_channel();
    let application = server.clone();
    let enter = move |request: Request| {
        let (work, report) = (work.clone(), report.clone());
        let upgrade = application.upgrade(request).local(move |connection| work(connection, report));
        async move { upgrade.await.into_response() }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = Router::new().route("/ws", get(enter)).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (server, addr, reports)
}

async fn next(reports: &mut UnboundedReceiver<String>) -> String {
    within(reports.recv()).await.unwrap()
}

/// Answers every message, and reports when there are no more.
async fn echo(mut connection: LocalConnection<Anonymous>, report: Report) {
    while let Some(message) = connection.recv().await {
        report.send(message.to_string()).unwrap();
        let _ = connection.send(message).await;
    }
    let late = connection.send_text("late").await;
    assert!(matches!(late, Err(SendError::Closed)), "{late:?}");
    let end = connection.end().unwrap();
    report.send(format!("{:?} {:?}", end.by, end.code)).unwrap();
}

#[tokio::test]
async fn a_future_receives_all_messages_in_order_then_none_and_goes_on_after_its_loop() {
    let (server, addr, mut reports) = serve(ServerParams::mounted(), echo).await;
    let mut events = server.events();
    let mut peer = RawPeer::open(addr, "/ws", "").await;
    let connection = opened(&mut events).await;
    peer.text("one").await;
    peer.text("two").await;
    assert_eq!(within(peer.next()).await.unwrap().as_text(), "one");
    assert_eq!(within(peer.next()).await.unwrap().as_text(), "two");
    // The rest comes with its end.
    for text in ["three", ""] {
        peer.text(text).await;
    }
    peer.frame(0x88, &1001_u16.to_be_bytes()).await;
    drop(peer);
    for expected in ["one", "two", "three", "", "Peer Some(1001)"] {
        assert_eq!(next(&mut reports).await, expected);
    }
    // Each was an event as well.
    for text in ["one", "two", "three", ""] {
        assert_eq!(received(&mut events).await.as_text(), Some(text));
    }
    assert_eq!(ended(&mut events).await.by, EndedBy::Peer);
    assert!(!connection.is_open());
}

#[tokio::test]
async fn a_future_that_does_not_receive_holds_its_peer_back_and_none_of_its_messages_is_lost() {
    const SIZE: usize = 60_000;
    let go_on = Arc::new(Notify::new());
    let pause = Arc::clone(&go_on);
    let limits = Limits::default().messages_per_second(None::<u32>).bytes_per_second(None::<u64>);
    let (server, addr, mut reports) =
        serve(ServerParams::mounted().limits(limits), move |mut connection, report| {
            let pause = Arc::clone(&pause);
            async move {
                pause.notified().await;
                while let Some(message) = connection.recv().await {
                    report.send(message.len().to_string()).unwrap();
                }
            }
        })
        .await;
    let mut events = server.events();
    let policy = OverflowPolicy::Wait(Duration::from_secs(20));
    let client = WebsocketClient::new(params(addr).path("/ws").overflow(policy)).unwrap();
    client.connect().await.unwrap();
    let connection = opened(&mut events).await;
    // A stream that is not read would hold the peer back as well.
    drop(events);
    // Nothing but a client's full outbox ends this, behind the full buffers of both sockets.
    let mut sent = 0_usize;
    while client.try_send(vec![0; SIZE + sent % 100]).is_ok() {
        sent += 1;
        assert!(sent * SIZE < 256 * 1024 * 1024, "nothing holds the peer back");
        tokio::task::yield_now().await;
    }
    // What waits for the future, what waits for a handler, and one read.
    assert!(connection.statistics().bytes_received < 512 * 1024, "{:?}", connection.statistics());
    go_on.notify_one();
    for n in 0..sent {
        assert_eq!(next(&mut reports).await, (SIZE + n % 100).to_string());
    }
}

#[tokio::test]
async fn a_receive_that_is_given_up_loses_no_message() {
    let (_server, addr, mut reports) = serve(ServerParams::mounted(), |mut connection, report| async move {
        loop {
            tokio::select! {
                biased;
                received = connection.recv() => match received {
                    Some(message) => report.send(message.to_string()).unwrap(),
                    None => return,
                },
                () = tokio::task::yield_now() => {}
            }
        }
    })
    .await;
    let mut peer = RawPeer::open(addr, "/ws", "").await;
    for n in 0..500 {
        peer.text(&n.to_string()).await;
    }
    for n in 0..500 {
        assert_eq!(next(&mut reports).await, n.to_string());
    }
}

#[tokio::test]
async fn one_half_receives_while_the_other_sends() {
    let (_server, addr, mut reports) = serve(ServerParams::mounted(), |connection, report| async move {
        let (connection, mut messages) = connection.split();
        let sending = async {
            for n in 0..100 {
                connection.send_text(n.to_string()).await.unwrap();
            }
            pending::<()>().await;
        };
        let receiving = async {
            while let Some(message) = messages.recv().await {
                report.send(message.to_string()).unwrap();
            }
        };
        tokio::select! {
            () = sending => {}
            () = receiving => report.send("the end".to_owned()).unwrap(),
        }
    })
    .await;
    let client = WebsocketClient::new(params(addr).path("/ws")).unwrap();
    let mut heard = client.events();
    client.connect().await.unwrap();
    client.send_text("hello").await.unwrap();
    for n in 0..100 {
        assert_eq!(message(&mut heard).await, Message::from(n.to_string()));
    }
    client.disconnect().await;
    assert_eq!([next(&mut reports).await, next(&mut reports).await], ["hello", "the end"]);
}

#[tokio::test]
async fn whoever_drops_the_messages_is_not_held_up_by_them() {
    struct OnDrop(Report);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            let _ = self.0.send("dropped".to_owned());
        }
    }
    let (server, addr, mut reports) = serve(ServerParams::mounted(), |connection, report| async move {
        let _on_drop = OnDrop(report);
        let (_connection, _) = connection.split();
        pending().await
    })
    .await;
    let mut events = server.events();
    let mut peer = RawPeer::open(addr, "/ws", "").await;
    let _ = opened(&mut events).await;
    // Twice what would wait for the future and for a handler.
    for _ in 0..260 {
        peer.frame(0x82, &[0; 1000]).await;
        received(&mut events).await;
    }
    drop(peer);
    assert_eq!(ended(&mut events).await.by, EndedBy::Transport);
    assert_eq!(next(&mut reports).await, "dropped");
}

#[tokio::test]
async fn a_connection_ends_although_its_future_has_never_received_what_waits() {
    let params = ServerParams::mounted().close_timeout(Duration::from_millis(100));
    let (server, addr, mut reports) = serve(params, |connection, report| async move {
        report.send("began".to_owned()).unwrap();
        let _connection = connection;
        pending().await
    })
    .await;
    let mut events = server.events();
    let mut peer = RawPeer::open(addr, "/ws", "").await;
    let connection = opened(&mut events).await;
    assert_eq!(next(&mut reports).await, "began");
    for _ in 0..200 {
        peer.frame(0x82, &[0; 1000]).await;
    }
    // One waits for room by then, behind the 52 that fit into 64 KiB.
    for _ in 0..53 {
        received(&mut events).await;
    }
    connection.close(CloseCode::NORMAL, "");
    assert_eq!(ended(&mut events).await.by, EndedBy::Local);
}

#[tokio::test]
async fn a_stop_waits_for_a_future_that_is_told_and_drops_one_that_does_not_care() {
    let (server, addr, mut reports) = serve(ServerParams::mounted(), echo).await;
    let mut peer = RawPeer::open(addr, "/ws", "").await;
    peer.text("hello").await;
    assert_eq!(next(&mut reports).await, "hello");
    let stopping = tokio::spawn({
        let server = server.clone();
        async move { server.stop().await }
    });
    assert_eq!(within(peer.next()).await.unwrap().as_text(), "hello");
    assert_eq!(within(peer.next()).await.unwrap().close_code(), Some(1001));
    peer.frame(0x88, &1001_u16.to_be_bytes()).await;
    assert_eq!(next(&mut reports).await, "Stop Some(1001)");
    let report = within(stopping).await.unwrap();
    assert_eq!((report.clean, report.unclean, report.dropped), (1, 0, 0));

    let params = ServerParams::mounted().stop_timeout(Duration::from_millis(100));
    let (server, addr, mut reports) = serve(params, |mut connection, report| async move {
        connection.recv().await.unwrap();
        report.send("received".to_owned()).unwrap();
        pending().await
    })
    .await;
    let mut peer = RawPeer::open(addr, "/ws", "").await;
    peer.text("hello").await;
    assert_eq!(next(&mut reports).await, "received");
    let stopping = tokio::spawn(async move { server.stop().await });
    assert_eq!(within(peer.next()).await.unwrap().close_code(), Some(1001));
    peer.frame(0x88, &1001_u16.to_be_bytes()).await;
    let report = within(stopping).await.unwrap();
    assert_eq!((report.clean, report.unclean, report.dropped), (0, 0, 1));
}

#[tokio::test]
async fn a_future_that_receives_may_stop_the_server() {
    let (server, addr, mut reports) = serve(ServerParams::mounted(), |mut connection, report| async move {
        connection.recv().await.unwrap();
        let stopped = connection.server().stop().await;
        report.send(format!("{}", stopped.dropped)).unwrap();
    })
    .await;
    let mut peer = RawPeer::open(addr, "/ws", "").await;
    peer.text("stop").await;
    assert_eq!(next(&mut reports).await, "0");
    assert!(!server.is_running());
}

#[tokio::test]
async fn a_panic_after_the_end_is_told_and_the_next_connection_is_served() {
    let (server, addr, _reports) = serve(ServerParams::mounted(), |mut connection, _| async move {
        while connection.recv().await.is_some() {}
        panic!("after the loop");
    })
    .await;
    let mut events = server.events();
    for _ in 0..2 {
        let mut peer = RawPeer::open(addr, "/ws", "").await;
        peer.text("hello").await;
        received(&mut events).await;
        drop(peer);
        assert_eq!(ended(&mut events).await.by, EndedBy::Transport);
        assert_eq!(failed(&mut events).await, ErrorStage::HandlerPanic);
    }
}

#[tokio::test]
async fn after_a_refused_message_nothing_that_waits_is_received() {
    let (server, addr, mut reports) =
        serve(ServerParams::mounted(), |mut connection, report: Report| async move {
            report.send(connection.recv().await.unwrap().to_string()).unwrap();
            while connection.is_open() {
                tokio::task::yield_now().await;
            }
            assert_eq!(connection.try_recv(), None);
            report.send(format!("{:?}", connection.recv().await)).unwrap();
        })
        .await;
    let _same = server.clone().with_inbound(|_, message| match message.as_text() {
        Some("refused") => Inbound::Refuse(CloseCode::POLICY, "no".to_owned()),
        _ => Inbound::Deliver(message),
    });
    let mut peer = RawPeer::open(addr, "/ws", "").await;
    peer.text("one").await;
    assert_eq!(next(&mut reports).await, "one");
    for text in ["two", "refused", "three"] {
        peer.text(text).await;
    }
    assert_eq!(peer.rest().await.last().unwrap().close_code(), Some(1008));
    drop(peer);
    assert_eq!(next(&mut reports).await, "None");
}
