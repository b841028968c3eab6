//! Users in SQLite files and in a real PostgreSQL, over several processes.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

mod both;
mod place;
mod postgres;
mod sqlite;
