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
    Decoder::new(Side::Client, 1000, TextPolicy::Strict)
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
    assert!(matches!(steps[..], [Decoded::Close(Some(1000), _), Decoded::Over]), "{steps:?}");
    assert!(replies.is_empty(), "the answer waits for what came before");
    assert_eq!(decoder.close_reply(Some(1000), "").map(|frame| frame.len()), Some(8));
    assert!(decoder.close_reply(Some(1000), "").is_none() && decoder.close(CloseCode::NORMAL, "").is_none());
}

#[test]
fn the_answer_to_our_close_is_not_answered() {
    let mut decoder = client();
    assert!(decoder.close(CloseCode::NORMAL, "").is_some());
    assert!(decoder.close(CloseCode::GOING_AWAY, "").is_none(), "said once");
    let (steps, replies) = run(&mut decoder, b"\x89\x00\x88\x02\x03\xe8");
    assert!(matches!(steps[..], [Decoded::Ping, Decoded::Close(Some(1000), _), Decoded::Over]), "{steps:?}");
    assert!(replies.is_empty(), "nothing follows our Close");
    assert!(decoder.close_reply(Some(1000), "").is_none());
}

#[test]
fn a_close_has_a_code_that_may_be_sent_or_none() {
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        let [high, low] = u16::to_be_bytes(code);
        let (steps, _) = run(&mut client(), &[0x88, 2, high, low]);
        assert!(matches!(&steps[..], [Decoded::Fault(fault)] if fault.code == CloseCode::PROTOCOL), "{code}");
    }
    for code in [1000, 1003, 1007, 1011, 1012, 1014, 3000, 4999] {
        let [high, low] = u16::to_be_bytes(code);
        let (steps, _) = run(&mut client(), &[0x88, 2, high, low]);
        assert!(matches!(steps[0], Decoded::Close(Some(told), _) if told == code), "{code}: {steps:?}");
    }
    let (steps, _) = run(&mut client(), &[0x88, 0]);
    assert!(matches!(steps[0], Decoded::Close(None, _)));
    let (steps, _) = run(&mut client(), &[0x88, 1, 3]);
    assert!(matches!(&steps[..], [Decoded::Fault(fault)] if fault.code == CloseCode::PROTOCOL));
    let (steps, _) = run(&mut client(), b"\x88\x03\x03\xe8\xff");
    assert!(matches!(&steps[..], [Decoded::Fault(fault)] if fault.code == CloseCode::INVALID_DATA));
}

#[test]
fn every_frame_is_a_step_and_what_is_not_in_its_shortest_form_is_1002() {
    let (steps, _) = run(&mut client(), b"\x01\x00\x00\x00\x89\x00\x80\x01a");
    let [Decoded::Fragment, Decoded::Fragment, Decoded::Ping, Decoded::Message(message)] = &steps[..] else {
        panic!("{steps:?}")
    };
    assert_eq!(message.as_text(), Some("a"));
    for input in [&b"\x82\x7e\x00\x7d"[..], b"\x82\x7f\0\0\0\0\0\0\xff\xff", b"\x82\x7f\x80\0\0\0\0\0\0\0"] {
        let (steps, _) = run(&mut client(), input);
        let [Decoded::Fault(fault)] = &steps[..] else { panic!("{steps:?}") };
        assert_eq!((fault.code, fault.kind()), (CloseCode::PROTOCOL, FaultKind::Length));
    }
}

#[test]
fn broken_text_is_repaired_where_the_policy_says_so_and_binary_stays_as_it_is() {
    let mut decoder = Decoder::new(Side::Client, 1000, TextPolicy::Lossy);
    let (steps, _) = run(&mut decoder, b"\x81\x04caf\xc3\x01\x01\xe6\x80\x01\x97\x82\x01\xff");
    let messages = steps.into_iter().filter_map(|step| match step {
        Decoded::Message(message) => Some(message),
        _ => None,
    });
    let texts: Vec<_> = messages.collect();
    assert_eq!(
        texts,
        [Message::text("caf\u{fffd}"), Message::text("\u{fffd}"), Message::binary(&b"\xff"[..])]
    );
}

#[test]
fn each_fault_has_its_code_and_no_word_of_the_message() {
    for (input, code) in [
        (&b"\x82\x7e\x03\xe9"[..], CloseCode::TOO_BIG),
        (b"\x81\x07secret\xff", CloseCode::INVALID_DATA),
        (b"\xc1\x06secret", CloseCode::PROTOCOL),
        (b"\x81\x86....secret", CloseCode::PROTOCOL),
        (b"\x01\x06secret\x80\x01\xff", CloseCode::INVALID_DATA),
    ] {
        let (steps, _) = run(&mut client(), input);
        let Some(Decoded::Fault(fault)) = steps.last() else { panic!("{steps:?}") };
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

mod against_tungstenite {
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
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn any_frames_cut_anywhere_mean_the_same(
            (side, frames) in prop_oneof![of_side(Side::Server), of_side(Side::Client)],
            cuts in cuts(),
        ) {
            compare(side, MESSAGE_SIZE, &frames.concat(), &cuts);
        }

        #[test]
        fn any_bytes_cut_anywhere_mean_the_same(
            client: bool,
            input: Vec<u8>,
            cuts in vec(1usize..20, 1..4),
        ) {
            let side = if client { Side::Client } else { Side::Server };
            // tungstenite applies the limit to control frames too, which have at most 125 bytes.
            compare(side, 125, &input, &cuts);
        }
    }
}

#[test]
fn a_connection_that_waits_for_a_message_keeps_no_memory_for_it() {
    let mut decoder = client();
    let mut keeps = |input: &[u8]| {
        run(&mut decoder, input);
        decoder.assembly.is_some()
    };
    assert!(!keeps(b"\x81\x01a\x82\x01b\x81\x7e"), "whole messages and half a header");
    assert!(!keeps(b"\x00\x80"), "half a message");
    assert!(!keeps(&[b'a'; 128]), "the rest of it");
    assert!(!keeps(b"\x89\x01a\x8a\x00"), "a ping and a pong");
    assert!(keeps(b"\x01\x01a"), "a fragment");
    assert!(keeps(b"\x89\x00\x00\x01b"), "another one");
    assert!(!keeps(b"\x80\x01c"), "the last one");
    assert!(!keeps(b"\x88\x00"), "a Close");
}

#[test]
fn every_first_two_bytes_are_judged_by_the_rules() {
    let states = [Side::Client, Side::Server].map(|side| {
        [None, Some((10, false)), Some((10, true))].map(|assembled| {
            [false, true].map(|compression| Rules { side, message_size: 500, compression, assembled })
        })
    });
    for [first, second] in (0..=u16::MAX).map(u16::to_be_bytes) {
        let bytes = [&[first, second][..], &[0, 0, 0, 0, 0, 0, 0, 126, 0, 0, 0, 0]].concat();
        // A length in its shortest form, whatever form it is.
        let bytes = match second & 0x7F {
            126 => [&bytes[..2], &[0, 200], &bytes[2..]].concat(),
            127 => [&bytes[..2], &[0, 0, 0, 0, 0, 1, 0, 0], &bytes[2..]].concat(),
            _ => bytes,
        };
        let (header, _) = Header::read(&bytes).expect("a whole header");
        for rules in states.as_flattened().as_flattened() {
            let opcode = first & 0x0F;
            let is_final = first & 0x80 != 0;
            let is_control = opcode >= 8;
            let breaks = first & 0x30 != 0
                || (first & 0x40 != 0 && !(rules.compression && matches!(opcode, 1 | 2)))
                || matches!(opcode, 3..=7 | 11..=15)
                || (second & 0x80 != 0) != (rules.side == Side::Server)
                || (is_control && (!is_final || second & 0x7F > 125))
                || (opcode == 0 && rules.assembled.is_none())
                || (matches!(opcode, 1 | 2) && rules.assembled.is_some());
            let is_too_big = !breaks && second & 0x7F == 127;
            let judged = rules.judge(&header);
            let expected = match (breaks, is_too_big) {
                (true, _) => Err(CloseCode::PROTOCOL),
                (false, true) => Err(CloseCode::TOO_BIG),
                (false, false) if is_control => Ok(FrameKind::Control),
                (false, false) if opcode == 0 => Ok(FrameKind::Next),
                (false, false) if is_final => Ok(FrameKind::Whole),
                (false, false) => Ok(FrameKind::First),
            };
            assert_eq!(judged.map_err(|fault| fault.code), expected, "{first:#x} {second:#x} {rules:?}");
        }
    }
}

#[test]
fn an_announced_message_takes_memory_only_as_it_comes() {
    let mut decoder = Decoder::new(Side::Client, 100 << 20, TextPolicy::Strict);
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
