//! Users in PostgreSQL.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{
    Error, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::time::{sleep, timeout};

use crate::users::sql::{
    revocations::{Revoked, Watch},
    store::REVOKED,
};

#[derive(Clone, Debug)]
pub(super) struct PostgresStore {
    pool: PgPool,
}

impl PostgresStore {
    pub(super) async fn open(url: &str) -> Result<Self, Error> {
        let options: PgConnectOptions = url.parse()?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE)
            .connect_with(options)
            .await?;
        Ok(Self { pool })
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(super) fn migrations(&self) -> &'static [&'static str] {
        &[include_str!("postgres/1.sql")]
    }

    /// Begins a transaction; only one of these runs at a time.
    pub(super) async fn alone(&self) -> Result<Transaction<'static, Postgres>, Error> {
        let mut alone = self.pool.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *alone).await?;
        Ok(alone)
    }

    pub(super) async fn note_use(
        &self,
        id: i64,
        now: DateTime<Utc>,
        before: DateTime<Utc>,
    ) -> Result<(), Error> {
        sqlx::query(NOTE_USE).bind(id).bind(now).bind(before).execute(&self.pool).await?;
        Ok(())
    }

    pub(super) fn watch(&self) -> PostgresWatch {
        // A separate pool: closing the pool of the users need not wait for the listener.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE)
            .connect_lazy_with((*self.pool.connect_options()).clone());
        PostgresWatch { pool, listener: None, pause: Duration::ZERO }
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// Listens for revocations. A notification says only that there are some; they are read from the table, so a lost
/// notification or connection loses no revocation.
#[derive(Debug)]
pub(super) struct PostgresWatch {
    pool: PgPool,
    listener: Option<PgListener>,
    /// How long to wait before the next connection.
    pause: Duration,
}

#[async_trait]
impl Watch for PostgresWatch {
    async fn next(&mut self, after: i64) -> Vec<Revoked> {
        loop {
            match self.listen(after).await {
                Ok(revoked) if !revoked.is_empty() => return revoked,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, pause = ?self.pause, "cannot listen for revocations");
                    self.listener = None;
                    sleep(self.pause).await;
                    // Random, so that many servers do not reconnect at the same time.
                    let longest = (self.pause * 2).clamp(PAUSE_FIRST, PAUSE_LONGEST);
                    self.pause = longest.mul_f64(rand::random_range(0.5..=1.0));
                }
            }
        }
    }
}

impl PostgresWatch {
    /// Reads the revocations, or waits until there may be some. None is missed between the two: the connection listens
    /// before it reads.
    async fn listen(&mut self, after: i64) -> Result<Vec<Revoked>, Error> {
        let listener = match &mut self.listener {
            Some(listener) => listener,
            None => self.listener.insert(connect(&self.pool).await?),
        };
        // Over the same connection, which also tests whether it still works.
        let reading = sqlx::query_as(REVOKED).bind(after).fetch_all(&mut *listener);
        let revoked: Vec<Revoked> = timeout(ANSWER, reading).await.map_err(|_| Error::PoolTimedOut)??;
        self.pause = Duration::ZERO;
        if revoked.is_empty() {
            match timeout(SILENCE, listener.try_recv()).await {
                Ok(Ok(Some(_))) => while listener.next_buffered().is_some() {},
                Ok(Ok(None)) => self.listener = None,
                Ok(Err(error)) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(revoked)
    }
}

async fn connect(pool: &PgPool) -> Result<PgListener, Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Skips a token that another transaction is changing, instead of waiting.
const NOTE_USE: &str = "UPDATE websockets_simple_tokens SET last_used_at = $2 WHERE id = \
     (SELECT id FROM websockets_simple_tokens \
      WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $3) FOR UPDATE SKIP LOCKED)";

const CHANNEL: &str = "websockets_simple_revocations";

/// The key of the advisory lock: any number that no other program uses.
const LOCK: i64 = 0x7773_2d75_7365_7273;

const CONNECTIONS: u32 = 8;
const ACQUIRE: Duration = Duration::from_secs(4); // below the default deadline of an authentication
const ANSWER: Duration = Duration::from_secs(5);
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);
/// After so long without a notification, the connection is tested.
const SILENCE: Duration = Duration::from_secs(30);
