//! What lies within a JSON value: the elements of a list or a map, and the fields of a struct.

use std::{borrow::Cow, fmt};

use serde::de::{
    DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor,
    value::{BorrowedStrDeserializer, StrDeserializer},
};
use serde_json::{Error, value::RawValue};

use super::{Lenient, place};

/// Hands the elements of a list or the values of a map to a visitor, each to be read leniently.
pub(super) struct Elements<'de, T> {
    pub(super) of: Lenient<'de>,
    pub(super) visitor: T,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Elements<'de, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_seq(Elements { of: self.of, visitor: list })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Elements { of: self.of, visitor: map })
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<'de, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        let Some(raw) = self.visitor.next_element::<&'de RawValue>()? else { return Ok(None) };
        read(self.of, raw, seed).map(Some).map_err(A::Error::custom)
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Elements<'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.visitor.next_key_seed(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        let raw = self.visitor.next_value::<&'de RawValue>()?;
        read(self.of, raw, seed).map_err(A::Error::custom)
    }
}

fn read<'de, T: DeserializeSeed<'de>>(
    of: Lenient<'de>,
    raw: &'de RawValue,
    seed: T,
) -> Result<T::Value, Error> {
    seed.deserialize(of.inner(raw.get())?).map_err(|error| place::within(of.raw, raw.get(), &error))
}

/// The fields of a struct, at most one value for each.
///
/// First collects them from an object, then hands them over in the order in which the struct names them.
pub(super) struct Fields<'de> {
    of: Lenient<'de>,
    names: &'static [&'static str],
    /// The last value that the object has for each name.
    values: Vec<Option<&'de RawValue>>,
    /// The first unknown name. It is handed over last, because the struct may refuse such names.
    stranger: Option<(Cow<'de, str>, &'de RawValue)>,
    /// How many of `values` have been handed over or skipped.
    passed: usize,
    /// The value whose name was handed over last.
    current: Option<&'de RawValue>,
}

impl<'de> Fields<'de> {
    pub(super) fn of(of: Lenient<'de>, names: &'static [&'static str]) -> Self {
        Self { of, names, values: vec![None; names.len()], stranger: None, passed: 0, current: None }
    }
}

impl<'de> Visitor<'de> for Fields<'de> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<Self, A::Error> {
        while let Some(name) = object.next_key_seed(Name { names: self.names })? {
            let value = object.next_value()?;
            match name {
                Found::Field(at) => self.values[at] = Some(value),
                Found::Stranger(name) if self.stranger.is_none() => self.stranger = Some((name, value)),
                Found::Stranger(_) => {}
            }
        }
        Ok(self)
    }
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        while let Some(value) = self.values.get(self.passed) {
            self.passed += 1;
            if value.is_some() {
                self.current = *value;
                return seed.deserialize(BorrowedStrDeserializer::new(self.names[self.passed - 1])).map(Some);
            }
        }
        let Some((name, value)) = self.stranger.take() else { return Ok(None) };
        self.current = Some(value);
        seed.deserialize(StrDeserializer::new(&name)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let raw =
            self.current.take().ok_or_else(|| Error::custom("a value was requested before its name"))?;
        read(self.of, raw, seed)
    }
}

/// Finds the field that a name in the object belongs to.
struct Name {
    names: &'static [&'static str],
}

enum Found<'de> {
    Field(usize),
    Stranger(Cow<'de, str>),
}

impl Name {
    fn position(&self, name: &str) -> Option<usize> {
        let exact = self.names.iter().position(|field| *field == name);
        exact.or_else(|| self.names.iter().position(|field| same_but_for_case(field, name)))
    }
}

fn same_but_for_case(one: &str, other: &str) -> bool {
    if one.is_ascii() || other.is_ascii() {
        return one.eq_ignore_ascii_case(other);
    }
    one.to_lowercase() == other.to_lowercase()
}

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Found<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Found<'de>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Found<'de>, E> {
        Ok(self.position(name).map_or(Found::Stranger(Cow::Borrowed(name)), Found::Field))
    }

    fn visit_str<E>(self, name: &str) -> Result<Found<'de>, E> {
        Ok(self.position(name).map_or_else(|| Found::Stranger(Cow::Owned(name.to_owned())), Found::Field))
    }
}
