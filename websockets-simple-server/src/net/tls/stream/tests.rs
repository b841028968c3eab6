//! A client of `tokio-rustls` at the other end of a pipe.

use std::future::poll_fn;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{
    TlsConnector, client,
    rustls::{
        ClientConfig, RootCertStore, SupportedProtocolVersion,
        pki_types::{PrivatePkcs8KeyDer, ServerName},
        version::{TLS12, TLS13},
    },
};
use websockets_simple_core::tls::provider;

use super::*;

/// The configurations of a server, and of a client that trusts it.
fn configs(version: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let server = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
    let mut server =
        server.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    // Nobody reads them while both ends shake hands.
    server.send_tls13_tickets = 0;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    (Arc::new(server), TlsConnector::from(Arc::new(client)))
}

type Ends = (TlsStream<DuplexStream>, client::TlsStream<DuplexStream>);

/// Both ends of a connection, of which the pipe holds so many bytes.
async fn connected(version: &'static SupportedProtocolVersion, room: usize) -> Ends {
    let (config, connector) = configs(version);
    let (ours, theirs) = duplex(room);
    let name = ServerName::try_from("localhost").unwrap();
    let (accepted, connected) =
        tokio::join!(TlsStream::accept(config, ours), connector.connect(name, theirs));
    (accepted.map_err(|(error, _)| error).unwrap(), connected.unwrap())
}

fn numbers(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

fn held<S>(stream: &TlsStream<S>) -> usize {
    stream.incoming.capacity() + stream.received.capacity() + stream.outgoing.capacity()
}

#[tokio::test]
async fn what_either_end_sends_arrives_however_the_pipe_cuts_it_and_nothing_is_kept() {
    for version in [&TLS12, &TLS13] {
        for (room, len) in [(7, 20_000), (1_000, 100_000), (1 << 20, 700_000)] {
            let (mut server, mut client) = connected(version, room).await;
            let sent = numbers(len);
            let echoing = async {
                let mut came = Vec::new();
                server.read_to_end(&mut came).await.unwrap();
                assert!(came == sent, "{version:?} {room}");
                server.write_all(&came).await.unwrap();
                server.shutdown().await.unwrap();
                server
            };
            let asking = async {
                client.write_all(&sent).await.unwrap();
                client.shutdown().await.unwrap();
                let mut came = Vec::new();
                client.read_to_end(&mut came).await.unwrap();
                came
            };
            let (server, came) = tokio::join!(echoing, asking);
            assert!(came == sent, "{version:?} {room}");
            assert_eq!(held(&server), 0);
        }
    }
}

#[tokio::test]
async fn a_reader_with_little_room_gets_a_record_piece_by_piece() {
    let (mut server, mut client) = connected(&TLS13, 1 << 20).await;
    let sent = numbers(50_000);
    client.write_all(&sent).await.unwrap();
    client.flush().await.unwrap();
    let mut came = Vec::new();
    while came.len() < sent.len() {
        let mut piece = [0; 999];
        let len = server.read(&mut piece).await.unwrap();
        came.extend_from_slice(&piece[..len]);
    }
    assert!(came == sent);
    assert_eq!(held(&server), 0);
}

#[tokio::test]
async fn pieces_of_one_write_arrive_in_their_order() {
    let (mut server, mut client) = connected(&TLS13, 1 << 20).await;
    let sent = numbers(200_000);
    let none = poll_fn(|cx| Pin::new(&mut server).poll_write_vectored(cx, &[])).await.unwrap();
    assert_eq!(none, 0);
    // Small ones; those of a frame; and one that is more than is encrypted at once.
    for (pieces, expected) in [
        (sent.chunks(3_001).collect::<Vec<_>>(), 6 * 3_001),
        (vec![&[], &sent[..10], &sent[10..60_000]], 60_000),
        (vec![&sent[..4], &[], &sent[4..]], PLAINTEXT),
        (vec![&sent[..IN_RECORD], &sent[IN_RECORD..IN_RECORD + 1]], IN_RECORD + 1),
    ] {
        let pieces: Vec<_> = pieces.into_iter().map(IoSlice::new).collect();
        let written = poll_fn(|cx| Pin::new(&mut server).poll_write_vectored(cx, &pieces)).await.unwrap();
        assert_eq!(written, expected);
        let mut came = vec![0; written];
        client.read_exact(&mut came).await.unwrap();
        assert!(came == sent[..written]);
    }
}

#[tokio::test]
async fn new_keys_are_followed_in_both_directions() {
    let (mut server, mut client) = connected(&TLS13, 1 << 20).await;
    for round in 0..5_u8 {
        client.get_mut().1.refresh_traffic_keys().unwrap();
        client.write_all(&[round]).await.unwrap();
        client.flush().await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), round);
        server.write_all(&[round]).await.unwrap();
        server.flush().await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), round);
    }
    assert_eq!(held(&server), 0);
}

#[tokio::test]
async fn a_stream_that_is_cut_is_told_from_one_that_has_ended() {
    for ends in [true, false] {
        let (mut server, mut client) = connected(&TLS13, 1 << 20).await;
        client.write_all(b"last").await.unwrap();
        if ends {
            client.shutdown().await.unwrap();
        }
        drop(client);
        let mut came = Vec::new();
        let read = server.read_to_end(&mut came).await;
        assert_eq!(
            read.map_err(|error| error.kind()),
            if ends { Ok(4) } else { Err(io::ErrorKind::UnexpectedEof) }
        );
        assert_eq!(came, b"last");
    }
}

#[tokio::test]
async fn what_is_not_tls_gets_an_alert_and_the_stream_comes_back() {
    let (ours, mut theirs) = duplex(1 << 10);
    theirs.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let (error, mut stream) = TlsStream::accept(configs(&TLS13).0, ours).await.err().unwrap();
    assert!(error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()), "{error}");
    stream.write_all(b"!").await.unwrap();
    let mut came = [0; 8];
    theirs.read_exact(&mut came).await.unwrap();
    // A fatal alert (RFC 8446 section 6), and what followed.
    assert_eq!((came[0], came[5], came[7]), (21, 2, b'!'));
}

#[tokio::test]
async fn a_client_that_hangs_up_or_says_nothing_more_is_no_connection() {
    let (ours, theirs) = duplex(1 << 10);
    drop(theirs);
    let (error, _) = TlsStream::accept(configs(&TLS13).0, ours).await.err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_broken_record_ends_the_stream_with_an_alert() {
    let (mut server, client) = connected(&TLS13, 1 << 20).await;
    let (mut pipe, _) = client.into_inner();
    // Application data of 20 bytes that nobody has encrypted.
    pipe.write_all(&[&[23, 3, 3, 0, 20][..], &[7; 20]].concat()).await.unwrap();
    let error = server.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let mut came = Vec::new();
    drop(server);
    pipe.read_to_end(&mut came).await.unwrap();
    // Two bytes, their kind and their tag.
    assert_eq!((came.len(), &came[..5]), (24, &[23, 3, 3, 0, 19][..]), "an encrypted alert: {came:?}");
}
