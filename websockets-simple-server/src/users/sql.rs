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

use chrono::Utc;
use websockets_simple_core::Token;

pub use self::{error::SqlUsersError, issue::IssueToken, token_info::TokenInfo};
use self::{
    issue::{NewToken, storable},
    store::{Row, Store},
};
use crate::users::user_service::UserId;

/// Users and their tokens, in SQLite or PostgreSQL. Cloning gives another handle of the same users.
///
/// Tokens are 256 random bits, and only their SHA-256 is stored: who reads the database cannot log in. A user has as
/// many tokens as were issued; who has none is unknown. A token that was revoked or has expired stays in the list, and lets
/// nobody in.
///
/// The ids of the users are stored as text, so `T` has to be read ([`FromStr`]) as it is written ([`Display`]), as
/// numbers, `String` and `Uuid` are.
///
/// A revoked token also ends the connections that were opened with it, within a second, whichever process revoked it,
/// even by hand: set `revoked_at` in the table `websockets_simple_tokens`, and do not delete rows.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "sqlx-sqlite")]
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use chrono::{TimeDelta, Utc};
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
    /// The last revocation that need not be told any more.
    seen: Arc<AtomicI64>,
    users: PhantomData<fn() -> T>,
}

impl<T: UserId + Display + FromStr> SqlUsers<T> {
    /// Opens the users in a SQLite file, which is made if it is not there. Several processes may have it open; it must
    /// be on a disk of this machine, and comes with two files beside it (`-wal`, `-shm`).
    ///
    /// # Errors
    ///
    /// [`Store`](SqlUsersError::Store) if the file cannot be opened, made or written, or is something else;
    /// [`Newer`](SqlUsersError::Newer) if a newer version of this crate has written it.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the file may have been made. The tables are made all at once or not at all.
    #[cfg(feature = "sqlx-sqlite")]
    pub async fn sqlite(path: impl AsRef<std::path::Path> + Send) -> Result<Self, SqlUsersError> {
        let store = sqlite::SqliteStore::open(path.as_ref()).await.map_err(SqlUsersError::store)?;
        Self::over(Store::Sqlite(store)).await
    }

    /// Makes users in memory, gone with the last handle.
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

    /// Opens the users in a PostgreSQL database, by its URL, as `postgres://name:password@host/database`. It may have
    /// at most 8 connections, and one for each stream of revocations.
    ///
    /// With `?sslmode=verify-full` the connection is encrypted and the server known by its certificate. Without, it is
    /// encrypted if the server can, and anybody may be the server.
    ///
    /// # Errors
    ///
    /// [`Store`](SqlUsersError::Store) if the URL is none, the database cannot be reached, or its tables may not be
    /// made; [`Newer`](SqlUsersError::Newer) if a newer version of this crate has made them.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the tables have been made all at once or not at all.
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

    /// Issues a new token to a user: `users.issue(&id).label("phone").await?` answers the token, which nobody can see
    /// again, and what is known of it. A user need not be known before.
    ///
    /// # Errors
    ///
    /// Awaiting answers [`Scope`](SqlUsersError::Scope) if a scope is not a word, [`Store`](SqlUsersError::Store) if
    /// the store fails.
    ///
    /// # Cancel safety
    ///
    /// If dropped, a token that nobody has may have been stored.
    pub fn issue(&self, user: &T) -> IssueToken<T> {
        IssueToken::new(self.clone(), user.clone())
    }

    /// Issues a token to each of these, if no token has ever been issued. Otherwise issues none, and answers none. Of
    /// several processes that start at once only one gets tokens.
    ///
    /// # Errors
    ///
    /// [`Store`](SqlUsersError::Store) if the store fails: no token has been issued then.
    ///
    /// # Cancel safety
    ///
    /// If dropped, either none or all tokens have been stored, and nobody has them: revoking them and
    /// [`issue`](Self::issue) help.
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

    /// All tokens, in the order in which they were issued, with those that are no longer good.
    ///
    /// # Errors
    ///
    /// [`Store`](SqlUsersError::Store) if the store fails; [`Id`](SqlUsersError::Id) if it has a user id that is no
    /// `T`.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn list(&self) -> Result<Vec<TokenInfo<T>>, SqlUsersError> {
        infos(self.store.list().await)
    }

    /// The tokens of a user.
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

    /// Revokes a token, by its [`credential`](TokenInfo::credential). False if there is none or it was revoked before.
    ///
    /// # Errors
    ///
    /// [`Store`](SqlUsersError::Store) if the store fails: the token may or may not be good.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the token may or may not have been revoked.
    pub async fn revoke(&self, credential: &str) -> Result<bool, SqlUsersError> {
        let Ok(id) = credential.parse() else { return Ok(false) };
        self.store.revoke(id, storable(Utc::now())).await.map_err(SqlUsersError::store)
    }

    /// Revokes all tokens of a user, and answers how many were not revoked before.
    ///
    /// # Errors
    ///
    /// [`Store`](SqlUsersError::Store) if the store fails: the tokens may or may not be good.
    ///
    /// # Cancel safety
    ///
    /// If dropped, either none or all of the tokens have been revoked.
    pub async fn revoke_user(&self, user: &T) -> Result<u64, SqlUsersError> {
        let user = user.to_string();
        self.store.revoke_user(&user, storable(Utc::now())).await.map_err(SqlUsersError::store)
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

    /// Closes the database, for every handle. Nobody is admitted from then on, the streams of revocations end, and a
    /// store in memory is gone. Without it, the database is closed when the last handle is dropped.
    ///
    /// # Cancel safety
    ///
    /// The closing goes on if dropped.
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
