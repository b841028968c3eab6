//! Errors in a form for people.

use std::{error::Error, fmt::Write};

/// An error and its sources, from the outermost to the innermost, on one line.
#[must_use]
pub fn in_one_line(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        // Writing to a String does not fail.
        let _ = write!(line, ": {source}");
        next = source.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::num::ParseIntError);

    #[test]
    fn every_level_of_an_error_is_told_once() {
        let error = Outer("x".parse::<u8>().unwrap_err());
        assert_eq!(in_one_line(&error), "outer: invalid digit found in string");
    }
}
