//! Times in words, in both directions.

use chrono::TimeDelta;

/// Units with their seconds, the largest first.
const UNITS: [(&str, i64); 4] = [("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];

/// Reads a time such as `90s`, `15m`, `1h` or `30d`.
///
/// # Errors
///
/// When it is no such time.
pub(super) fn parse(text: &str) -> Result<TimeDelta, &'static str> {
    const WRITE: &str = "write a time such as 90s, 15m, 1h or 30d";
    let (count, unit) = text.split_at_checked(text.len().wrapping_sub(1)).ok_or(WRITE)?;
    let count: u32 = count.parse().map_err(|_| WRITE)?;
    let (_, seconds) = UNITS.iter().find(|(name, _)| name.starts_with(unit)).ok_or(WRITE)?;
    Ok(TimeDelta::seconds(i64::from(count) * seconds))
}

/// A time in its largest unit: `2 hours`. Its sign does not count.
pub(super) fn words(time: TimeDelta) -> String {
    let seconds = time.num_seconds().abs();
    let (name, unit) = UNITS.into_iter().find(|(_, unit)| seconds >= *unit).unwrap_or(("second", 1));
    let count = seconds / unit;
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h", 3_600), ("30d", 2_592_000)] {
            assert_eq!(parse(text).map(|time| time.num_seconds()), Ok(seconds), "{text}");
        }
        for text in ["", "h", "1", "1 h", "-1h", "1w", "1é"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn words_are_of_the_largest_unit() {
        for (seconds, said) in
            [(0, "0 seconds"), (1, "1 second"), (119, "1 minute"), (-7_200, "2 hours"), (200_000, "2 days")]
        {
            assert_eq!(words(TimeDelta::seconds(seconds)), said);
        }
    }
}
