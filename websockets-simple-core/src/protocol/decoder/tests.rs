use super::*;

/// Runs all of `input`: what came out, and what is to be sent for it.
fn run(decoder: &mut Decoder, input: &[u8]) -> (Vec<Decoded>, Vec<(InternalFrame, usize)>) {
    let mut input = input.to_vec();
    let mut input = &mut input[..];
    let (mut steps, mut replies) = (Vec::new(), Vec::new());
    loop {
        let step = decoder.step(&mut input, |frame, internal| replies.push((internal, frame.len())));
        match step {
            Decoded::Starved => return (steps, replies),
            Decoded::Over | Decoded::Fault(_) => {
                steps.push(step);
                return (steps, replies);
            }
            step => steps.push(step),
        }
    }
}

fn client() -> Decoder {
    Decoder::new(Side::Client, 1000)
}

#[test]
fn a_ping_is_answered_before_the_input_is_used_up() {
    let (steps, replies) = run(&mut client(), b"\x89\x01a\x81\x01b");
    assert!(matches!(&steps[..], [Decoded::Ping, Decoded::Message(_)]), "{steps:?}");
    assert_eq!(replies, [(InternalFrame::Pong, 7)]);
}

#[test]
fn close_is_answered_once_and_what_follows_is_not_read() {
    let mut decoder = client();
    let (steps, replies) = run(&mut decoder, b"\x88\x02\x03\xe8\x81\x01b");
    assert!(matches!(steps[0], Decoded::Close(Some(1000), _)), "{steps:?}");
    assert!(!steps.iter().any(|step| matches!(step, Decoded::Message(_))), "{steps:?}");
    assert_eq!(replies, [(InternalFrame::Close, 8)]);
    assert!(decoder.close(CloseCode::NORMAL, "").is_none(), "nothing is left to say");
}

#[test]
fn the_answer_to_our_close_is_not_answered() {
    let mut decoder = client();
    assert!(decoder.close(CloseCode::NORMAL, "").is_some());
    assert!(decoder.close(CloseCode::GOING_AWAY, "").is_none(), "said once");
    let (steps, replies) = run(&mut decoder, b"\x88\x02\x03\xe8");
    assert!(matches!(steps[0], Decoded::Close(Some(1000), _)), "{steps:?}");
    assert!(replies.is_empty());
}

#[test]
fn each_fault_has_its_code_and_no_word_of_the_message() {
    for (input, code) in [
        (&b"\x82\x7e\x03\xe9"[..], CloseCode::TOO_BIG),
        (b"\x81\x07secret\xff", CloseCode::INVALID_DATA),
        (b"\xc1\x06secret", CloseCode::PROTOCOL),
        (b"\x81\x86....secret", CloseCode::PROTOCOL),
    ] {
        let (steps, _) = run(&mut client(), input);
        let [Decoded::Fault(fault)] = &steps[..] else { panic!("{steps:?}") };
        assert_eq!(fault.code, code);
        assert!(!format!("{fault:?}").contains("secret"), "{fault:?}");
    }
}

#[test]
fn any_bytes_whatever_end_in_a_step() {
    use proptest::prelude::*;
    proptest!(|(input: Vec<u8>, cut in 1usize..20)| {
        let mut decoder = client();
        for piece in input.chunks(cut) {
            let (steps, _) = run(&mut decoder, piece);
            if matches!(steps.last(), Some(Decoded::Over | Decoded::Fault(_))) {
                break;
            }
        }
    });
}

mod against_the_context {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::protocol::decoder::differential::compare;

    const MESSAGE_SIZE: usize = 40_000;

    /// One frame, valid or not.
    fn frame(side: Side) -> impl Strategy<Value = Vec<u8>> {
        let firsts =
            [0x81, 0x82, 0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A, 0xC1, 0xA2, 0x83, 0x09];
        let lens = [0, 1, 2, 3, 124, 125, 126, 200, 1024, 16_384, 17_000, 39_999, 40_000, 40_001, 70_000];
        let contents = [&b"a"[..], "é".as_bytes(), "😀".as_bytes(), b"\xFF", b"\x03\xE8ok"];
        let right = side == Side::Server;
        (
            prop_oneof![20 => select(firsts.to_vec()), 1 => any::<u8>()],
            prop_oneof![30 => Just(right), 1 => Just(!right)],
            select(lens.to_vec()),
            prop_oneof![20 => Just(0u8), 1 => Just(126), 1 => Just(127)],
            select(contents.to_vec()),
            any::<[u8; 4]>(),
        )
            .prop_map(|(first, masked, len, form, content, key)| {
                // Most control frames are to be valid ones.
                let len = if first & 8 != 0 && len > 200 { content.len() } else { len };
                let mut payload: Vec<u8> = content.iter().copied().cycle().take(len).collect();
                let mask = if masked { 0x80 } else { 0 };
                let mut frame = vec![first];
                match len {
                    0..126 if form == 0 => frame.push(mask | len as u8),
                    0..0x1_0000 if form != 127 => {
                        frame.push(mask | 126);
                        frame.extend((len as u16).to_be_bytes());
                    }
                    _ => {
                        frame.push(mask | 127);
                        frame.extend((len as u64).to_be_bytes());
                    }
                }
                if masked {
                    frame.extend(key);
                    apply_mask(&mut payload, key);
                }
                frame.extend(payload);
                frame
            })
    }

    fn of_side(side: Side) -> impl Strategy<Value = (Side, Vec<Vec<u8>>)> {
        (Just(side), vec(frame(side), 1..12))
    }

    fn cuts() -> impl Strategy<Value = Vec<usize>> {
        prop_oneof![Just(vec![usize::MAX]), vec(1usize..20, 1..4), vec(1usize..50_000, 1..6)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_frames_cut_anywhere_mean_the_same(
            (side, frames) in prop_oneof![of_side(Side::Server), of_side(Side::Client)],
            cuts in cuts(),
            close_before in proptest::option::weighted(0.2, 0usize..6),
        ) {
            compare(side, MESSAGE_SIZE, &frames.concat(), &cuts, close_before);
        }

        #[test]
        fn any_bytes_cut_anywhere_mean_the_same(
            client: bool,
            input: Vec<u8>,
            cuts in vec(1usize..20, 1..4),
            close_before in proptest::option::weighted(0.2, 0usize..6),
        ) {
            let side = if client { Side::Client } else { Side::Server };
            compare(side, 100, &input, &cuts, close_before);
        }
    }
}

#[test]
fn a_context_exists_only_while_it_has_something_to_remember() {
    let mut decoder = client();
    let mut remembers = |input: &[u8]| {
        run(&mut decoder, input);
        decoder.context.is_some()
    };
    assert!(!remembers(b"\x81\x01a\x82\x01b\x81\x7e"), "whole messages and half a header");
    assert!(!remembers(b"\x00\x80"), "half a message");
    assert!(!remembers(&[b'a'; 128]), "the rest of it");
    assert!(!remembers(b"\x89\x01a\x8a\x00"), "a ping and a pong");
    assert!(remembers(b"\x01\x01a"), "a fragment");
    assert!(remembers(b"\x89\x00\x00\x01b"), "another one");
    assert!(!remembers(b"\x80\x01c"), "the last one");
    assert!(remembers(b"\x88\x00"), "a Close");
}

#[test]
fn an_announced_message_takes_memory_only_as_it_comes() {
    let mut decoder = Decoder::new(Side::Client, 100 << 20);
    run(&mut decoder, b"\x82\x7f\x00\x00\x00\x00\x06\x40\x00\x00");
    let mut came = 0;
    while let Some((payload, missing)) = decoder.large() {
        assert!(payload.capacity() <= (16 * came).max(FIRST_PIECE), "{} for {came}", payload.capacity());
        let more = (payload.capacity() - came).min(missing);
        payload.resize(came + more, 7);
        came += more;
        if let Decoded::Message(message) = decoder.took(more) {
            assert_eq!(message.len(), 100 << 20);
            return;
        }
    }
    panic!("{came} bytes came, and no message of them");
}
