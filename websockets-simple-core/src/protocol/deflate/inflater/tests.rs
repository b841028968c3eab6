use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;
use crate::protocol::deflate::deflater::Deflater;

fn inflate(message: &[u8], limit: usize) -> Result<Vec<u8>, FaultKind> {
    Inflater::new().inflate(message, limit)
}

fn inflate_alone(message: &[u8], limit: usize) -> Result<Vec<u8>, FaultKind> {
    Inflater::new().inflate_alone(message, limit)
}

fn deflated(message: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut compress = Compress::new_with_window_bits(Compression::new(6), false, 15);
    let mut output = Vec::with_capacity(message.len() + 1000);
    compress.compress_vec(message, &mut output, flush).unwrap();
    output
}

/// As a peer sends it: without the tail.
fn sent(message: &[u8]) -> Vec<u8> {
    deflated(message, FlushCompress::Sync).strip_suffix(&TAIL).unwrap().to_vec()
}

#[test]
fn the_examples_of_rfc_7692_are_read() {
    // Section 7.2.3: one block, no compression, a final block, and two blocks.
    for example in [
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
        &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
    ] {
        assert_eq!(inflate(example, 5).unwrap(), b"Hello", "{example:x?}");
    }
    // Section 7.2.3.6: an empty message.
    assert_eq!(inflate(&[0x00], 0).unwrap(), b"");
}

#[test]
fn with_a_window_a_message_may_refer_to_the_one_before() {
    // Section 7.2.3.2: `Hello` twice.
    let mut inflater = Inflater::new();
    assert_eq!(inflater.inflate(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], 5).unwrap(), b"Hello");
    let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
    assert_eq!(inflater.inflate(&again, 5).unwrap(), b"Hello");
    inflater.reset();
    assert_eq!(
        inflater.inflate(&again, 5).unwrap_err(),
        FaultKind::Deflate,
        "and never to one of another peer"
    );
}

#[test]
fn the_limit_is_the_longest_message_and_holds_while_it_is_decompressed() {
    for limit in [0, 1, 1023, 1024, 1025, 70_000] {
        for byte in [b'a', 0] {
            let message = vec![byte; limit];
            assert_eq!(inflate(&sent(&message), limit).unwrap(), message);
            let longer = sent(&vec![byte; limit + 1]);
            assert_eq!(inflate(&longer, limit).unwrap_err(), FaultKind::TooBig { limit: limit as u64 });
        }
    }
    // A bomb: 64 MiB in 64 KiB.
    let bomb = sent(&vec![0; 64 << 20]);
    assert!(bomb.len() < 80_000);
    assert_eq!(inflate(&bomb, 1 << 20).unwrap_err(), FaultKind::TooBig { limit: 1 << 20 });
}

#[test]
fn final_blocks_are_legal_and_what_follows_them_is_read() {
    let end = deflated(b"one", FlushCompress::Finish);
    assert_eq!(inflate(&end, 100).unwrap(), b"one");
    assert_eq!(inflate(&[&end[..], &[0]].concat(), 100).unwrap(), b"one");
    assert_eq!(inflate(&[&end[..], &end, &sent(b"two")].concat(), 100).unwrap(), b"oneonetwo");
    // The next message is read as ever, with a window as well.
    let mut inflater = Inflater::new();
    for message in [&end[..], &[&end[..], &[0]].concat(), &sent(b"one")] {
        assert_eq!(inflater.inflate(message, 100).unwrap(), b"one");
    }
}

#[test]
fn a_message_of_very_many_streams_is_refused() {
    // An empty final block is two bytes, and each costs a reset.
    let empty = [0x03, 0x00];
    assert_eq!(inflate(&empty.repeat(MOST_STREAMS - 1), 100).unwrap(), b"");
    assert_eq!(inflate(&empty.repeat(MOST_STREAMS), 100).unwrap_err(), FaultKind::Deflate);
}

#[test]
fn what_is_not_deflate_is_refused_and_nothing_spins() {
    for input in
        [&[0xFF][..], &[0x07, 0, 0, 0], &[0x00, 0x01, 0x00, 0x00, 0x00, 0x61], &[3, 0, 0xFF], &[0x06; 100]]
    {
        assert_eq!(inflate(input, 1000), Err(FaultKind::Deflate), "{input:x?}");
    }
    // The state is as good as before.
    let mut inflater = Inflater::new();
    assert!(inflater.inflate(&[0xFF], 1000).is_err());
    inflater.reset();
    assert_eq!(inflater.inflate(&sent(b"well"), 1000).unwrap(), b"well");
}

#[test]
fn a_message_that_ends_inside_of_a_block_is_refused_and_nothing_of_it_is_delivered() {
    let text = "what was cut off is never taken for the whole ".repeat(20) + "0123456789";
    let noise: Vec<u8> = (0..600).map(|_| rand::random()).collect();
    for message in [text.as_bytes(), &noise, b"x"] {
        let sent = sent(message);
        // One byte of zero is an empty message.
        for len in 2..sent.len() - 1 {
            assert_eq!(
                inflate_alone(&sent[..len], 10_000),
                Err(FaultKind::Deflate),
                "{len} of {}",
                sent.len()
            );
        }
        assert_eq!(inflate_alone(&sent, 10_000).unwrap(), message);
        // A peer that does not cut the tail off is understood.
        assert_eq!(inflate_alone(&[&sent[..], &TAIL].concat(), 10_000).unwrap(), message);
    }
    // A block of 10 bytes that holds 6: the tail is no part of the message, with a window either.
    let stored = [0x00, 10, 0, 0xF5, 0xFF, b'a', b'b', b'c', b'd', b'e', b'f'];
    assert_eq!(inflate_alone(&stored, 100), Err(FaultKind::Deflate));
    assert_eq!(inflate(&stored, 100), Err(FaultKind::Deflate));
}

#[test]
fn an_empty_message_may_have_no_block_at_all_and_leaves_the_window_as_it_is() {
    assert_eq!(inflate_alone(&[], 0).unwrap(), b"");
    let mut inflater = Inflater::new();
    assert_eq!(inflater.inflate(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], 5).unwrap(), b"Hello");
    for empty in [&[][..], &[0], &[]] {
        assert_eq!(inflater.inflate(empty, 5).unwrap(), b"");
    }
    assert_eq!(inflater.inflate(&[0xf2, 0x00, 0x11, 0x00, 0x00], 5).unwrap(), b"Hello");
}

#[test]
fn memory_is_taken_only_for_what_has_come() {
    // What waits for a handler is counted by its length.
    for len in [0, 1, 10, 1023, 1024, 1025, 100_000] {
        let message = inflate(&sent(&vec![b'x'; len]), 1 << 30).unwrap();
        assert_eq!((message.len(), message.capacity()), (len, len));
    }
}

/// Messages that get shorter, and such that do not.
fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..3000),
        "[a-d]{0,2000}".prop_map(String::into_bytes),
        (prop::collection::vec(any::<u8>(), 1..40), 1usize..2000)
            .prop_map(|(piece, times)| piece.repeat(times)),
    ]
}

proptest! {
    #[test]
    fn what_one_end_compresses_the_other_reads(
        messages in prop::collection::vec(message(), 1..4),
        level in 1u8..10,
        bits in 9u8..16,
    ) {
        let mut deflater = Deflater::new(level, bits);
        let mut inflater = Inflater::new();
        for message in messages {
            if let Some(deflated) = deflater.deflate(&message) {
                prop_assert!(deflated.len() < message.len());
                // A peer that keeps no larger window than it has said.
                let mut small = Inflater(Decompress::new_with_window_bits(false, bits));
                prop_assert_eq!(&small.inflate(deflated, message.len()).unwrap(), &message);
                // One that keeps its window, and one that does not.
                prop_assert_eq!(&inflater.inflate(deflated, message.len()).unwrap(), &message);
                prop_assert_eq!(&super::super::states::inflate(deflated, message.len()).unwrap(), &message);
            }
        }
    }

    #[test]
    fn no_bytes_make_more_than_the_limit_of_them_or_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        limit in 0usize..5000,
    ) {
        if let Ok(message) = inflate(&bytes, limit) {
            prop_assert!(message.len() <= limit);
        }
    }

    #[test]
    fn a_valid_message_with_one_wrong_byte_ends(message in message(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut sent = sent(&message);
        let at = at.index(sent.len());
        sent[at] = byte;
        let _ = inflate(&sent, 10_000);
    }
}
