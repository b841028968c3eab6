//! The database of the users: the same statements for SQLite and PostgreSQL.

use chrono::{DateTime, Utc};
use sqlx::Error;

#[cfg(feature = "sqlx-postgres")]
use crate::users::sql::postgres::PostgresStore;
#[cfg(feature = "sqlx-sqlite")]
use crate::users::sql::sqlite::SqliteStore;
use crate::users::sql::{issue::NewToken, revocations::Watch};

#[derive(Clone, Debug)]
pub(super) enum Store {
    #[cfg(feature = "sqlx-postgres")]
    Postgres(PostgresStore),
    #[cfg(feature = "sqlx-sqlite")]
    Sqlite(SqliteStore),
}

/// Runs the same expression on either database; its SQL must be valid for both.
macro_rules! on {
    ($store:expr, $database:ident => $said:expr) => {
        match $store {
            #[cfg(feature = "sqlx-postgres")]
            $crate::users::sql::store::Store::Postgres($database) => $said,
            #[cfg(feature = "sqlx-sqlite")]
            $crate::users::sql::store::Store::Sqlite($database) => $said,
        }
    };
}

pub(super) use on;

/// A stored token: id, user, hash, scopes, label; when it was issued, expires, was last used, was revoked.
pub(super) type Row = (
    i64,
    String,
    Vec<u8>,
    String,
    String,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
);

impl Store {
    pub(super) async fn find(&self, hash: &[u8]) -> Result<Option<Row>, Error> {
        on!(self, database => sqlx::query_as(FIND).bind(hash).fetch_optional(database.pool()).await)
    }

    /// Records that a token was used, unless a use since `before` is recorded.
    pub(super) async fn note_use(
        &self,
        id: i64,
        now: DateTime<Utc>,
        before: DateTime<Utc>,
    ) -> Result<(), Error> {
        on!(self, database => database.note_use(id, now, before).await)
    }

    /// Inserts tokens and returns their ids. With `as_first`, inserts only into a store without tokens. Concurrent
    /// inserts wait for each other.
    pub(super) async fn insert(&self, tokens: &[NewToken], as_first: bool) -> Result<Vec<i64>, Error> {
        on!(self, database => {
            let mut alone = database.alone().await?;
            if as_first && !sqlx::query_scalar::<_, bool>(IS_EMPTY).fetch_one(&mut *alone).await? {
                return Ok(Vec::new());
            }
            let mut ids = Vec::with_capacity(tokens.len());
            for token in tokens {
                let inserted = sqlx::query_scalar(INSERT)
                    .bind(&token.user)
                    .bind(&token.hash[..])
                    .bind(&token.scopes)
                    .bind(&token.label)
                    .bind(token.created_at)
                    .bind(token.expires_at);
                ids.push(inserted.fetch_one(&mut *alone).await?);
            }
            alone.commit().await?;
            Ok(ids)
        })
    }

    pub(super) async fn is_empty(&self) -> Result<bool, Error> {
        on!(self, database => sqlx::query_scalar(IS_EMPTY).fetch_one(database.pool()).await)
    }

    pub(super) async fn list(&self) -> Result<Vec<Row>, Error> {
        on!(self, database => sqlx::query_as(LIST).fetch_all(database.pool()).await)
    }

    pub(super) async fn list_of(&self, user: &str) -> Result<Vec<Row>, Error> {
        on!(self, database => sqlx::query_as(LIST_OF).bind(user).fetch_all(database.pool()).await)
    }

    pub(super) async fn revoke(&self, id: i64, now: DateTime<Utc>) -> Result<bool, Error> {
        on!(self, database => {
            let done = sqlx::query(REVOKE).bind(id).bind(now).execute(database.pool()).await?;
            Ok(done.rows_affected() > 0)
        })
    }

    pub(super) async fn revoke_user(&self, user: &str, now: DateTime<Utc>) -> Result<u64, Error> {
        on!(self, database => {
            let done = sqlx::query(REVOKE_USER).bind(user).bind(now).execute(database.pool()).await?;
            Ok(done.rows_affected())
        })
    }

    /// The number of the last revocation.
    pub(super) async fn last_revocation(&self) -> Result<i64, Error> {
        on!(self, database => sqlx::query_scalar(LAST_REVOCATION).fetch_one(database.pool()).await)
    }

    pub(super) fn watch(&self) -> Box<dyn Watch> {
        on!(self, database => Box::new(database.watch()))
    }

    /// Runs a future while the store is open; `None` if the store is closed first.
    pub(super) async fn while_open<R>(&self, something: impl Future<Output = R>) -> Option<R> {
        on!(self, database => database.pool().close_event().do_until(something).await.ok())
    }

    pub(super) async fn close(&self) {
        on!(self, database => database.close().await);
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            #[cfg(feature = "sqlx-postgres")]
            Self::Postgres(_) => "PostgreSQL",
            #[cfg(feature = "sqlx-sqlite")]
            Self::Sqlite(_) => "SQLite",
        }
    }
}

/// Reads the next revocations, by number. At most 256, as many may have happened since the stream was last polled.
pub(super) const REVOKED: &str = "SELECT revocation, id FROM websockets_simple_tokens \
     WHERE revocation > $1 ORDER BY revocation LIMIT 256";

const FIND: &str = "SELECT id, user_id, hash, scopes, label, created_at, expires_at, last_used_at, revoked_at \
     FROM websockets_simple_tokens WHERE hash = $1";

const INSERT: &str = "INSERT INTO websockets_simple_tokens \
     (user_id, hash, scopes, label, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id";

const IS_EMPTY: &str = "SELECT NOT EXISTS (SELECT 1 FROM websockets_simple_tokens)";

const LAST_REVOCATION: &str = "SELECT number FROM websockets_simple_revocations";

const LIST: &str = "SELECT id, user_id, hash, scopes, label, created_at, expires_at, last_used_at, revoked_at \
     FROM websockets_simple_tokens ORDER BY id";

const LIST_OF: &str = "SELECT id, user_id, hash, scopes, label, created_at, expires_at, last_used_at, revoked_at \
     FROM websockets_simple_tokens WHERE user_id = $1 ORDER BY id";

const REVOKE: &str =
    "UPDATE websockets_simple_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";

const REVOKE_USER: &str =
    "UPDATE websockets_simple_tokens SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL";
