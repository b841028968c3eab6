//! A date as the .NET library writes it, for `#[serde(with = "..")]` on an `Option<DateTime<Utc>>`.
//!
//! Written is `2022-03-05T19:42:01.6305503Z`: UTC, up to seven fraction digits without trailing zeros, years
//! 1 to 9999. Read is ISO 8601 with any number of fraction digits (those beyond the seventh are cut off),
//! with `Z`, an offset or no zone at all (taken as UTC), with a space for the `T`, without seconds or without
//! a time, in either case; and `/Date(1646509321630)/`, milliseconds since 1970.
//!
//! `null`, a number and any other text are errors, so that such a message is no packet. Add
//! `#[serde(default, skip_serializing_if = "Option::is_none")]` as well, so that a missing timestamp is
//! `None`, and is left out again. Without it `None` is written as `0001-01-01T00:00:00`, the .NET form of a
//! date that was never set, which is read back as `None`.
//!
//! For a field that is always there see [`required`].
//!
//! # Examples
//!
//! ```
//! # extern crate websockets_simple_core as websockets_simple_server;
//! use serde::{Deserialize, Serialize};
//! use websockets_simple_server::{
//!     chrono::{DateTime, Utc},
//!     dotnet,
//! };
//!
//! #[derive(Serialize, Deserialize)]
//! struct Note {
//!     #[serde(default, with = "dotnet::timestamp", skip_serializing_if = "Option::is_none")]
//!     written: Option<DateTime<Utc>>,
//! }
//!
//! let note: Note = serde_json::from_str(r#"{"written":"2022-03-05 21:42:01.50+02:00"}"#).unwrap();
//! assert_eq!(serde_json::to_string(&note).unwrap(), r#"{"written":"2022-03-05T19:42:01.5Z"}"#);
//! assert_eq!(serde_json::to_string(&Note { written: None }).unwrap(), "{}");
//! ```

mod iso;

use std::fmt;

use chrono::{DateTime, Timelike, Utc};
use serde::{
    Deserializer, Serializer,
    de::{self, Visitor},
};

use self::iso::{Iso, Parsed};

/// The present time, [`cut`] down to what the wire can carry.
#[must_use]
pub fn now() -> DateTime<Utc> {
    cut(Utc::now())
}

/// The nearest earlier time that the wire can carry: whole steps of 100 ns. What lies outside the years 1 to
/// 9999 becomes the first or the last moment of them.
#[must_use]
pub fn cut(time: DateTime<Utc>) -> DateTime<Utc> {
    let time = time.clamp(iso::FIRST, iso::LAST);
    // A leap second is counted as nanoseconds beyond the first thousand million; .NET has no such thing.
    let nanoseconds = time.nanosecond().min(999_999_999);
    time.with_nanosecond(nanoseconds - nanoseconds % 100).unwrap_or(time)
}

/// Writes the timestamp, or the .NET form of one that was never set.
///
/// # Errors
///
/// When it lies outside the years 1 to 9999.
pub fn serialize<S: Serializer>(timestamp: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match timestamp {
        Some(timestamp) => required::serialize(timestamp, serializer),
        None => serializer.serialize_str(iso::NEVER_SET),
    }
}

/// Reads a timestamp; `None` is one that was never set.
///
/// # Errors
///
/// When the input is not a string, not one of the forms that are read, or outside the years 1 to 9999.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let parsed = deserializer.deserialize_str(Timestamp)?;
    Ok(if parsed.is_never_set() { None } else { Some(parsed.time) })
}

/// The same for a `DateTime<Utc>` that is always there.
///
/// # Examples
///
/// ```
/// # extern crate websockets_simple_core as websockets_simple_server;
/// use serde::{Deserialize, Serialize};
/// use websockets_simple_server::{
///     chrono::{DateTime, Utc},
///     dotnet,
/// };
///
/// #[derive(Serialize, Deserialize)]
/// struct Stamp(#[serde(with = "dotnet::timestamp::required")] DateTime<Utc>);
///
/// let stamp: Stamp = serde_json::from_str(r#""/Date(1646509321630)/""#).unwrap();
/// assert_eq!(serde_json::to_string(&stamp).unwrap(), r#""2022-03-05T19:42:01.63Z""#);
/// ```
pub mod required {
    use chrono::{DateTime, Datelike, Utc};
    use serde::{Deserializer, Serializer, ser::Error};

    use super::{Iso, Timestamp, iso};

    /// Writes the timestamp.
    ///
    /// # Errors
    ///
    /// When it lies outside the years 1 to 9999.
    pub fn serialize<S: Serializer>(timestamp: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
        if !iso::YEARS.contains(&timestamp.year()) {
            return Err(S::Error::custom("the timestamp is outside the years 1 to 9999"));
        }
        serializer.collect_str(&Iso(*timestamp))
    }

    /// Reads a timestamp.
    ///
    /// # Errors
    ///
    /// When the input is not a string, not one of the forms that are read, or outside the years 1 to 9999.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
        Ok(deserializer.deserialize_str(Timestamp)?.time)
    }
}

struct Timestamp;

impl Visitor<'_> for Timestamp {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a timestamp in the years 1 to 9999")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Parsed, E> {
        iso::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests;
