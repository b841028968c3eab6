use proptest::prelude::*;

use super::*;

fn read(controls: &Controls, message: &Message) -> String {
    format!("{:?}", controls.read(message))
}

#[test]
fn what_one_end_says_the_other_understands() {
    let server = Controls::new();
    let client = Controls::of_hello(&server.hello(None)).unwrap();
    let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let grace = Duration::from_secs(30);
    let group = || GroupName::new("\"red\" & grün").unwrap();
    for control in [
        Control::Alive(7),
        Control::Closing { spread: Duration::from_secs(10) },
        Control::Expiring { at, grace },
        Control::GroupRefused { group: group(), reason: "not\there".to_owned() },
        Control::Join(group()),
        Control::Joined(group()),
        Control::Leave(group()),
        Control::Left(group()),
        Control::Probe(u64::MAX),
        Control::Speaks(Capabilities::default()),
        Control::Speaks(Capabilities::ALL),
        Control::Refused("of \"another\" user".to_owned()),
        Control::Renewed { at: None },
        Control::Renewed { at: Some(at) },
    ] {
        let message = server.message(&control);
        assert_eq!(read(&client, &message), format!("Some(Ok(Some({control:?})))"));
    }
    let token = client.message(&Control::Token(Token::new("se\"cret")));
    match server.read(&token) {
        Some(Ok(Some(Control::Token(token)))) => assert_eq!(token.expose(), "se\"cret"),
        other => panic!("{other:?}"),
    }
    assert!(!format!("{:?}", server.read(&token)).contains("cret"));
}

#[test]
fn the_wire_has_the_form_that_is_documented() {
    let controls = Controls::of_prefix(format!("{BEGIN}AAAAAAAAAAAAAAAAAAAAAA\","));
    let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let expiring = controls.message(&Control::Expiring { at, grace: Duration::from_secs(30) });
    let red = || GroupName::new("red").unwrap();
    let refused = Control::GroupRefused { group: red(), reason: "no".to_owned() };
    for (message, json) in [
        (
            controls.hello(None),
            r#""type":"hello","speaks":["closing","probe"],"agent":"websockets-simple/0.1"}"#,
        ),
        (
            controls.hello(Some(Duration::from_millis(119_001))),
            r#""type":"hello","speaks":["closing","probe"],"agent":"websockets-simple/0.1","ping_seconds":120}"#,
        ),
        (controls.message(&Control::Hello), r#""type":"hello"}"#),
        (
            controls.message(&Control::Speaks(Capabilities::ALL)),
            r#""type":"speaks","what":["closing","probe"],"agent":"websockets-simple/0.1"}"#,
        ),
        (controls.message(&Control::Probe(1)), r#""type":"probe","n":1}"#),
        (controls.message(&Control::Alive(1)), r#""type":"alive","n":1}"#),
        (
            controls.message(&Control::Closing { spread: Duration::from_secs(10) }),
            r#""type":"closing","spread_seconds":10}"#,
        ),
        (expiring, r#""type":"expiring","expires_at":"2027-01-15T08:00:00Z","grace_seconds":30}"#),
        (controls.message(&Control::Token(Token::new("abc"))), r#""type":"token","token":"abc"}"#),
        (controls.message(&Control::Join(red())), r#""type":"join","group":"red"}"#),
        (controls.message(&Control::Joined(red())), r#""type":"joined","group":"red"}"#),
        (controls.message(&Control::Leave(red())), r#""type":"leave","group":"red"}"#),
        (controls.message(&Control::Left(red())), r#""type":"left","group":"red"}"#),
        (controls.message(&refused), r#""type":"group_refused","group":"red","reason":"no"}"#),
    ] {
        let expected = format!(r#"{{"websockets-simple":"AAAAAAAAAAAAAAAAAAAAAA",{json}"#);
        assert_eq!(message.as_text(), Some(expected.as_str()));
        let value: serde_json::Value = serde_json::from_str(&expected).unwrap();
        assert_eq!(value["websockets-simple"], "AAAAAAAAAAAAAAAAAAAAAA");
    }
}

#[test]
fn a_message_with_another_word_or_none_is_a_message_of_the_user() {
    let (ours, theirs) = (Controls::new(), Controls::new());
    let expiring = theirs.message(&Control::Renewed { at: None });
    assert!(ours.read(&expiring).is_none());
    assert!(ours.read(&Message::text("{\"websockets-simple\":\"\",\"type\":\"renewed\"}")).is_none());
    assert!(ours.read(&Message::binary(expiring.into_payload())).is_none());
}

#[test]
fn only_a_whole_hello_begins_control_messages_and_its_word_is_not_shown() {
    let hello = Controls::new().hello(None).as_text().unwrap().to_owned();
    let controls = Controls::of_hello(&Message::text(hello.clone())).unwrap();
    assert_eq!(format!("{controls:?}"), "Controls { .. }");
    let other = hello.replace("websockets-simple", "websockets-sample");
    for wrong in [other, hello.replacen("\",", "\";", 1), hello[..BEGIN.len() + WORD].to_owned()] {
        assert!(Controls::of_hello(&Message::text(wrong.clone())).is_none(), "{wrong}");
    }
}

#[test]
fn what_begins_like_one_and_is_none_is_malformed_and_what_is_newer_is_ignored() {
    let controls = Controls::new();
    let text = |rest: &str| Message::text(format!("{}{rest}", controls.prefix));
    for rest in [
        "\"type\":\"probe\"}",
        "\"type\":\"probe\",\"n\":-1}",
        "\"type\":\"alive\",\"n\":0.5}",
        "\"type\":\"closing\",\"spread_seconds\":\"1\"}",
        "\"type\":\"speaks\"}",
        "\"type\":\"speaks\",\"what\":[7]}",
    ] {
        assert_eq!(read(&controls, &text(rest)), "Some(Err(MalformedControl))", "{rest}");
    }
    for rest in ["", "}", "\"type\":\"token\"}", "\"type\":\"token\",\"token\":7}", "\"type\":7}"] {
        assert_eq!(read(&controls, &text(rest)), "Some(Err(MalformedControl))", "{rest}");
    }
    for name in ["", "a\\u0007", &"x".repeat(129)] {
        for kind in ["join", "joined", "leave", "left", "group_refused"] {
            let rest = format!("\"type\":\"{kind}\",\"group\":\"{name}\",\"reason\":\"\"}}");
            assert_eq!(read(&controls, &text(&rest)), "Some(Err(MalformedControl))", "{rest}");
        }
    }
    let token = |len: usize| text(&format!("\"type\":\"token\",\"token\":\"{}\"}}", "x".repeat(len)));
    let longest = LONGEST - token(0).len();
    assert!(read(&controls, &token(longest)).starts_with("Some(Ok(Some(Token("));
    assert_eq!(read(&controls, &token(longest + 1)), "Some(Err(MalformedControl))");
    assert_eq!(read(&controls, &text("\"type\":\"of tomorrow\",\"more\":[1]}")), "Some(Ok(None))");
}

proptest! {
    #[test]
    fn every_name_of_a_group_gets_across(name in "\\PC{0,140}", reason: String) {
        let controls = Controls::new();
        let json = serde_json::to_string(&name).unwrap();
        let said = Message::text(format!("{}\"type\":\"join\",\"group\":{json}}}", controls.prefix));
        match GroupName::new(&name) {
            Ok(group) => {
                let refused = Control::GroupRefused { group: group.clone(), reason };
                let refusal = controls.message(&refused);
                prop_assume!(refusal.len() <= LONGEST);
                prop_assert_eq!(read(&controls, &refusal), format!("Some(Ok(Some({refused:?})))"));
                let join = Control::Join(group);
                prop_assert_eq!(&controls.message(&join), &said);
                prop_assert_eq!(read(&controls, &said), format!("Some(Ok(Some({join:?})))"));
            }
            Err(_) => prop_assert_eq!(read(&controls, &said), "Some(Err(MalformedControl))"),
        }
    }

    #[test]
    fn whatever_is_said_is_read_or_refused(said: String, rest: String) {
        let controls = Controls::new();
        let of_hello = Controls::of_hello(&Message::text(said.as_str()));
        prop_assert!(of_hello.is_none());
        prop_assert!(controls.read(&Message::text(said)).is_none());
        let behind_the_word = Message::text(format!("{}{rest}", controls.prefix));
        prop_assert!(controls.read(&behind_the_word).is_some());
    }
}

#[test]
fn only_a_hello_begins_control_messages() {
    let controls = Controls::new();
    let hello = controls.hello(None);
    assert!(Controls::of_hello(&controls.message(&Control::Renewed { at: None })).is_none());
    for text in [
        "",
        "hello",
        "{\"websockets-simple\":\"short\",\"type\":\"hello\"}",
        "{\"websockets-simple\":\"!!!!!!!!!!!!!!!!!!!!!!\",\"type\":\"hello\"}",
        "{\"websockets-simple\":\"äääääääääää\",\"type\":\"hello\"}",
    ] {
        assert!(Controls::of_hello(&Message::text(text)).is_none(), "{text}");
    }
    assert!(Controls::of_hello(&Message::binary(hello.into_payload())).is_none());
}

#[test]
fn a_hello_may_have_members_of_later_versions_and_names_what_the_other_end_may_say() {
    let word = "AAAAAAAAAAAAAAAAAAAAAA";
    let of = |rest: &str| Controls::of_hello(&Message::text(format!("{BEGIN}{word}\",{rest}}}")));
    let probe = Control::Probe(1);
    for (rest, named, may_probe) in [
        ("\"type\":\"hello\"", false, false),
        ("\"version\":[2],\"type\":\"hello\",\"session\":null", false, false),
        ("\"type\":\"hello\",\"speaks\":[]", true, false),
        ("\"type\":\"hello\",\"speaks\":[\"call\",\"probe\"],\"agent\":\"other\"", true, true),
    ] {
        let controls = of(rest).expect("a hello");
        assert_eq!((controls.named().is_some(), controls.may_say(&probe)), (named, may_probe), "{rest}");
        assert!(controls.may_say(&Control::Renewed { at: None }) && controls.may_say(&Control::Alive(1)));
    }
    for wrong in [
        "\"type\":\"hello\",\"speaks\":7",
        "\"type\":\"hello\",\"ping_seconds\":\"soon\"",
        "\"type\":\"Hello\"",
    ] {
        assert!(of(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn what_is_named_first_counts_and_so_does_the_first_spread_of_an_hour_at_most() {
    let controls = Controls::new();
    let closing = Control::Closing { spread: Duration::from_secs(1) };
    assert!(!controls.may_say(&closing));
    controls.name(Capabilities::of_names(["closing"]));
    controls.name(Capabilities::default());
    assert!(controls.may_say(&closing));
    assert_eq!(controls.closing_spread(), None);
    controls.closes(Duration::from_secs(u64::MAX));
    controls.closes(Duration::from_secs(1));
    assert_eq!(controls.closing_spread(), Some(Duration::from_secs(3600)));
}
