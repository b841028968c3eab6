//! What Newtonsoft reads and serde does not. Each text was read by Newtonsoft 12.0.2 as here.

use super::*;
use crate::dotnet::lenient::relaxed;

#[test]
fn what_newtonsoft_reads_beyond_json_is_read() {
    for text in [
        r#"{"Name":"a",}"#,
        "{'Name':'a'}",
        r#"{Name:"a"}"#,
        r#"{ Name : 'a' , }"#,
        r#"{/**/"Name":/* "b" */"a"//}
            }"#,
        "{\0\"Name\"\u{a0}:\u{2003}\"a\"\0}",
        r#"{"Name":"\u0061"}"#,
        r#"{"Name":"a","x":undefined,y:,$z:NaN,_:[,1,],"v":new Date(2022, 3,{}) }"#,
        r#"{"Name":"a","x":[0x1F,017,00,.5,1.,-.5,1e400,-Infinity,Infinity,new  X ( )]}"#,
        r#"{"Name":"a","x":[true/**/,false//
            ,null]}"#,
    ] {
        assert_eq!(read::<Person>(text), named("a"), "{text}");
    }
}

#[test]
fn strings_may_hold_control_characters_and_halves_of_pairs() {
    for (text, expected) in [
        ("\"\t\r\n\0\u{1f}\"", "\t\r\n\0\u{1f}"),
        (r#""hi \ud83d""#, "hi \u{fffd}"),
        (r#""\ude00!""#, "\u{fffd}!"),
        (r#""\ud83d\ude00""#, "\u{1f600}"),
        (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
        (r#""\ud83d\u0041""#, "\u{fffd}A"),
        (r#""\ud83d\n""#, "\u{fffd}\n"),
        (r#""\ud83d\ud83d""#, "\u{fffd}\u{fffd}"),
        (r#"'"\'\"\/\\\b\f'"#, "\"'\"/\\\u{8}\u{c}"),
        (r#"'\u00e9é'"#, "éé"),
    ] {
        assert_eq!(read::<Person>(&format!("{{Name:{text}}}")), named(expected), "{text}");
    }
}

#[test]
fn numbers_in_other_forms_keep_their_text_as_strings_and_their_value_as_numbers() {
    for number in ["0x1F", "0XfF", "017", "00", ".5", "1.", "-.5", "1.e5", "NaN", "Infinity", "-Infinity"] {
        assert_eq!(read::<Person>(&format!("{{Name:{number}}}")), named(number));
    }
    let all: Numbers = read("{whole:0x1F,real:-Infinity,flags:[0x0,01,.0,.1]}");
    assert_eq!((all.whole, all.real), (31, f64::NEG_INFINITY));
    assert_eq!(all.flags, [false, true, false, true]);
    let all: Numbers = read("{whole:-0,real:.5,flags:[]}");
    assert_eq!((all.whole, all.real), (0, 0.5));
    let all: Numbers = read("{whole:0xFFFFFFFFFFFFFFFF,real:1e400,flags:[]}");
    assert_eq!((all.whole, all.real), (-1, f64::INFINITY));
    assert!(read::<Numbers>("{whole:017,real:NaN,flags:[]}").real.is_nan());
    for number in
        ["08", "0x", "0xG", "0x1.", "0-1", "1-2", "1+", "1e", "-", ".", "1.2.3", "+5", "0xFFFFFFFFFFFFFFFFF"]
    {
        fails::<Person>(&format!("{{Name:{number}}}"));
        fails::<Person>(&format!("{{Name:'a',x:{number}}}"));
    }
}

#[test]
fn a_quoted_text_is_never_taken_for_a_number_in_another_form() {
    // The same escape marks such a number in the rewritten text.
    assert_eq!(read::<Person>(r#"{Name:"\u0030x1F"}"#), named("0x1F"));
    fails::<Person>(r#"{Age:"\u0030x1F"}"#);
    assert!(fails::<Person>(r#"{"Age":"\u0030x1F"}"#).contains("expected u32"));
}

proptest! {
    #[test]
    fn any_text_whatever_is_read_or_refused_and_what_is_rewritten_is_json(
        text in r#"[ ]?\{([\[\]{}()",':a0x9.eE+\\ NItfuwn/*\n\x00_$-]|"a"|'b'|\\u|d83d|//|/\*|\*/|:1,){0,40}\}?"#,
    ) {
        let _ = from_object::<Person>(&text);
        if let Some(json) = relaxed::to_json(&text) {
            prop_assert!(serde_json::from_str::<&RawValue>(&json).is_ok(), "{json}");
            prop_assert!(json.len() <= 6 * text.len());
        }
    }

    #[test]
    fn an_object_reads_alike_however_relaxed_it_is_written(
        name in any::<String>(),
        age in any::<u32>(),
        nick in any::<Option<String>>(),
        single in any::<bool>(),
        comment in prop::sample::select(vec!["", " ", "/* , } */", "//x\n", "\0"]),
    ) {
        let quoted = |text: &str| {
            let json = serde_json::to_string(text).unwrap();
            if single { format!("'{}'", json[1..json.len() - 1].replace('\'', "\\'")) } else { json }
        };
        let nick_text = nick.as_deref().map_or_else(|| "undefined".to_owned(), quoted);
        let text = format!("{comment}{{Name{}:{comment}{},{comment}age:0x{age:X}{comment},NICK:{nick_text},}}", " ", quoted(&name));
        let expected = Person { name, age: Some(age), nick, ..Person::default() };
        prop_assert_eq!(read::<Person>(&text), expected);
    }

    #[test]
    fn the_rewriting_changes_nothing_that_is_json_already(
        name in any::<String>(),
        nicks in prop::collection::vec(any::<Option<String>>(), 0..5),
        real in any::<f64>(),
    ) {
        let value = serde_json::json!({ "a": name, "b": [nicks, { "c": real }], "": true });
        let text = value.to_string();
        let json = relaxed::to_json(&text).unwrap();
        let parsed = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
        prop_assert_eq!(parsed(&json), parsed(&text));
    }
}
