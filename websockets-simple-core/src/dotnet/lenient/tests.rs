use std::collections::HashMap;

use proptest::prelude::*;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::from_object;

mod beyond_json;

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "PascalCase")]
struct Person {
    name: String,
    age: Option<u32>,
    nick: Option<String>,
    friends: Vec<Self>,
    by_city: HashMap<String, Self>,
    boss: Option<Box<Self>>,
    pair: (String, bool),
}

#[derive(Debug, Deserialize)]
struct Numbers {
    whole: i64,
    real: f64,
    flags: Vec<bool>,
}

fn read<T: DeserializeOwned>(text: &str) -> T {
    from_object(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn fails<T: DeserializeOwned>(text: &str) -> String {
    match from_object::<T>(text) {
        Ok(_) => panic!("{text} was read"),
        Err(error) => error.to_string(),
    }
}

fn named(name: &str) -> Person {
    Person { name: name.to_owned(), ..Person::default() }
}

#[test]
fn names_match_whatever_their_case() {
    for name in ["Name", "name", "NAME", "nAmE", r"\u004eame", r"\u006eAME"] {
        assert_eq!(read::<Person>(&format!(r#"{{"{name}":"x"}}"#)), named("x"), "{name}");
    }
}

#[test]
fn names_beyond_ascii_match_whatever_their_case() {
    #[derive(Deserialize)]
    struct Wide {
        #[serde(rename = "Größe")]
        size: u8,
    }

    assert_eq!(read::<Wide>(r#"{"GRÖßE":3}"#).size, 3);
}

#[test]
fn a_field_of_exactly_that_name_is_taken_before_one_that_differs_in_case() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Twins {
        #[serde(rename = "Data")]
        upper: String,
        #[serde(rename = "data")]
        lower: String,
    }

    let expected = Twins { upper: "A".to_owned(), lower: "b".to_owned() };
    assert_eq!(read::<Twins>(r#"{"data":"b","Data":"A"}"#), expected);
    assert_eq!(read::<Twins>(r#"{"DATA":"A","data":"b"}"#), expected);
}

#[test]
fn the_last_of_several_values_counts() {
    assert_eq!(read::<Person>(r#"{"Name":"a","Name":"b"}"#), named("b"));
    assert_eq!(read::<Person>(r#"{"Name":"a","name":"b"}"#), named("b"));
    assert_eq!(read::<Person>(r#"{"name":[],"Name":"b"}"#), named("b"));
}

#[test]
fn unknown_names_are_ignored_whatever_they_hold() {
    assert_eq!(read::<Person>(r#"{"x":{"Name":1},"Name":"a","y":[[]],"x":null,"":0}"#), named("a"));
}

#[test]
fn a_struct_may_still_refuse_unknown_names() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        #[serde(rename = "Data")]
        data: String,
    }

    assert_eq!(read::<Strict>(r#"{"DATA":"a"}"#).data, "a");
    assert!(fails::<Strict>(r#"{"more":1,"Data":"a"}"#).starts_with("unknown field `more`"));
}

#[test]
fn numbers_and_booleans_become_strings_that_keep_their_text() {
    for text in ["5", "-0", "1.50", "1E+400", "-12.5e-3", "123456789012345678901234567890", "true", "false"] {
        assert_eq!(read::<Person>(&format!(r#"{{"Name": {text} }}"#)), named(text));
    }
}

#[test]
fn null_is_an_empty_string_or_none() {
    let person: Person = read(r#"{"Name":null,"Nick":null,"Age":null,"Boss":null}"#);
    assert_eq!(person, named(""));
}

#[test]
fn objects_and_arrays_do_not_become_strings() {
    for value in ["{}", "[]", r#"["a"]"#, r#"{"Name":"a"}"#] {
        assert!(fails::<Person>(&format!(r#"{{"Name":{value}}}"#)).contains("expected a string"), "{value}");
    }
}

#[test]
fn quoted_numbers_and_booleans_become_what_they_hold() {
    assert_eq!(read::<Person>(r#"{"Age":" 5 "}"#).age, Some(5));
    let all: Numbers = read(r#"{"whole":"-1","real":"1.5e1","flags":["TRUE"," false ",1,0.0]}"#);
    assert_eq!((all.whole, all.real), (-1, 15.0));
    assert_eq!(all.flags, [true, false, true, false]);
    for value in [r#""five""#, r#""""#, r#""1.5""#, "1.5", "true", r#""0x1F""#, r#""NaN""#] {
        assert!(fails::<Person>(&format!(r#"{{"Age":{value}}}"#)).contains("expected u32"), "{value}");
    }
}

#[test]
fn structs_inside_options_lists_maps_and_tuples_are_read_leniently() {
    let person: Person = read(
        r#"{"BOSS":{"name":1,"name":2},"friends":[{"NAME":true},{"Nick":3}],
            "bycity":{"Rome":{"nAME":"r"}},"pair":[7,true]}"#,
    );
    assert_eq!(person.boss, Some(Box::new(named("2"))));
    assert_eq!(person.friends, [named("true"), Person { nick: Some("3".to_owned()), ..named("") }]);
    assert_eq!(person.by_city["Rome"], named("r"));
    assert_eq!(person.pair, ("7".to_owned(), true));
}

#[test]
fn a_struct_is_not_read_from_an_array() {
    assert!(fails::<Person>(r#"{"Boss":["a",1]}"#).contains("expected an object"));
}

#[test]
fn every_kind_of_scalar_keeps_its_meaning() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Unit;
    #[derive(Debug, Deserialize, PartialEq)]
    struct Wrapped(i8);
    #[derive(Debug, Deserialize, PartialEq)]
    struct Two(u8, String);
    #[derive(Debug, Deserialize)]
    struct All {
        unit: (),
        unit_struct: Unit,
        newtype: Wrapped,
        two: Two,
        flag: bool,
        letter: char,
        float: f64,
        huge: u128,
        tiny: i128,
        raw: Box<RawValue>,
        value: serde_json::Value,
        nested: Option<Option<u8>>,
    }

    let all: All = read(
        r#"{"unit":null,"unit_struct":null,"newtype":-3,"two":[1,2],"flag":true,"letter":"ß","float":1e3,
            "huge":340282366920938463463374607431768211455,"tiny":-170141183460469231731687303715884105728,
            "raw":{ "A" : 1 },"value":{"a":[1,null]},"nested":4}"#,
    );
    assert_eq!((all.unit, all.unit_struct, all.newtype), ((), Unit, Wrapped(-3)));
    assert_eq!(all.two, Two(1, "2".to_owned()));
    assert_eq!((all.flag, all.letter, all.float), (true, 'ß', 1000.0));
    assert_eq!((all.huge, all.tiny), (u128::MAX, i128::MIN));
    assert_eq!(all.raw.get(), r#"{ "A" : 1 }"#);
    assert_eq!(all.value, serde_json::json!({"a": [1, null]}));
    assert_eq!(all.nested, Some(Some(4)));
}

#[test]
fn a_flattened_struct_keeps_working() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Outer {
        id: u8,
        #[serde(flatten)]
        inner: Inner,
        #[serde(flatten)]
        rest: HashMap<String, serde_json::Value>,
    }
    #[derive(Debug, Deserialize, PartialEq)]
    struct Inner {
        name: String,
    }

    let outer: Outer = read(r#"{"name":"n","id":3,"more":[1]}"#);
    assert_eq!((outer.id, outer.inner.name.as_str()), (3, "n"));
    assert_eq!(outer.rest["more"], serde_json::json!([1]));
}

#[test]
fn enums_of_every_tagging_keep_working() {
    #[derive(Debug, Deserialize, PartialEq)]
    enum External {
        Unit,
        New(u8),
        Tuple(u8, u8),
        Struct { a: u8 },
    }
    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(tag = "kind")]
    enum Internal {
        Say { text: String },
        Quit,
    }
    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(tag = "kind", content = "body")]
    enum Adjacent {
        Say { text: String },
        Count(u8),
        Quit,
    }
    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(untagged)]
    enum Untagged {
        Number(u8),
        Say { text: String },
    }
    #[derive(Debug, Deserialize)]
    struct Holder {
        external: Vec<External>,
        untagged: Vec<Untagged>,
    }

    let say = || "hi".to_owned();
    assert_eq!(read::<External>(r#"{"Struct":{"a":1}}"#), External::Struct { a: 1 });
    assert_eq!(read::<Internal>(r#"{"text":"hi","kind":"Say"}"#), Internal::Say { text: say() });
    assert_eq!(read::<Internal>(r#"{"kind":"Quit"}"#), Internal::Quit);
    assert_eq!(read::<Adjacent>(r#"{"body":{"text":"hi"},"kind":"Say"}"#), Adjacent::Say { text: say() });
    assert_eq!(read::<Adjacent>(r#"{"kind":"Count","body":4}"#), Adjacent::Count(4));
    assert_eq!(read::<Adjacent>(r#"{"kind":"Quit"}"#), Adjacent::Quit);
    let holder: Holder =
        read(r#"{"external":["Unit",{"New":1},{"Tuple":[1,2]}],"untagged":[3,{"text":"hi"}]}"#);
    assert_eq!(holder.external, [External::Unit, External::New(1), External::Tuple(1, 2)]);
    assert_eq!(holder.untagged, [Untagged::Number(3), Untagged::Say { text: say() }]);
}

#[test]
fn a_type_that_announces_no_field_sees_them_all() {
    #[derive(Debug, PartialEq)]
    struct Names(Vec<String>);

    impl<'de> Deserialize<'de> for Names {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Collect;

            impl<'de> serde::de::Visitor<'de> for Collect {
                type Value = Names;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                    let mut names = Vec::new();
                    while let Some((name, serde::de::IgnoredAny)) = map.next_entry()? {
                        names.push(name);
                    }
                    Ok(Names(names))
                }
            }

            deserializer.deserialize_struct("Names", &[], Collect)
        }
    }

    assert_eq!(read::<Names>(r#"{"b":1,"A":2}"#), Names(vec!["b".to_owned(), "A".to_owned()]));
}

#[test]
fn blanks_and_comments_around_the_object_are_allowed_and_nothing_else_is() {
    for (before, after) in
        [(" \r\n\t", " \n"), ("\0", "\0"), ("\u{a0}", "\u{3000}"), ("/*x*/", "//x"), ("//\n", "/**/")]
    {
        assert_eq!(read::<Person>(&format!("{before}{{ \"Name\" : \"a\" }}{after}")), named("a"));
    }
    for text in [
        r#"{"Name":"a"}x"#,
        r#"{"Name":"a"}{}"#,
        r#"{"Name":"a"},"#,
        "\u{feff}{}",
        r#"{"Name":"a"}//"#,
        r#"{"Name":"a"}/*"#,
        r#"{"Name":"a"}/"#,
    ] {
        fails::<Person>(text);
    }
}

#[test]
fn what_is_no_object_is_refused() {
    for text in ["", " ", "null", "true", "5", r#""a""#, "[]", r#"["a"]"#, "[{}]", "hello"] {
        assert_eq!(fails::<Person>(text), "the text is not a JSON object", "{text}");
    }
}

#[test]
fn broken_json_is_refused_wherever_it_breaks() {
    for text in [
        "{",
        "}",
        "{]",
        "{,}",
        r#"{"Name"}"#,
        r#"{"Name":}"#,
        r#"{"Name":"a}"#,
        r#"{"Name":"a',}"#,
        r#"{"Name":"a",,}"#,
        r#"{"Name":tru}"#,
        r#"{"Name":truex}"#,
        r#"{"Name":nulll}"#,
        r#"{"x":[1,}"#,
        r#"{"x":(1)}"#,
        r#"{"x":new Date}"#,
        r#"{"x":new Date(1]}"#,
        r#"{"x":"\q"}"#,
        r#"{"x":"\u12"}"#,
        r#"{"x":"\u12g4"}"#,
        r#"{"x":"\u+123"}"#,
        r#"{Na-me:"a"}"#,
        r#"{Name/**/:"a"}"#,
        r#"{:"a"}"#,
        r#"{"Name" "a"}"#,
        r#"{"Name":a}"#,
        r#"{"x":#}"#,
    ] {
        fails::<Person>(text);
    }
}

#[test]
fn deep_nesting_never_overflows_the_stack() {
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(read::<Person>(&format!(r#"{{"x":{open}{close},"Name":"a"}}"#)), named("a"));
    fails::<Person>(&format!(r#"{{"x":{open}"#));
    for field in ["Name", "Friends", "Boss", "ByCity", "Pair", "Age"] {
        fails::<Person>(&format!(r#"{{"{field}":{open}{close}}}"#));
    }

    for level in [r#"{"boss":"#, r#"{"friends":[{"boss":"#, r#"{"bycity":{"a":"#] {
        let closing: String = level
            .chars()
            .rev()
            .filter(|c| matches!(c, '{' | '['))
            .map(|c| if c == '{' { '}' } else { ']' })
            .collect();
        let nested = |depth| format!("{}{{}}{}", level.repeat(depth), closing.repeat(depth));
        assert!(fails::<Person>(&nested(5_000)).contains("nested too deeply"), "{level}");
        read::<Person>(&nested(30));
    }
}

#[test]
fn a_type_that_wraps_itself_ends_at_the_depth_limit() {
    #[derive(Debug, Deserialize)]
    struct Endless {
        #[serde(rename = "a")]
        _a: Wrapped,
    }
    #[derive(Debug, Deserialize)]
    struct Wrapped(#[expect(dead_code, reason = "never comes to be")] Box<Self>);

    assert!(fails::<Endless>(r#"{"a":1}"#).contains("nested too deeply"));
}

proptest! {
    #[test]
    fn numbers_of_every_size_become_their_text(number in "-?(0|[1-9][0-9]{0,60})(\\.[0-9]{1,40})?([eE][-+]?[0-9]{1,6})?") {
        prop_assert_eq!(read::<Person>(&format!(r#"{{"name":{number}}}"#)), named(&number));
    }

    #[test]
    fn any_object_that_serde_json_reads_is_read_alike(
        name in any::<String>(),
        age in any::<Option<u32>>(),
        nicks in proptest::collection::vec(any::<Option<String>>(), 0..5),
    ) {
        let friends: Vec<_> = nicks.iter().map(|nick| serde_json::json!({ "Nick": nick, "Name": name })).collect();
        let text = serde_json::json!({ "Name": name, "Age": age, "Friends": friends }).to_string();
        prop_assert_eq!(read::<Person>(&text), serde_json::from_str::<Person>(&text).unwrap());
    }
}
