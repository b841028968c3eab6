//! A PostgreSQL of this process's own: on a Unix socket in a temporary folder, gone with the process.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::within;

/// The URL of a new, empty database. The server is started by the first who asks.
///
/// # Panics
///
/// When PostgreSQL is missing or does not start.
pub async fn database() -> String {
    static CREATED: AtomicU32 = AtomicU32::new(0);
    let name = format!("d{}", CREATED.fetch_add(1, Ordering::Relaxed));
    let mut superuser = within(PgConnection::connect(&url("postgres"))).await.expect("it has started");
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut superuser)
        .await
        .expect("a database");
    url(&name)
}

/// The URL of a database by its name.
///
/// # Panics
///
/// When PostgreSQL is missing or does not start.
#[must_use]
pub fn url(database: &str) -> String {
    let folder = SERVER.get_or_init(Server::start).folder.display();
    format!("postgres://postgres@localhost/{database}?host={folder}")
}

static SERVER: OnceLock<Server> = OnceLock::new();

struct Server {
    folder: PathBuf,
    /// The server lives for as long as the pipe to this shell is open: until this process ends, however it does.
    _keeper: Child,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("postgres-").tempdir().expect("a folder").keep();
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(KEEP).arg("sh").arg(programs()).current_dir(&folder);
        // A signal from the terminal is for the tests; the server is to see their end only.
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        if fs::metadata(&folder).expect("it was made").uid() == 0 {
            // PostgreSQL does not run as root.
            chown(&folder, Some(NOBODY), Some(NOBODY)).expect("root may do so");
            shell.uid(NOBODY).gid(NOBODY);
        }
        let mut keeper = shell.spawn().expect("a shell");
        let mut told = String::new();
        let said = keeper.stdout.as_mut().expect("a pipe");
        BufReader::new(said).read_line(&mut told).expect("it says something");
        assert_eq!(told, "ready\n", "PostgreSQL does not start, see {}", folder.display());
        Self { folder, _keeper: keeper }
    }
}

/// The folder of PostgreSQL's programs, which Debian keeps out of the path.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.extend(std::env::split_paths(&path));
    let found = folders.into_iter().rev().find(|folder| has_initdb(folder));
    found.expect("PostgreSQL is missing: sudo apt-get install postgresql")
}

fn has_initdb(folder: &Path) -> bool {
    folder.join("initdb").exists()
}

const NOBODY: u32 = 65534;

/// Makes a database, serves it until the standard input ends, and removes it.
const KEEP: &str = r#"
"$1/initdb" -D data --auth=trust --username=postgres --encoding=UTF8 --no-sync >initdb.log 2>&1 || exit 1
options="-k '$PWD' -c listen_addresses= -c fsync=off -c max_connections=200"
"$1/pg_ctl" -D data -l postgres.log -o "$options" -w -t 20 start >pg_ctl.log 2>&1 || exit 1
echo ready
cat >/dev/null
"$1/pg_ctl" -D data -m immediate stop >>pg_ctl.log 2>&1
rm -rf "$PWD"
"#;
