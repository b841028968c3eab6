//! A JSON object read as leniently as Newtonsoft reads it, into any type that serde can read.
//!
//! Names are matched to the fields that the type itself declares, so a plain `derive(Deserialize)` is all a
//! packet needs. Each value is kept as a slice of the text until the field that it belongs to is known.

mod access;
mod place;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, Visitor},
};
use serde_json::{Error, de::StrRead};

use self::access::{Elements, Fields};

/// How deeply structs, lists, options and so on may be nested. Each level costs stack.
const DEPTH: u8 = 128;

/// Reads a text that holds one JSON object and nothing else.
pub(crate) fn from_object<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, Error> {
    let raw = text.trim_matches([' ', '\t', '\r', '\n']);
    if !raw.starts_with('{') {
        return Err(Error::custom("the text is not a JSON object"));
    }
    T::deserialize(Lenient { raw, depth: DEPTH }).map_err(|error| place::within(text, raw, &error))
}

/// One JSON value, not yet read.
#[derive(Clone, Copy)]
struct Lenient<'de> {
    /// Its text, without whitespace around it.
    raw: &'de str,
    /// How many levels may still follow.
    depth: u8,
}

impl<'de> Lenient<'de> {
    /// A value within this one.
    fn inner(self, raw: &'de str) -> Result<Self, Error> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| Error::custom("nested too deeply"))?;
        Ok(Self { raw, depth })
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

impl<'de> Deserializer<'de> for Lenient<'de> {
    type Error = Error;

    plain! {
        deserialize_any deserialize_bool deserialize_char deserialize_bytes deserialize_byte_buf
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_unit deserialize_identifier
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
