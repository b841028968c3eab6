//! Where the users of a test are, and what is asked of them.

use std::{
    future::poll_fn,
    net::SocketAddr,
    path::PathBuf,
    process::{Output, Stdio},
};

use sqlx::{Connection, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::process::Command;
use websockets_simple_server::{
    Authenticated, Credentials, HandshakeRequest, RequestHead, Revocation, Revocations, SqlUsers,
    SqlUsersError, Token, UserService, UserServiceError,
};
use websockets_simple_tests::{postgres, within};

/// Where users are kept.
pub(crate) enum Place {
    File(TempDir),
    Postgres(String),
}

impl Place {
    pub(crate) async fn postgres() -> Self {
        Self::Postgres(postgres::database().await)
    }

    pub(crate) fn file() -> Self {
        Self::File(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        let Self::File(folder) = self else { panic!("it is no file") };
        folder.path().join("a file?of#users%20.db")
    }

    /// As another process is told.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File(_) => self.path().to_str().unwrap().to_owned(),
            Self::Postgres(url) => url.clone(),
        }
    }

    pub(crate) async fn open(&self) -> Result<SqlUsers<i64>, SqlUsersError> {
        match self {
            Self::File(_) => SqlUsers::sqlite(self.path()).await,
            Self::Postgres(url) => SqlUsers::postgres(url).await,
        }
    }

    pub(crate) async fn users(&self) -> SqlUsers<i64> {
        within(self.open()).await.unwrap()
    }

    /// Does to the database what no method does.
    pub(crate) async fn by_hand(&self, statements: &'static str) {
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

    pub(crate) async fn connection(&self) -> SqliteConnection {
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(self.path())).await.unwrap()
    }

    /// What a process of its own does to these users.
    pub(crate) async fn elsewhere(&self, arguments: &[&str]) -> String {
        let mut program = Command::new(env!("CARGO_BIN_EXE_sql-users"));
        program.arg(self.name()).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let Output { status, stdout, stderr } = within(program.output()).await.unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap().trim_end().to_owned()
    }
}

pub(crate) async fn ask(
    users: &SqlUsers<i64>,
    token: &Token,
) -> Result<Option<Authenticated<i64>>, UserServiceError> {
    let head = RequestHead::new("/", "", &Default::default());
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    let credentials = Credentials::of_token(token.clone());
    within(users.authenticate(&credentials, &HandshakeRequest::new(&head, addr, addr))).await
}

pub(crate) async fn whose(users: &SqlUsers<i64>, token: &Token) -> Option<i64> {
    ask(users, token).await.unwrap().map(|user| *user.id())
}

pub(crate) async fn next(revocations: &mut Revocations<i64>) -> Option<String> {
    match within(poll_fn(|cx| revocations.as_mut().poll_next(cx))).await? {
        Revocation::Credential(credential) => Some(credential),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn sha256(token: &Token) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(token.expose()).into()
}
