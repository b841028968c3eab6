//! What goes wrong with a store of tokens.

/// Why a store of users could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlUsersError {
    /// The user is unknown to the program: what the store has as a user id cannot be read as one. The store is
    /// that of another program, or the type of the ids has changed.
    #[error("{0:?}, in the store, is not the id of a user")]
    Id(String),
    /// A newer version of this crate has changed the store. Update the program.
    #[error("the store is of version {found}, which is newer than {known}")]
    Newer {
        /// The version of the store.
        found: i64,
        /// The newest version that is known here.
        known: i64,
    },
    /// A scope is empty, or has a blank or a control character in it.
    #[error("{0:?} is not a scope")]
    Scope(String),
    /// The database is not there, is not ours, or does not answer. The source says what it is.
    #[error("the store of the users failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl SqlUsersError {
    pub(super) fn store(error: sqlx::Error) -> Self {
        Self::Store(Box::new(error))
    }
}
