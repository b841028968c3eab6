//! Where in a text an error is.

use serde::de::Error as _;
use serde_json::Error;

/// The error of a value, placed within the text that the value is a slice of. An error without a place, such as that of
/// a missing field, is at the begin of its value.
pub(super) fn within(text: &str, value: &str, error: &Error) -> Error {
    let before = (value.as_ptr().addr()).checked_sub(text.as_ptr().addr()).and_then(|at| text.get(..at));
    let Some(before) = before else { return Error::custom(error) };
    let (line, column) = match error.line() {
        0 => (1, 1),
        // Column 0 is before the first byte.
        line => (line, error.column().max(1)),
    };
    let lines_before = before.bytes().filter(|byte| *byte == b'\n').count();
    let columns_before = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
    let column = if line == 1 { columns_before + column } else { column };
    let shown = error.to_string();
    let what = shown
        .rsplit_once(" at line ")
        .map_or(&*shown, |(what, _)| if error.line() > 0 { what } else { &shown });
    // serde_json takes the place of an error from the end of its text.
    Error::custom(format_args!("{what} at line {} column {column}", lines_before + line))
}
