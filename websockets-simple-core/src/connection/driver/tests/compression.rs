//! Compressed messages over a connection, as RFC 7692 has them and as it does not.

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress};

use super::*;
use crate::{
    message::Uncompressed,
    protocol::{Agreement, Compression},
};

/// RSV1, which says that a message is compressed.
const RSV1: u8 = 0x40;

fn agreed(offer: &str) -> Agreement {
    Compression::new().answer([offer.as_bytes()]).unwrap().expect("an agreement").0
}

fn server() -> Plan {
    let mut plan = Plan::server();
    plan.outbox.compression = Some(agreed("permessage-deflate"));
    plan
}

/// A client whose server keeps its window from one message to the next.
fn client_with_window() -> Plan {
    let mut plan = Plan::client();
    plan.outbox.compression = Compression::new().confirm([&b"permessage-deflate"[..]]).unwrap();
    plan
}

/// A compressor as a peer has it.
struct Sender(Compress);

impl Sender {
    fn new() -> Self {
        Self(Compress::new_with_window_bits(flate2::Compression::new(6), false, 15))
    }

    fn deflate(&mut self, message: &[u8]) -> Vec<u8> {
        let mut output = Vec::with_capacity(message.len() + 100);
        self.0.compress_vec(message, &mut output, FlushCompress::Sync).unwrap();
        output.strip_suffix(&[0, 0, 0xFF, 0xFF]).unwrap().to_vec()
    }
}

fn deflated(message: impl AsRef<[u8]>) -> Vec<u8> {
    Sender::new().deflate(message.as_ref())
}

fn inflated(payload: &[u8], bits: u8) -> String {
    let mut output = Vec::with_capacity(1 << 20);
    let mut inflate = Decompress::new_with_window_bits(false, bits);
    let payload = [payload, &[0, 0, 0xFF, 0xFF]].concat();
    inflate.decompress_vec(&payload, &mut output, FlushDecompress::Sync).unwrap();
    String::from_utf8(output).unwrap()
}

#[tokio::test(start_paused = true)]
async fn compressed_messages_are_received_in_order_with_plain_ones_however_they_are_cut() {
    let long = "one two three ".repeat(500);
    let whole = deflated(&long);
    let (begin, end) = whole.split_at(whole.len() / 2);
    let input = [
        frame(TEXT | RSV1, &deflated("first"), true),
        frame(TEXT, b"plain", true),
        frame(BINARY | RSV1, &deflated([1, 2, 3]), true),
        // A control frame between fragments, and an empty fragment.
        frame(0x01 | RSV1, begin, true),
        frame(PING, b"", true),
        frame(0x00, b"", true),
        frame(0x80, end, true),
        frame(TEXT | RSV1, &[0], true),
        frame(TEXT | RSV1, &whole, true),
    ]
    .concat();
    for piece in [1, 2, 7, 64, input.len()] {
        let mut rig = server().run();
        for piece in input.chunks(piece) {
            rig.peer.raw(piece).await;
            tokio::task::yield_now().await;
        }
        rig.until_received(6).await;
        assert_eq!(rig.received(), ["first", "plain", "\u{1}\u{2}\u{3}", &long, "", &long]);
        assert_eq!(rig.shared.statistics().bytes_received, 5 + 5 + 3 + 2 * long.len() as u64);
        assert_eq!(rig.peer.hear().await.0, PONG);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_reads_messages_that_refer_to_earlier_ones_where_the_server_insists() {
    let mut rig = client_with_window().run();
    let mut sender = Sender::new();
    let text = "the same again and again";
    let first = sender.deflate(text.as_bytes());
    let again = sender.deflate(text.as_bytes());
    assert!(again.len() < first.len() / 2, "it refers to the first");
    for payload in [&first, &again] {
        rig.peer.say(TEXT | RSV1, payload).await;
    }
    rig.until_received(2).await;
    assert_eq!(rig.received(), [text, text]);
    // What it sends refers to nothing.
    for _ in 0..2 {
        rig.shared.outbox.try_send(Message::text(text.repeat(100)), false).unwrap();
        let (first, payload) = rig.peer.hear().await;
        assert_eq!(first, TEXT | RSV1);
        assert_eq!(inflated(&payload, 15), text.repeat(100));
    }
}

#[tokio::test(start_paused = true)]
async fn only_messages_that_get_shorter_are_compressed() {
    let mut rig = server().run();
    let send = |message: Message| rig.shared.outbox.try_send(message, false).unwrap();
    let noise: Vec<u8> = (0..5000).map(|_| rand::random()).collect();
    send(Message::text("x".repeat(1023)));
    send(Message::binary(noise.clone()));
    rig.shared.outbox.try_send(Uncompressed(Message::text("x".repeat(5000))), false).unwrap();
    rig.shared.outbox.send(Uncompressed(Message::text("y".repeat(5000))), false).await.unwrap();
    for expected in ["x".repeat(1023).into_bytes(), noise, vec![b'x'; 5000], vec![b'y'; 5000]] {
        let (first, payload) = rig.peer.hear().await;
        assert_eq!(first & RSV1, 0);
        assert!(payload == expected);
    }
    send(Message::text("x".repeat(1024)));
    send(Message::binary(vec![b'y'; 100_000]));
    rig.shared.outbox.send(Message::text("z".repeat(2000)), false).await.unwrap();
    for (kind, expected) in
        [(TEXT, "x".repeat(1024)), (BINARY, "y".repeat(100_000)), (TEXT, "z".repeat(2000))]
    {
        let (first, payload) = rig.peer.hear().await;
        assert_eq!(first, kind | RSV1);
        assert!(payload.len() < 1000);
        assert_eq!(inflated(&payload, 15), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_with_a_small_window_gets_what_fits_into_it() {
    // Text that repeats what is 20 KiB behind it.
    let block: String = (0..20_000).map(|_| char::from(b'a' + rand::random::<u8>() % 26)).collect();
    let text = block.repeat(3);
    for bits in 8..=15 {
        let mut plan = Plan::server();
        plan.outbox.compression = Some(agreed(&format!("permessage-deflate; server_max_window_bits={bits}")));
        let mut rig = plan.run();
        rig.shared.outbox.try_send(Message::text(text.clone()), false).unwrap();
        let (first, payload) = rig.peer.hear().await;
        if bits == 8 {
            // zlib has no window of 256 bytes.
            assert!(first == TEXT && payload == text.as_bytes());
        } else {
            assert_eq!(first, TEXT | RSV1);
            assert_eq!(inflated(&payload, bits), text, "{bits} bits");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reserved_bit_where_it_means_nothing_closes_with_1002() {
    let hello = deflated("hello");
    for (what, before, breach) in [
        (
            "a continuation",
            Some(frame(0x01 | RSV1, &hello[..2], true)),
            frame(0x80 | RSV1, &hello[2..], true),
        ),
        ("a continuation of a plain message", Some(frame(0x01, b"a", true)), frame(0x80 | RSV1, b"b", true)),
        ("a ping", None, frame(PING | RSV1, b"", true)),
        ("a Close", None, frame(CLOSE | RSV1, b"", true)),
        ("RSV2", None, frame(TEXT | 0x20, b"a", true)),
        ("RSV3", None, frame(TEXT | RSV1 | 0x10, &hello, true)),
        ("no opcode", None, frame(0x83 | RSV1, &hello, true)),
    ] {
        let mut rig = server().run();
        rig.peer.raw(&[before.unwrap_or_default(), breach].concat()).await;
        assert_eq!(rig.peer.hear_close().await.0, 1002, "{what}");
        drop(rig.peer.stream.shutdown().await);
        assert_eq!(rig.end().await.by, EndedBy::Protocol, "{what}");
        assert_eq!(rig.received(), [""; 0], "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decompressed_and_text_that_is_not_utf8_close_with_1007() {
    for (opcode, payload) in [
        (BINARY, vec![0xFF, 0xFF]),
        (TEXT, vec![7]),
        (TEXT, deflated([0x61, 0xFF])),
        (BINARY, vec![3, 0, 0xFF]),
        // A block of 10 bytes of which 6 have come: nothing of it is delivered, nor of one with a code cut off.
        (BINARY, [&[0x00, 10, 0, 0xF5, 0xFF][..], b"abcdef"].concat()),
        (TEXT, deflated("hello hello hello")[..6].to_vec()),
        // As many streams as no honest peer sends.
        (BINARY, [3, 0].repeat(64)),
        // A distance into what was before the message, where nothing was.
        (BINARY, vec![0xf2, 0x00, 0x11, 0x00, 0x00]),
    ] {
        let mut rig = server().run();
        rig.peer.say(opcode | RSV1, &payload).await;
        assert_eq!(rig.peer.hear_close().await.0, 1007, "{payload:x?}");
        drop(rig.peer.stream.shutdown().await);
        assert_eq!(rig.end().await.by, EndedBy::Protocol);
        assert_eq!(rig.errors(), [ErrorStage::Protocol]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_message_is_read_however_a_peer_compresses_it() {
    for mut rig in [server().run(), client_with_window().run()] {
        let mut sender = Sender::new();
        let first = sender.deflate(b"hello");
        let again = sender.deflate(b"hello");
        rig.peer.say(TEXT | RSV1, &first).await;
        for empty in [&[][..], &[0], &[2, 0], &[]] {
            rig.peer.say(TEXT | RSV1, empty).await;
        }
        rig.until_received(5).await;
        if rig.shared.outbox.side() == Side::Client {
            rig.peer.say(TEXT | RSV1, &again).await;
            rig.until_received(6).await;
        }
        let received = rig.received();
        assert_eq!(received[..5], ["hello", "", "", "", ""]);
        assert_eq!(received.get(5).map_or("hello", |text| text), "hello");
    }
}

#[tokio::test(start_paused = true)]
async fn the_size_limit_is_that_of_the_message_and_not_of_what_is_on_the_wire() {
    let noise: Vec<u8> = (0..1000).map(|_| rand::random()).collect();
    for message in [vec![0; 1000], noise] {
        let mut rig = server().config(|config| config.message_size = 1000).run();
        rig.peer.say(BINARY | RSV1, &deflated(&message)).await;
        rig.until_received(1).await;
        let longer = deflated([&message[..], b"x"].concat());
        rig.peer.say(BINARY | RSV1, &longer).await;
        assert_eq!(rig.peer.hear_close().await.0, 1009);
        drop(rig.peer.stream.shutdown().await);
        assert_eq!(rig.end().await.by, EndedBy::Limit);
    }
    // What is far too long is refused from its header, in fragments as well.
    for opcode in [0x02, 0x82] {
        let mut rig = server().config(|config| config.message_size = 1000).run();
        rig.peer.raw(&[opcode | RSV1, 0x80 | 126, 0xFF, 0xFF, 1, 2, 3, 4]).await;
        assert_eq!(rig.peer.hear_close().await.0, 1009);
    }
    let mut rig = server().config(|config| config.message_size = 1000).run();
    rig.peer.say(0x02 | RSV1, &[0; 1500]).await;
    rig.peer.say(0x80, &[0; 600]).await;
    assert_eq!(rig.peer.hear_close().await.0, 1009);
}

#[tokio::test(start_paused = true)]
async fn the_byte_rate_counts_what_a_message_is_once_it_is_decompressed() {
    let mut rig = server().config(|config| config.bytes_per_second = Some(10_000)).run();
    let message = deflated("x".repeat(4_000));
    assert!(message.len() < 100);
    for _ in 0..3 {
        rig.peer.say(TEXT | RSV1, &message).await;
    }
    assert_eq!(rig.peer.hear_close().await.0, 1008);
    rig.peer.close(1008).await;
    assert_eq!(rig.end().await.by, EndedBy::Limit);
    assert_eq!(rig.received().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_decompressed_than_is_read_ahead_of_a_busy_handler() {
    let mut rig = server().busy(1).run();
    let bomb = deflated("x".repeat(1 << 20));
    let bombs: Vec<u8> = (0..50).flat_map(|_| frame(TEXT | RSV1, &bomb, true)).collect();
    assert!(bombs.len() < 64 * 1024, "all of them come in one read");
    rig.peer.raw(&bombs).await;
    rig.until_received(1).await;
    // One is handled, and one more waits.
    assert!(rig.shared.statistics().messages_received <= 2, "{:?}", rig.shared.statistics());
    rig.until_received(50).await;
    assert_eq!(rig.elapsed().as_secs(), 49);
}

#[tokio::test(start_paused = true)]
async fn after_our_close_nothing_is_decompressed() {
    let mut rig = server().run();
    rig.close(CloseCode::NORMAL, "");
    assert_eq!(rig.peer.hear_close().await.0, 1000);
    // It would be a fault.
    rig.peer.say(BINARY | RSV1, &[0xFF, 0xFF]).await;
    rig.peer.close(1000).await;
    let end = rig.end().await;
    assert!(end.clean, "{end:?}");
    assert_eq!(rig.errors(), []);
}

#[tokio::test(start_paused = true)]
async fn what_the_connection_says_itself_is_never_compressed() {
    let mut plan = server();
    plan.outbox.compression =
        Compression::new().threshold(0).answer([&b"permessage-deflate"[..]]).unwrap().map(|agreed| agreed.0);
    let mut rig = plan.heartbeat(1, crate::connection::heartbeat::HeartbeatMode::Text).run();
    assert_eq!(rig.peer.hear_text().await, "ping");
    rig.close(CloseCode::NORMAL, &"x".repeat(100));
    assert_eq!(rig.peer.hear_close().await.1, "x".repeat(100));
}
