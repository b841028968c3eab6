//! Users in SQLite files and in a real PostgreSQL, over several processes.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    fs,
    future::poll_fn,
    net::SocketAddr,
    path::PathBuf,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::{process::Command, time::sleep};
use websockets_simple_server::{
    Authenticated, CloseCode, Credentials, HandshakeRequest, RequestHead, Revocation, Revocations,
    ServerParams, SqlUsers, SqlUsersError, Token, UserService, UserServiceError, WebsocketServerAuth,
};
use websockets_simple_tests::{connected, ended, opened, params, postgres, started, within};

/// Where users are kept.
enum Place {
    File(TempDir),
    Postgres(String),
}

impl Place {
    async fn postgres() -> Self {
        Self::Postgres(postgres::database().await)
    }

    fn file() -> Self {
        Self::File(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        let Self::File(folder) = self else { panic!("it is no file") };
        folder.path().join("a file?of#users%20.db")
    }

    /// As another process is told.
    fn name(&self) -> String {
        match self {
            Self::File(_) => self.path().to_str().unwrap().to_owned(),
            Self::Postgres(url) => url.clone(),
        }
    }

    async fn open(&self) -> Result<SqlUsers<i64>, SqlUsersError> {
        match self {
            Self::File(_) => SqlUsers::sqlite(self.path()).await,
            Self::Postgres(url) => SqlUsers::postgres(url).await,
        }
    }

    async fn users(&self) -> SqlUsers<i64> {
        within(self.open()).await.unwrap()
    }

    /// Does to the database what no method does.
    async fn by_hand(&self, statements: &'static str) {
        match self {
            Self::File(_) => {
                sqlx::raw_sql(statements).execute(&mut self.connection().await).await.unwrap();
            }
            Self::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
            }
        }
    }

    async fn connection(&self) -> SqliteConnection {
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(self.path())).await.unwrap()
    }

    /// What a process of its own does to these users.
    async fn elsewhere(&self, arguments: &[&str]) -> String {
        let mut program = Command::new(env!("CARGO_BIN_EXE_sql-users"));
        program.arg(self.name()).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let Output { status, stdout, stderr } = within(program.output()).await.unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap().trim_end().to_owned()
    }
}

async fn ask(users: &SqlUsers<i64>, token: &Token) -> Result<Option<Authenticated<i64>>, UserServiceError> {
    let head = RequestHead::new("/", "", &Default::default());
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    let credentials = Credentials::of_token(token.clone());
    within(users.authenticate(&credentials, &HandshakeRequest::new(&head, addr, addr))).await
}

async fn whose(users: &SqlUsers<i64>, token: &Token) -> Option<i64> {
    ask(users, token).await.unwrap().map(|user| *user.id())
}

async fn next(revocations: &mut Revocations<i64>) -> Option<String> {
    match within(poll_fn(|cx| revocations.as_mut().poll_next(cx))).await? {
        Revocation::Credential(credential) => Some(credential),
        other => panic!("{other:?}"),
    }
}

/// Each of these, in both stores.
macro_rules! in_both {
    ($($test:ident)*) => {
        mod in_a_file { $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $test() {
            super::$test(super::Place::file()).await;
        })* }
        mod in_postgres { $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $test() {
            super::$test(super::Place::postgres().await).await;
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
        assert!(
            shown.contains("the store of the users failed") && !shown.contains(token.expose()),
            "{shown}"
        );
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
    let random = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, token.expose()).unwrap();
    assert!(!has(token.expose().as_bytes()) && !has(&token.expose().as_bytes()[..16]) && !has(&random));
}

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

fn sha256(token: &Token) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(token.expose()).into()
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
    for bad in ["", "postgres", "mysql://localhost/", "postgres://nobody:s3cret@127.0.0.1:1/?sslmode=perhaps"]
    {
        let refused = within(SqlUsers::<i64>::postgres(bad)).await.unwrap_err();
        assert!(!format!("{refused:?}").contains("s3cret"), "{refused:?}");
    }
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
