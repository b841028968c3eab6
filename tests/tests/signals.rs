//! Routes of signals, what happens without one, and events by name, against whole servers.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use websockets_simple_client::{ClientEvent, ClientParams, Events, WebsocketClient};
use websockets_simple_server::{
    Anonymous, BroadcastLevel, ChannelEventKind, ClientId, Connection, ErrorStage, Event, IdSigning, Message,
    Placement, RouteError, Server, ServerParams, SignalDefault, SignalError, SignalReach, WebsocketServer,
};
use websockets_simple_tests::{ended, next, opened, received, started, text, within};

struct Device {
    client: WebsocketClient,
    heard: Events<ClientEvent>,
    connection: Connection<Anonymous>,
}

impl Device {
    async fn open(server: &Server<Anonymous>, addr: SocketAddr, path: &str) -> Self {
        let mut events = server.events();
        let client = WebsocketClient::new(ClientParams::url(&format!("ws://{addr}{path}")).unwrap()).unwrap();
        let heard = client.events();
        client.connect().await.unwrap();
        Self { client, heard, connection: opened(&mut events).await }
    }

    async fn say(&self, json: &Value) {
        self.client.send(Message::text(json.to_string())).await.unwrap();
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

/// The query says which group and which id a client gets.
fn server(params: ServerParams) -> WebsocketServer {
    WebsocketServer::new(params).with_placement(|request, _user| {
        let head = request.head();
        let placement =
            head.query("group").map_or_else(Placement::new, |group| Placement::new().group(&group));
        match head.query("id").and_then(|id| ClientId::new(&id).ok()) {
            Some(id) => placement.client_id(id),
            None => placement,
        }
    })
}

#[tokio::test]
async fn a_route_gets_what_was_said_and_everything_about_who_said_it() {
    let server = server(ServerParams::local());
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    server
        .route("/rooms/{room}", move |signal| {
            let told = Arc::clone(&telling);
            async move {
                let what = format!(
                    "{} in {} by {} at {} of {:?} from {}: {}",
                    signal.data.message,
                    signal.path(),
                    signal.pattern,
                    signal.endpoint().is_some(),
                    signal.captures,
                    signal.head().header("host").is_some(),
                    signal.timestamp.timestamp() > 0,
                );
                told.lock().unwrap().push(what);
                let answer = Message::text(format!("heard {}", signal.data.message));
                signal.connection.send(answer).await.unwrap();
            }
        })
        .unwrap();
    let addr = started(&server).await;
    let mut ann = Device::open(&server, addr, "/rooms/red").await;
    let mut ben = Device::open(&server, addr, "/other").await;
    for n in 0..3 {
        ann.say(&json!({ "message": n })).await;
        ben.say(&json!({ "message": n })).await;
    }
    for n in 0..3 {
        assert_eq!(ann.hears().await, format!("heard {n}"), "in order");
    }
    assert!(ben.hears_nothing().await, "another channel, which ignores it");
    let expected =
        r#"0 in /rooms/red by /rooms/{room} at true of [("room", "red")] from true: true"#.to_owned();
    assert_eq!(told.lock().unwrap()[0], expected);
    assert!(server.unroute("/rooms/{room}") && !server.unroute("/rooms/{room}"));
    let mut events = server.events();
    ann.say(&json!({ "message": 3 })).await;
    ann.client.send(Message::text("over")).await.unwrap();
    while received(&mut events).await.as_text() != Some("over") {}
    assert_eq!(told.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_message_is_an_event_before_it_is_sent_on_or_routed() {
    let server = server(ServerParams::local().signals_of("/all", SignalDefault::Rebroadcast));
    server
        .route("/route", |signal| {
            // Not even this much of the handler is called before.
            let sent = signal.rebroadcast();
            async move { assert_eq!(sent.unwrap().accepted, 1) }
        })
        .unwrap();
    server.on(|event| async move {
        if let Event::Message(event) = event {
            event.connection.send(Message::text("event")).await.unwrap();
        }
    });
    let addr = started(&server).await;
    for path in ["/all", "/route"] {
        let mut ann = Device::open(&server, addr, path).await;
        ann.say(&json!({"message": "signal"})).await;
        assert_eq!([ann.hears().await, ann.hears().await], ["event", "signal"], "{path}");
    }
}

#[tokio::test]
async fn patterns_that_could_match_the_same_channel_and_broken_ones_are_refused() {
    let server = server(ServerParams::local());
    let route = |pattern: &str| server.route(pattern, |_| async {});
    route("/rooms/{room}").unwrap();
    route("/rooms/red").unwrap();
    assert!(
        matches!(route("/rooms/{other}"), Err(RouteError::Conflict { with, .. }) if with == "/rooms/{room}")
    );
    assert!(matches!(route("/rooms/red"), Err(RouteError::Conflict { .. })));
    assert!(matches!(route("/{"), Err(RouteError::Pattern(_))));
}

#[tokio::test]
async fn what_is_no_signal_is_a_typed_error_and_the_connection_goes_on() {
    let server = server(ServerParams::local());
    server
        .route("/date", |signal| async move { assert_eq!(signal.rebroadcast().unwrap().accepted, 1) })
        .unwrap();
    let addr = started(&server).await;
    let mut events = server.events();
    let mut ann = Device::open(&server, addr, "/date").await;
    ann.client.send(Message::text("{\"message\":")).await.unwrap();
    ann.client.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    for _ in 0..2 {
        let error = next(&mut events, |event| match event {
            Event::Error(event) => Some(event),
            _ => None,
        })
        .await;
        assert_eq!(error.stage, ErrorStage::Signal);
        assert_eq!(error.connection.as_ref(), Some(&ann.connection));
        let error = error.error.downcast_ref::<SignalError>().unwrap();
        assert!(matches!(error, SignalError::Json(_) | SignalError::Binary), "{error}");
    }
    ann.say(&json!({"message": "still here"})).await;
    assert_eq!(ann.hears().await, "still here");
}

#[tokio::test]
async fn without_a_route_messages_are_ignored_echoed_or_sent_on_as_the_channel_wants() {
    let params = ServerParams::local()
        .signals_of("/echo", SignalDefault::Echo)
        .signals_of("/all", SignalDefault::Rebroadcast);
    let server = server(params);
    let addr = started(&server).await;
    let mut quiet = Device::open(&server, addr, "/quiet").await;
    let mut echo = Device::open(&server, addr, "/echo").await;
    let mut other_echo = Device::open(&server, addr, "/echo").await;
    let mut ann = Device::open(&server, addr, "/all").await;
    let mut ben = Device::open(&server, addr, "/all").await;
    quiet.say(&json!({"message": "hi"})).await;
    echo.client.send(Message::text("as it came")).await.unwrap();
    assert_eq!(echo.hears().await, "as it came");
    ann.say(&json!({"message": {"a": 1}})).await;
    assert_eq!(ann.hears().await, r#"{"a":1}"#, "its sender too");
    assert_eq!(ben.hears().await, r#"{"a":1}"#);
    ann.say(&json!({"message": "to me", "direct": true})).await;
    assert_eq!(ann.hears().await, "to me");
    assert!(ben.hears_nothing().await && quiet.hears_nothing().await && other_echo.hears_nothing().await);
}

/// Sends each signal as `ann` and says who of `ann`, `ben`, `cat` heard it.
async fn who_hears(params: ServerParams, signals: &[Value]) -> Vec<String> {
    let server = server(params.signals(SignalDefault::Rebroadcast));
    let addr = started(&server).await;
    let mut devices = Vec::new();
    for (name, path) in [("ann", "/a?id=ann&group=red"), ("ben", "/a?id=ben"), ("cat", "/b?id=cat&group=red")]
    {
        devices.push((name, Device::open(&server, addr, path).await));
    }
    let mut outcomes = Vec::new();
    for signal in signals {
        let mut events = server.events();
        devices[0].1.say(signal).await;
        // Its event is told before it is sent on, and an error after; a message after that comes last.
        devices[0].1.say(&json!({"message": "over", "direct": true})).await;
        let mut error = None;
        let mut messages = 0;
        while messages < 2 {
            match within(events.recv()).await.unwrap() {
                Event::Error(event) => error = Some(event.error.to_string()),
                Event::Message(_) => messages += 1,
                _ => {}
            }
        }
        while devices[0].1.hears().await != "over" {
            outcomes.push("ann".to_owned());
        }
        for (name, device) in &mut devices[1..] {
            if !device.hears_nothing().await {
                outcomes.push((*name).to_owned());
                assert_eq!(device.hears().await, "end");
            }
        }
        outcomes.push(error.unwrap_or_else(|| "-".to_owned()));
    }
    outcomes
}

#[tokio::test]
async fn a_client_addresses_its_own_channel_and_others_only_where_that_is_allowed() {
    let signals = [
        json!({"message": "1"}),
        json!({"message": "2", "path": "/a"}),
        json!({"message": "3", "path": "/b"}),
        json!({"message": "4", "group": "red"}),
        json!({"message": "5", "clientId": "ben"}),
        json!({"message": "6", "clientId": "cat"}),
    ];
    let beyond = "the signal addresses another channel";
    let own = who_hears(ServerParams::local(), &signals).await;
    assert_eq!(own.join(" "), format!("ann ben - ann ben - {beyond} ann - ben - -"));
    let any = who_hears(ServerParams::local().signal_reach(SignalReach::AnyChannel), &signals).await;
    assert_eq!(any.join(" "), "ann ben cat - ann ben - cat - ann cat - ben - cat -");
}

#[tokio::test]
async fn what_clients_send_on_obeys_the_broadcast_levels() {
    let signals = [
        json!({"message": "1"}),
        json!({"message": "2", "group": "red"}),
        json!({"message": "3", "clientId": "ben"}),
        json!({"message": "4", "direct": true}),
        json!({"message": "5", "clientId": "no such id"}),
    ];
    let few = "the target of the signal is not specific enough";
    let group = who_hears(ServerParams::local().broadcast_level(BroadcastLevel::Group), &signals).await;
    assert_eq!(group.join(" "), format!("{few} ann - ben - ann - the client id is invalid"));
    let client =
        who_hears(ServerParams::local().broadcast_level_of("/a", BroadcastLevel::ClientId), &signals);
    assert_eq!(client.await[..2], [few, few]);
}

#[tokio::test]
async fn a_signed_id_addresses_its_connection_and_a_forged_one_nobody() {
    let signing = IdSigning::new("super-secret");
    let signed = |id: &str| signing.sign(&ClientId::new(id).unwrap(), None, None);
    let signals = [
        json!({"message": "1", "clientId": signed("ben")}),
        json!({"message": "2", "clientId": signed("ben").replace("ben", "ann")}),
    ];
    let heard = who_hears(ServerParams::local().id_signing(signing.clone()), &signals).await;
    assert_eq!(heard.join(" "), "ben - the client id is invalid");
}

#[tokio::test]
async fn connections_that_begin_and_end_are_told_by_name_per_channel() {
    let server = server(ServerParams::local());
    let diary = Arc::new(Mutex::new(Vec::new()));
    for (kind, channel, name) in [
        (ChannelEventKind::Connect, "/a", "first"),
        (ChannelEventKind::Connect, "/a", "second"),
        (ChannelEventKind::Disconnect, "/a", "first"),
        (ChannelEventKind::Connect, "/b", "first"),
    ] {
        let (diary, name) = (Arc::clone(&diary), name.to_owned());
        server
            .register(kind, channel, &name.clone(), move |event| {
                let (diary, name) = (Arc::clone(&diary), name.clone());
                async move {
                    let before = event.metadata.insert("by", name.clone());
                    let note = format!(
                        "{name}: {:?} of {} in {} after {before:?}",
                        event.kind,
                        event.connection.id(),
                        event.name
                    );
                    assert_eq!(event.metadata.get("by"), Some(json!(name)));
                    diary.lock().unwrap().push(note);
                }
            })
            .unwrap();
    }
    let again = server.register(ChannelEventKind::Connect, "/a", "first", |_| async {});
    assert_eq!(again.unwrap_err().to_string(), "the event `first` of the channel `/a` is already registered");
    let addr = started(&server).await;
    let mut events = server.events();
    let ann = Device::open(&server, addr, "/a?id=ann").await;
    within(ann.client.disconnect()).await;
    ended(&mut events).await;
    let _other = Device::open(&server, addr, "/c?id=cat").await;
    assert!(server.unregister(ChannelEventKind::Connect, "/a", "second"));
    assert!(!server.unregister(ChannelEventKind::Connect, "/a", "second"));
    let ben = Device::open(&server, addr, "/a?id=ben").await;
    // A disconnect is told after its event, and a stop waits for handlers.
    within(server.stop()).await;
    drop(ben);
    assert_eq!(
        *diary.lock().unwrap(),
        [
            "first: Connect of ann in /a after None",
            "second: Connect of ann in /a after Some(String(\"first\"))",
            "first: Disconnect of ann in /a after None",
            "first: Connect of ben in /a after None",
            "first: Disconnect of ben in /a after None",
        ]
    );
}

#[tokio::test]
async fn a_handler_may_unregister_itself_and_those_after_it_while_they_are_called() {
    let server = server(ServerParams::local());
    let calls = Arc::new(Mutex::new(Vec::new()));
    for name in ["one", "two", "three"] {
        let calls = Arc::clone(&calls);
        server
            .register(ChannelEventKind::Connect, "/a", name, move |event| {
                let calls = Arc::clone(&calls);
                async move {
                    calls.lock().unwrap().push(name);
                    let server = event.connection.server();
                    assert!(server.unregister(ChannelEventKind::Connect, "/a", name));
                    server.unregister(ChannelEventKind::Connect, "/a", "two");
                    // What is registered meanwhile is for the next one.
                    let _ = server.register(ChannelEventKind::Connect, "/a", "four", |_| async {});
                }
            })
            .unwrap();
    }
    let addr = started(&server).await;
    let _ann = Device::open(&server, addr, "/a").await;
    let _ben = Device::open(&server, addr, "/a").await;
    within(server.stop()).await;
    assert_eq!(*calls.lock().unwrap(), ["one", "three"]);
    assert!(server.unregister(ChannelEventKind::Connect, "/a", "four"));
}
