//! `ws doctor`, against servers that are wrong in one way each, and against good ones.

use std::sync::atomic::Ordering;

use serde_json::Value;
use tokio::process::Command;
use websockets_simple_examples::authority;
use websockets_simple_server::{Endpoint, ServerParams, ServerTls, WebsocketServer};

use diagnosis::{Diagnosis, doctor};

use broken::{Answer, Authority, flooding, nothing, plain, proxy, puzzled, self_signed, silent};

mod broken;
mod diagnosis;

/// A file with the certificate of the authority.
fn file(authority: &Authority) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("root.pem");
    std::fs::write(&path, authority.pem()).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[tokio::test]
async fn a_certificate_with_another_name_is_shown_with_the_names_that_it_has() {
    let authority = Authority::new();
    let addr = authority.server("other.example", 4000, Answer::NotFound).await;
    let (_folder, root) = file(&authority);
    let url = format!("wss://localhost:{}", addr.port());
    let resolved = format!("localhost:{}:127.0.0.1", addr.port());
    let diagnosis = doctor(&url, &["--root", &root, "--resolve", &resolved]).await;
    let why = "the certificate is for another name: it is for other.example, and the URL says localhost";
    diagnosis.fails("tls", why, "have one issued that is also for localhost", 3);
    diagnosis.shows(&[
        "FAILED names: other.example",
        "subject: CN=other.example",
        "issuer: CN=authority of the tests",
        "ok     valid from: 2001-01-01 00:00:00 UTC",
        "ok     valid until: 4000-12-31 00:00:00 UTC",
        "chain length: 1",
        "FAILED trusted: its issuer is, but for another name",
    ]);
}

#[tokio::test]
async fn an_expired_certificate_is_shown_with_its_last_day() {
    let authority = Authority::new();
    let addr = authority.server("127.0.0.1", 2002, Answer::NotFound).await;
    let (_folder, root) = file(&authority);
    let diagnosis = doctor(&format!("wss://{addr}"), &["--root", &root]).await;
    let why = "the certificate has expired on 2002-12-31 00:00:00 UTC, ";
    diagnosis.fails("tls", why, "renew it, and have the server load the new one", 3);
    diagnosis.shows(&[
        "FAILED valid until: 2002-12-31 00:00:00 UTC",
        "ok     names: 127.0.0.1",
        "FAILED trusted: no more",
    ]);
}

#[tokio::test]
async fn an_unknown_issuer_and_a_self_signed_certificate_are_told_apart_and_nothing_is_sent_to_them() {
    let authority = Authority::new();
    let addr = authority.server("127.0.0.1", 4000, Answer::NotFound).await;
    let (_folder, root) = file(&Authority::new());
    let diagnosis = doctor(&format!("wss://{addr}"), &["--root", &root]).await;
    let why =
        "the issuer of the certificate is unknown: CN=authority of the tests is not trusted by this machine";
    diagnosis.fails("tls", why, "trust it with `--root FILE`", 3);
    assert!(!diagnosis.text.contains("sent:"), "{}", diagnosis.text);

    let addr = self_signed("127.0.0.1").await;
    let diagnosis = doctor(&format!("wss://{addr}"), &["--root", &root]).await;
    diagnosis.fails(
        "tls",
        "the certificate is self-signed",
        "if it is yours, trust it with `--root FILE`",
        3,
    );
    diagnosis.shows(&["issuer: itself"]);

    // Whoever insists gets on, and is told.
    let diagnosis = doctor(&format!("wss://{addr}"), &["--insecure"]).await;
    diagnosis.fails("handshake", "there is nothing at this path (404 Not Found)", "check the path", 4);
    assert!(diagnosis.text.contains("THE CERTIFICATE IS NOT TRUSTED"), "{}", diagnosis.text);
    diagnosis.shows(&["body: [2Jno such page"]);
}

#[tokio::test]
async fn tls_and_none_are_told_apart() {
    let authority = Authority::new();
    let secured = authority.server("127.0.0.1", 4000, Answer::NotFound).await;
    let diagnosis = doctor(&format!("ws://{secured}"), &[]).await;
    diagnosis.fails("handshake", "the server speaks TLS on this port", "connect with wss://", 4);
    let diagnosis = doctor(&format!("wss://{}", puzzled().await), &[]).await;
    diagnosis.fails("tls", "the server does not speak TLS on this port", "use ws://", 3);
}

#[tokio::test]
async fn a_401_says_whether_a_token_was_sent_and_never_which() {
    let url = format!("ws://{}/room?key=s3cret-key", plain(Answer::Unauthorized).await);
    for place in ["header", "query", "subprotocol", "path"] {
        let diagnosis = doctor(&url, &["--token-in", place]).await;
        diagnosis.fails(
            "handshake",
            "the server does not accept the credentials (401 Unauthorized)",
            "check that the token is whole, has not expired, is for this server",
            4,
        );
        diagnosis.shows(&["received: HTTP/1.1 401 Unauthorized", "FAILED rule: the status is 101"]);
        let json = doctor(&url, &["--token-in", place, "--json"]).await;
        let json: Value = serde_json::from_str(&json.text).unwrap();
        assert_eq!(json["failed"], "handshake");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_ws"));
    let output = command.args(["doctor", &url]).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    Diagnosis { text, code: output.status.code().unwrap() }.fails(
        "handshake",
        "the server wants credentials (401 Unauthorized), and none were sent",
        "give a token with `--token-env NAME`",
        4,
    );
}

#[tokio::test]
async fn a_silent_server_costs_no_more_than_the_time_for_one_step() {
    for (scheme, step, why, code) in [
        ("ws", "handshake", "the server accepted the connection and said nothing for 0.3 s", 4),
        ("wss", "tls", "the server did not finish the TLS handshake within 0.3 s", 3),
    ] {
        let diagnosis = doctor(&format!("{scheme}://{}", silent().await), &["--timeout", "0.3"]).await;
        diagnosis.fails(step, why, "check that", code);
    }
}

#[tokio::test]
async fn what_is_no_websocket_is_told_by_what_it_is() {
    for (answer, why, advice) in [
        (
            Answer::Page,
            "this is not a WebSocket: the server answered 200 OK, as for a page",
            "check the path",
        ),
        (Answer::NotFound, "there is nothing at this path (404 Not Found)", "check the path in the URL"),
        (Answer::Hints(3), "there is nothing at this path (404 Not Found)", "check the path in the URL"),
        (
            Answer::Hints(11),
            "the server sends interim answers without end: 103 Early Hints",
            "look into its log",
        ),
        (
            Answer::Redirect,
            "the server redirects to https://example.com/?token=*** (302 Found)",
            "connect to that URL",
        ),
        (Answer::Babble, "the server does not speak HTTP, it says: who is Bearer", "check the port"),
        (Answer::Mail, "the server does not speak HTTP, it says: 220 mail.example ESMTP", "check the port"),
    ] {
        doctor(&format!("ws://{}", plain(answer).await), &[]).await.fails("handshake", why, advice, 4);
    }
}

#[tokio::test]
async fn each_rule_of_the_handshake_is_checked_by_its_name() {
    for (answer, step, rule, why) in [
        (
            Answer::WrongAccept,
            "handshake",
            "Sec-WebSocket-Accept fits Sec-WebSocket-Key",
            "the header Sec-WebSocket-Accept is `AAAAAAAAAAAAAAAAAAAAAAAAAAA=`: `",
        ),
        (
            Answer::Bare,
            "handshake",
            "Upgrade is `websocket`",
            "the header Upgrade is missing: it has to be `websocket`",
        ),
        (
            Answer::Extension,
            "handshake",
            "Sec-WebSocket-Extensions has only what was offered: nothing",
            "the server chose an extension that was not offered: permessage-deflate",
        ),
        (
            Answer::OtherSubprotocol,
            "subprotocol",
            "Sec-WebSocket-Protocol is one of those offered",
            "the server chose the subprotocol other, which was not offered (none was)",
        ),
    ] {
        let diagnosis = doctor(&format!("ws://{}", plain(answer).await), &[]).await;
        diagnosis.fails(step, why, "", 4);
        diagnosis.shows(&["ok     rule: the status is 101", &format!("FAILED rule: {rule}")]);
    }
    let diagnosis = doctor(&format!("ws://{}", plain(Answer::NoPong).await), &["-s", "chat"]).await;
    let why = "the server chose none of the offered subprotocols: websockets-simple+chat, chat";
    diagnosis.fails("subprotocol", why, "check the spelling", 4);
}

#[tokio::test]
async fn a_flood_of_headers_is_not_read_beyond_the_limit() {
    for (header, why) in [
        ("A: b\r\n".to_owned(), "the answer has more than 100 headers"),
        (format!("Long: {}\r\n", "x".repeat(1 << 20)), "the head of the answer has no end within 16 KiB"),
    ] {
        let (addr, sent) = flooding(header).await;
        let diagnosis = doctor(&format!("ws://{addr}"), &[]).await;
        diagnosis.fails("handshake", why, "look at what the server sends", 4);
        // What fits into the buffers of the two sockets is lost; the rest is never sent.
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent < 32 << 20, "{sent} bytes");
    }
}

#[tokio::test]
async fn a_websocket_that_ends_at_once_or_does_not_answer_a_ping_is_told() {
    let diagnosis = doctor(&format!("ws://{}", plain(Answer::Goodbye).await), &[]).await;
    let why = "the server opened the WebSocket and closed it at once with 1008";
    diagnosis.fails("ping", why, "check the token and the rights of the user", 1);
    let diagnosis = doctor(&format!("ws://{}", plain(Answer::NoPong).await), &["--timeout", "0.3"]).await;
    diagnosis.fails("ping", "no pong came within 0.3 s", "every server has to answer a ping", 1);
}

#[tokio::test]
async fn where_nothing_listens_and_what_has_no_address_is_told() {
    let addr = nothing().await;
    let diagnosis = doctor(&format!("ws://{addr}"), &[]).await;
    let why = format!("nothing listens on {addr}: the connection was refused");
    diagnosis.fails("tcp", &why, "start the server, check the port", 3);
    // RFC 6761: there is never such a name.
    let diagnosis = doctor("wss://chat.invalid/", &[]).await;
    diagnosis.fails("dns", "chat.invalid cannot be resolved", "check the spelling of chat.invalid", 3);
    for (url, why) in [
        ("ftp://chat.example", "the scheme `ftp` is not one of a WebSocket"),
        ("ws://me:s3cret@chat.example", "the URL contains a user name or a password"),
        ("ws://chat.example/#s3cret", "the URL contains a fragment"),
    ] {
        doctor(url, &[]).await.fails("url", why, "", 2);
    }
}

// Where all of 127.0.0.0/8 is this machine.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn every_address_of_a_host_is_tried() {
    let addr = plain(Answer::Page).await;
    let port = addr.port();
    let url = format!("ws://both.example:{port}");
    let given = |address: &str| format!("both.example:{port}:{address}");
    let (dead, alive) = (given("127.0.0.2"), given("127.0.0.1"));
    let diagnosis = doctor(&url, &["--resolve", &dead, "--resolve", &alive]).await;
    diagnosis.fails("handshake", "this is not a WebSocket", "", 4);
    diagnosis.shows(&[&format!(
        "FAILED address: 127.0.0.2:{port}: the connection was refused, nothing listens there"
    )]);
    let said = format!("127.0.0.1:{port} accepts connections; one other address does not");
    assert!(diagnosis.text.contains(&said), "{}", diagnosis.text);
}

#[tokio::test]
async fn the_way_through_a_proxy_is_a_step_of_its_own() {
    let server = plain(Answer::Page).await;
    let url = format!("ws://{server}");
    // `me:hush` in Base64.
    let address = proxy("bWU6aHVzaA==").await;
    let given = format!("http://me:hush@{address}");
    let diagnosis = doctor(&url, &["--proxy", &given]).await;
    diagnosis.fails("handshake", "this is not a WebSocket", "check the path", 4);
    diagnosis.shows(&[
        &format!("sent: CONNECT {server} HTTP/1.1"),
        "sent: Proxy-Authorization: ***",
        "received: HTTP/1.1 200 Connection established",
    ]);
    let refused = doctor(&url, &["--proxy", &format!("http://me:s3cret@{address}")]).await;
    refused.fails(
        "proxy",
        "the proxy wants other credentials (407",
        "write them into the URL of the proxy",
        3,
    );
    let unreachable = doctor(&format!("ws://{}", nothing().await), &["--proxy", &given]).await;
    unreachable.fails("proxy", "the proxy cannot connect to 127.0.0.1:", "check the host and port", 3);
    let silent = doctor(&url, &["--proxy", &format!("http://{}", silent().await), "--timeout", "0.3"]).await;
    let why = "the proxy accepted the connection and said nothing for 0.3 s";
    silent.fails("proxy", why, "check that it is a proxy of HTTP", 3);
    for text in [&diagnosis.text, &unreachable.text] {
        assert!(!text.contains("hush") && !text.contains("bWU6"), "{text}");
    }
    let other = doctor(&url, &["--proxy", &format!("socks5://{address}")]).await;
    other.fails("proxy", "only proxies of HTTP without TLS are diagnosed", "give an HTTP proxy", 3);
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_domain_socket_stands_for_name_and_address() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let args = ["--unix", path.to_str().unwrap()];
    let missing = doctor("ws://chat.example/", &args).await;
    missing.fails("tcp", "cannot be connected to", "check the path, that the server runs", 3);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                while let Some(Ok(_)) = futures_util::StreamExt::next(&mut socket).await {}
            });
        }
    });
    let diagnosis = doctor("ws://chat.example/", &args).await;
    assert_eq!(diagnosis.code, 0, "{}", diagnosis.text);
    diagnosis.shows(&["sent: Host: chat.example", "received code: 1000"]);
}

#[tokio::test]
async fn of_a_good_server_every_step_passes_and_is_told_to_people_and_machines() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority::Authority::new("tests").unwrap();
    let root = folder.path().join("root.pem");
    std::fs::write(&root, authority.pem()).unwrap();
    let tls = ServerTls::new(authority.issue(&["127.0.0.1"], 1).unwrap().identity());
    let endpoint = Endpoint::tcp(([127, 0, 0, 1], 0).into()).tls(tls);
    let server = WebsocketServer::new(ServerParams::local().endpoint(endpoint).subprotocols(["chat"]));
    server.start().await.unwrap();
    let url = format!("wss://{}/room", server.local_addr().unwrap());
    let args = ["--root", root.to_str().unwrap(), "--subprotocol", "chat"];
    let diagnosis = doctor(&url, &args).await;
    assert_eq!(diagnosis.code, 0, "{}", diagnosis.text);
    diagnosis.shows(&[
        "version: TLSv1_3",
        "alpn: http/1.1",
        "ok     trusted: by the file of `--root`",
        "sent: GET /room HTTP/1.1",
        "sent: Authorization: ***",
        "sent: Sec-WebSocket-Protocol: websockets-simple+chat, chat",
        "received: HTTP/1.1 101 Switching Protocols",
        "ok     rule: Sec-WebSocket-Accept fits Sec-WebSocket-Key",
        "agent: websockets-simple/0.1",
        "sent code: 1000",
        "received code: 1000",
        "ok     the server ends the TCP connection: yes",
    ]);
    assert!(!diagnosis.text.contains("FAILED"), "{}", diagnosis.text);

    let json = doctor(&url, &[&args[..], &["--json"]].concat()).await;
    let json: Value = serde_json::from_str(&json.text).unwrap();
    assert_eq!((&json["ok"], &json["failed"]), (&Value::Bool(true), &Value::Null));
    let steps: Vec<_> =
        json["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    let expected =
        ["url", "dns", "tcp", "proxy", "tls", "handshake", "subprotocol", "hello", "ping", "close"];
    assert_eq!(steps, expected);
    for step in json["steps"].as_array().unwrap() {
        let expected = if step["step"] == "proxy" { "not_needed" } else { "passed" };
        assert_eq!(step["outcome"], expected, "{step}");
        assert!(step["milliseconds"].is_number(), "{step}");
    }
    let days = json["steps"][4]["facts"].as_array().unwrap().iter().find(|fact| fact["name"] == "days left");
    assert!(days.unwrap()["value"].as_i64().unwrap() >= 365, "{days:?}");
    server.stop().await;
}
