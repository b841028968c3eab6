//! What the `openssl` command makes, and what it says of a server.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::authority::Issued;

/// How an archive is encrypted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pfx {
    /// AES-256 and HMAC-SHA-256, as OpenSSL 3 does by itself.
    Aes,
    /// RC2 and 3DES, as older programs do.
    Legacy,
    /// 3DES throughout.
    TripleDes,
}

/// A PKCS#12 archive of a certificate, its key and its authority.
///
/// # Panics
///
/// When `openssl` is missing or fails.
#[must_use]
pub fn pfx(issued: &Issued, authority: &str, kind: Pfx, password: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, contents: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, contents).expect("it can be written");
        path
    };
    let (chain, key) = (file("chain.pem", &issued.chain), file("key.pem", &issued.key));
    let authority = file("authority.pem", authority);
    // Not on the command line, where its encoding would be the terminal's.
    let secret = file("password", &format!("{password}\n"));
    let archive = folder.path().join("archive.pfx");
    let mut command = openssl(["pkcs12", "-export", "-in"]);
    command.arg(chain).arg("-inkey").arg(key).arg("-certfile").arg(authority).arg("-out").arg(&archive);
    command.arg("-passout").arg(format!("file:{}", secret.display()));
    match kind {
        Pfx::Aes => {}
        Pfx::Legacy => {
            command.arg("-legacy");
        }
        Pfx::TripleDes => {
            command.args(["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"]);
        }
    }
    let output = command.output().expect(INSTALL);
    assert!(output.status.success(), "{}", said(&output));
    std::fs::read(archive).expect("it was written")
}

/// What `openssl s_client` says of a server on this machine that calls itself `localhost`.
///
/// # Panics
///
/// When `openssl` is missing.
pub async fn s_client(addr: SocketAddr, authority: &str, flags: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("authority.pem");
    std::fs::write(&path, authority).expect("it can be written");
    let mut command = client(addr, &path);
    command.args(flags);
    let output = tokio::task::spawn_blocking(move || command.output().expect(INSTALL)).await;
    said(&output.expect("it does not panic"))
}

/// `openssl s_server` on a free port of this machine, until it is dropped.
#[derive(Debug)]
pub struct SServer {
    process: Child,
    /// Its port.
    pub port: u16,
    _folder: TempDir,
}

impl SServer {
    /// Starts one with this certificate, which asks clients for certificates of this authority if a flag says so.
    ///
    /// # Panics
    ///
    /// When `openssl` is missing or does not start.
    #[must_use]
    pub fn start(issued: &Issued, authority: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, contents: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, contents).expect("it can be written");
            path
        };
        let mut command = openssl(["s_server", "-accept", "127.0.0.1:0", "-cert"]);
        command.arg(file("chain.pem", &issued.chain)).arg("-key").arg(file("key.pem", &issued.key));
        command.arg("-CAfile").arg(file("authority.pem", authority)).args(flags);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect(INSTALL);
        let said = BufReader::new(process.stdout.as_mut().expect("it was asked for"));
        let port = said
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("ACCEPT ")?.rsplit_once(':')?.1.trim().parse().ok());
        Self { process, port: port.expect("it says where it listens"), _folder: folder }
    }
}

impl Drop for SServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn client(addr: SocketAddr, authority: &Path) -> Command {
    let mut command =
        openssl(["s_client", "-servername", "localhost", "-connect", &addr.to_string(), "-CAfile"]);
    command.arg(authority).stdin(Stdio::null());
    command
}

fn openssl<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new("openssl");
    command.args(arguments);
    command
}

const INSTALL: &str = "this needs openssl: apt-get install openssl";

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
