//! The tables, created and migrated when a store is opened.

use sqlx::Error;

use crate::users::sql::{
    error::SqlUsersError,
    store::{Store, on},
};

/// Migrates a store to the newest version. Programs that start at once wait for the first of them.
pub(super) async fn migrate(store: &Store) -> Result<(), SqlUsersError> {
    // The version is read first, as a program without permission to change the tables can still use them.
    if let Ok(version) = version(store).await
        && is_known(store, version)?
    {
        return Ok(());
    }
    on!(store, database => {
        let mut alone = database.alone().await.map_err(SqlUsersError::store)?;
        sqlx::raw_sql(VERSIONS).execute(&mut *alone).await.map_err(SqlUsersError::store)?;
        let applied: i64 =
            sqlx::query_scalar(VERSION).fetch_one(&mut *alone).await.map_err(SqlUsersError::store)?;
        is_known(store, applied)?;
        for (number, migration) in (1_i64..).zip(database.migrations()).filter(|(n, _)| *n > applied) {
            sqlx::raw_sql(*migration).execute(&mut *alone).await.map_err(SqlUsersError::store)?;
            sqlx::query(APPLIED).bind(number).execute(&mut *alone).await.map_err(SqlUsersError::store)?;
        }
        alone.commit().await.map_err(SqlUsersError::store)
    })
}

async fn version(store: &Store) -> Result<i64, Error> {
    on!(store, database => sqlx::query_scalar(VERSION).fetch_one(database.pool()).await)
}

/// Whether this is the newest version.
fn is_known(store: &Store, version: i64) -> Result<bool, SqlUsersError> {
    let known = on!(store, database => database.migrations().len()) as i64;
    if version > known {
        return Err(SqlUsersError::Newer { found: version, known });
    }
    Ok(version == known)
}

const APPLIED: &str = "INSERT INTO websockets_simple_schema VALUES ($1)";

const VERSION: &str = "SELECT COALESCE(MAX(version), 0) FROM websockets_simple_schema";

const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS websockets_simple_schema (version BIGINT PRIMARY KEY)";
