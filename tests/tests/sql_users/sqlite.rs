//! What only files do.

use std::{
    fs,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sqlx::Connection;
use websockets_simple_server::{SqlUsers, SqlUsersError};

use crate::place::{Place, sha256, whose};

#[tokio::test]
async fn the_file_has_the_hash_of_a_token_and_not_the_token() {
    let place = Place::file();
    let users = place.users().await;
    let (token, _) = users.issue(&7).label("findable").await.unwrap();
    assert_eq!(whose(&users, &token).await, Some(7));
    let mut bytes = Vec::new();
    let Place::File(folder) = &place else { unreachable!() };
    for file in fs::read_dir(folder.path()).unwrap() {
        bytes.extend(fs::read(file.unwrap().path()).unwrap());
    }
    let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    assert!(has(b"findable") && has(&sha256(&token)));
    let random = BASE64_URL_SAFE_NO_PAD.decode(token.expose()).unwrap();
    assert!(!has(token.expose().as_bytes()) && !has(&token.expose().as_bytes()[..16]) && !has(&random));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_takes_its_time_keeps_nobody_out() {
    let place = Place::file();
    let users = place.users().await;
    let mut tokens = Vec::new();
    for user in 0..20 {
        tokens.push(users.issue(&user).await.unwrap().0);
    }
    let mut writer = place.connection().await;
    let mode = sqlx::query_scalar::<_, String>("PRAGMA journal_mode").fetch_one(&mut writer).await;
    assert_eq!(mode.unwrap(), "wal", "readers go on while somebody writes");
    let writing = writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let begun = Instant::now();
    for (user, token) in (0..).zip(&tokens) {
        assert_eq!(whose(&users, token).await, Some(user));
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "each may try to note it, but not for long");
    assert!(users.list().await.unwrap().iter().all(|info| info.last_used_at.is_none()));
    writing.rollback().await.unwrap();
    assert_eq!(whose(&users, &tokens[0]).await, Some(0));
    assert!(users.list().await.unwrap()[0].last_used_at.is_some());
}

#[tokio::test]
async fn what_is_no_database_is_refused_and_left_as_it_is() {
    let place = Place::file();
    let text = "something else ".repeat(500);
    fs::write(place.path(), &text).unwrap();
    assert!(matches!(place.open().await, Err(SqlUsersError::Store(_))));
    assert_eq!(fs::read_to_string(place.path()).unwrap(), text);
    for bad in ["", "/nowhere/at/all.db", "/"] {
        assert!(matches!(SqlUsers::<i64>::sqlite(bad).await, Err(SqlUsersError::Store(_))), "{bad:?}");
    }
}
