//! What went wrong with clients.

use std::sync::{Mutex, PoisonError};

/// Failures of which the text is kept.
const KEPT: usize = 10;

/// What went wrong: how often, and the first few texts.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<(usize, Vec<String>)>);

impl Failures {
    pub(crate) fn add(&self, text: String) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.0 += 1;
        if failures.1.len() < KEPT {
            eprintln!("{text}");
            failures.1.push(text);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    pub(crate) fn check(&self) {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(failures.0, 0, "clients that failed, the first ones: {:#?}", failures.1);
    }
}
