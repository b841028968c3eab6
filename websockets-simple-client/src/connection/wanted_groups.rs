//! The groups that a client is in, to be joined again on its next connection.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Groups that were joined and not left, for a client that reconnects.
#[derive(Debug, Default)]
pub(crate) struct WantedGroups(Mutex<BTreeSet<String>>);

impl WantedGroups {
    /// The server has let the client in.
    pub(crate) fn joined(&self, group: &str) {
        self.lock().insert(group.to_owned());
    }

    /// The client has left, or is not let in again.
    pub(crate) fn left(&self, group: &str) {
        self.lock().remove(group);
    }

    /// The client is not to come back.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
