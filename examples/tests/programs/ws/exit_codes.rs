//! Each exit code, and what is said with it.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use websockets_simple_server::CloseCode;

use super::{piped, serve, silent, url_of};

async fn fails(args: &[&str], code: i32, said: &str) {
    let ended = piped(&[&["connect"], args].concat(), &["hello"]).await;
    assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.stderr);
    assert!(ended.stderr.contains(said), "{args:?}: {}", ended.stderr);
    assert_eq!(ended.lines, [""; 0], "{args:?}");
}

#[tokio::test]
async fn a_server_that_closes_with_another_code_than_1000_is_1() {
    let server = silent();
    server.on_message(|connection, _| async move {
        connection.close(CloseCode::new(4321).unwrap(), "enough");
    });
    let url = url_of(&server).await;
    fails(&["-q", &url], 1, "ws: the connection ended by the peer with 4321 (enough)\n").await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_connection_that_is_lost_is_1() {
    let (server, address) = serve(&["-q"]).await;
    let mut program = super::ws(&["connect", "-q", &address]);
    program.type_line("one").await;
    program.shows(&["one"]).await;
    server.kill().await;
    let ended = program.end().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("ws: the connection ended by the transport"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_command_line_that_is_not_usable_is_2() {
    for (args, said) in [
        (&["ftp://a.example"][..], "ws: the URL is not usable: its scheme is not ws, wss, http or https\n"),
        (&["--wait", "soon", "a.example"], "give a number of seconds"),
        (&["--resolve", "a.example", "a.example"], "write HOST:PORT:ADDR"),
        (&["-H", "nothing", "a.example"], "write NAME:VALUE"),
        (&["--binary", "--first", "xx", "a.example"], "ws: --first cannot be sent: write hexadecimal digits"),
        (&["--json", "--packets", "a.example"], "cannot be used with"),
        (&["--nonsense", "a.example"], "unexpected argument '--nonsense'"),
    ] {
        fails(args, 2, said).await;
    }
}

#[tokio::test]
async fn no_connection_is_3() {
    let (_server, address) = serve(&[]).await;
    fails(&["ws://no-such-host.invalid"], 3, "ws: cannot resolve the host name: ").await;
    fails(&["ws://127.0.0.1:1"], 3, "ws: cannot connect: ").await;
    fails(&[&format!("wss://{address}")], 3, "ws: TLS failed: the server does not speak TLS on this port\n")
        .await;
    fails(&["--proxy", "http://127.0.0.1:1", &address], 3, "ws: cannot connect to the proxy: ").await;
    // It accepts, and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = format!("ws://{}", listener.local_addr().unwrap());
    fails(&["--timeout", "0.2", &mute], 3, "ws: the connect timeout expired\n").await;
}

#[tokio::test]
async fn a_refused_handshake_is_4() {
    let (_server, address) = serve(&[]).await;
    fails(&["-s", "nope", &address], 4, "ws: the server chose none of the offered subprotocols\n").await;
    for (answer, said) in [
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nnot \x1b[2Jyou",
            "ws: the server refused the handshake with HTTP status 403: not  [2Jy\n",
        ),
        (
            "HTTP/1.1 301 Moved Permanently\r\nLocation: ws://other.example/\r\nContent-Length: 0\r\n\r\n",
            "ws: the server redirects to ws://other.example/; redirects are not followed\n",
        ),
        ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno", "ws: not authorized: no\n"),
        ("SSH-2.0-OpenSSH_9.6\r\n", "ws: invalid handshake response: "),
    ] {
        fails(&[&answers(answer).await], 4, said).await;
    }
}

/// The address of something that gives one answer, whatever it is asked.
async fn answers(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap() > 0 {}
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    address
}

#[tokio::test]
async fn something_that_is_missing_here_is_5() {
    fails(&["--root", "no/such.pem", "wss://a.example"], 5, "ws: cannot read no/such.pem: ").await;
    fails(&["--token-file", "no/such.token", "a.example"], 5, "ws: cannot read no/such.token: ").await;
    let (_server, address) = serve(&[]).await;
    let second = piped(&["serve", "--listen", &address], &[]).await;
    assert_eq!(second.code, Some(5));
    assert!(second.stderr.starts_with(&format!("ws: cannot listen on {address}: ")), "{}", second.stderr);
    let folder = piped(&["serve", "--files", "no/such/folder"], &[]).await;
    assert_eq!(folder.code, Some(5));
    assert!(folder.stderr.starts_with("ws: cannot read no/such/folder: "), "{}", folder.stderr);
}
