//! What only PostgreSQL does.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tokio::time::sleep;
use websockets_simple_server::{Revocations, SqlUsers, UserService};
use websockets_simple_tests::{postgres, within};

use crate::place::{Place, ask, next, sha256, whose};

#[tokio::test]
async fn postgres_has_the_hash_of_a_token_and_not_the_token() {
    let place = Place::postgres().await;
    let users = place.users().await;
    let (token, _) = users.issue(&7).label("findable").await.unwrap();
    assert_eq!(whose(&users, &token).await, Some(7));
    let mut connection = PgConnection::connect(&place.name()).await.unwrap();
    let row = sqlx::query("SELECT t::text FROM websockets_simple_tokens t").fetch_one(&mut connection).await;
    let row: String = row.unwrap().get(0);
    let hash: String = sha256(&token).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(row.contains("findable") && row.contains(&hash), "{row}");
    assert!(!row.contains(token.expose()), "{row}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_is_cut_off_comes_back_and_has_missed_nothing() {
    let place = Place::postgres().await;
    let users = place.users().await;
    let (_, first) = users.issue(&7).await.unwrap();
    let (_, second) = users.issue(&7).await.unwrap();
    let mut revocations = users.revocations().unwrap();
    until_it_listens(&place, &mut revocations).await;
    // While nobody polls: the notification goes to nobody.
    place.by_hand(CUT_OFF).await;
    assert!(users.revoke(&first.credential).await.unwrap());
    assert_eq!(next(&mut revocations).await, Some(first.credential));
    until_it_listens(&place, &mut revocations).await;
    assert_eq!(place.elsewhere(&["revoke", &second.credential]).await, "true");
    assert_eq!(next(&mut revocations).await, Some(second.credential));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_away_nobody_is_admitted_or_turned_away() {
    let place = Place::postgres().await;
    let users = place.users().await;
    let (token, info) = users.issue(&7).await.unwrap();
    let mut revocations = users.revocations().unwrap();
    until_it_listens(&place, &mut revocations).await;
    let Place::Postgres(url) = &place else { unreachable!() };
    let mut superuser = PgConnection::connect(&postgres::url("postgres")).await.unwrap();
    let name: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&mut PgConnection::connect(url).await.unwrap())
        .await
        .unwrap();
    let mut say = async |statement: String| {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut superuser).await.unwrap();
    };
    say(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
    say(format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")).await;
    let told = tokio::spawn(async move { next(&mut revocations).await });
    for _ in 0..3 {
        assert!(ask(&users, &token).await.is_err());
    }
    assert!(!told.is_finished(), "it goes on trying");
    say(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    assert_eq!(whose(&users, &token).await, Some(7));
    assert!(users.revoke(&info.credential).await.unwrap());
    assert_eq!(within(told).await.unwrap(), Some(info.credential));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_revoke_the_same_tokens_in_other_orders_do_not_wait_for_each_other() {
    let place = Place::postgres().await;
    let users = place.users().await;
    let (_, first) = users.issue(&7).await.unwrap();
    let (_, second) = users.issue(&7).await.unwrap();
    let mut revocations = users.revocations().unwrap();
    let mut connection = PgConnection::connect(&place.name()).await.unwrap();
    let mut by_hand = connection.begin().await.unwrap();
    let mut revoke_by_hand = async |credential: &str| {
        let revoke = "UPDATE websockets_simple_tokens SET revoked_at = now() WHERE id = $1";
        let id: i64 = credential.parse().unwrap();
        within(sqlx::query(revoke).bind(id).execute(&mut *by_hand)).await.unwrap();
    };
    revoke_by_hand(&second.credential).await;
    let all = tokio::spawn({
        let users = users.clone();
        async move { users.revoke_user(&7).await }
    });
    let mut watching = PgConnection::connect(&place.name()).await.unwrap();
    within(async {
        while !sqlx::query_scalar::<_, bool>(WAITS).fetch_one(&mut watching).await.unwrap() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    revoke_by_hand(&first.credential).await;
    by_hand.commit().await.unwrap();
    assert_eq!(within(all).await.unwrap().unwrap(), 0, "they were revoked before it came to them");
    assert_eq!(next(&mut revocations).await, Some(second.credential), "in the order of revocation");
    assert_eq!(next(&mut revocations).await, Some(first.credential));
}

#[tokio::test]
async fn a_role_that_may_not_make_tables_can_use_them() {
    let place = Place::postgres().await;
    let owner = place.users().await;
    let (token, info) = owner.issue(&7).await.unwrap();
    place
        .by_hand(
            "CREATE ROLE modest LOGIN; \
             GRANT SELECT ON websockets_simple_schema TO modest; \
             GRANT SELECT, UPDATE ON websockets_simple_revocations TO modest; \
             GRANT SELECT, INSERT, UPDATE ON websockets_simple_tokens TO modest",
        )
        .await;
    let url = place.name().replace("postgres@", "modest@");
    let modest = SqlUsers::<i64>::postgres(&url).await.unwrap();
    assert_eq!(whose(&modest, &token).await, Some(7));
    assert!(modest.list().await.unwrap()[0].last_used_at.is_some());
    assert!(modest.issue(&8).await.is_ok());
    let mut revocations = modest.revocations().unwrap();
    assert!(modest.revoke(&info.credential).await.unwrap());
    assert_eq!(next(&mut revocations).await, Some(info.credential));
}

#[tokio::test]
async fn what_is_no_url_or_leads_nowhere_is_refused_without_its_password() {
    for bad in ["", "postgres", "mysql://localhost/", "postgres://nobody:s3cret@127.0.0.1:1/?sslmode=perhaps"]
    {
        let refused = within(SqlUsers::<i64>::postgres(bad)).await.unwrap_err();
        assert!(!format!("{refused:?}").contains("s3cret"), "{refused:?}");
    }
}

/// Polls until the listener waits for a notification, and not further.
async fn until_it_listens(place: &Place, revocations: &mut Revocations<i64>) {
    let mut connection = PgConnection::connect(&place.name()).await.unwrap();
    let listens = async {
        while !sqlx::query_scalar::<_, bool>(LISTENS).fetch_one(&mut connection).await.unwrap() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        told = next(revocations) => panic!("{told:?} was not revoked"),
        () = within(listens) => {}
    }
}

const LISTENS: &str = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() \
     AND state = 'idle' AND query LIKE 'SELECT revocation%')";

const CUT_OFF: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
     WHERE datname = current_database() AND query LIKE 'SELECT revocation%'";

const WAITS: &str = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() \
     AND wait_event_type = 'Lock')";
