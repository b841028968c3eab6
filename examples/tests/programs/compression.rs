//! Compression with clients and servers of other languages. What went over the wire is counted in between.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use websockets_simple_client::{ClientEvent, ClientParams, Events, Message, WebsocketClient};
use websockets_simple_server::{Compression, Limits, OverflowPolicy, ServerParams, WebsocketServer};

use crate::{other_clients::interpreter, program::Program};

const PATIENCE: Duration = Duration::from_secs(60);

const MIB: u64 = 1 << 20;

/// What the scripts send in all: ten sizes, of which the sum is this, three kinds of messages, each twice.
const SAID: u64 = 6 * (1 + 125 + 126 + 1023 + 1024 + 1025 + 65_535 + 65_536 + MIB);

/// The third of it that is noise.
const NOISE: u64 = SAID / 3;

/// A relay for one connection, which changes the head of the request and counts the bytes: those of the client, and
/// those of the server.
async fn relay(to: SocketAddr, without: &'static str) -> (SocketAddr, JoinHandle<(u64, u64)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let relaying = tokio::spawn(async move {
        let mut client = listener.accept().await.unwrap().0;
        let mut server = TcpStream::connect(to).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.contains(without), "{head}");
        server.write_all(head.replace(without, "").as_bytes()).await.unwrap();
        copy_bidirectional(&mut client, &mut server).await.unwrap()
    });
    (addr, relaying)
}

/// What a script made of our server.
struct Met {
    agreed_on: String,
    echoed: String,
    sent: u64,
    received: u64,
}

/// Runs a client that has everything echoed by our server.
async fn client(script: &str, options: &[&str], compression: Compression) -> Met {
    let limits = Limits::default().messages_per_second(None).bytes_per_second(None);
    let params = ServerParams::local().compression(compression).limits(limits);
    let server = WebsocketServer::new(params.outbox(8 << 20).overflow(OverflowPolicy::Wait(PATIENCE)));
    server.on_message(|connection, message| async move {
        connection.send(message).await.unwrap();
    });
    server.start().await.unwrap();
    let (addr, relaying) = relay(server.local_addr().unwrap(), "").await;
    let url = format!("ws://{addr}");
    let mut command = interpreter(&format!("compression/{script}")).await;
    let mut program = Program::spawn(command.args(["client", &url]).args(options));
    let agreed_on = shown(&mut program, "agreed on ").await;
    let echoed = shown(&mut program, "echoed ").await;
    let ended = program.end().await;
    assert!(ended.success, "{}", ended.stderr);
    let (sent, received) = relaying.await.unwrap();
    server.stop().await;
    Met { agreed_on, echoed, sent, received }
}

/// The rest of a line that begins so, or what the program complains about.
async fn shown(program: &mut Program, begin: &str) -> String {
    match program.line().await.strip_prefix(begin) {
        Some(rest) => rest.to_owned(),
        None => panic!("no line begins with {begin}"),
    }
}

impl Met {
    /// Both ends compressed what gets shorter.
    fn is_compressed(&self) -> &Self {
        for (bytes, end) in [(self.sent, "the client"), (self.received, "the server")] {
            // Noise goes as it is, or a little longer. The rest gets much shorter.
            assert!(
                (NOISE..NOISE + NOISE / 8).contains(&bytes),
                "{end} sent {bytes} bytes of {SAID}: {}",
                self.agreed_on
            );
        }
        self
    }

    fn echoed(&self, count: &str) -> &Self {
        assert_eq!(self.echoed, count);
        self
    }

    fn agreed_on(&self, words: &str) -> &Self {
        assert!(self.agreed_on.contains(words), "{} without {words}", self.agreed_on);
        self
    }
}

#[tokio::test]
async fn python_websockets_as_it_is_by_default_compresses_with_us() {
    let met = client("python_websockets.py", &["None"], Compression::new()).await;
    met.is_compressed().echoed("69").agreed_on("remote_no_context_takeover=True");
}

#[tokio::test]
async fn python_websockets_reads_messages_of_all_sizes_with_the_window_that_it_asks_for() {
    for bits in [9, 12, 15] {
        let options = format!("dict(server_max_window_bits={bits}, client_max_window_bits=True)");
        let met = client("python_websockets.py", &[&options], Compression::new().threshold(0).level(6)).await;
        met.is_compressed().echoed("69").agreed_on(&format!("remote_max_window_bits={bits}"));
    }
    let options = "dict(client_no_context_takeover=True, server_no_context_takeover=True)";
    client("python_websockets.py", &[options], Compression::new()).await.is_compressed().echoed("69");
}

#[tokio::test]
async fn python_zlib_and_ours_read_each_other_with_each_size_of_a_window() {
    for bits in 9..=15 {
        for compression in [Compression::new(), Compression::new().threshold(0).level(6)] {
            let met = client("python_zlib.py", &[&bits.to_string()], compression).await;
            met.agreed_on(&format!("server_max_window_bits={bits}"));
            let (count, compressed) = met.echoed.split_once(" of which compressed ").unwrap();
            // Two of three messages, in seven windows, of which half are long enough.
            assert_eq!(count, "378");
            let compressed: usize = compressed.parse().unwrap();
            assert!((112..252).contains(&compressed), "{compressed}");
        }
    }
    // zlib has no window of 8 bits: only what is shorter than the window is compressed.
    for (threshold, compressed) in [(1024, 0..1), (0, 28..85)] {
        let met = client("python_zlib.py", &["8"], Compression::new().threshold(threshold)).await;
        met.agreed_on("server_max_window_bits=8");
        let count: usize = met.echoed.strip_prefix("378 of which compressed ").unwrap().parse().unwrap();
        assert!(compressed.contains(&count), "{count}");
    }
}

#[tokio::test]
async fn python_aiohttp_compresses_with_us() {
    for bits in ["15", "11"] {
        let met = client("python_aiohttp.py", &[bits], Compression::new()).await;
        met.is_compressed().echoed("60").agreed_on("no takeover");
    }
}

#[tokio::test]
async fn python_websocket_client_which_cannot_compress_is_served_as_ever() {
    let met = client("python_websocket_client.py", &[], Compression::new()).await;
    met.echoed("61").agreed_on("nothing");
    assert!(met.sent > SAID && met.received > SAID);
}

#[tokio::test]
async fn node_ws_compresses_with_us_however_it_is_set_up() {
    for options in [
        "true",
        r#"{"threshold": 0}"#,
        r#"{"clientNoContextTakeover": true, "serverNoContextTakeover": true}"#,
        r#"{"serverMaxWindowBits": 10, "clientMaxWindowBits": 10}"#,
    ] {
        let met = client("node_ws.cjs", &[options], Compression::new().threshold(100)).await;
        met.is_compressed().echoed("92").agreed_on("permessage-deflate");
    }
    let met = client("node_ws.cjs", &["false"], Compression::new()).await;
    met.echoed("92").agreed_on("nothing");
    assert!(met.sent > SAID && met.received > SAID);
}

/// It does not compress what it sends.
#[tokio::test]
async fn the_websocket_that_node_has_built_in_reads_what_we_compress() {
    let met = client("node_undici.cjs", &[], Compression::new()).await;
    met.echoed("60").agreed_on("permessage-deflate");
    assert!((NOISE..NOISE + NOISE / 8).contains(&met.received), "{}", met.received);
}

/// Our client with a server that echoes, once as it offers it, and once as if it had offered that both ends keep their
/// windows.
async fn server(script: &str, options: &[&str]) {
    const NO_TAKEOVER: &str = "; server_no_context_takeover; client_no_context_takeover";
    for without in ["", NO_TAKEOVER] {
        for threshold in [0, 1024] {
            let mut command = interpreter(&format!("compression/{script}")).await;
            let mut program = Program::spawn(command.arg("server").args(options));
            let to = shown(&mut program, "listening on ").await.parse().unwrap();
            let (addr, relaying) = relay(to, without).await;
            let params = ClientParams::url(&format!("ws://{addr}/")).unwrap().outbox(8 << 20);
            let compression = Compression::new().threshold(threshold);
            let client = WebsocketClient::new(params.compression(compression)).unwrap();
            let mut events = client.events();
            client.connect().await.unwrap();
            assert!(client.connection().unwrap().is_compressed());
            for message in messages() {
                client.send(message.clone()).await.unwrap();
                assert_eq!(heard(&mut events).await, message);
            }
            // Several at once, and parts.
            let texts: Vec<_> = (0..50).map(|n| Message::text(format!("{n:0>2000}"))).collect();
            for text in &texts {
                client.send(text).await.unwrap();
            }
            for text in &texts {
                assert_eq!(heard(&mut events).await, *text);
            }
            let connection = client.connection().unwrap();
            let mut writer = connection.send_parts::<str>().await.unwrap();
            for part in ["one ", "two ", "three"] {
                writer.write(part).await.unwrap();
            }
            writer.finish().await.unwrap();
            assert_eq!(heard(&mut events).await, Message::text("one two three"));
            client.disconnect().await;
            program.end().await;
            let (sent, received) = relaying.await.unwrap();
            for (bytes, end) in [(sent, "our client"), (received, "the server")] {
                assert!((NOISE..NOISE + NOISE / 8).contains(&bytes), "{end} sent {bytes} of {SAID} bytes");
            }
        }
    }
}

fn messages() -> impl Iterator<Item = Message> {
    let sizes = [0, 1, 125, 126, 1023, 1024, 1025, 65_535, 65_536, 1 << 20];
    sizes.into_iter().flat_map(|size: usize| {
        let plain = r#"{"id":17,"name":"somebody","online":true},"#.repeat(size / 40 + 1)[..size].to_owned();
        let letters = "ż日😀".repeat(size / 9);
        let filled = letters.clone() + &"x".repeat(size - letters.len());
        let noise: Vec<u8> = (0..size).map(|_| rand::random()).collect();
        [Message::text(plain), Message::text(filled), Message::binary(noise)].into_iter().cycle().take(6)
    })
}

async fn heard(events: &mut Events<ClientEvent>) -> Message {
    let hearing = async {
        loop {
            match events.recv().await.unwrap() {
                ClientEvent::Message(event) => return event.message,
                ClientEvent::Error(event) => panic!("{:?}", event.error),
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, hearing).await.expect("a message in time")
}

#[tokio::test]
async fn our_client_compresses_with_the_server_of_python_websockets() {
    server("python_websockets.py", &["None"]).await;
}

#[tokio::test]
async fn our_client_compresses_with_the_server_of_python_aiohttp() {
    server("python_aiohttp.py", &[]).await;
}

#[tokio::test]
async fn our_client_compresses_with_the_server_of_node_ws() {
    server("node_ws.cjs", &[r#"{"threshold": 0}"#]).await;
}

#[tokio::test]
async fn our_client_compresses_with_the_server_of_node_ws_with_its_own_threshold() {
    server("node_ws.cjs", &["true"]).await;
}
