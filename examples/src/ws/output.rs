//! What `ws` writes to standard output and standard error.

use std::io::{self, Write};

use crate::ws::exit::{Exit, Failure};

/// A line for standard output.
///
/// # Errors
///
/// A [`Failure`]: standard output is closed, such as a pipe whose reader has ended.
pub fn line(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(|error| closed(&error))
}

/// The failure of standard output.
#[must_use]
pub fn closed(error: &io::Error) -> Failure {
    match error.kind() {
        // The reader of the pipe has seen enough: nothing is wrong, and nobody is left who would read about it.
        io::ErrorKind::BrokenPipe => Failure::told(Exit::Failed),
        _ => Failure::local(format!("cannot write to standard output: {error}")),
    }
}

/// A line about what happens, for standard error.
pub fn status(text: &str) {
    // Nobody has to read it.
    let _ = writeln!(io::stderr(), "{text}");
}
