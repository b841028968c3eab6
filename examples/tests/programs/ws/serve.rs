//! The server of the command line.

use websockets_simple_client::{ClientEvent, ClientParams, Events, WebsocketClient};
use websockets_simple_server::test_util::Expect;

use super::{piped, serve, ws};
use crate::program::asked;

async fn client(url: &str) -> (WebsocketClient, Events<ClientEvent>) {
    let params = ClientParams::url(url).unwrap().subprotocol("websockets-simple");
    let (client, mut events) = WebsocketClient::open(params).await.unwrap();
    events.expect_connected().await;
    (client, events)
}

#[tokio::test]
async fn a_relay_tells_all_others_on_the_path_and_not_the_sender() {
    let (_server, address) = serve(&["--relay", "-q"]).await;
    let (room, other) = (format!("ws://{address}/room"), format!("ws://{address}/other"));
    let (ronald, mut heard) = client(&room).await;
    let (_adam, mut elsewhere) = client(&other).await;
    let mut john = ws(&["connect", "-q", "--first", "John is here", &room]);
    heard.expect_text("John is here").await;
    ronald.send_text("hello John").await.unwrap();
    john.shows(&["hello John"]).await;
    let ended = john.end().await;
    assert_eq!((ended.code, ended.lines), (Some(0), vec![]));
    let ended = piped(&["connect", "-q", &other], &["only here"]).await;
    assert_eq!((ended.code, ended.lines), (Some(0), vec![]));
    // The first that is heard there.
    elsewhere.expect_text("only here").await;
}

#[tokio::test]
async fn who_has_joined_a_group_speaks_to_it_alone() {
    let (_server, address) = serve(&["--relay", "-q"]).await;
    let room = format!("ws://{address}/room");
    let (ronald, mut in_group) = client(&room).await;
    let (_adam, mut outside) = client(&room).await;
    ronald.join("red").await.unwrap();
    let mut john = ws(&["connect", "-q", "--join", "red", &room]);
    john.type_line("to the red ones").await;
    in_group.expect_text("to the red ones").await;
    ronald.send_text("welcome").await.unwrap();
    john.shows(&["welcome"]).await;
    ronald.leave("red").await.unwrap();
    ronald.send_text("to all").await.unwrap();
    // The first that is heard outside of the group.
    outside.expect_text("to all").await;
    john.shows(&["to all"]).await;
}

#[tokio::test]
async fn a_group_that_is_not_allowed_is_4() {
    let server = super::silent();
    let ended = piped(&["connect", "-q", "--join", "red", &super::url_of(&server).await], &["hello"]).await;
    assert_eq!(ended.code, Some(4));
    assert_eq!(ended.stderr, "ws: cannot join red: the server refused: not allowed here\n");
}

#[tokio::test]
async fn files_are_served_beside_and_none_outside_of_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let public = folder.path().join("public");
    std::fs::create_dir(&public).unwrap();
    std::fs::write(public.join("index.html"), "<h1>here</h1>").unwrap();
    std::fs::write(folder.path().join("secret.txt"), "secret").unwrap();
    let (_server, address) = serve(&["--files", public.to_str().unwrap()]).await;

    let page = asked(&address, "GET / HTTP/1.1").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.ends_with("<h1>here</h1>"), "{page}");
    let headers = page.to_ascii_lowercase();
    for header in ["content-type: text/html; charset=utf-8", "x-content-type-options: nosniff"] {
        assert!(headers.contains(header), "{page}");
    }
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/index.html/../../secret.txt",
        "//secret.txt",
        "/none",
    ] {
        let answer = asked(&address, &format!("GET {path} HTTP/1.1")).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
        assert!(!answer.contains("secret"), "{path}: {answer}");
    }
    let posted = asked(&address, "POST /index.html HTTP/1.1\r\nContent-Length: 0").await;
    assert!(posted.starts_with("HTTP/1.1 405 "), "{posted}");
    // The same port is for WebSockets.
    assert_eq!(piped(&["connect", "-q", &address], &["echo"]).await.lines, ["echo"]);
}

#[tokio::test]
async fn without_a_folder_there_are_no_files() {
    let (_server, address) = serve(&[]).await;
    let answer = asked(&address, "GET / HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_closes_all_connections_in_order() {
    let (server, address) = serve(&[]).await;
    let mut client = ws(&["connect", "-q", &address]);
    client.type_line("hello").await;
    client.shows(&["hello"]).await;
    server.interrupt();
    let server = server.end().await;
    assert_eq!((server.code, server.lines), (Some(0), vec![]));
    let news: Vec<_> = server.stderr.lines().collect();
    assert!(news[0].ends_with(" connected to /"), "{news:?}");
    assert!(news.contains(&"stopped: 1 ended in order, 0 without a goodbye, 0 at the deadline"), "{news:?}");
    let client = client.end().await;
    assert_eq!(client.code, Some(1));
    assert_eq!(client.stderr, "ws: the connection ended by the peer with 1001 (the server stops)\n");
}

#[tokio::test]
async fn a_message_that_is_too_large_is_closed_with_1009() {
    let (_server, address) = serve(&["--max-message", "10"]).await;
    let ended =
        piped(&["connect", "-q", "--wait", "forever", &address], &["0123456789", "01234567890"]).await;
    assert_eq!((ended.code, ended.lines), (Some(1), vec!["0123456789".to_owned()]));
    assert!(ended.stderr.starts_with("ws: the connection ended by the peer with 1009"), "{}", ended.stderr);
}
