//! What both stores do.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use websockets_simple_server::{
    CloseCode, ServerParams, SqlUsers, SqlUsersError, Token, UserService, WebsocketServerAuth,
};
use websockets_simple_tests::{connected, ended, opened, params, started, within};

use crate::place::{Place, ask, next, whose};

/// Each of these, in both stores.
macro_rules! in_both {
    ($($test:ident)*) => {
        mod in_a_file { $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $test() {
            super::$test(crate::place::Place::file()).await;
        })* }
        mod in_postgres { $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $test() {
            super::$test(crate::place::Place::postgres().await).await;
        })* }
    };
}

in_both! {
    tokens_are_issued_listed_and_revoked
    programs_that_start_at_once_make_the_tables_once
    programs_that_start_at_once_get_one_set_of_invites
    expired_and_revoked_tokens_are_refused_and_so_are_those_of_nobody
    a_use_is_noted_for_all_to_see
    a_store_that_fails_is_an_error_and_does_not_say_that_nobody_is_known
    a_revocation_by_another_process_is_told_within_a_second
    a_token_that_another_process_revokes_ends_its_connection
    revocations_by_many_at_once_are_told_once_each
    a_stream_ends_when_the_store_is_closed_even_if_nobody_polls_it
}

async fn tokens_are_issued_listed_and_revoked(place: Place) {
    let users = place.users().await;
    assert!(users.is_empty().await.unwrap());
    let later = Utc::now() + TimeDelta::hours(1);
    let (phone, of_phone) =
        users.issue(&7).label("phone é'").scopes(["read", "write"]).expires_at(later).await.unwrap();
    let (laptop, of_laptop) = users.issue(&7).await.unwrap();
    let (other, of_other) = users.issue(&-8).await.unwrap();
    assert!(!users.is_empty().await.unwrap());
    assert!(users.first_invites(&[1, 2]).await.unwrap().is_empty(), "it is not empty");
    assert_eq!(
        (&*of_phone.label, &of_phone.scopes[..]),
        ("phone é'", &["read".to_owned(), "write".to_owned()][..])
    );
    assert_eq!(users.list().await.unwrap(), [of_phone.clone(), of_laptop.clone(), of_other.clone()]);
    assert_eq!(users.list_of(&7).await.unwrap(), [of_phone.clone(), of_laptop]);
    assert_eq!(users.list_of(&9).await.unwrap(), []);

    let user = ask(&users, &phone).await.unwrap().unwrap();
    assert_eq!((*user.id(), user.credential_id()), (7, Some(&*of_phone.credential)));
    assert!(user.has_scope("read") && user.has_scope("write") && !user.has_scope("phone"));
    assert_eq!(user.expiry(), of_phone.expires_at);

    assert!(users.revoke(&of_phone.credential).await.unwrap());
    assert!(!users.revoke(&of_phone.credential).await.unwrap(), "it was revoked before");
    assert!(!users.revoke("4711").await.unwrap());
    assert_eq!(users.revoke_user(&7).await.unwrap(), 1, "one was left");
    assert_eq!(users.revoke_user(&7).await.unwrap(), 0);
    let revoked: Vec<bool> =
        users.list().await.unwrap().iter().map(|info| info.revoked_at.is_some()).collect();
    assert_eq!(revoked, [true, true, false]);

    users.close().await;
    let users = place.users().await;
    assert_eq!(whose(&users, &other).await, Some(-8), "it is still there");
    assert_eq!(whose(&users, &laptop).await, None, "and still revoked");
    users.revoke_user(&-8).await.unwrap();
    assert!(!users.is_empty().await.unwrap(), "revoked tokens are there");
    assert!(users.first_invites(&[1]).await.unwrap().is_empty(), "who revokes all wants no new ones");
}

async fn programs_that_start_at_once_make_the_tables_once(place: Place) {
    let (a, b, c, d, e, f, first, second, third) = tokio::join!(
        place.open(),
        place.open(),
        place.open(),
        place.open(),
        place.open(),
        place.open(),
        place.elsewhere(&["open"]),
        place.elsewhere(&["open"]),
        place.elsewhere(&["open"]),
    );
    assert_eq!(first + &second + &third, "");
    let (token, _) = a.unwrap().issue(&7).await.unwrap();
    for users in [b, c, d, e, f] {
        assert_eq!(whose(&users.unwrap(), &token).await, Some(7));
    }
    place.by_hand("INSERT INTO websockets_simple_schema VALUES (2)").await;
    let refused = place.open().await.unwrap_err();
    assert!(matches!(refused, SqlUsersError::Newer { found: 2, known: 1, .. }), "{refused:?}");
}

async fn programs_that_start_at_once_get_one_set_of_invites(place: Place) {
    let (one, two, three) = (place.users().await, place.users().await, place.users().await);
    let (a, b, c, d, e, f) = tokio::join!(
        one.first_invites(&[1, 2]),
        two.first_invites(&[1, 2]),
        three.first_invites(&[1, 2]),
        place.elsewhere(&["invite"]),
        place.elsewhere(&["invite"]),
        place.elsewhere(&["invite"]),
    );
    let mut invited = [d, e, f].map(|invites| invites.parse::<usize>().unwrap()).to_vec();
    for invites in [a, b, c] {
        let invites = invites.unwrap();
        for (token, info) in &invites {
            assert_eq!(whose(&one, token).await, Some(info.user));
        }
        invited.push(invites.len());
    }
    invited.sort_unstable();
    assert_eq!(invited, [0, 0, 0, 0, 0, 2]);
    let users: Vec<i64> = one.list().await.unwrap().iter().map(|info| info.user).collect();
    assert_eq!(users, [1, 2]);
}

async fn expired_and_revoked_tokens_are_refused_and_so_are_those_of_nobody(place: Place) {
    let users = place.users().await;
    let (expired, _) = users.issue(&7).expires_at(Utc::now()).await.unwrap();
    let (revoked, info) = users.issue(&7).await.unwrap();
    assert_eq!(whose(&users, &revoked).await, Some(7), "it is not revoked yet");
    assert_eq!(place.elsewhere(&["revoke", &info.credential]).await, "true");
    assert_eq!(place.elsewhere(&["revoke", &info.credential]).await, "false");
    for refused in
        [&expired, &revoked, &Token::new("'; --"), &Token::new(""), &Token::new("\0é".repeat(5000))]
    {
        assert_eq!(whose(&users, refused).await, None);
    }
    let (soon, _) = users.issue(&7).expires_at(Utc::now() + TimeDelta::milliseconds(300)).await.unwrap();
    assert_eq!(whose(&users, &soon).await, Some(7));
    within(async {
        while whose(&users, &soon).await.is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn a_use_is_noted_for_all_to_see(place: Place) {
    let (users, others) = (place.users().await, place.users().await);
    let (token, _) = users.issue(&7).await.unwrap();
    let before = Utc::now() - TimeDelta::milliseconds(1);
    assert_eq!(whose(&users, &token).await, Some(7));
    let noted = others.list().await.unwrap()[0].last_used_at.unwrap();
    assert!(before <= noted && noted <= Utc::now());
    assert_eq!(whose(&others, &token).await, Some(7));
    assert_eq!(users.list().await.unwrap()[0].last_used_at, Some(noted), "once a minute is enough");
    place.by_hand("UPDATE websockets_simple_tokens SET last_used_at = '2001-02-03 04:05:06+00:00'").await;
    assert_eq!(whose(&others, &token).await, Some(7));
    assert!(users.list().await.unwrap()[0].last_used_at.unwrap() >= noted);
}

async fn a_store_that_fails_is_an_error_and_does_not_say_that_nobody_is_known(place: Place) {
    let users = place.users().await;
    let (token, _) = users.issue(&7).await.unwrap();
    place.by_hand("ALTER TABLE websockets_simple_tokens RENAME TO elsewhere").await;
    for token in [&token, &Token::new("of nobody")] {
        let error = ask(&users, token).await.unwrap_err();
        let mut shown = format!("{error:?}");
        let mut next: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = next {
            shown += &error.to_string();
            next = error.source();
        }
        assert!(shown.contains("the user store failed") && !shown.contains(token.expose()), "{shown}");
    }
    assert!(matches!(users.list().await, Err(SqlUsersError::Store(_))));
    place.by_hand("ALTER TABLE elsewhere RENAME TO websockets_simple_tokens").await;
    assert_eq!(whose(&users, &token).await, Some(7));
    users.close().await;
    assert!(ask(&users, &token).await.is_err(), "it is closed");
}

async fn a_revocation_by_another_process_is_told_within_a_second(place: Place) {
    let users = place.users().await;
    for _ in 0..3 {
        let (_, info) = users.issue(&7).await.unwrap();
        let mut revocations = users.revocations().unwrap();
        let told = tokio::spawn(async move {
            let told = next(&mut revocations).await;
            (told, Instant::now())
        });
        assert_eq!(place.elsewhere(&["revoke", &info.credential]).await, "true");
        let revoked = Instant::now();
        let (told, when) = within(told).await.unwrap();
        assert_eq!(told, Some(info.credential));
        assert!(when.saturating_duration_since(revoked) < Duration::from_secs(1));
    }
}

async fn a_token_that_another_process_revokes_ends_its_connection(place: Place) {
    let users = place.users().await;
    let (token, info) = users.issue(&7).await.unwrap();
    let (other, _) = users.issue(&8).await.unwrap();
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), users.clone());
    let mut events = server.events();
    let addr = started(&server).await;
    let client = connected(params(addr).token(token)).await;
    opened(&mut events).await;
    let _stays = connected(params(addr).token(other)).await;
    opened(&mut events).await;
    assert_eq!(place.elsewhere(&["revoke", &info.credential]).await, "true");
    let revoked = Instant::now();
    let end = ended(&mut events).await;
    assert!(revoked.elapsed() < Duration::from_secs(1));
    assert_eq!(end.code, Some(CloseCode::REVOKED.get()), "{end:?}");
    assert!(server.is_user_connected(&8) && !server.is_user_connected(&7));
    within(client.disconnect()).await;
    within(server.stop()).await;
}

async fn revocations_by_many_at_once_are_told_once_each(place: Place) {
    let (one, two, three) = (place.users().await, place.users().await, place.users().await);
    let mut revocations = one.revocations().unwrap();
    let mut issued = Vec::new();
    for user in [7, 8, 7, 8, 7, 8, 7, 8, 7, 8, 7, 8] {
        issued.push(one.issue(&user).await.unwrap().1.credential);
    }
    // Each in another order than the other.
    let upwards = async |users: &SqlUsers<i64>| {
        let mut revoked = 0;
        for credential in &issued {
            revoked += u64::from(users.revoke(credential).await.unwrap());
        }
        revoked
    };
    let downwards = async |users: &SqlUsers<i64>| {
        let mut revoked = 0;
        for credential in issued.iter().rev() {
            revoked += u64::from(users.revoke(credential).await.unwrap());
        }
        revoked
    };
    let (a, b, c, d) = within(async {
        tokio::join!(upwards(&one), downwards(&two), three.revoke_user(&7), three.revoke_user(&8))
    })
    .await;
    assert_eq!(a + b + c.unwrap() + d.unwrap(), 12);
    let mut told = Vec::new();
    for _ in 0..12 {
        told.push(next(&mut revocations).await.unwrap());
    }
    one.close().await;
    assert_eq!(next(&mut revocations).await, None, "no more than these");
    told.sort_by_key(|credential| credential.parse::<i64>().unwrap());
    assert_eq!(told, issued);
}

async fn a_stream_ends_when_the_store_is_closed_even_if_nobody_polls_it(place: Place) {
    let users = place.users().await;
    let (_, info) = users.issue(&7).await.unwrap();
    let (mut polled, mut unpolled) = (users.revocations().unwrap(), users.revocations().unwrap());
    users.revoke(&info.credential).await.unwrap();
    assert!(next(&mut polled).await.is_some());
    within(users.close()).await;
    assert_eq!(next(&mut polled).await, None);
    assert_eq!(next(&mut unpolled).await, None);
}
