use std::{
    collections::HashSet,
    future::{IntoFuture, poll_fn},
    net::SocketAddr,
    pin::pin,
    task::Poll,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderMap;
use tokio::time::timeout;
use uuid::Uuid;

use super::*;
use crate::users::sql::{sqlite::SqliteStore, store::Store};
use crate::{
    net::{HandshakeRequest, RequestHead},
    users::{
        revocation::{Revocation, Revocations},
        user_service::{Authenticated, Credentials, UserService, UserServiceError},
    },
};

const PATIENCE: Duration = Duration::from_secs(20);

async fn users<T: UserId + Display + FromStr>() -> SqlUsers<T> {
    SqlUsers::sqlite_in_memory().await.unwrap()
}

async fn ask<T: UserId + Display + FromStr>(
    users: &SqlUsers<T>,
    credentials: &Credentials,
) -> Result<Option<Authenticated<T>>, UserServiceError> {
    let head = RequestHead::new("/", "", &HeaderMap::new());
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    users.authenticate(credentials, &HandshakeRequest::new(&head, addr, addr)).await
}

async fn whose<T: UserId + Display + FromStr>(users: &SqlUsers<T>, token: &Token) -> Option<T> {
    ask(users, &Credentials::of_token(token.clone())).await.unwrap().map(|user| user.id().clone())
}

async fn next<T>(revocations: &mut Revocations<T>) -> Option<Revocation<T>> {
    let next = poll_fn(|cx| revocations.as_mut().poll_next(cx));
    timeout(PATIENCE, next).await.expect("this takes too long")
}

/// Runs a statement for which there is no method.
async fn by_hand<T>(users: &SqlUsers<T>, statement: &'static str) {
    let Store::Sqlite(store) = &users.store else { panic!("it is in memory") };
    sqlx::raw_sql(statement).execute(store.pool()).await.unwrap();
}

async fn are_told_apart<T: UserId + Display + FromStr>(one: T, other: T) {
    let users = users().await;
    let (of_one, _) = users.issue(&one).await.unwrap();
    let (of_other, _) = users.issue(&other).await.unwrap();
    assert_eq!(whose(&users, &of_one).await, Some(one.clone()));
    assert_eq!(whose(&users, &of_other).await, Some(other.clone()));
    assert_eq!(users.revoke_user(&one).await.unwrap(), 1);
    assert_eq!(whose(&users, &of_one).await, None);
    assert_eq!(whose(&users, &of_other).await, Some(other));
}

#[tokio::test]
async fn zero_the_empty_string_and_the_nil_uuid_are_users_like_any_other() {
    are_told_apart(0_i32, -1).await;
    are_told_apart(0_i64, i64::MIN).await;
    are_told_apart(String::new(), " ".to_owned()).await;
    are_told_apart("é'; DROP TABLE users; --".to_owned(), "E'".to_owned()).await;
    are_told_apart(Uuid::nil(), Uuid::max()).await;
}

#[tokio::test]
async fn tokens_are_long_differ_and_fit_every_placement() {
    let users = users::<i64>().await;
    let mut seen = HashSet::new();
    for _ in 0..20 {
        let (token, _) = users.issue(&7).await.unwrap();
        assert_eq!(token.expose().len(), 43, "256 bits in base64");
        assert!(token.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert!(seen.insert(token.expose().to_owned()));
    }
}

#[tokio::test]
async fn what_is_no_token_of_ours_is_nobodys() {
    let users = users::<i64>().await;
    let (token, _) = users.issue(&7).await.unwrap();
    let token = token.expose();
    for other in [
        String::new(),
        token.to_lowercase() + " ",
        format!(" {token}"),
        token[1..].to_owned(),
        "é\0".repeat(9999),
    ] {
        assert_eq!(whose(&users, &Token::new(other.clone())).await, None, "{other:.50}");
    }
    assert!(ask(&users, &Credentials::default()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_server_learns_the_credential_the_expiry_and_the_scopes() {
    let users = users::<i64>().await;
    let later = Utc::now() + TimeDelta::hours(1);
    let (token, info) = users.issue(&7).scopes(["read", "write:é"]).expires_at(later).await.unwrap();
    let user = ask(&users, &Credentials::of_token(token)).await.unwrap().unwrap();
    assert_eq!(user.credential_id(), Some(&*info.credential));
    assert_eq!(user.expiry(), Some(storable(later)));
    assert!(user.has_scope("read") && user.has_scope("write:é") && !user.has_scope("write"));
}

#[tokio::test]
async fn a_token_is_good_until_it_expires() {
    let users = users::<i64>().await;
    let (expired, _) = users.issue(&7).expires_at(Utc::now()).await.unwrap();
    let (good, info) = users.issue(&7).expires_at(Utc::now() + TimeDelta::hours(1)).await.unwrap();
    let (ancient, _) = users.issue(&7).expires_at(DateTime::<Utc>::MIN_UTC).await.unwrap();
    assert_eq!(whose(&users, &expired).await, None);
    assert_eq!(whose(&users, &ancient).await, None);
    assert_eq!(whose(&users, &good).await, Some(7));
    let end = info.expires_at.unwrap();
    assert!(info.is_good_at(end - TimeDelta::microseconds(1)) && !info.is_good_at(end));
}

#[tokio::test]
async fn a_scope_is_one_word() {
    let users = users::<i64>().await;
    for bad in ["", "two words", "tab\there", "line\n", "nul\0", "wide\u{3000}blank"] {
        let refused = users.issue(&7).scopes(["good", bad]).await;
        assert!(matches!(refused, Err(SqlUsersError::Scope(scope)) if scope == bad), "{bad:?}");
    }
    assert!(users.is_empty().await.unwrap());
}

#[tokio::test]
async fn a_credential_that_is_no_number_is_not_there_to_be_revoked() {
    let users = users::<i64>().await;
    let (token, _) = users.issue(&7).await.unwrap();
    for credential in ["", "0", "-1", "1 ", "one", "99999999999999999999", "1 OR 1=1"] {
        assert!(!users.revoke(credential).await.unwrap(), "{credential:?}");
    }
    assert_eq!(whose(&users, &token).await, Some(7));
}

#[tokio::test]
async fn a_use_is_noted_once_a_minute() {
    let users = users::<i64>().await;
    let (token, _) = users.issue(&7).await.unwrap();
    let last_used = async || users.list().await.unwrap()[0].last_used_at;
    let before = storable(Utc::now());
    assert_eq!(whose(&users, &token).await, Some(7));
    let first = last_used().await.unwrap();
    assert!(before <= first && first <= Utc::now());
    assert_eq!(whose(&users, &token).await, Some(7));
    assert_eq!(last_used().await, Some(first));
    by_hand(&users, "UPDATE websockets_simple_tokens SET last_used_at = '2001-02-03T04:05:06+00:00'").await;
    assert_eq!(whose(&users, &token).await, Some(7));
    assert!(last_used().await.unwrap() >= first);
}

#[tokio::test]
async fn a_use_that_cannot_be_noted_is_still_allowed() {
    let users = users::<i64>().await;
    let (token, _) = users.issue(&7).await.unwrap();
    by_hand(
        &users,
        "CREATE TRIGGER no_notes BEFORE UPDATE OF last_used_at ON websockets_simple_tokens \
         BEGIN SELECT RAISE(ABORT, 'no notes'); END",
    )
    .await;
    assert_eq!(whose(&users, &token).await, Some(7));
    assert_eq!(users.list().await.unwrap()[0].last_used_at, None);
}

#[tokio::test]
async fn a_user_id_of_another_type_is_an_error_and_nobody() {
    let users = users::<i64>().await;
    let (token, _) = users.issue(&7).await.unwrap();
    by_hand(&users, "UPDATE websockets_simple_tokens SET user_id = 'ronald'").await;
    let error = ask(&users, &Credentials::of_token(token)).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "invalid user id in the store: \"ronald\"");
    assert!(matches!(users.list().await, Err(SqlUsersError::Id(_))));
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_left_alone() {
    let store = Store::Sqlite(SqliteStore::in_memory().await.unwrap());
    let users = SqlUsers::<i64>::over(store.clone()).await.unwrap();
    by_hand(&users, "INSERT INTO websockets_simple_schema VALUES (99)").await;
    let refused = SqlUsers::<i64>::over(store).await.unwrap_err();
    assert_eq!(refused.to_string(), "the store has version 99, but the newest supported version is 1");
}

#[tokio::test]
async fn revocations_are_told_once_each_in_order_and_end_with_the_store() {
    let users = users::<i64>().await;
    let mut issued = Vec::new();
    for _ in 0..600 {
        issued.push(users.issue(&7).await.unwrap().1.credential);
    }
    let mut revocations = users.revocations().unwrap();
    assert!(users.revoke(&issued[599]).await.unwrap());
    assert!(!users.revoke(&issued[599]).await.unwrap());
    assert_eq!(next(&mut revocations).await, Some(Revocation::Credential(issued.pop().unwrap())));
    assert_eq!(users.revoke_user(&7).await.unwrap(), 599, "more than are read at once");
    for credential in issued {
        assert_eq!(next(&mut revocations).await, Some(Revocation::Credential(credential)));
    }
    users.close().await;
    assert_eq!(next(&mut revocations).await, None);
    assert_eq!(next(&mut revocations).await, None, "it stays ended");
}

#[tokio::test]
async fn a_stream_tells_what_is_revoked_before_it_is_polled_and_not_what_another_has_told() {
    let users = users::<i64>().await;
    let mut credentials = Vec::new();
    for _ in 0..3 {
        credentials.push(users.issue(&7).await.unwrap().1.credential);
    }
    let mut early = users.revocations().unwrap();
    users.revoke(&credentials[0]).await.unwrap();
    assert_eq!(next(&mut early).await, Some(Revocation::Credential(credentials[0].clone())));
    let mut late = users.revocations().unwrap();
    users.revoke(&credentials[1]).await.unwrap();
    for stream in [&mut early, &mut late] {
        assert_eq!(next(stream).await, Some(Revocation::Credential(credentials[1].clone())));
    }
}

#[tokio::test]
async fn a_revocation_by_hand_is_told_too() {
    let users = users::<i64>().await;
    let (token, info) = users.issue(&7).await.unwrap();
    let mut revocations = users.revocations().unwrap();
    by_hand(&users, "UPDATE websockets_simple_tokens SET revoked_at = datetime('now')").await;
    assert_eq!(next(&mut revocations).await, Some(Revocation::Credential(info.credential)));
    assert_eq!(whose(&users, &token).await, None);
    by_hand(&users, "UPDATE websockets_simple_tokens SET revoked_at = 'garbage'").await;
    assert!(ask(&users, &Credentials::of_token(token)).await.is_err(), "what cannot be read is not good");
}

#[tokio::test]
async fn what_is_in_memory_outlives_whatever_is_given_up() {
    let users = users::<i64>().await;
    let (token, _) = users.issue(&7).await.unwrap();
    let credentials = Credentials::of_token(token.clone());
    for polls in 0..10 {
        given_up_after(polls, ask(&users, &credentials)).await;
        given_up_after(polls, users.issue(&8).into_future()).await;
        given_up_after(polls, users.first_invites(&[9])).await;
        given_up_after(polls, users.revoke_user(&8)).await;
        let mut revocations = users.revocations().unwrap();
        users.issue(&8).await.unwrap();
        users.revoke_user(&8).await.unwrap();
        given_up_after(polls, next(&mut revocations)).await;
        drop(revocations);
        assert_eq!(whose(&users, &token).await, Some(7));
    }
    assert!(users.list_of(&9).await.unwrap().is_empty());
}

async fn given_up_after(polls: u32, something: impl Future) {
    let mut something = pin!(something);
    let mut polled = 0;
    poll_fn(|cx| {
        polled += 1;
        if polled > polls { Poll::Ready(()) } else { something.as_mut().poll(cx).map(|_| ()) }
    })
    .await;
}

#[tokio::test]
async fn neither_tokens_nor_hashes_are_shown() {
    let users = users::<i64>().await;
    assert_eq!(format!("{users:?}"), "SqlUsers { store: \"SQLite\", .. }");
    let issue = users.issue(&7).label("phone").scopes(["read"]);
    assert_eq!(
        format!("{issue:?}"),
        "IssueToken { user: 7, label: \"phone\", scopes: [\"read\"], expires_at: None, .. }"
    );
}
