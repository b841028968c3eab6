//! What Pode's signals can do, done with this library: the rows of `docs/pode.md` that no other test shows.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    response::{Html, IntoResponse, Response},
    routing::{MethodRouter, get},
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use websockets_simple_client::{ClientEvent, ClientParams, Events, WebsocketClient};
use websockets_simple_server::{
    Anonymous, ChannelEventKind, ClientId, CloseCode, Connection, EventMetadata, IdSigning, Message,
    Placement, ServerParams, SignalDefault, WebsocketServer,
};
use websockets_simple_tests::{ended, message, opened, raw::RawPeer, started, text, within};

/// A route that converts requests into connections of this name. The query may say a group and an id.
fn convert(name: &'static str) -> MethodRouter<WebsocketServer> {
    get(async move |State(server): State<WebsocketServer>, request: Request| -> Response {
        let mut place = Placement::new().channel(name);
        for pair in request.uri().query().unwrap_or_default().split('&') {
            match pair.split_once('=') {
                Some(("group", group)) => place = place.group(group),
                Some(("id", id)) => place = place.client_id(ClientId::new(id).unwrap()),
                _ => {}
            }
        }
        server.upgrade(request).placement(place).await.into_response()
    })
}

/// An HTTP server with these routes, whose WebSockets are the server's.
async fn application(params: ServerParams, routes: Router<WebsocketServer>) -> (WebsocketServer, SocketAddr) {
    let server = WebsocketServer::new(params);
    server.start().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = routes.with_state(server.clone()).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (server, addr)
}

/// What `new WebSocket(url)` is in a browser.
struct Browser {
    client: WebsocketClient,
    heard: Events<ClientEvent>,
    connection: Connection<Anonymous>,
}

impl Browser {
    async fn open(server: &WebsocketServer, addr: SocketAddr, path: &str) -> Self {
        let mut events = server.events();
        let client = WebsocketClient::new(ClientParams::url(&format!("ws://{addr}{path}")).unwrap()).unwrap();
        let heard = client.events();
        client.connect().await.unwrap();
        Self { client, heard, connection: opened(&mut events).await }
    }

    async fn says(&self, message: &str) {
        self.client.send(Message::text(json!({ "message": message }).to_string())).await.unwrap();
    }

    async fn hears(&mut self) -> String {
        text(&mut self.heard).await
    }

    /// Whether it has heard nothing that was sent before now.
    async fn hears_nothing(&mut self) -> bool {
        self.connection.try_send(Message::text("end")).unwrap();
        self.hears().await == "end"
    }
}

fn durations() -> Message {
    Message::text(json!({ "Durations": [123, 101, 104] }).to_string())
}

#[tokio::test]
async fn a_timer_sends_to_everybody_of_a_name() {
    let routes =
        Router::new().route("/response-times", convert("ResponseTimes")).route("/other", convert("Other"));
    let (server, addr) = application(ServerParams::mounted(), routes).await;
    let mut one = Browser::open(&server, addr, "/response-times").await;
    let mut two = Browser::open(&server, addr, "/response-times").await;
    let mut other = Browser::open(&server, addr, "/other").await;
    let schedule = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        loop {
            ticks.tick().await;
            server.to_channel("ResponseTimes").send(durations()).unwrap();
        }
    });
    for browser in [&mut one, &mut two] {
        for _ in 0..2 {
            let data: Value = serde_json::from_str(&browser.hears().await).unwrap();
            assert_eq!(data["Durations"][2], 104);
        }
    }
    assert!(other.hears_nothing().await);
    schedule.abort();
}

#[tokio::test]
async fn a_string_leaves_as_it_is_and_an_object_as_json_to_a_name_a_group_or_a_client() {
    let routes = Router::new().route("/response-times", convert("ResponseTimes"));
    let (server, addr) = application(ServerParams::mounted(), routes).await;
    let mut one = Browser::open(&server, addr, "/response-times?id=one&group=red").await;
    let mut two = Browser::open(&server, addr, "/response-times?id=two").await;
    let name = || server.to_channel("ResponseTimes");
    name().send(Message::text("Times: 123, 101, 104")).unwrap();
    name().send(durations()).unwrap();
    name().client(&ClientId::new("two").unwrap()).send(Message::text("to a client")).unwrap();
    name().group("red").send(Message::text("to a group")).unwrap();
    for (browser, last) in [(&mut one, "to a group"), (&mut two, "to a client")] {
        assert_eq!(browser.hears().await, "Times: 123, 101, 104");
        assert_eq!(browser.hears().await, r#"{"Durations":[123,101,104]}"#);
        assert_eq!(browser.hears().await, last);
        assert!(browser.hears_nothing().await);
    }
    // What is no `Message` is put into a packet, which a page for Pode does not expect.
    name().send("Times: 123, 101, 104").unwrap();
    assert!(message(&mut one.heard).await.as_text().unwrap().starts_with('{'));
}

#[tokio::test]
async fn the_date_is_sent_to_everybody_of_a_name_when_a_client_asks_for_it() {
    let routes = Router::new().route("/date", convert("Date"));
    let (server, addr) = application(ServerParams::mounted(), routes).await;
    server
        .route("Date", async |signal| {
            if signal.data.message.as_text().is_some_and(|said| said.eq_ignore_ascii_case("[date]")) {
                let date = Message::text(signal.timestamp.to_rfc3339());
                signal.connection.server().to_channel("Date").send(date).unwrap();
            }
        })
        .unwrap();
    let mut one = Browser::open(&server, addr, "/date").await;
    let mut two = Browser::open(&server, addr, "/date").await;
    one.says("[Date]").await;
    let date = one.hears().await;
    assert!(date.parse::<DateTime<Utc>>().is_ok(), "{date}");
    assert_eq!(two.hears().await, date);
    one.says("something else").await;
    one.says("[date]").await;
    assert!(two.hears().await.parse::<DateTime<Utc>>().is_ok(), "nothing else was sent on");
}

#[tokio::test]
async fn the_full_example_broadcasts_to_all_browsers() {
    let page = get(async || Html("<title>WebSockets</title>"));
    let routes = Router::new().route("/", page).route("/msg", convert("Msg"));
    let (server, addr) = application(ServerParams::mounted(), routes).await;
    server
        .route("Msg", async |signal| {
            let said = match signal.data.message.as_text() {
                Some(said) if said.eq_ignore_ascii_case("[date]") => signal.timestamp.to_rfc3339(),
                said => said.unwrap_or_default().into_owned(),
            };
            let data = Message::text(json!({ "message": said }).to_string());
            signal.connection.server().to_channel("Msg").send(data).unwrap();
        })
        .unwrap();
    let mut peer = RawPeer::connect(addr).await;
    peer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(String::from_utf8(peer.all().await).unwrap().ends_with("<title>WebSockets</title>"));
    let mut one = Browser::open(&server, addr, "/msg").await;
    let mut two = Browser::open(&server, addr, "/msg").await;
    one.says("hello").await;
    two.says("[date]").await;
    let mut dates = Vec::new();
    for browser in [&mut one, &mut two] {
        let mut heard = BTreeSet::from([browser.hears().await, browser.hears().await]);
        assert!(heard.remove(r#"{"message":"hello"}"#), "{heard:?}");
        dates.extend(heard);
    }
    let data: Value = serde_json::from_str(&dates[0]).unwrap();
    assert!(data["message"].as_str().unwrap().parse::<DateTime<Utc>>().is_ok(), "{data}");
    assert_eq!(dates[0], dates[1]);
}

#[tokio::test]
async fn on_the_servers_own_port_every_path_is_a_name() {
    let server = WebsocketServer::new(ServerParams::local());
    let addr = started(&server).await;
    let mut browser = Browser::open(&server, addr, "/messages").await;
    assert_eq!(server.to_channel("/messages").send(Message::text("hello")).unwrap().accepted, 1);
    assert_eq!(browser.hears().await, "hello");
}

#[tokio::test]
async fn connections_are_closed_by_id_by_group_and_by_name() {
    let routes = Router::new().route("/response-times", convert("ResponseTimes"));
    let (server, addr) = application(ServerParams::mounted(), routes).await;
    let mut events = server.events();
    let mut browsers = Vec::new();
    for query in ["id=one", "id=two&group=red", "id=three&group=red", "id=four"] {
        browsers.push(Browser::open(&server, addr, &format!("/response-times?{query}")).await);
    }
    let name = || server.to_channel("ResponseTimes");
    let mut left = 4;
    for (audience, closed) in
        [(name().client(&ClientId::new("one").unwrap()), 1), (name().group("red"), 2), (name(), 1)]
    {
        assert_eq!(audience.close(CloseCode::NORMAL, "bye"), closed);
        for _ in 0..closed {
            let end = ended(&mut events).await;
            assert!(end.clean && end.code == Some(1000), "{end:?}");
        }
        left -= closed;
        assert_eq!(server.connection_count(), left);
    }
}

#[tokio::test]
async fn an_event_tells_name_type_time_connection_and_metadata() {
    let routes = Router::new().route("/signal", convert("Example"));
    let (server, addr) = application(ServerParams::mounted(), routes).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let before = Utc::now();
    for kind in [ChannelEventKind::Connect, ChannelEventKind::Disconnect] {
        let told = Arc::clone(&told);
        let tell = move |event: websockets_simple_server::ChannelEvent<Anonymous>| {
            let (connection, metadata): (_, &EventMetadata) = (&event.connection, &event.metadata);
            assert_eq!((&*event.name, connection.channel()), ("Example", "Example"));
            assert!(event.timestamp >= before && event.timestamp <= Utc::now());
            metadata.insert("seen", true);
            let place = (connection.groups()[0].to_string(), connection.id().to_string());
            told.lock().unwrap().push((event.kind, place, metadata.get("seen")));
            async {}
        };
        server.register(kind, "Example", "OnIt", tell).unwrap();
    }
    let mut events = server.events();
    let browser = Browser::open(&server, addr, "/signal?id=one&group=red").await;
    browser.client.disconnect().await;
    ended(&mut events).await;
    // Waits for handlers.
    within(server.stop()).await;
    let place = ("red".to_owned(), "one".to_owned());
    let seen = Some(json!(true));
    assert_eq!(
        *told.lock().unwrap(),
        [
            (ChannelEventKind::Connect, place.clone(), seen.clone()),
            (ChannelEventKind::Disconnect, place, seen)
        ]
    );
}

/// The id that the answer to a handshake tells.
async fn told_id(addr: SocketAddr, path: &str) -> (RawPeer, String) {
    let mut peer = RawPeer::connect(addr).await;
    let head = peer.request(path, "User-Agent: Mozilla/5.0\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let told = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("X-PODE-SIGNAL-CLIENT-ID").then(|| value.to_owned())
    });
    (peer, told.unwrap())
}

#[tokio::test]
async fn ids_are_signed_in_the_form_of_the_document() {
    let path = "/response-times?id=5d12f974-7b1a-4524-ab93-6afbf42c4ffa";
    // Made with `hmac` and `hashlib` of Python.
    for (signing, signature) in [
        (IdSigning::new("super-secret"), "8qHWZA7dMwgbAO0uW3pncXp8U6YpaOJBiaXpPFqdVlg="),
        (IdSigning::new("super-secret").strict(true), "y98lGm+nDi9KIF6pfJCNZeLmwGtmHqTrrUINHkFdujg="),
    ] {
        let routes = Router::new().route("/response-times", convert("ResponseTimes"));
        let (server, addr) = application(ServerParams::mounted().id_signing(signing), routes).await;
        let mut events = server.events();
        let (_peer, told) = told_id(addr, path).await;
        assert_eq!(told, format!("s:5d12f974-7b1a-4524-ab93-6afbf42c4ffa.{signature}"));
        let id = opened(&mut events).await.id().to_string();
        assert_eq!(id, "5d12f974-7b1a-4524-ab93-6afbf42c4ffa", "the application sees it unsigned");
    }
}

#[tokio::test]
async fn what_a_secret_of_the_start_has_signed_is_wrong_after_a_restart() {
    let mut servers = Vec::new();
    for _ in 0..2 {
        let params = ServerParams::mounted().id_signing(IdSigning::random());
        let routes = Router::new().route("/response-times", convert("ResponseTimes"));
        let (server, addr) = application(params, routes).await;
        let mut events = server.events();
        let (peer, told) = told_id(addr, "/response-times?id=one").await;
        opened(&mut events).await;
        servers.push((server, told, peer));
    }
    for (asked, (server, ..)) in servers.iter().enumerate() {
        for (signer, (_, told, _)) in servers.iter().enumerate() {
            let request = Request::builder().header("X-PODE-SIGNAL-CLIENT-ID", told).body(()).unwrap();
            let caller = server.caller(&request.into_parts().0).await;
            assert_eq!(caller.is_some(), asked == signer, "{told}");
        }
    }
}

#[tokio::test]
async fn a_signal_may_name_an_id_without_its_signature() {
    let params = ServerParams::mounted().id_signing(IdSigning::random()).signals(SignalDefault::Rebroadcast);
    let routes = Router::new().route("/msg", convert("Msg"));
    let (server, addr) = application(params, routes).await;
    let mut one = Browser::open(&server, addr, "/msg?id=one").await;
    let mut two = Browser::open(&server, addr, "/msg?id=two").await;
    for id in ["two".to_owned(), two.connection.signed_id()] {
        let signal = json!({ "message": "hello", "clientId": id }).to_string();
        one.client.send(Message::text(signal)).await.unwrap();
        assert_eq!(two.hears().await, "hello");
    }
    assert!(one.hears_nothing().await);
}

#[test]
fn every_row_of_the_mapping_names_a_test_that_there_is() {
    let here = env!("CARGO_MANIFEST_DIR");
    let page = std::fs::read_to_string(format!("{here}/../docs/pode.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| test |"));
    let mut count = 0;
    for row in rows {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let (file, name) =
            cell.trim_matches('`').split_once(": ").unwrap_or_else(|| panic!("no test: {row}"));
        let code = std::fs::read_to_string(format!("{here}/tests/{file}.rs")).unwrap();
        let (_, test) =
            code.split_once(&format!("fn {name}(")).unwrap_or_else(|| panic!("no such test: {row}"));
        assert!(!test.is_empty());
        count += 1;
    }
    assert!(count > 40, "{count} rows");
}
