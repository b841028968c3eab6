use chrono::TimeZone;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Stamp(#[serde(with = "super")] Option<DateTime<Utc>>);

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Required(#[serde(with = "super::required")] DateTime<Utc>);

/// Reads JSON and writes it again.
fn canonical(json: &str) -> Option<String> {
    let Required(time) = serde_json::from_str(json).ok()?;
    assert_eq!(cut(time), time, "{json} is read more finely than it is written");
    Some(Iso(time).to_string())
}

fn reads(text: &str, expected: &str) {
    assert_eq!(canonical(&format!("\"{text}\"")).as_deref(), Some(expected), "{text}");
}

fn refuses(json: &str) {
    assert_eq!(canonical(json), None, "{json}");
    assert!(serde_json::from_str::<Stamp>(json).is_err(), "{json}");
}

fn at(nanoseconds: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2022, 3, 5, 19, 42, 1).unwrap().with_nanosecond(nanoseconds).unwrap()
}

#[test]
fn a_timestamp_is_written_with_seven_fraction_digits_less_trailing_zeros() {
    let written = |nanoseconds| Iso(at(nanoseconds)).to_string();
    assert_eq!(written(630_550_300), "2022-03-05T19:42:01.6305503Z");
    assert_eq!(written(120_000_000), "2022-03-05T19:42:01.12Z");
    assert_eq!(written(100), "2022-03-05T19:42:01.0000001Z");
    assert_eq!(written(0), "2022-03-05T19:42:01Z");
}

#[test]
fn what_is_finer_than_100_ns_is_cut_off_and_never_rounded() {
    assert_eq!(Iso(at(999_999_999)).to_string(), "2022-03-05T19:42:01.9999999Z");
    assert_eq!(Iso(at(99)).to_string(), "2022-03-05T19:42:01Z");
    assert_eq!(cut(at(630_550_399)), at(630_550_300));
}

#[test]
fn a_leap_second_is_written_as_the_end_of_the_second_before() {
    let leap = at(1_500_000_000);
    assert_eq!(Iso(leap).to_string(), "2022-03-05T19:42:01.9999999Z");
    assert_eq!(cut(leap), at(999_999_900));
}

#[test]
fn a_small_year_is_written_with_four_digits() {
    assert_eq!(Iso(iso::FIRST).to_string(), "0001-01-01T00:00:00Z");
    assert_eq!(Iso(iso::LAST).to_string(), "9999-12-31T23:59:59.9999999Z");
}

#[test]
fn a_year_that_dotnet_does_not_have_is_refused_when_written() {
    for time in
        [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC, iso::FIRST - chrono::TimeDelta::nanoseconds(1)]
    {
        assert!(serde_json::to_string(&Stamp(Some(time))).is_err(), "{time}");
        assert!(serde_json::to_string(&Required(time)).is_err(), "{time}");
    }
}

#[test]
fn cutting_moves_a_time_into_the_years_that_dotnet_has() {
    assert_eq!(cut(DateTime::<Utc>::MIN_UTC), iso::FIRST);
    assert_eq!(cut(DateTime::<Utc>::MAX_UTC), iso::LAST);
}

#[test]
fn the_present_time_is_in_whole_steps_of_100_ns() {
    assert_eq!(now().nanosecond() % 100, 0);
}

#[test]
fn any_number_of_fraction_digits_is_read_and_cut_to_seven() {
    reads("2022-03-05T19:42:01Z", "2022-03-05T19:42:01Z");
    reads("2022-03-05T19:42:01.6Z", "2022-03-05T19:42:01.6Z");
    reads("2022-03-05T19:42:01.6305503Z", "2022-03-05T19:42:01.6305503Z");
    reads("2022-03-05T19:42:01.63055039999999999999999999Z", "2022-03-05T19:42:01.6305503Z");
    reads(&format!("2022-03-05T19:42:01.{}Z", "9".repeat(10_000)), "2022-03-05T19:42:01.9999999Z");
}

#[test]
fn an_offset_is_turned_into_utc() {
    for offset in ["+02:00", "+0200", "+02"] {
        reads(&format!("2022-03-05T21:42:01{offset}"), "2022-03-05T19:42:01Z");
    }
    reads("2022-03-05T14:12:01.5-05:30", "2022-03-05T19:42:01.5Z");
    reads("2022-03-05T19:42:01-00:00", "2022-03-05T19:42:01Z");
}

#[test]
fn a_time_without_a_zone_is_utc() {
    reads("2022-03-05T19:42:01.63", "2022-03-05T19:42:01.63Z");
}

#[test]
fn a_space_or_small_letters_are_read_too() {
    reads("2022-03-05 19:42:01Z", "2022-03-05T19:42:01Z");
    reads("2022-03-05t19:42:01z", "2022-03-05T19:42:01Z");
}

#[test]
fn a_date_without_a_time_is_its_midnight() {
    reads("2022-03-05", "2022-03-05T00:00:00Z");
    reads("2022-03-05T19:42", "2022-03-05T19:42:00Z");
    reads("2024-02-29", "2024-02-29T00:00:00Z");
}

#[test]
fn milliseconds_since_1970_are_read_in_the_old_microsoft_form() {
    reads("/Date(1646509321630)/", "2022-03-05T19:42:01.63Z");
    reads("/Date(1646509321630+0200)/", "2022-03-05T19:42:01.63Z");
    reads("/Date(1646509321630-0530)/", "2022-03-05T19:42:01.63Z");
    reads("/Date(-1)/", "1969-12-31T23:59:59.999Z");
    reads(r"\/Date(0)\/", "1970-01-01T00:00:00Z");
}

#[test]
fn null_numbers_and_other_text_are_no_timestamps() {
    for json in
        ["null", "5", "1646509321630", "1.5", "true", "[]", "{}", "\"\"", "\" \"", "\"soon\"", "\"2022\""]
    {
        refuses(json);
    }
}

#[test]
fn a_malformed_timestamp_is_refused() {
    for text in [
        "2022-3-5T19:42:01Z",
        "20220305T194201Z",
        "2022-03-05X19:42:01Z",
        "2022-03-05T",
        "2022-03-05T19",
        "2022-03-05T19:42:",
        "2022-03-05T19:42:01.",
        "2022-03-05T19:42:01.Z",
        "2022-03-05T19:42:01ZZ",
        "2022-03-05T19:42:01 Z",
        "2022-03-05T19:42:01+",
        "2022-03-05T19:42:01+2",
        "2022-03-05T19:42:01+02:",
        "2022-03-05T19:42:01+02:60",
        "2022-03-05T19:42:01+24:00",
        "2022-03-05T19:42:01+02:00x",
        "+2022-03-05T19:42:01Z",
        "２022-03-05T19:42:01Z",
        "/Date()/",
        "/Date(-)/",
        "/Date(+5)/",
        "/Date(1.5)/",
        "/Date(12)",
        "/Date(12+)/",
        "/Date(12+0200Z)/",
        "/Date(é)/",
        "/Date(99999999999999999999)/",
        "/Date(9223372036854775807)/",
    ] {
        refuses(&format!("\"{text}\""));
    }
}

#[test]
fn a_moment_that_does_not_exist_is_refused() {
    for text in [
        "2022-02-29",
        "2022-13-01",
        "2022-00-01",
        "2022-01-32",
        "2022-03-05T24:00:00Z",
        "2022-03-05T19:60:00Z",
        "2022-03-05T19:42:60Z",
        "0000-01-01",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "/Date(-62135596800001)/",
        "/Date(253402300800000)/",
    ] {
        refuses(&format!("\"{text}\""));
    }
    reads("/Date(-62135596800000)/", "0001-01-01T00:00:00Z");
    reads("/Date(253402300799999)/", "9999-12-31T23:59:59.999Z");
}

#[test]
fn a_date_that_nobody_set_is_none() {
    assert_eq!(serde_json::to_string(&Stamp(None)).unwrap(), r#""0001-01-01T00:00:00""#);
    assert_eq!(serde_json::from_str::<Stamp>(r#""0001-01-01T00:00:00""#).unwrap(), Stamp(None));
    // A date with a zone was set.
    assert_eq!(serde_json::from_str::<Stamp>(r#""0001-01-01T00:00:00Z""#).unwrap(), Stamp(Some(iso::FIRST)));
    assert_eq!(serde_json::from_str::<Required>(r#""0001-01-01T00:00:00""#).unwrap(), Required(iso::FIRST));
}

proptest! {
    #[test]
    fn any_time_of_the_years_1_to_9999_round_trips_at_100_ns(
        seconds in iso::FIRST.timestamp()..=iso::LAST.timestamp(),
        nanoseconds in 0u32..1_000_000_000,
    ) {
        let time = DateTime::from_timestamp(seconds, nanoseconds).unwrap();
        let json = serde_json::to_string(&Stamp(Some(time))).unwrap();
        prop_assert_eq!(serde_json::from_str::<Stamp>(&json).unwrap(), Stamp(Some(cut(time))));
        prop_assert_eq!(serde_json::from_str::<Required>(&json).unwrap(), Required(cut(time)));
    }

    #[test]
    fn whatever_is_written_is_a_year_of_four_digits_or_refused(
        seconds in DateTime::<Utc>::MIN_UTC.timestamp()..=DateTime::<Utc>::MAX_UTC.timestamp(),
    ) {
        let time = DateTime::from_timestamp(seconds, 0).unwrap();
        match serde_json::to_string(&Required(time)) {
            Ok(json) => prop_assert_eq!(serde_json::from_str::<Required>(&json).unwrap(), Required(time)),
            Err(_) => prop_assert!(time < iso::FIRST || time > iso::LAST),
        }
    }

    #[test]
    fn any_offset_is_subtracted(hours in 0i64..24, minutes in 0i64..60, west in any::<bool>()) {
        let sign = if west { '-' } else { '+' };
        let read = iso::parse(&format!("2022-03-05T12:00:00{sign}{hours:02}:{minutes:02}")).unwrap().time;
        let offset = chrono::TimeDelta::minutes((hours * 60 + minutes) * if west { -1 } else { 1 });
        prop_assert_eq!(read + offset, Utc.with_ymd_and_hms(2022, 3, 5, 12, 0, 0).unwrap());
    }

    #[test]
    fn any_text_like_a_timestamp_is_read_or_refused_within_the_years(
        text in "(/Date\\()?[-+0-9TtZz:. ]{0,40}(\\)/)?|[0-9]{4}-[0-1][0-9]-[0-3][0-9][Tt ]?[-+0-9Zz:.]{0,20}",
    ) {
        if let Some(parsed) = iso::parse(&text) {
            prop_assert_eq!(cut(parsed.time), parsed.time);
        }
    }
}
