//! Extensions as handshake headers name them (RFC 6455 section 9.1).

use std::borrow::Cow;

/// `Sec-WebSocket-Extensions` is not a list of extensions as RFC 6455 section 9.1 has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("Sec-WebSocket-Extensions is malformed")]
pub struct MalformedExtensions;

/// One extension and its parameters, in the order in which they are given.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Extension<'a> {
    pub(super) name: &'a str,
    pub(super) params: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

/// Reads a header that may be given in several lines. Empty elements of the list are left out (RFC 9110 section 5.6.1).
pub(super) fn parse<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Extension<'a>>, MalformedExtensions> {
    let mut extensions = Vec::new();
    for line in lines {
        let mut rest = Rest(std::str::from_utf8(line).map_err(|_| MalformedExtensions)?);
        loop {
            if let Some(extension) = rest.extension()? {
                extensions.push(extension);
            }
            if rest.is_empty() {
                break;
            }
            rest.take(',').ok_or(MalformedExtensions)?;
        }
    }
    Ok(extensions)
}

/// What is left to read of a line.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn is_empty(&mut self) -> bool {
        self.0 = self.0.trim_start_matches([' ', '\t']);
        self.0.is_empty()
    }

    /// Takes this character, and the blanks before it.
    fn take(&mut self, character: char) -> Option<()> {
        self.is_empty();
        self.0 = self.0.strip_prefix(character)?;
        Some(())
    }

    /// Takes a token (RFC 9110 section 5.6.2), and the blanks before it.
    fn token(&mut self) -> Option<&'a str> {
        self.is_empty();
        let end = self.0.find(|character| !is_token(character)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    /// Takes an extension; `None` if the list has an empty element here.
    fn extension(&mut self) -> Result<Option<Extension<'a>>, MalformedExtensions> {
        let Some(name) = self.token() else { return Ok(None) };
        let mut params = Vec::new();
        while self.take(';').is_some() {
            let name = self.token().ok_or(MalformedExtensions)?;
            let value = match self.take('=') {
                Some(()) => Some(self.value().ok_or(MalformedExtensions)?),
                None => None,
            };
            params.push((name, value));
        }
        Ok(Some(Extension { name, params }))
    }

    /// Takes a token, or a quoted string that holds one.
    fn value(&mut self) -> Option<Cow<'a, str>> {
        if self.take('"').is_none() {
            return self.token().map(Cow::Borrowed);
        }
        let mut value = String::new();
        let mut characters = self.0.char_indices();
        loop {
            let character = match characters.next()? {
                (at, '"') => {
                    self.0 = &self.0[at + 1..];
                    return (!value.is_empty()).then_some(Cow::Owned(value));
                }
                (_, '\\') => characters.next()?.1,
                (_, character) => character,
            };
            if !is_token(character) {
                return None;
            }
            value.push(character);
        }
    }
}

fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(lines: &[&str]) -> Result<String, MalformedExtensions> {
        let extensions = parse(lines.iter().map(|line| line.as_bytes()))?;
        let param = |(name, value): &(&str, Option<Cow<'_, str>>)| match value {
            Some(value) => format!(" {name}={value}"),
            None => format!(" {name}"),
        };
        let extension =
            |one: &Extension<'_>| one.name.to_owned() + &one.params.iter().map(param).collect::<String>();
        Ok(extensions.iter().map(extension).collect::<Vec<_>>().join("|"))
    }

    #[test]
    fn extensions_are_read_from_lists_over_several_lines() {
        for (lines, expected) in [
            (&["a"][..], "a"),
            (&["a; b; c=1", "\td ;e = \"2\" , f"], "a b c=1|d e=2|f"),
            (&["", " , ,a,, b ,\t"], "a|b"),
            (&[r#"a; b="\1\5""#], "a b=15"),
            (&["a; b; b=2; b"], "a b b=2 b"),
            (&[], ""),
        ] {
            assert_eq!(shown(lines).as_deref(), Ok(expected), "{lines:?}");
        }
    }

    #[test]
    fn what_is_not_a_list_of_extensions_is_malformed() {
        for line in [
            "a b",
            "a;",
            "a;;b",
            "a; =1",
            "a; b=",
            "a; b=\"\"",
            "a; b=\"1",
            "a; b=\"1 2\"",
            "a; b=\"\\\"",
            "a; b=1 2",
            "\"a\"",
            "=",
            ";",
            "a/b",
            "a; b==1",
            "a; b=\"1\"2",
            "é",
            "a;b=\"é\"",
        ] {
            assert_eq!(shown(&[line]), Err(MalformedExtensions), "{line}");
        }
        assert_eq!(parse([&b"a\xFF"[..]]), Err(MalformedExtensions));
    }

    proptest! {
        #[test]
        fn no_header_makes_the_parser_panic(
            lines in prop::collection::vec(prop_oneof!["[ab;,=\" \\\\]{0,12}", any::<String>()], 0..3)
        ) {
            let _ = parse(lines.iter().map(|line| line.as_bytes()));
        }
    }
}
