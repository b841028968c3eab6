use super::*;

mod first_bytes;
mod oracles;

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

#[test]
fn a_connection_that_waits_for_a_message_keeps_no_memory_for_it() {
    let mut decoder = client();
    let mut keeps = |input: &[u8]| {
        run(&mut decoder, input);
        decoder.assembly.is_some()
    };
    assert!(!keeps(b"\x81\x01a\x82\x01b\x81\x7e"), "whole messages and half a header");
    assert!(keeps(b"\x00\x80"), "a text that begins");
    assert!(keeps(&[b'a'; 127]), "nearly all of it");
    assert!(!keeps(b"a"), "the rest of it");
    assert!(!keeps(b"\x89\x01a\x8a\x00"), "a ping and a pong");
    assert!(keeps(b"\x01\x01a"), "a fragment");
    assert!(keeps(b"\x89\x00\x00\x01b"), "another one");
    assert!(!keeps(b"\x80\x01c"), "the last one");
    assert!(!keeps(b"\x88\x00"), "a Close");
}

/// The steps of each byte of `input`.
fn bytewise(decoder: &mut Decoder, input: &[u8]) -> Vec<Vec<Decoded>> {
    input.iter().map(|byte| run(decoder, &[*byte]).0).collect()
}

#[test]
fn text_in_one_frame_is_judged_at_its_first_impossible_byte() {
    // As Autobahn sends it in 6.4.3 and 6.4.4: `κόσμε`, a character beyond U+10FFFF, `edited`.
    let payload = b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xF4\x90\x80\x80edited";
    let key = [7, 200, 3, 91];
    for (side, mut frame) in [(Side::Client, vec![0x81, 21]), (Side::Server, vec![0x81, 0x80 | 21])] {
        let mut payload = *payload;
        if side == Side::Server {
            frame.extend(key);
            apply_mask(&mut payload, key);
        }
        let header = frame.len();
        frame.extend(payload);
        let mut decoder = Decoder::new(side, 1000, TextPolicy::Strict);
        let steps = bytewise(&mut decoder, &frame);
        for (at, steps) in steps.iter().enumerate() {
            match (at - usize::min(at, header), &steps[..]) {
                (12, [Decoded::Fault(fault)]) => assert_eq!(fault.code, CloseCode::INVALID_DATA),
                (13.., [Decoded::Over]) | (0..12, []) => {}
                _ => panic!("byte {at} of {side:?}: {steps:?}"),
            }
        }
    }
}

#[test]
fn text_that_comes_in_pieces_is_one_step_and_the_same_text() {
    let text = "a\u{7f}é日😀".repeat(40);
    let mut frame = vec![0x81, 126];
    frame.extend((text.len() as u16).to_be_bytes());
    frame.extend(text.as_bytes());
    let steps: Vec<_> = bytewise(&mut client(), &frame).into_iter().flatten().collect();
    let [Decoded::Message(message)] = &steps[..] else { panic!("{steps:?}") };
    assert_eq!(message.as_text(), Some(text.as_str()));
}

#[test]
fn an_announced_payload_takes_memory_only_as_it_comes() {
    for is_text in [true, false] {
        for is_straight in [true, false] {
            let mut decoder = Decoder::new(Side::Client, 100 << 20, TextPolicy::Strict);
            let opcode = if is_text { 1 } else { 2 };
            run(&mut decoder, &[&[0x80 | opcode, 127][..], &u64::to_be_bytes(100 << 20)].concat());
            let mut came = 0;
            let message = loop {
                let large = decoder.large().map(|(memory, missing)| (memory.capacity() - came).min(missing));
                assert_eq!((large.is_some(), decoder.large_text().is_some()), (!is_text, is_text), "{came}");
                let more = large.unwrap_or(64 * 1024);
                let step = match decoder.large() {
                    Some((memory, _)) if is_straight => {
                        memory.resize(came + more, b'a');
                        decoder.took(more)
                    }
                    _ => run(&mut decoder, &vec![b'a'; more]).0.pop().unwrap_or(Decoded::Starved),
                };
                came += more;
                match step {
                    Decoded::Message(message) => break message,
                    step => assert!(matches!(step, Decoded::Starved), "{step:?}"),
                }
                let capacity = decoder.assembly.as_mut().map_or(0, |assembly| assembly.capacity());
                assert!(capacity <= 16 * came && capacity <= 100 << 20, "{capacity} for {came}");
            };
            assert_eq!((message.is_text(), message.len(), came), (is_text, 100 << 20, 100 << 20));
        }
    }
}

#[test]
fn after_a_fault_inside_a_large_payload_its_memory_is_freed_and_nothing_more_is_read_into_it() {
    let mut decoder = Decoder::new(Side::Client, 1 << 20, TextPolicy::Strict);
    run(&mut decoder, b"\x81\x7f\0\0\0\0\0\x10\0\0begun");
    assert!(decoder.large_text().is_some());
    assert!(matches!(run(&mut decoder, b"\xff").0[..], [Decoded::Fault(_)]));
    assert!(decoder.large_text().is_none() && decoder.assembly.is_none());
    assert!(matches!(run(&mut decoder, b"more").0[..], [Decoded::Over]));
}

#[test]
fn a_message_in_parts_takes_memory_for_one_part_and_its_frames_count_once() {
    const PART: usize = 64 * 1024;
    for (frames, len) in [(1, 40 << 20), (40, 1 << 20)] {
        for opcode in [1, 2] {
            let mut decoder = Decoder::new(Side::Client, 1000, TextPolicy::Strict);
            decoder.receive_parts(MessageParts::new(PART, 1 << 40));
            let piece = "é".repeat(8 * 1024);
            let (mut bytes, mut parts, mut ends) = (0, 0, 0);
            for n in 0..frames {
                let first = if n == 0 { opcode } else { 0 } | if n + 1 == frames { 0x80 } else { 0 };
                let mut input = [&[first, 127][..], &u64::to_be_bytes(len)].concat();
                for _ in 0..len as usize / piece.len() {
                    input.extend(piece.as_bytes());
                    for step in run(&mut decoder, &input).0 {
                        let part = match step {
                            Decoded::Fragment => {
                                ends += 1;
                                continue;
                            }
                            Decoded::Part(part) => part,
                            Decoded::LastPart(part) => {
                                ends += 1;
                                part
                            }
                            step => panic!("{step:?}"),
                        };
                        assert_eq!((part.first, part.payload.is_text()), (bytes == 0, opcode == 1));
                        assert!(part.len() <= PART);
                        bytes += part.len();
                        parts += 1;
                    }
                    let held = decoder.assembly.as_mut().map_or(0, |assembly| assembly.capacity());
                    assert!(held <= 2 * PART, "{held}");
                    input.clear();
                }
            }
            assert_eq!((bytes, parts, ends), (40 << 20, (40 << 20) / PART, frames));
            assert!(decoder.assembly.is_none());
        }
    }
}

#[test]
fn the_limit_of_messages_in_parts_is_judged_by_the_header_that_exceeds_it() {
    let mut decoder = client();
    decoder.receive_parts(MessageParts::new(4, 10));
    let (steps, _) = run(&mut decoder, b"\x82\x0a0123456789\x82\x0b");
    let [Decoded::Part(_), Decoded::Part(_), Decoded::LastPart(_), Decoded::Fault(fault)] = &steps[..] else {
        panic!("{steps:?}")
    };
    assert_eq!((fault.code, fault.kind()), (CloseCode::TOO_BIG, FaultKind::TooBig { limit: 10 }));
    let mut decoder = client();
    decoder.receive_parts(MessageParts::new(4, 10));
    let (steps, _) = run(&mut decoder, b"\x02\x0501234\x00\x0556789\x80\x01");
    let [Decoded::Part(_), Decoded::Fragment, Decoded::Part(_), Decoded::Fragment, Decoded::Fault(_)] =
        &steps[..]
    else {
        panic!("{steps:?}")
    };
    let mut decoder = client();
    decoder.receive_parts(MessageParts::new(4, u64::MAX));
    let (steps, _) = run(&mut decoder, b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff01234");
    assert!(matches!(&steps[..], [Decoded::Part(_)]), "the largest length there is: {steps:?}");
}
