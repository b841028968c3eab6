//! The live page, and the snapshot that it shows.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::net::SocketAddr;

use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
};
use serde_json::{Value, json};
use websockets_simple_client::{ClientParams, ConnectError, WebsocketClient};
use websockets_simple_server::{
    ClusterParams, ErrorStage, Guard, MemoryBus, MemoryUsers, Message, Operations, ServerParams,
    WebsocketServer, WebsocketServerAuth,
};
use websockets_simple_tests::{
    connected, failed, opened, params,
    raw::{RawPeer, ask},
    started, within,
};

const PASSWORD: &str = "correct horse battery staple";

/// `Authorization` with the name `admin` and that password.
const LET_IN: &str = "Authorization: Basic YWRtaW46Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ==\r\n";

const PATHS: [&str; 4] = ["/admin", "/admin/live.js", "/admin/live.css", "/admin/snapshot.json"];

fn operations() -> Operations {
    Operations::new().live_page(Guard::basic("admin", PASSWORD))
}

async fn with(params: ServerParams) -> (WebsocketServer, SocketAddr) {
    let server = WebsocketServer::new(params);
    let addr = started(&server).await;
    (server, addr)
}

/// What the page asks for.
async fn snapshot(addr: SocketAddr) -> Value {
    let (head, body) = ask(addr, "GET /admin/snapshot.json", LET_IN).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn without_a_guard_there_is_no_page() {
    let page = |_: Request<Incoming>| async { Response::new(Full::new(Bytes::from("another page"))) };
    let params = ServerParams::local().operations(Operations::new().metrics(Guard::loopback()));
    let (server, addr) = with(params.fallback(page)).await;
    for path in PATHS {
        assert_eq!(ask(addr, &format!("GET {path}"), LET_IN).await.1, "another page", "{path}");
    }
    let snapshot = server.snapshot(10);
    assert!(snapshot.refusals.is_empty() && snapshot.errors.is_empty() && snapshot.history.is_empty());
}

#[tokio::test]
async fn whom_the_guard_does_not_let_in_sees_nothing_and_is_asked_for_a_password() {
    let (_server, addr) = with(ServerParams::local().operations(operations())).await;
    let wrong = [
        "",
        "Authorization: Basic\r\n",
        "Authorization: Basic YWRtaW46Z3Vlc3NlZA==\r\n",
        "Authorization: Bearer YWRtaW46Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ==\r\n",
    ];
    for (path, headers) in PATHS.iter().flat_map(|path| wrong.map(|headers| (path, headers))) {
        for method in ["GET", "POST"] {
            let (head, body) = ask(addr, &format!("{method} {path}"), headers).await;
            assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
            assert!(head.contains(r#"Basic realm="operators", charset="UTF-8""#), "{head}");
            assert_eq!(body, "not for everybody");
        }
    }
    // Schemes are compared without their case.
    let (head, _) = ask(addr, "GET /admin", &LET_IN.replace("Basic", "basic")).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let nobody = Operations::new().live_page(Guard::basic("admin", ""));
    let (_closed, closed) = with(ServerParams::local().operations(nobody)).await;
    let (head, _) = ask(closed, "GET /admin", "Authorization: Basic YWRtaW46\r\n").await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
}

#[test]
#[should_panic(expected = "the name of a guard contains a colon")]
fn a_name_with_a_colon_is_no_name() {
    let _ = Guard::basic("ad:min", PASSWORD);
}

#[tokio::test]
async fn files_of_the_page_allow_nothing_of_others_and_cannot_be_changed() {
    let (_server, addr) = with(ServerParams::local().operations(operations())).await;
    let kinds = ["text/html; charset=utf-8", "text/javascript; charset=utf-8", "text/css; charset=utf-8"];
    for (path, kind) in PATHS.iter().zip(kinds.iter().chain(&["application/json"])) {
        let (head, body) = ask(addr, &format!("GET {path}"), LET_IN).await;
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 ") && !body.is_empty(), "{head}");
        for header in [
            &*format!("content-type: {kind}"),
            "cache-control: no-store",
            "content-security-policy: default-src 'none'; script-src 'self';",
            "require-trusted-types-for 'script'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
        ] {
            assert!(head.contains(header), "{path}: {header}: {head}");
        }
        let (head, _) = ask(addr, &format!("DELETE {path}"), LET_IN).await;
        assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
    }
    for (path, said) in [("/admin/", "without a slash"), ("/admin/../x", "nothing here")] {
        let (head, body) = ask(addr, &format!("GET {path}"), LET_IN).await;
        assert!(head.starts_with("HTTP/1.1 404 ") && body.contains(said), "{head}{body}");
    }
    assert!(ask(addr, "GET /administration", LET_IN).await.0.starts_with("HTTP/1.1 426 "));
}

#[tokio::test]
async fn the_snapshot_has_channels_refusals_errors_and_a_history() {
    let params_of = ServerParams::local().operations(operations()).log_users(true);
    let users = MemoryUsers::new();
    let token = users.issue("Ronald".to_owned());
    let server = WebsocketServerAuth::<String>::new(params_of, users);
    let mut events = server.events();
    let addr = started(&server).await;
    let mut clients = Vec::new();
    for (channel, count) in [("/small", 1), ("/large", 3)] {
        for _ in 0..count {
            let client = ClientParams::url(&format!("ws://{addr}{channel}")).unwrap();
            clients.push(connected(client.token(token.clone())).await);
            opened(&mut events).await;
        }
    }
    let nobody = WebsocketClient::new(params(addr).token("guessed-by-somebody")).unwrap();
    assert!(matches!(nobody.connect().await, Err(ConnectError::Unauthorized { .. })));
    let mut peer = RawPeer::connect(addr).await;
    let bearer = format!("Authorization: Bearer {}\r\n", token.expose());
    assert!(peer.request("/small", &bearer).await.starts_with("HTTP/1.1 101 "));
    opened(&mut events).await;
    // Not masked, as it would have to be.
    peer.write(&[0x81, 1, b'x']).await;
    assert_eq!(failed(&mut events).await, ErrorStage::Protocol);

    let shown = snapshot(addr).await;
    assert_eq!(shown["health"], json!({ "live": true, "ready": true, "why": [] }));
    assert_eq!(shown["figures"]["refusals"]["unauthorized"], 1);
    assert_eq!(shown["channels"][0], json!({ "channel": "/large", "connections": 3 }));
    assert_eq!(shown["channels"][1]["channel"], "/small");
    let refusal = &shown["refusals"][0];
    assert_eq!((&refusal["reason"], &refusal["client"]), (&json!("unauthorized"), &json!("127.0.0.1")));
    let error = &shown["errors"][0];
    assert_eq!((&error["stage"], &error["client"]), (&json!("protocol"), &json!("127.0.0.1")));
    assert!(error["connection"].is_string() && error["error"].as_str().unwrap().contains("mask"), "{error}");
    assert!(shown["history"][0]["open"].is_u64());
    assert_eq!(shown["nodes"], json!([]));
    let text = shown.to_string();
    assert!(!text.contains(token.expose()) && !text.contains("guessed-by-somebody"), "{text}");
    // As many as were asked for.
    let short = server.snapshot(1);
    assert_eq!((short.channels.len(), short.refusals.len(), short.errors.len()), (1, 1, 1));
}

#[tokio::test]
async fn who_does_not_read_is_a_slow_reader_and_is_named_only_where_users_are_logged() {
    for log in [false, true] {
        let users = MemoryUsers::new();
        let token = users.issue("Ronald".to_owned());
        let params = ServerParams::local().operations(operations()).log_users(log);
        let server = WebsocketServerAuth::<String>::new(params, users);
        let mut events = server.events();
        let addr = started(&server).await;
        let mut peer = RawPeer::connect(addr).await;
        let bearer = format!("Authorization: Bearer {}\r\n", token.expose());
        assert!(peer.request("/news", &bearer).await.starts_with("HTTP/1.1 101 "));
        let connection = opened(&mut events).await;
        assert_eq!(snapshot(addr).await["slow_readers"], json!([]));
        // More than the buffers of the system take.
        while connection.statistics().queued_bytes == 0 {
            connection.try_send(Message::binary(vec![0; 64 * 1024])).unwrap();
        }
        let shown = snapshot(addr).await;
        let reader = &shown["slow_readers"][0];
        assert_eq!(reader["queued_bytes"], connection.statistics().queued_bytes);
        assert_eq!(
            (&reader["id"], &reader["channel"]),
            (&json!(connection.id().to_string()), &json!("/news"))
        );
        assert_eq!(reader["user"], if log { json!("\"Ronald\"") } else { Value::Null });
        assert_eq!(shown["slow_readers"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn the_nodes_of_a_cluster_are_there_with_their_connections() {
    let bus = MemoryBus::new();
    let node = |name: &str| {
        let params = ServerParams::local().operations(operations());
        let cluster = ClusterParams::new("chat", bus.clone()).node(name);
        WebsocketServer::new(params).with_cluster(cluster)
    };
    let (here, there) = (node("here"), node("there"));
    let (addr, other) = (started(&here).await, started(&there).await);
    let mut clients = Vec::new();
    for addr in [addr, other, other] {
        clients.push(connected(params(addr)).await);
    }
    within(async {
        while here.presence().nodes().iter().all(|node| node.connections != 2) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let nodes = snapshot(addr).await["nodes"].take();
    let said =
        |node: &Value| (node["info"]["name"].clone(), node["is_here"].clone(), node["connections"].clone());
    assert_eq!(said(&nodes[0]), (json!("here"), json!(true), json!(1)));
    assert_eq!(said(&nodes[1]), (json!("there"), json!(false), json!(2)));
    assert!(nodes[1]["age"].is_f64());
}
