//! What has to hold of compression for any bytes, for fuzz targets and property tests.

use flate2::{Decompress, FlushDecompress};

use super::{
    Agreement, Compression, OFFER,
    deflater::{Deflater, TAIL},
    inflater::Inflater,
    negotiation, states,
};
use crate::protocol::{
    Side, TextPolicy,
    decoder::replay::{Replay, Step},
    header::{BINARY, CONTINUATION, FIN, RSV1},
};

/// Any bytes of a compressed message are refused or become a message within the limit; and a decoder that agreed on
/// compression reads any bytes the same however they are cut. The first bytes say how.
pub(crate) fn inflate(data: &[u8]) {
    let Some((&[kind, first, second], input)) = data.split_first_chunk() else { return };
    let limit = (16 << (kind & 15)) - 1;
    let cuts = [first, second].map(|cut| usize::from(cut) << (kind >> 6));
    let alone = states::inflate(input, limit);
    let with_window = Inflater::new().inflate(input, limit);
    for message in alone.iter().chain(&with_window) {
        assert!(message.len() <= limit && message.capacity() == message.len());
    }
    if let Ok(message) = &alone {
        assert_eq!(with_window.as_ref(), Ok(message), "a window that is empty changes nothing");
    }
    let replay = |cuts, agreement| Replay {
        side: Side::Client,
        message_size: limit,
        text: TextPolicy::Strict,
        part_size: None,
        cuts,
        compression: Some(agreement),
    };
    let agreements =
        [Agreement::new(Compression::new(), 15, false), Agreement::new(Compression::new(), 15, true)];
    for agreement in agreements {
        // As it is, and as the payload of a message in one frame or in fragments.
        let steps = replay(&[], agreement).steps(input);
        assert_eq!(steps, replay(&cuts, agreement).steps(input));
        let whole = replay(&[], agreement).steps(&frames(input, &[]));
        for fragments in [&cuts[..], &[]] {
            let frames = frames(input, fragments);
            let steps = replay(&cuts, agreement).steps(&frames);
            let steps: Vec<_> = steps.into_iter().filter(|step| *step != Step::Fragment).collect();
            assert_eq!(steps, whole);
        }
    }
}

/// A compressed binary message of a server, in fragments of these sizes, which are repeated.
fn frames(payload: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut sizes = sizes.iter().cycle();
    let mut frames = Vec::new();
    let (mut first, mut rest) = (RSV1 | BINARY, payload);
    loop {
        let (fragment, later) =
            rest.split_at(sizes.next().map_or(rest.len(), |size| (*size).max(1)).min(rest.len()));
        let fin = if later.is_empty() { FIN } else { 0 };
        frames.push(fin | first);
        match u16::try_from(fragment.len()) {
            Ok(len @ ..126) => frames.push(len as u8),
            Ok(len) => frames.extend([&[126][..], &len.to_be_bytes()].concat()),
            Err(_) => frames.extend([&[127][..], &(fragment.len() as u64).to_be_bytes()].concat()),
        }
        frames.extend(fragment);
        (first, rest) = (CONTINUATION, later);
        if rest.is_empty() {
            return frames;
        }
    }
}

/// Any header is refused, declined, or answered by what obeys it and what our own client takes; and any answer is
/// refused or agrees on something that a compressor can do.
pub(crate) fn offer(data: &[u8]) {
    let lines = || data.split(|byte| *byte == b'\n');
    if let Ok(Some((agreement, answer))) = Compression::new().answer(lines()) {
        negotiation::obeys(lines(), &answer);
        assert!(
            answer.starts_with("permessage-deflate; server_no_context_takeover; client_no_context_takeover")
        );
        assert!(answer.bytes().all(|byte| (0x20..0x7F).contains(&byte)), "it is a header");
        let confirmed = Compression::new().confirm([answer.as_bytes()]);
        assert!(matches!(confirmed, Ok(Some(_))), "{answer}");
        assert!((8..=15).contains(&agreement.peer_bits));
    }
    if let Ok(Some(agreement)) = Compression::new().confirm(lines()) {
        assert!((8..=15).contains(&agreement.peer_bits));
    }
    assert!(matches!(Compression::new().answer([OFFER.as_bytes()]), Ok(Some(_))));
}

/// What is compressed for a window is read with a window of that size, and with none before it. The first bytes say
/// for which, and how often what follows them is repeated.
pub(crate) fn roundtrip(data: &[u8]) {
    let Some((&[level, bits, times], input)) = data.split_first_chunk() else { return };
    let (level, bits) = (level % 9 + 1, bits % 7 + 9);
    let mut deflater = Deflater::new(level, bits);
    let (half, rest) = input.split_at(input.len() / 2);
    for message in [half.to_vec(), rest.repeat(usize::from(times)), input.to_vec(), Vec::new()] {
        let Some(deflated) = deflater.deflate(&message) else { continue };
        assert!(deflated.len() < message.len());
        assert_eq!(states::inflate(deflated, message.len()).as_ref(), Ok(&message));
        let mut small = Decompress::new_with_window_bits(false, bits);
        let mut output = Vec::with_capacity(message.len() + 1);
        let input = [deflated, &TAIL].concat();
        let read = small.decompress_vec(&input, &mut output, FlushDecompress::Sync);
        assert!(read.is_ok() && output == message, "level {level}, {bits} bits");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes, and messages that are compressed.
    fn input() -> impl Strategy<Value = Vec<u8>> {
        let compressed = ("[a-d]{0,200}", 1u8..10).prop_map(|(text, level)| {
            Deflater::new(level, 15).deflate(text.as_bytes()).map_or_else(|| vec![0], <[u8]>::to_vec)
        });
        prop_oneof![prop::collection::vec(any::<u8>(), 0..100), compressed]
    }

    proptest! {
        #[test]
        fn compressed_input_is_read_the_same_however_it_is_cut(begin: [u8; 3], input in input()) {
            inflate(&[&begin[..], &input].concat());
        }

        #[test]
        fn each_header_is_answered_by_what_obeys_it(
            header in prop_oneof![
                any::<Vec<u8>>(),
                "(permessage-deflate(; (server|client)_(max_window_bits|no_context_takeover)(=\"?[0-9]{1,2}\"?)?){0,3}[,\n]?){0,3}"
                    .prop_map(String::into_bytes),
            ]
        ) {
            offer(&header);
        }

        #[test]
        fn what_is_compressed_for_a_window_is_read_with_one_of_that_size(begin: [u8; 3], input in input()) {
            roundtrip(&[&begin[..], &input].concat());
        }
    }
}
