//! Messages through pipes.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::mpsc,
};
use websockets_simple_server::{CloseCode, Message};

use super::{WS, piped, serve, silent, url_of, ws};
use crate::program::Program;

#[tokio::test]
async fn each_piped_line_is_a_message_and_each_message_a_line() {
    let (_server, address) = serve(&[]).await;
    let ended = piped(&["connect", &address], &["one", "", " two "]).await;
    assert_eq!((ended.code, ended.lines), (Some(0), ["one", "", " two "].map(str::to_owned).to_vec()));
    let news = ended.stderr.lines().collect::<Vec<_>>();
    let connected = format!("ws: connected to {address}");
    assert_eq!(news, [connected.as_str(), "ws: the connection ended by this side with 1000"]);
    let quiet = piped(&["connect", "--quiet", &address], &["one"]).await;
    assert_eq!((quiet.lines, quiet.stderr.as_str()), (vec!["one".to_owned()], ""));
}

#[tokio::test]
async fn more_than_all_buffers_hold_is_echoed_without_a_line_lost() {
    let (_server, address) = serve(&[]).await;
    let long = "x".repeat(100_000);
    let typed: Vec<_> = (0..100).map(|number| format!("{number} {long}")).collect();
    let mut program = ws(&["connect", "--quiet", &address]);
    let mut keyboard = program.keyboard();
    let all = typed.clone();
    let typing = tokio::spawn(async move {
        for line in &all {
            keyboard.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        }
    });
    let ended = program.end().await;
    typing.await.unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.lines == typed, "{} lines came back", ended.lines.len());
}

#[tokio::test]
async fn json_is_on_one_line_in_a_pipe() {
    let (_server, address) = serve(&[]).await;
    let ended = piped(&["connect", "--json", &address], &[r#"{ "a" : [1,  2] }"#, "no json"]).await;
    assert_eq!(ended.lines, [r#"{"a":[1,2]}"#, "no json"]);
}

#[tokio::test]
async fn a_line_break_in_a_message_is_a_blank_in_a_pipe() {
    let server = silent();
    server.on_message(|connection, _| async move {
        let _ = connection.send_text("{\r\n\"a\":\n1}").await;
    });
    let ended = piped(&["connect", &url_of(&server).await], &["?"]).await;
    assert_eq!(ended.lines, [r#"{ "a": 1}"#]);
}

#[tokio::test]
async fn hexadecimal_digits_are_sent_and_shown_as_bytes() {
    let server = silent();
    server.on_message(|connection, message| async move {
        assert_eq!(message, Message::binary(&[0, 255, 0x41][..]));
        let _ = connection.send(message).await;
    });
    let url = url_of(&server).await;
    let ended = piped(&["connect", "--binary", &url], &["00 FF 41"]).await;
    assert_eq!((ended.code, ended.lines), (Some(0), vec!["00ff41".to_owned()]));

    let (_server, address) = serve(&[]).await;
    let wrong = piped(&["connect", "--quiet", "--binary", &address], &["0g"]).await;
    assert_eq!(wrong.code, Some(2));
    assert_eq!(wrong.stderr, "ws: not sent: write hexadecimal digits, such as 00 ff\n");
}

#[tokio::test]
async fn bytes_are_counted_where_they_are_not_asked_for() {
    let server = silent();
    server.on_message(|connection, _| async move {
        let _ = connection.send(Message::binary(&b"abc"[..])).await;
    });
    let ended = piped(&["connect", &url_of(&server).await], &["?"]).await;
    assert_eq!(ended.lines, ["(3 bytes)"]);
}

#[tokio::test]
async fn packets_are_sent_and_shown_with_their_type_and_fields() {
    let server = silent();
    server.on_message(|connection, message| async move {
        let _ = connection.send(message).await;
        for text in [r#"{"type":"say","text":"hi","from":"Ronald"}"#, "{Data:'relaxed'}", "no packet"] {
            let _ = connection.send_text(text).await;
        }
    });
    let ended = piped(&["connect", "--packets", &url_of(&server).await], &["hello"]).await;
    let [sent, others @ ..] = &ended.lines[..] else { panic!("{:?}", ended.lines) };
    assert!(sent.starts_with(r#"packet Data="hello" Timestamp="20"#), "{sent}");
    assert_eq!(others, [r#"say text="hi" from="Ronald""#, r#"packet Data="relaxed""#, "no packet"]);
}

#[tokio::test]
async fn the_chat_of_the_examples_is_shown_in_packets() {
    let args = ["--listen", "127.0.0.1:0", "--anonymous"];
    let mut server = Program::start(crate::chat::SERVER, &args);
    let url = format!("ws://{}/?name=Ronald", server.address().await);
    let ended = piped(&["connect", "--packets", "-s", "chat.v1", &url], &[r#"hi"#]).await;
    assert_eq!(
        ended.lines,
        [r#"joined name="Ronald""#, r#"welcome name="Ronald""#, r#"say from="Ronald" text="hi""#]
    );
    let connected = ended.stderr.lines().next().unwrap();
    assert!(connected.ends_with(", subprotocol chat.v1"), "{connected}");

    // Its rooms are groups.
    let args = ["connect", "-s", "chat.v1", "--join", "rust", &url];
    let ended = piped(&args, &[r#"{"type":"tell","room":"rust","text":"in here"}"#]).await;
    let last = ended.lines.last().map(String::as_str);
    assert_eq!(last, Some(r#"{"type":"tell","from":"Ronald","room":"rust","text":"in here"}"#));
}

#[tokio::test]
async fn peers_of_the_dotnet_library_are_spoken_to_as_they_are_used_to() {
    let welcomed = ["Connected Successfully".to_owned(), "hello".to_owned()];
    for compat in ["v6", "v7"] {
        let (_server, address) = serve(&["--compat", compat]).await;
        let ended = piped(&["connect", "--compat", compat, &address], &["hello"]).await;
        assert_eq!((ended.code, &ended.lines[..]), (Some(0), &welcomed[..]), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn compression_is_agreed_on_where_both_want_it() {
    let (_server, address) = serve(&["--compress"]).await;
    let line = "again and again ".repeat(200);
    let ended = piped(&["connect", "--compress", &address], &[&line]).await;
    assert!(
        ended.stderr.starts_with(&format!("ws: connected to {address}, compressed\n")),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.lines, [line]);
}

#[tokio::test]
async fn headers_and_the_path_reach_the_server_and_a_given_address_replaces_the_name() {
    let server = silent();
    let (seen, mut requests) = mpsc::unbounded_channel();
    server.on_connect(move |connection| {
        let seen = seen.clone();
        async move {
            let header = |name| connection.header(name).map(str::to_owned);
            let _ = seen.send((connection.channel().to_owned(), header("X-Color"), header("Host")));
            connection.close(CloseCode::NORMAL, "");
        }
    });
    let port = url_of(&server).await.rsplit_once(':').unwrap().1.to_owned();
    let url = format!("ws://chat.invalid:{port}/room");
    let resolve = format!("chat.invalid:{port}:127.0.0.1");
    let args = ["connect", "-H", "X-Color: red", "--resolve", &resolve, "--wait", "forever", &url];
    assert_eq!(piped(&args, &[]).await.code, Some(0));
    let host = Some(format!("chat.invalid:{port}"));
    assert_eq!(requests.recv().await, Some(("/room".to_owned(), Some("red".to_owned()), host)));
}

#[tokio::test]
async fn the_wait_for_answers_is_as_long_as_the_server_wants_or_as_it_is_told() {
    let server = silent();
    server.on_message(|connection, message| async move {
        if message.as_text() == Some("end") {
            let _ = connection.send_text("the last").await;
            connection.close(CloseCode::NORMAL, "done");
        }
    });
    let url = url_of(&server).await;
    let ended = piped(&["connect", "--wait", "forever", &url], &["end"]).await;
    assert_eq!((ended.code, ended.lines), (Some(0), vec!["the last".to_owned()]));
    assert!(
        ended.stderr.ends_with("ws: the connection ended by the peer with 1000 (done)\n"),
        "{}",
        ended.stderr
    );
    let ended = piped(&["connect", "--wait", "0", &url], &["no answer"]).await;
    assert_eq!((ended.code, ended.lines), (Some(0), vec![]));
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_closes_in_order() {
    let (_server, address) = serve(&[]).await;
    let mut program = ws(&["connect", &address]);
    program.type_line("one").await;
    program.shows(&["one"]).await;
    program.interrupt();
    let ended = program.end().await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.ends_with("ws: the connection ended by this side with 1000\n"), "{}", ended.stderr);
}

#[cfg(unix)]
#[tokio::test]
async fn a_reader_that_has_seen_enough_ends_it_silently() {
    let server = silent();
    server.on_connect(|connection| async move { while connection.send_text("news").await.is_ok() {} });
    let command =
        format!("{WS} connect --wait forever {} < /dev/null | head -n 2; true", url_of(&server).await);
    let ended = Program::spawn(Command::new("sh").args(["-c", &command])).end().await;
    assert_eq!(ended.lines, ["news", "news"]);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

#[tokio::test]
async fn a_proxy_leads_to_the_server_that_it_alone_can_find() {
    let (_server, address) = serve(&[]).await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut client, _) = proxy.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") && client.read_buf(&mut request).await.unwrap() > 0 {}
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let mut server = TcpStream::connect(address).await.unwrap();
        copy_bidirectional(&mut client, &mut server).await.unwrap();
        String::from_utf8(request).unwrap()
    });
    let ended = piped(&["connect", "--proxy", &url, "ws://chat.invalid/"], &["hello"]).await;
    assert_eq!((ended.code, ended.lines), (Some(0), vec!["hello".to_owned()]), "{}", ended.stderr);
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("CONNECT chat.invalid:80 HTTP/1.1\r\n"), "{asked}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_domain_socket_is_as_good_as_a_port() {
    use websockets_simple_server::{Endpoint, ServerParams, WebsocketServer};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ws.sock");
    let endpoint = Endpoint::unix(path.clone());
    let server = WebsocketServer::new(ServerParams::local().endpoint(endpoint));
    server.on_message(|connection, message| async move {
        let _ = connection.send(message).await;
    });
    server.start().await.unwrap();
    let ended = Program::spawn(Command::new(WS).args(["connect", "--unix"]).arg(&path).args([
        "--first",
        "hello",
        "ws://localhost/",
    ]))
    .end()
    .await;
    assert_eq!((ended.code, ended.lines), (Some(0), vec!["hello".to_owned()]), "{}", ended.stderr);
}
