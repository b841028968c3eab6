//! What Newtonsoft reads beyond JSON, rewritten as JSON.
//!
//! Names without quotes, single quotes, comments, trailing commas, raw line breaks and other control characters in
//! strings, halves of surrogate pairs, `NaN`, `Infinity`, numbers in hexadecimal or octal form or without digits before
//! or behind the point, `undefined`, values left out, and `new Date(..)`. Any other text is refused.

use std::fmt::Write;

use serde::de::{IgnoredAny, Visitor};
use serde_json::Error;

/// How Newtonsoft writes a character that a string names by half.
const REPLACEMENT: char = '\u{FFFD}';

/// Rewrites a text that holds one object and nothing else. `None` if Newtonsoft would not read it either.
///
/// A number that JSON does not have becomes a string with its text, the first character escaped, which no other string
/// of the result begins with: [`bare`] knows it by that.
pub(super) fn to_json(text: &str) -> Option<String> {
    let mut relaxed = Relaxed { rest: text, json: String::with_capacity(text.len()), open: Vec::new() };
    relaxed.blanks(true)?;
    relaxed.begin('{', Container::Object)?;
    let mut next = Next::Item;
    while let Some(container) = relaxed.open.last().copied() {
        relaxed.blanks(true)?;
        next = match (next, container) {
            (Next::Item, Container::Object) => relaxed.name_or_end()?,
            (Next::Item, Container::Array | Container::Constructor) => relaxed.item_or_end()?,
            (Next::Value, _) => relaxed.value()?,
            (Next::Comma, _) => relaxed.comma_or_end()?,
        };
    }
    relaxed.blanks(true)?;
    relaxed.rest.is_empty().then_some(relaxed.json)
}

/// The text of a number that JSON does not have, in a result of [`to_json`].
pub(super) fn bare(raw: &str) -> Option<String> {
    let code = raw.strip_prefix("\"\\u00")?.get(..2)?;
    let first = u8::from_str_radix(code, 16).ok().filter(|first| *first >= b' ')?;
    let rest = raw.get(7..)?.strip_suffix('"')?;
    Some(format!("{}{rest}", char::from(first)))
}

struct Relaxed<'a> {
    rest: &'a str,
    json: String,
    /// What is open, the outermost first.
    open: Vec<Container>,
}

#[derive(Clone, Copy, PartialEq)]
enum Container {
    Object,
    Array,
    /// The arguments of `new Date(..)`, which become a list.
    Constructor,
}

/// What comes next.
enum Next {
    /// A name, an element, or the end.
    Item,
    /// The value of a name.
    Value,
    /// A comma, or the end.
    Comma,
}

impl Relaxed<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// Takes the next character if it is this one.
    fn take(&mut self, char: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(char)?;
        Some(())
    }

    /// Passes over blanks, among which are NULs, and comments.
    fn blanks(&mut self, comments: bool) -> Option<()> {
        loop {
            self.rest = self.rest.trim_start_matches(is_blank);
            if !comments || !self.rest.starts_with('/') {
                return Some(());
            }
            // It has to hold at least one character.
            if let Some(comment) = self.rest.strip_prefix("/*") {
                self.rest = &comment[comment.find("*/")? + 2..];
            } else {
                let comment = self.rest.strip_prefix("//").filter(|comment| !comment.is_empty())?;
                self.rest = &comment[comment.find(['\r', '\n']).unwrap_or(comment.len())..];
            }
        }
    }

    /// Begins a container whose first character is `char`.
    fn begin(&mut self, char: char, container: Container) -> Option<Next> {
        self.take(char)?;
        self.json.push(if container == Container::Object { '{' } else { '[' });
        self.open.push(container);
        Some(Next::Item)
    }

    /// Ends the innermost container, if that is what comes.
    fn end(&mut self) -> Option<Next> {
        let (read, written) = match self.open.last()? {
            Container::Object => ('}', '}'),
            Container::Array => (']', ']'),
            Container::Constructor => (')', ']'),
        };
        self.take(read)?;
        self.json.push(written);
        self.open.pop();
        Some(Next::Comma)
    }

    fn separate(&mut self) {
        if !self.json.ends_with(['{', '[']) {
            self.json.push(',');
        }
    }

    fn comma_or_end(&mut self) -> Option<Next> {
        match self.take(',') {
            Some(()) => Some(Next::Item),
            None => self.end(),
        }
    }

    fn name_or_end(&mut self) -> Option<Next> {
        if self.peek() == Some('}') {
            return self.end();
        }
        self.separate();
        match self.peek()? {
            quote @ ('"' | '\'') => self.string(quote)?,
            _ => {
                let len = self.rest.find(|c: char| !(is_letter_or_digit(c) || matches!(c, '_' | '$')));
                let (name, rest) = self.rest.split_at(len.unwrap_or(self.rest.len()));
                if name.is_empty() || !rest.starts_with(|c| c == ':' || is_blank(c)) {
                    return None;
                }
                self.json.push('"');
                self.json.push_str(name);
                self.json.push('"');
                self.rest = rest;
            }
        }
        self.blanks(false)?;
        self.take(':')?;
        self.json.push(':');
        Some(Next::Value)
    }

    fn item_or_end(&mut self) -> Option<Next> {
        if let Some(next) = self.end() {
            return Some(next);
        }
        self.separate();
        self.value()
    }

    fn value(&mut self) -> Option<Next> {
        match self.peek()? {
            quote @ ('"' | '\'') => self.string(quote)?,
            '{' => return self.begin('{', Container::Object),
            '[' => return self.begin('[', Container::Array),
            // It was left out, and is undefined.
            ',' => self.json.push_str("null"),
            't' => self.word("true", Word::AsItIs)?,
            'f' => self.word("false", Word::AsItIs)?,
            'u' => self.word("undefined", Word::Null)?,
            'N' => self.word("NaN", Word::Number)?,
            'I' => self.word("Infinity", Word::Number)?,
            '-' if self.rest.starts_with("-I") => self.word("-Infinity", Word::Number)?,
            'n' if self.rest.starts_with("ne") => return self.constructor(),
            'n' => self.word("null", Word::AsItIs)?,
            '-' | '.' | '0'..='9' => self.number()?,
            _ => return None,
        }
        Some(Next::Comma)
    }

    /// A word, behind which the value has to be over.
    fn word(&mut self, word: &str, becomes: Word) -> Option<()> {
        let rest = self.rest.strip_prefix(word)?;
        let over = match rest.chars().next() {
            None | Some('}' | ']' | ',') => true,
            Some(')') => self.open.last() == Some(&Container::Constructor),
            Some('/') => rest.starts_with("/*") || rest.starts_with("//"),
            Some(c) => is_blank(c),
        };
        if !over {
            return None;
        }
        match becomes {
            Word::AsItIs => self.json.push_str(word),
            Word::Null => self.json.push_str("null"),
            Word::Number => self.bare_number(word),
        }
        self.rest = rest;
        Some(())
    }

    /// `new Date(`, whose arguments follow.
    fn constructor(&mut self) -> Option<Next> {
        self.rest = self.rest.strip_prefix("new").filter(|rest| rest.starts_with(is_blank))?;
        self.blanks(false)?;
        self.rest = self.rest.trim_start_matches(is_letter_or_digit);
        self.blanks(false)?;
        self.begin('(', Container::Constructor)
    }

    fn number(&mut self) -> Option<()> {
        let len =
            self.rest.find(|c| !matches!(c, '-' | '+' | '.' | 'x' | 'X' | '0'..='9' | 'a'..='f' | 'A'..='F'));
        let (number, rest) = self.rest.split_at(len.unwrap_or(self.rest.len()));
        if !rest.is_empty() && !rest.starts_with(|c| matches!(c, ',' | '}' | ']' | ')' | '/') || is_blank(c))
        {
            return None;
        }
        if serde_json::from_str::<IgnoredAny>(number).is_ok() {
            self.json.push_str(number);
        } else {
            Figure::of(number)?;
            self.bare_number(number);
        }
        self.rest = rest;
        Some(())
    }

    fn bare_number(&mut self, number: &str) {
        let (first, rest) = number.split_at(1);
        // Writing to a string does not fail.
        let _ = write!(self.json, "\"\\u{:04x}{rest}\"", first.as_bytes()[0]);
    }

    /// A string in either kind of quotes.
    fn string(&mut self, quote: char) -> Option<()> {
        self.take(quote)?;
        self.json.push('"');
        loop {
            let len = self.rest.find(|c| c == quote || c == '\\' || c == '"' || c < ' ')?;
            let (plain, rest) = self.rest.split_at(len);
            self.json.push_str(plain);
            let special = rest.chars().next()?;
            self.rest = &rest[1..];
            match special {
                '\\' => self.escape()?,
                special if special == quote => break,
                special => self.push_escaped(special),
            }
        }
        self.json.push('"');
        Some(())
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Option<()> {
        let escaped = self.peek()?;
        self.rest = &self.rest[escaped.len_utf8()..];
        match escaped {
            'b' => self.push_escaped('\u{8}'),
            't' => self.push_escaped('\t'),
            'n' => self.push_escaped('\n'),
            'f' => self.push_escaped('\u{c}'),
            'r' => self.push_escaped('\r'),
            '\\' | '"' | '\'' | '/' => self.push_escaped(escaped),
            'u' => {
                let mut unit = self.unit()?;
                // A high half needs a low one behind it, which may be a high one as well.
                while (0xD800..0xDC00).contains(&unit)
                    && let Some(rest) = self.rest.strip_prefix("\\u")
                {
                    self.rest = rest;
                    let low = self.unit()?;
                    let pair = char::decode_utf16([unit, low]).next()?;
                    match pair {
                        Ok(pair) => {
                            self.push_escaped(pair);
                            return Some(());
                        }
                        Err(_) => self.push_escaped(REPLACEMENT),
                    }
                    unit = low;
                }
                self.push_escaped(char::from_u32(unit.into()).unwrap_or(REPLACEMENT));
            }
            _ => return None,
        }
        Some(())
    }

    fn unit(&mut self) -> Option<u16> {
        let digits =
            self.rest.get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        self.rest = &self.rest[4..];
        u16::from_str_radix(digits, 16).ok()
    }

    fn push_escaped(&mut self, char: char) {
        match char {
            '"' => self.json.push_str("\\\""),
            '\\' => self.json.push_str("\\\\"),
            '\n' => self.json.push_str("\\n"),
            '\r' => self.json.push_str("\\r"),
            '\t' => self.json.push_str("\\t"),
            '\0'..='\u{1f}' => {
                // Writing to a string does not fail.
                let _ = write!(self.json, "\\u{:04x}", u32::from(char));
            }
            char => self.json.push(char),
        }
    }
}

/// What a word becomes.
#[derive(Clone, Copy)]
enum Word {
    AsItIs,
    Null,
    Number,
}

/// The value of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Figure {
    /// A whole number.
    Whole(i128),
    /// Any other.
    Real(f64),
}

impl Figure {
    pub(super) fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Real(real) => visitor.visit_f64(real),
            Self::Whole(whole) => match (i64::try_from(whole), u64::try_from(whole)) {
                (Ok(whole), _) => visitor.visit_i64(whole),
                (_, Ok(whole)) => visitor.visit_u64(whole),
                _ => visitor.visit_i128(whole),
            },
        }
    }

    /// Reads a number as Newtonsoft does where it is not quoted.
    pub(super) fn of(text: &str) -> Option<Self> {
        match text {
            "NaN" => return Some(Self::Real(f64::NAN)),
            "Infinity" => return Some(Self::Real(f64::INFINITY)),
            "-Infinity" => return Some(Self::Real(f64::NEG_INFINITY)),
            _ => {}
        }
        // A zero in front makes it hexadecimal or octal, in 64 bits.
        if let Some(digits) = text.strip_prefix('0')
            && digits.starts_with(|c| !matches!(c, '.' | 'e' | 'E'))
        {
            let (digits, radix) = match digits.strip_prefix(['x', 'X']) {
                Some(digits) => (digits, 16),
                None => (digits, 8),
            };
            // A sign is no digit.
            let digits = Some(digits).filter(|digits| digits.starts_with(|c: char| c.is_ascii_hexdigit()))?;
            return u64::from_str_radix(digits, radix)
                .ok()
                .map(|bits| Self::Whole(i128::from(bits.cast_signed())));
        }
        Self::decimal(text)
    }

    /// Reads a number in decimal form.
    pub(super) fn decimal(text: &str) -> Option<Self> {
        if let Ok(whole) = text.parse() {
            return Some(Self::Whole(whole));
        }
        // The standard library reads words too, which are not written so here.
        let is_number =
            text.bytes().all(|byte| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'));
        is_number.then(|| text.parse().ok())?.map(Self::Real)
    }
}

fn is_blank(c: char) -> bool {
    c == '\0' || c.is_whitespace()
}

/// A letter or decimal digit of the basic plane: .NET looks at UTF-16 units.
fn is_letter_or_digit(c: char) -> bool {
    c.len_utf16() == 1 && (c.is_alphabetic() || c.is_numeric())
}
