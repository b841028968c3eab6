//! JSON for people and for pipes, with its members in the order in which they came.

use serde_json::{Deserializer, Serializer, ser::Formatter};

/// JSON on indented lines. `None` if the text is no JSON.
pub(super) fn indented(text: &str) -> Option<String> {
    rewritten(text, serde_json::ser::PrettyFormatter::new())
}

/// JSON on one line. `None` if the text is no JSON.
pub(super) fn compact(text: &str) -> Option<String> {
    rewritten(text, serde_json::ser::CompactFormatter)
}

fn rewritten(text: &str, formatter: impl Formatter) -> Option<String> {
    let (mut source, mut written) = (Deserializer::from_str(text), Vec::new());
    let mut target = Serializer::with_formatter(&mut written, formatter);
    serde_transcode::transcode(&mut source, &mut target).ok()?;
    source.end().ok()?;
    String::from_utf8(written).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order() {
        let text = "{ \"b\" : [1,\n 2.5], \"a\": null }";
        assert_eq!(compact(text).as_deref(), Some(r#"{"b":[1,2.5],"a":null}"#));
        let indented = indented(text).unwrap();
        assert_eq!(
            indented.lines().collect::<Vec<_>>(),
            ["{", "  \"b\": [", "    1,", "    2.5", "  ],", "  \"a\": null", "}"]
        );
    }

    #[test]
    fn what_is_no_json_is_left_to_others() {
        for text in ["", "hello", "{} {}", "[1"] {
            assert_eq!(compact(text), None, "{text}");
        }
    }
}
