//! Errors of the user store.

/// Why an operation on [`SqlUsers`](crate::SqlUsers) failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlUsersError {
    /// A user id in the store cannot be parsed: the store belongs to another program, or the type of the ids has
    /// changed.
    #[error("invalid user id in the store: {0:?}")]
    Id(String),
    /// A newer version of this crate has changed the store. Update the program.
    #[error("the store has version {found}, but the newest supported version is {known}")]
    Newer {
        /// The version of the store.
        found: i64,
        /// The newest version that this crate supports.
        known: i64,
    },
    /// A scope is empty, or contains white space or a control character.
    #[error("invalid scope: {0:?}")]
    Scope(String),
    /// The database is missing, belongs to another program, or does not respond. The source says what failed.
    #[error("the user store failed")]
    Store(#[source] std::sync::Arc<dyn std::error::Error + Send + Sync>),
}

impl SqlUsersError {
    pub(super) fn store(error: sqlx::Error) -> Self {
        Self::Store(std::sync::Arc::new(error))
    }
}
