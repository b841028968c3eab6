//! The decoder against its two oracles, for inputs that are nearly valid and for any bytes.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::protocol::decoder::{
    differential, model,
    replay::{Replay, Step},
};

const MESSAGE_SIZE: usize = 40_000;

/// One frame, valid or not.
#[derive(Clone, Debug)]
struct Draft {
    first: u8,
    masked: bool,
    /// 126 and 127 ask for an extended length.
    form: u8,
    payload: Vec<u8>,
    key: [u8; 4],
}

impl Draft {
    fn encode(mut self) -> Vec<u8> {
        let mask = if self.masked { 0x80 } else { 0 };
        let mut frame = vec![self.first];
        match self.payload.len() {
            len @ 0..126 if self.form == 0 => frame.push(mask | len as u8),
            len @ 0..0x1_0000 if self.form != 127 => {
                frame.push(mask | 126);
                frame.extend((len as u16).to_be_bytes());
            }
            len => {
                frame.push(mask | 127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        if self.masked {
            frame.extend(self.key);
            apply_mask(&mut self.payload, self.key);
        }
        frame.extend(self.payload);
        frame
    }
}

/// One frame of any kind.
fn frame(side: Side) -> impl Strategy<Value = Vec<u8>> {
    let firsts = [0x81, 0x82, 0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A, 0xC1, 0xA2, 0x83, 0x09];
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
            let payload = content.iter().copied().cycle().take(len).collect();
            Draft { first, masked, form, payload, key }.encode()
        })
}

/// A message or control frame that is right, in frames.
fn right_frames(side: Side) -> impl Strategy<Value = Vec<Draft>> {
    let characters = ["a", "\u{7f}", "é", "\u{7ff}", "\u{800}", "日", "\u{ffff}", "😀", "\u{10ffff}"];
    let text = vec(select(characters.to_vec()), 0..40).prop_map(|text| (1, text.concat().into_bytes()));
    let long_text = (1usize..13_000).prop_map(|len| (1, "日".repeat(len).into_bytes()));
    let binary = vec(any::<u8>(), 0..200).prop_map(|bytes| (2, bytes));
    let large = (0usize..MESSAGE_SIZE + 2).prop_map(|len| (2, vec![7; len]));
    let pings = vec(any::<u8>(), 0..126).prop_map(|bytes| (9, bytes));
    let pongs = vec(any::<u8>(), 0..126).prop_map(|bytes| (10, bytes));
    let closes = prop_oneof![
        Just(Vec::new()),
        (prop_oneof![900u16..1100, 2900u16..5100], "\\PC{0,20}").prop_map(|(code, reason)| [
            &code.to_be_bytes()[..],
            reason.as_bytes()
        ]
        .concat()),
    ];
    let closes = closes.prop_map(|bytes| (8, bytes));
    let content =
        prop_oneof![8 => text, 1 => long_text, 4 => binary, 1 => large, 2 => pings, 1 => pongs, 1 => closes];
    let cuts = prop_oneof![Just(Vec::new()), vec(any::<prop::sample::Index>(), 0..4)];
    (content, cuts, any::<[u8; 4]>()).prop_map(move |((opcode, bytes), cuts, key)| {
        let masked = side == Side::Server;
        let draft = |first, payload: &[u8]| Draft { first, masked, form: 0, payload: payload.to_vec(), key };
        if opcode >= 8 {
            return vec![draft(0x80 | opcode, &bytes)];
        }
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(bytes.len());
        let mut begin = 0;
        let mut drafts: Vec<Draft> = Vec::new();
        for end in ends {
            drafts.push(draft(if drafts.is_empty() { opcode } else { 0 }, &bytes[begin..end]));
            // A ping between the fragments.
            if end % 5 == 1 {
                drafts.push(draft(0x89, b"between"));
            }
            begin = end;
        }
        if let Some(last) = drafts.iter_mut().rfind(|draft| draft.first < 8) {
            last.first |= 0x80;
        }
        drafts
    })
}

/// What may be wrong with one frame.
#[derive(Clone, Copy, Debug)]
enum Flaw {
    First(u8),
    Unlike,
    Form(u8),
    Byte(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Gone,
}

fn flaw() -> impl Strategy<Value = Flaw> {
    prop_oneof![
        (0u8..8).prop_map(|bit| Flaw::First(1 << bit)),
        Just(Flaw::Unlike),
        prop_oneof![Just(126u8), Just(127)].prop_map(Flaw::Form),
        (any::<prop::sample::Index>(), select(vec![0x80, 0xC0, 0xE0, 0xED, 0xF4, 0xFF, b'a']))
            .prop_map(|(at, byte)| Flaw::Byte(at, byte)),
        any::<prop::sample::Index>().prop_map(Flaw::Cut),
        Just(Flaw::Gone),
    ]
}

/// Messages and control frames, of which some frames have a flaw.
fn nearly_valid(side: Side) -> impl Strategy<Value = (Side, Vec<u8>)> {
    (vec(right_frames(side), 1..8), vec((any::<prop::sample::Index>(), flaw()), 0..3)).prop_map(
        move |(drafts, flaws)| {
            let mut drafts = drafts.concat();
            for (at, flaw) in flaws {
                let at = at.index(drafts.len());
                let draft = &mut drafts[at];
                match flaw {
                    Flaw::First(bit) => draft.first ^= bit,
                    Flaw::Unlike => draft.masked = !draft.masked,
                    Flaw::Form(form) => draft.form = form,
                    Flaw::Byte(at, byte) if !draft.payload.is_empty() => {
                        let at = at.index(draft.payload.len());
                        draft.payload[at] = byte;
                    }
                    Flaw::Byte(..) => draft.payload.push(0xC3),
                    Flaw::Cut(at) => draft.payload.truncate(at.index(draft.payload.len() + 1)),
                    Flaw::Gone if drafts.len() > 1 => drop(drafts.remove(at)),
                    Flaw::Gone => {}
                }
            }
            (side, drafts.into_iter().flat_map(Draft::encode).collect())
        },
    )
}

fn any_frames(side: Side) -> impl Strategy<Value = (Side, Vec<u8>)> {
    (Just(side), vec(frame(side), 1..12).prop_map(|frames| frames.concat()))
}

fn inputs() -> impl Strategy<Value = (Side, Vec<u8>)> {
    prop_oneof![
        3 => nearly_valid(Side::Server),
        3 => nearly_valid(Side::Client),
        1 => any_frames(Side::Server),
        1 => any_frames(Side::Client),
    ]
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![usize::MAX]),
        Just(vec![1]),
        vec(1usize..20, 1..4),
        vec(prop_oneof![1usize..20, 1usize..50_000], 1..6),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_frames_cut_anywhere_mean_the_same_to_tungstenite((side, input) in inputs(), cuts in cuts()) {
        differential::compare(side, MESSAGE_SIZE, &input, &cuts);
    }

    #[test]
    fn any_bytes_cut_anywhere_mean_the_same_to_tungstenite(
        client: bool,
        input: Vec<u8>,
        cuts in vec(1usize..20, 1..4),
    ) {
        let side = if client { Side::Client } else { Side::Server };
        // tungstenite applies the limit to control frames too, which have at most 125 bytes.
        differential::compare(side, 125, &input, &cuts);
    }

    #[test]
    fn every_step_comes_with_the_piece_that_holds_the_byte_by_which_it_can_be_told(
        (side, input) in inputs(),
        cuts in cuts(),
        lossy: bool,
        part_size in prop_oneof![Just(None), (4usize..300).prop_map(Some), (4usize..50_000).prop_map(Some)],
    ) {
        let text = if lossy { TextPolicy::Lossy } else { TextPolicy::Strict };
        let replay =
            Replay { side, message_size: MESSAGE_SIZE, text, part_size, cuts: &cuts, compression: None };
        model::check(&replay, &input);
    }

    #[test]
    fn any_bytes_are_judged_at_the_byte_that_breaks_a_rule(
        client: bool,
        input: Vec<u8>,
        cuts in cuts(),
    ) {
        let side = if client { Side::Client } else { Side::Server };
        let text = TextPolicy::Strict;
        let replay =
            Replay { side, message_size: 100, text, part_size: None, cuts: &cuts, compression: None };
        model::check(&replay, &input);
    }
}

#[test]
fn most_of_what_is_generated_is_valid_for_a_while_and_each_kind_of_step_occurs() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};

    let mut runner = TestRunner::deterministic();
    let (mut counts, mut longest) = ([0; 8], 0);
    for _ in 0..500 {
        let (side, input) = inputs().new_tree(&mut runner).expect("it filters nothing").current();
        let replay = Replay {
            side,
            message_size: MESSAGE_SIZE,
            text: TextPolicy::Strict,
            part_size: Some(60),
            cuts: &[usize::MAX],
            compression: None,
        };
        let steps = replay.run(&input).0.into_iter().flat_map(|piece| piece.steps);
        let before: usize = counts.iter().sum();
        for step in steps {
            counts[match step {
                Step::Message(..) => 0,
                Step::Fragment => 1,
                Step::Ping => 2,
                Step::Pong => 3,
                Step::Close(..) => 4,
                Step::Fault(1007) => 5,
                Step::Fault(_) => 6,
                Step::Part(..) => 7,
            }] += 1;
        }
        longest = longest.max(counts.iter().sum::<usize>() - before);
    }
    assert!(counts.iter().all(|count| *count >= 20) && longest > 10, "{counts:?}, {longest}");
}
