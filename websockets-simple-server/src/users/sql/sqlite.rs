//! Users in SQLite.

use std::{
    path::{Path, absolute},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{
    Error, Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::time::{Instant, sleep};

use crate::users::sql::{
    revocations::{Revoked, Watch},
    store::REVOKED,
};

#[derive(Clone, Debug)]
pub(super) struct SqliteStore {
    pool: SqlitePool,
    /// For recording the use of tokens: waits for other writers only briefly, and takes no connection from readers.
    notes: SqlitePool,
}

impl SqliteStore {
    pub(super) async fn open(path: &Path) -> Result<Self, Error> {
        // An empty path and ":memory:" mean something else to SQLite.
        let options = SqliteConnectOptions::new()
            .filename(absolute(path)?)
            .create_if_missing(true)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let pool = SqlitePoolOptions::new()
            .max_connections(FILE_CONNECTIONS)
            .acquire_timeout(ACQUIRE)
            .connect_with(options.clone())
            .await?;
        write_ahead(&pool).await?;
        let notes = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(BUSY_NOTES)
            .connect_lazy_with(options.busy_timeout(BUSY_NOTES));
        Ok(Self { pool, notes })
    }

    pub(super) async fn in_memory() -> Result<Self, Error> {
        // A database in memory is gone with its connection: there is one, and it stays open. It is not tested before
        // use, as a cancelled test drops the connection.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(SqliteConnectOptions::new().in_memory(true).foreign_keys(true))
            .await?;
        Ok(Self { notes: pool.clone(), pool })
    }

    pub(super) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    pub(super) fn migrations(&self) -> &'static [&'static str] {
        &[include_str!("sqlite/1.sql")]
    }

    /// Begins a transaction; no other writes at the same time.
    pub(super) async fn alone(&self) -> Result<Transaction<'static, Sqlite>, Error> {
        self.pool.begin_with("BEGIN IMMEDIATE").await
    }

    pub(super) async fn note_use(
        &self,
        id: i64,
        now: DateTime<Utc>,
        before: DateTime<Utc>,
    ) -> Result<(), Error> {
        sqlx::query(NOTE_USE).bind(id).bind(now).bind(before).execute(&self.notes).await?;
        Ok(())
    }

    pub(super) fn watch(&self) -> SqliteWatch {
        SqliteWatch { pool: self.pool.clone() }
    }

    pub(super) async fn close(&self) {
        self.notes.close().await;
        self.pool.close().await;
    }
}

/// Switches to write-ahead logging, so that readers and a writer work at once. The file keeps the setting.
async fn write_ahead(pool: &SqlitePool) -> Result<(), Error> {
    let deadline = Instant::now() + BUSY;
    loop {
        // The switch needs the file exclusively, and does not wait for that as other statements do.
        match sqlx::query("PRAGMA journal_mode = WAL").execute(pool).await {
            Err(Error::Database(error)) if is_busy(&*error) && Instant::now() < deadline => {
                sleep(BUSY_PAUSE).await;
            }
            result => return result.map(|_| ()),
        }
    }
}

fn is_busy(error: &dyn sqlx::error::DatabaseError) -> bool {
    // The low byte of an extended result code is the result code.
    error.code().and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

/// Polls for revocations, as SQLite does not notify other processes.
#[derive(Debug)]
pub(super) struct SqliteWatch {
    pool: SqlitePool,
}

#[async_trait]
impl Watch for SqliteWatch {
    async fn next(&mut self, after: i64) -> Vec<Revoked> {
        let mut failed = false;
        loop {
            match sqlx::query_as(REVOKED).bind(after).fetch_all(&self.pool).await {
                Ok(revoked) if !revoked.is_empty() => return revoked,
                Ok(_) => failed = false,
                Err(error) => {
                    // Logged once, not twice a second.
                    if !failed {
                        tracing::warn!(%error, "cannot read revocations");
                    }
                    failed = true;
                }
            }
            sleep(LOOK).await;
        }
    }
}

const NOTE_USE: &str = "UPDATE websockets_simple_tokens SET last_used_at = $2 \
     WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $3)";

const FILE_CONNECTIONS: u32 = 4;
const ACQUIRE: Duration = Duration::from_secs(4); // below the default deadline of an authentication
const BUSY: Duration = Duration::from_secs(5);
const BUSY_NOTES: Duration = Duration::from_millis(50);
const BUSY_PAUSE: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_millis(500);

const SQLITE_BUSY: u32 = 5; // https://www.sqlite.org/rescode.html#busy
