//! How long each broadcast took to each client.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Microseconds from the send to the receipt, by the number of the broadcast.
#[derive(Debug, Default)]
pub(crate) struct Receipts(Mutex<BTreeMap<u64, Vec<u32>>>);

impl Receipts {
    pub(crate) fn add(&self, number: u64, nanos: u64) {
        let micros = u32::try_from(nanos / 1000).unwrap_or(u32::MAX);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(number).or_default().push(micros);
    }

    pub(crate) fn take(&self) -> BTreeMap<u64, Vec<u32>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
