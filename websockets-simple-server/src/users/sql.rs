//! A user service that keeps its users in a SQL database.

mod error;
mod issue;
#[cfg(feature = "sqlx-postgres")]
mod postgres;
mod revocations;
mod schema;
mod service;
#[cfg(feature = "sqlx-sqlite")]
mod sqlite;
mod store;
mod token_info;

use std::{
    fmt::{self, Display},
    marker::PhantomData,
    str::FromStr,
    sync::{Arc, atomic::AtomicI64},
};

use websockets_simple_core::{Token, wall_clock};

pub use self::{error::SqlUsersError, issue::IssueToken, token_info::TokenInfo};
use self::{
    issue::{NewToken, storable},
    store::{Row, Store},
};
use crate::users::user_service::UserId;

/// A user service that keeps users and their tokens in SQLite or PostgreSQL. A clone is another handle of the same
/// users.
///
/// Tokens are 256 random bits, and only their SHA-256 is stored: read access to the database is not enough to log in. A
/// user has as many tokens as were issued; a user without tokens is unknown. A revoked or expired token stays in the
/// list, but is no longer accepted.
///
/// The ids of the users are stored as text, so [`FromStr`] of `T` has to read what [`Display`] writes, as it does for
/// numbers, `String` and `Uuid`.
///
/// A revocation also closes the connections that were opened with the token, within a second, whichever process revoked
/// it. To revoke a token by SQL, set `revoked_at` in the table `websockets_simple_tokens`, and do not delete rows.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "sqlx-sqlite")]
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use websockets_simple_server::chrono::{TimeDelta, Utc};
/// use websockets_simple_server::SqlUsers;
///
/// let users = SqlUsers::<String>::sqlite_in_memory().await?;
/// let in_a_week = Utc::now() + TimeDelta::weeks(1);
/// let (token, info) =
///     users.issue(&"ronald".to_owned()).label("phone").scopes(["read"]).expires_at(in_a_week).await?;
/// assert_eq!(token.expose().len(), 43);
/// assert_eq!(users.list().await?, [info.clone()]);
/// assert!(users.revoke(&info.credential).await?);
/// # Ok(()) }
/// # #[cfg(feature = "sqlx-sqlite")]
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
/// ```
pub struct SqlUsers<T> {
    store: Store,
    /// The number of the last revocation that was already reported.
    seen: Arc<AtomicI64>,
    users: PhantomData<fn() -> T>,
}

impl<T: UserId + Display + FromStr> SqlUsers<T> {
    /// Opens the users in a SQLite file, which is created if it does not exist. Several processes may have it open; it
    /// must be on a local disk, and SQLite puts two files beside it (`-wal`, `-shm`).
    ///
    /// # Errors
    ///
    /// [`Store`](SqlUsersError::Store) if the file cannot be opened, created or written, or is not a SQLite file;
    /// [`Newer`](SqlUsersError::Newer) if a newer version of this crate has written it.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the file may have been created. Either all tables are created or none.
    #[cfg(feature = "sqlx-sqlite")]
    pub async fn sqlite(path: impl AsRef<std::path::Path> + Send) -> Result<Self, SqlUsersError> {
        let store = sqlite::SqliteStore::open(path.as_ref()).await.map_err(SqlUsersError::store)?;
        Self::over(Store::Sqlite(store)).await
    }

    /// Makes an empty store in memory, which is gone with the last handle.
    ///
    /// # Errors
    ///
    /// [`Store`](SqlUsersError::Store) if there is no memory.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left if dropped.
    #[cfg(feature = "sqlx-sqlite")]
    pub async fn sqlite_in_memory() -> Result<Self, SqlUsersError> {
        let store = sqlite::SqliteStore::in_memory().await.map_err(SqlUsersError::store)?;
        Self::over(Store::Sqlite(store)).await
    }

    /// Opens the users in a PostgreSQL database, by its URL, such as `postgres://name:password@host/database`. Uses at
    /// most 8 connections, and one more for each stream of revocations.
    ///
    /// With `?sslmode=verify-full` the connection is encrypted and the certificate of the server is verified. Without
    /// it, the connection is encrypted if the server supports it, and the server is not verified.
    ///
    /// # Errors
    ///
    /// [`Store`](SqlUsersError::Store) if the URL is invalid, the database cannot be reached, or its tables may not be
    /// created; [`Newer`](SqlUsersError::Newer) if a newer version of this crate has created them.
    ///
    /// # Cancel safety
    ///
    /// If dropped, either all tables have been created or none.
    #[cfg(feature = "sqlx-postgres")]
    pub async fn postgres(url: &str) -> Result<Self, SqlUsersError> {
        let store = postgres::PostgresStore::open(url).await.map_err(SqlUsersError::store)?;
        Self::over(Store::Postgres(store)).await
    }

    async fn over(store: Store) -> Result<Self, SqlUsersError> {
        schema::migrate(&store).await?;
        let last = store.last_revocation().await.map_err(SqlUsersError::store)?;
        Ok(Self { store, seen: Arc::new(AtomicI64::new(last)), users: PhantomData })
    }

    /// Issues a new token to a user: `users.issue(&id).label("phone").await?` returns the token, which cannot be read
    /// again later, and its [`TokenInfo`]. The user need not exist before.
    ///
    /// # Errors
    ///
    /// Awaiting returns [`Scope`](SqlUsersError::Scope) if a scope is invalid, [`Store`](SqlUsersError::Store) if the
    /// store fails.
    ///
    /// # Cancel safety
    ///
    /// If dropped, a token that was returned to no caller may have been stored.
    pub fn issue(&self, user: &T) -> IssueToken<T> {
        IssueToken::new(self.clone(), user.clone())
    }

    /// Issues a token to each of these users, if no token has ever been issued. Otherwise issues no token and returns
    /// an empty list. Of several processes that start at once, only one gets tokens.
    ///
    /// # Errors
    ///
    /// [`Store`](SqlUsersError::Store) if the store fails: no token has been issued then.
    ///
    /// # Cancel safety
    ///
    /// If dropped, either none or all tokens have been stored, and no caller has them: revoke them, and call
    /// [`issue`](Self::issue).
    pub async fn first_invites(&self, users: &[T]) -> Result<Vec<(Token, TokenInfo<T>)>, SqlUsersError> {
        let (mut tokens, mut new) = (Vec::new(), Vec::new());
        for user in users {
            let (token, of_token) = NewToken::random(user, "first invite".to_owned(), &[], None)?;
            tokens.push((user.clone(), token));
            new.push(of_token);
        }
        let ids = self.store.insert(&new, true).await.map_err(SqlUsersError::store)?;
        let issued = ids.into_iter().zip(tokens).zip(new);
        Ok(issued.map(|((id, (user, token)), new)| (token, new.into_info(id, user))).collect())
    }

    /// Lists all tokens, in the order in which they were issued, revoked and expired ones included.
    ///
    /// # Errors
    ///
    /// [`Store`](SqlUsersError::Store) if the store fails; [`Id`](SqlUsersError::Id) if it contains a user id that is
    /// not a `T`.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn list(&self) -> Result<Vec<TokenInfo<T>>, SqlUsersError> {
        infos(self.store.list().await)
    }

    /// Lists the tokens of a user.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn list_of(&self, user: &T) -> Result<Vec<TokenInfo<T>>, SqlUsersError> {
        infos(self.store.list_of(&user.to_string()).await)
    }

    /// Revokes a token, by its [`credential`](TokenInfo::credential). Returns false if it is unknown or was revoked
    /// before.
    ///
    /// # Errors
    ///
    /// [`Store`](SqlUsersError::Store) if the store fails: the token may or may not have been revoked.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the token may or may not have been revoked.
    pub async fn revoke(&self, credential: &str) -> Result<bool, SqlUsersError> {
        let Ok(id) = credential.parse() else { return Ok(false) };
        self.store.revoke(id, storable(wall_clock())).await.map_err(SqlUsersError::store)
    }

    /// Revokes all tokens of a user, and returns how many were not revoked before.
    ///
    /// # Errors
    ///
    /// [`Store`](SqlUsersError::Store) if the store fails: the tokens may or may not have been revoked.
    ///
    /// # Cancel safety
    ///
    /// If dropped, either none or all of the tokens have been revoked.
    pub async fn revoke_user(&self, user: &T) -> Result<u64, SqlUsersError> {
        let user = user.to_string();
        self.store.revoke_user(&user, storable(wall_clock())).await.map_err(SqlUsersError::store)
    }

    /// Whether no token has ever been issued.
    ///
    /// # Errors
    ///
    /// [`Store`](SqlUsersError::Store) if the store fails.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn is_empty(&self) -> Result<bool, SqlUsersError> {
        self.store.is_empty().await.map_err(SqlUsersError::store)
    }

    /// Closes the database, for every handle. From then on no client is admitted, the streams of revocations end, and a
    /// store in memory is gone. Without a call, the database is closed when the last handle is dropped.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the database is still closed.
    pub async fn close(&self) {
        self.store.close().await;
    }
}

fn infos<T: FromStr>(rows: Result<Vec<Row>, sqlx::Error>) -> Result<Vec<TokenInfo<T>>, SqlUsersError> {
    rows.map_err(SqlUsersError::store)?.into_iter().map(TokenInfo::from_row).collect()
}

impl<T> Clone for SqlUsers<T> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), seen: Arc::clone(&self.seen), users: PhantomData }
    }
}

impl<T> fmt::Debug for SqlUsers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlUsers").field("store", &self.store.name()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(feature = "sqlx-sqlite")]
mod tests;
