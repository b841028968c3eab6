//! A JSON object read as leniently as Newtonsoft reads it, into any type that serde can read.
//!
//! Names are matched to the fields that the type itself declares, so a plain `derive(Deserialize)` is all a
//! packet needs. Each value is kept as a slice of the text until the field that it belongs to is known. A text that is
//! no JSON is rewritten first, if Newtonsoft reads it all the same.

mod access;
mod place;
mod relaxed;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, Visitor},
};
use serde_json::{Error, de::StrRead};

use self::{
    access::{Elements, Fields},
    relaxed::Figure,
};

/// How deeply structs, lists, options and so on may be nested. Each level costs stack.
const DEPTH: u8 = 128;

/// Reads a text that holds one JSON object and nothing else.
pub(crate) fn from_object<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let error = match read(text, false) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    match relaxed::to_json(text) {
        // An error names its place in the text as it came.
        Some(json) if json != text => read(&json, true).map_err(|_| error),
        _ => Err(error),
    }
}

fn read<'de, T: Deserialize<'de>>(text: &'de str, relaxed: bool) -> Result<T, Error> {
    let raw = text.trim_matches([' ', '\t', '\r', '\n']);
    if !raw.starts_with('{') {
        return Err(Error::custom("the text is not a JSON object"));
    }
    T::deserialize(Lenient { raw, depth: DEPTH, relaxed }).map_err(|error| place::within(text, raw, &error))
}

/// One JSON value, not yet read.
#[derive(Clone, Copy)]
struct Lenient<'de> {
    /// Its text, without whitespace around it.
    raw: &'de str,
    /// How many levels may still follow.
    depth: u8,
    /// Whether the text was rewritten: it may hold numbers that JSON does not have.
    relaxed: bool,
}

impl<'de> Lenient<'de> {
    /// A value within this one.
    fn inner(self, raw: &'de str) -> Result<Self, Error> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| Error::custom("nested too deeply"))?;
        Ok(Self { raw, depth, ..self })
    }

    /// Reads the value by the rules of `serde_json`.
    fn plain<T>(
        self,
        read: impl FnOnce(&mut serde_json::Deserializer<StrRead<'de>>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut json = serde_json::Deserializer::from_str(self.raw);
        let value = read(&mut json)?;
        json.end()?;
        Ok(value)
    }

    /// A number that JSON does not have.
    fn bare(self) -> Option<Figure> {
        relaxed::bare(self.raw).filter(|_| self.relaxed).and_then(|number| Figure::of(&number))
    }

    /// The text of a quoted value, without the blanks around it.
    fn quoted(self) -> Option<String> {
        let text = self.raw.strip_prefix('"').and_then(|_| serde_json::from_str::<String>(self.raw).ok())?;
        Some(text.trim().to_owned())
    }

    /// The number for a value that serde does not read as one: one that JSON does not have, a quoted one, and one that
    /// it takes for another kind.
    fn figure(self) -> Option<Figure> {
        if let Some(bare) = self.bare() {
            return Some(bare);
        }
        match self.quoted() {
            Some(text) => Figure::decimal(&text),
            None => Figure::decimal(self.raw),
        }
    }

    /// The truth of a value that is no boolean: of a quoted one, or of a number, which is true unless it is zero.
    fn truth(self) -> Option<bool> {
        if let Some(text) = self.quoted().filter(|_| self.bare().is_none()) {
            let is = |word| text.eq_ignore_ascii_case(word);
            return if is("true") { Some(true) } else { is("false").then_some(false) };
        }
        match self.figure()? {
            Figure::Whole(whole) => Some(whole != 0),
            Figure::Real(real) => Some(real != 0.0),
        }
    }

    /// The string for a value that is not one: the text of a number or a boolean, and "" for `null`.
    fn coerced(self) -> Option<&'de str> {
        match self.raw.as_bytes().first()? {
            b'-' | b'0'..=b'9' | b't' | b'f' => Some(self.raw),
            b'n' => Some(""),
            _ => None,
        }
    }
}

/// Methods that leave the value to `serde_json`.
macro_rules! plain {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.plain(|json| json.$method(visitor))
        }
    )*};
}

/// Methods for numbers: which of them serde does not read as such.
macro_rules! number {
    ($serde_does_not:expr => $($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.figure().filter(|_| $serde_does_not(self.raw)) {
                Some(figure) => figure.visit(visitor),
                None => self.plain(|json| json.$method(visitor)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Lenient<'de> {
    type Error = Error;

    plain! {
        deserialize_char deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_identifier
    }

    number! {
        // It takes the latter for a float.
        |raw: &str| raw.starts_with('"') || raw == "-0" =>
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    number! {
        // To .NET a number that is too large is infinite.
        |_| true => deserialize_f32 deserialize_f64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.bare() {
            Some(figure) => figure.visit(visitor),
            None => self.plain(|json| json.deserialize_any(visitor)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.truth() {
            Some(truth) => visitor.visit_bool(truth),
            None => self.plain(|json| json.deserialize_bool(visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.coerced() {
            Some(text) => visitor.visit_borrowed_str(text),
            None => self.plain(|json| json.deserialize_str(visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.raw {
            "null" => visitor.visit_none(),
            _ => visitor.visit_some(self.inner(self.raw)?),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.plain(|json| json.deserialize_unit_struct(name, visitor))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        // Only serde_json can read its own types, such as RawValue.
        if name.starts_with("$serde_json::private::") {
            return self.plain(|json| json.deserialize_newtype_struct(name, visitor));
        }
        visitor.visit_newtype_struct(self.inner(self.raw)?)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.plain(|json| json.deserialize_seq(Elements { of: self, visitor }))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.plain(|json| json.deserialize_tuple(len, Elements { of: self, visitor }))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.plain(|json| json.deserialize_tuple_struct(name, len, Elements { of: self, visitor }))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.plain(|json| json.deserialize_map(Elements { of: self, visitor }))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        // A type that declares no fields may still want all of them.
        if names.is_empty() {
            return self.deserialize_map(visitor);
        }
        let fields = self.plain(|json| json.deserialize_map(Fields::of(self, names)))?;
        visitor.visit_map(fields)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.plain(|json| json.deserialize_enum(name, variants, visitor))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

#[cfg(test)]
mod tests;
