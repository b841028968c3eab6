//! What the `openssl` command makes, and what it says of a server.

use std::{
    ffi::OsStr,
    net::SocketAddr,
    path::Path,
    process::{Command, Output, Stdio},
};

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
