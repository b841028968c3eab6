//! An enum as its number, for `#[serde(with = "..")]`.
//!
//! Reads a number, or a string that holds one; a number that no variant has is an error, and so is a name.
//!
//! # Examples
//!
//! ```
//! # extern crate websockets_simple_core as websockets_simple_server;
//! use serde::{Deserialize, Serialize};
//! use websockets_simple_server::dotnet::{self, NumericEnum};
//!
//! #[derive(Clone, Copy, Debug, PartialEq)]
//! enum Colour {
//!     Red = 1,
//!     Blue = 4,
//! }
//!
//! impl NumericEnum for Colour {
//!     const ALL: &'static [Self] = &[Self::Red, Self::Blue];
//!
//!     fn number(self) -> i64 {
//!         self as i64
//!     }
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! struct Pen {
//!     #[serde(with = "dotnet::numeric_enum")]
//!     colour: Colour,
//! }
//!
//! assert_eq!(serde_json::to_string(&Pen { colour: Colour::Blue }).unwrap(), r#"{"colour":4}"#);
//! assert_eq!(serde_json::from_str::<Pen>(r#"{"colour":"1"}"#).unwrap().colour, Colour::Red);
//! assert!(serde_json::from_str::<Pen>(r#"{"colour":2}"#).is_err());
//! ```

use std::{fmt, marker::PhantomData};

use serde::{
    Deserializer, Serializer,
    de::{self, Visitor},
};

/// An enum whose variants are numbers on the wire.
pub trait NumericEnum: Copy + 'static {
    /// Every variant that may be received.
    const ALL: &'static [Self];

    /// The number of this variant; for an enum without fields simply `self as i64`.
    fn number(self) -> i64;

    /// The variant that has this number, `None` when there is none. Override it to receive unknown numbers
    /// as some variant of your own.
    #[must_use]
    fn from_number(number: i64) -> Option<Self> {
        Self::ALL.iter().copied().find(|variant| variant.number() == number)
    }
}

/// Writes the number of the variant.
///
/// # Errors
///
/// Only those of the serializer.
pub fn serialize<E: NumericEnum, S: Serializer>(variant: &E, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(variant.number())
}

/// Reads the number of a variant.
///
/// # Errors
///
/// When the input is neither a whole number nor a string that holds one, or no variant has that number.
pub fn deserialize<'de, E: NumericEnum, D: Deserializer<'de>>(deserializer: D) -> Result<E, D::Error> {
    deserializer.deserialize_any(Number(PhantomData))
}

struct Number<E>(PhantomData<E>);

impl<E: NumericEnum> Visitor<'_> for Number<E> {
    type Value = E;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the number of a variant")
    }

    fn visit_i64<R: de::Error>(self, number: i64) -> Result<E, R> {
        E::from_number(number)
            .ok_or_else(|| R::invalid_value(de::Unexpected::Signed(number), &"the number of a variant"))
    }

    fn visit_u64<R: de::Error>(self, number: u64) -> Result<E, R> {
        let number = i64::try_from(number)
            .map_err(|_| R::invalid_value(de::Unexpected::Unsigned(number), &"the number of a variant"))?;
        self.visit_i64(number)
    }

    fn visit_str<R: de::Error>(self, text: &str) -> Result<E, R> {
        let number = text
            .parse()
            .map_err(|_| R::invalid_value(de::Unexpected::Str(text), &"the number of a variant"))?;
        self.visit_i64(number)
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::NumericEnum;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Level {
        Low = -1,
        High = 3,
    }

    impl NumericEnum for Level {
        const ALL: &'static [Self] = &[Self::Low, Self::High];

        fn number(self) -> i64 {
            self as i64
        }
    }

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    struct Report(#[serde(with = "super")] Level);

    fn read(text: &str) -> Option<Level> {
        serde_json::from_str::<Report>(text).ok().map(|report| report.0)
    }

    #[test]
    fn an_enum_is_written_as_its_number() {
        assert_eq!(serde_json::to_string(&[Report(Level::Low), Report(Level::High)]).unwrap(), "[-1,3]");
    }

    #[test]
    fn an_enum_is_read_from_its_number_or_a_string_that_holds_it() {
        assert_eq!(read("-1"), Some(Level::Low));
        assert_eq!(read("3"), Some(Level::High));
        assert_eq!(read(r#""3""#), Some(Level::High));
    }

    #[test]
    fn what_is_the_number_of_no_variant_is_refused() {
        for text in ["0", "18446744073709551615", "3.0", r#""High""#, r#""""#, "null", "true", "[3]"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn an_enum_may_receive_unknown_numbers_as_a_variant_of_its_own() {
        #[derive(Clone, Copy, Debug, PartialEq)]
        enum Open {
            Known,
            Unknown,
        }

        impl NumericEnum for Open {
            const ALL: &'static [Self] = &[Self::Known];

            fn number(self) -> i64 {
                self as i64
            }

            fn from_number(number: i64) -> Option<Self> {
                Some(if number == 0 { Self::Known } else { Self::Unknown })
            }
        }

        let read =
            |text| super::deserialize::<Open, _>(&mut serde_json::Deserializer::from_str(text)).unwrap();
        assert_eq!((read("0"), read("77")), (Open::Known, Open::Unknown));
    }
}
