//! Ids of users, as nodes say them to each other.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

use crate::users::{Anonymous, Identity, User, UserId};

/// How ids of users are written and read: as JSON, so that every serializable type will do. Function pointers, so that
/// only servers in clusters need such a type.
pub(crate) struct Codec<I: Identity> {
    pub(crate) write: fn(&I::Id) -> Option<String>,
    pub(crate) read: fn(&str) -> Option<I::Id>,
}

impl Codec<Anonymous> {
    /// There are no users.
    pub(crate) fn none() -> Self {
        Self { write: |()| None, read: |_| None }
    }
}

impl<T: UserId + Serialize + DeserializeOwned> Codec<User<T>> {
    pub(crate) fn json() -> Self {
        Self { write: |id| serde_json::to_string(id).ok(), read: |json| serde_json::from_str(json).ok() }
    }
}

impl<I: Identity> fmt::Debug for Codec<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").finish_non_exhaustive()
    }
}
