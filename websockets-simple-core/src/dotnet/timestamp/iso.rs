//! The text of a timestamp.

use std::{fmt, ops::RangeInclusive};

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Timelike, Utc};

/// The years that .NET has.
pub(super) const YEARS: RangeInclusive<i32> = 1..=9999;

/// The first moment of them.
pub(super) const FIRST: DateTime<Utc> =
    DateTime::from_timestamp(-62_135_596_800, 0).expect("chrono has the year 1");

/// The last moment of them.
pub(super) const LAST: DateTime<Utc> =
    DateTime::from_timestamp(253_402_300_799, 999_999_900).expect("chrono has the year 9999");

/// How .NET writes a date that was never set: its first moment, without a zone.
pub(super) const NEVER_SET: &str = "0001-01-01T00:00:00";

/// Displays a time of those years as .NET does.
pub(super) struct Iso(pub(super) DateTime<Utc>);

impl fmt::Display for Iso {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(time) = self;
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            time.year(),
            time.month(),
            time.day(),
            time.hour(),
            time.minute(),
            time.second()
        )?;
        // A leap second would be written as :60, which .NET does not read.
        let mut fraction = time.nanosecond().min(999_999_999) / 100;
        if fraction > 0 {
            let mut digits = 7;
            while fraction.is_multiple_of(10) {
                fraction /= 10;
                digits -= 1;
            }
            write!(f, ".{fraction:0digits$}")?;
        }
        f.write_str("Z")
    }
}

/// A timestamp that was read, and whether its text names a zone.
pub(super) struct Parsed {
    pub(super) time: DateTime<Utc>,
    has_zone: bool,
}

impl Parsed {
    /// Whether this is how .NET writes a date that was never set.
    pub(super) fn is_never_set(&self) -> bool {
        !self.has_zone && self.time == FIRST
    }
}

/// Reads any of the known forms; `None` when the text is something else, or outside the years.
pub(super) fn parse(text: &str) -> Option<Parsed> {
    let parsed = match text.strip_prefix("/Date(") {
        Some(rest) => milliseconds(rest.strip_suffix(")/")?)?,
        None => calendar(text)?,
    };
    YEARS.contains(&parsed.time.year()).then_some(parsed)
}

/// `1646509321630`, `-1` or `1646509321630+0200`.
fn milliseconds(text: &str) -> Option<Parsed> {
    // The offset only says what the sender's clock showed: the milliseconds are UTC all the same.
    let sign = text.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-'));
    let (number, offset) = text.split_at(sign.map_or(text.len(), |(at, _)| at));
    if number.starts_with('+') {
        return None;
    }
    if !offset.is_empty() {
        Cursor(offset.as_bytes()).zone()?;
    }
    Some(Parsed { time: DateTime::from_timestamp_millis(number.parse().ok()?)?, has_zone: true })
}

/// `2022-03-05`, `2022-03-05T19:42:01.6305503Z` and what lies between.
fn calendar(text: &str) -> Option<Parsed> {
    let mut cursor = Cursor(text.as_bytes());
    let year = cursor.number(4)?;
    cursor.expect(b"-")?;
    let month = cursor.number(2)?;
    cursor.expect(b"-")?;
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, cursor.number(2)?)?;
    if cursor.is_empty() {
        return Some(Parsed { time: date.and_hms_opt(0, 0, 0)?.and_utc(), has_zone: false });
    }

    cursor.expect(b"Tt ")?;
    let hour = cursor.number(2)?;
    cursor.expect(b":")?;
    let minute = cursor.number(2)?;
    let (mut second, mut nanosecond) = (0, 0);
    if cursor.expect(b":").is_some() {
        second = cursor.number(2)?;
        if cursor.expect(b".").is_some() {
            nanosecond = cursor.fraction()?;
        }
    }
    let time = date.and_hms_nano_opt(hour, minute, second, nanosecond)?;

    let has_zone = !cursor.is_empty();
    let offset = if has_zone { cursor.zone()? } else { TimeDelta::zero() };
    Some(Parsed { time: time.checked_sub_signed(offset)?.and_utc(), has_zone })
}

/// What is left of a text.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte, which has to be one of these.
    fn expect(&mut self, allowed: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        allowed.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    fn digit(&mut self) -> Option<u32> {
        self.expect(b"0123456789").map(|digit| u32::from(digit - b'0'))
    }

    /// A number of so many digits.
    fn number(&mut self, digits: u32) -> Option<u32> {
        let mut number = 0;
        for _ in 0..digits {
            number = number * 10 + self.digit()?;
        }
        Some(number)
    }

    /// One digit or more, as nanoseconds in whole steps of 100.
    fn fraction(&mut self) -> Option<u32> {
        let mut nanoseconds = self.digit()? * 100_000_000;
        let mut step = 10_000_000;
        while let Some(digit) = self.digit() {
            if step >= 100 {
                nanoseconds += digit * step;
                step /= 10;
            }
        }
        Some(nanoseconds)
    }

    /// All that is left: `Z`, `+02`, `+0200` or `+02:00`.
    fn zone(&mut self) -> Option<TimeDelta> {
        let sign = match self.expect(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return self.is_empty().then(TimeDelta::zero),
        };
        let hours = self.number(2)?;
        let mut minutes = 0;
        if !self.is_empty() {
            // The colon may be left out.
            let _colon = self.expect(b":");
            minutes = self.number(2)?;
        }
        if !self.is_empty() || hours > 23 || minutes > 59 {
            return None;
        }
        Some(TimeDelta::minutes(sign * i64::from(hours * 60 + minutes)))
    }
}
