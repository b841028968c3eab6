//! Bun, whose server is `bun.ts` beside this file.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};

use crate::servers::{Setup, identity};

/// As it was when the tables were taken.
const PACKAGE: &str = "bun@1.4.5";

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/servers/bun.ts");

/// Becomes Bun: the process whose CPU time is measured is this one.
pub(super) fn serve(setup: Setup) -> anyhow::Result<()> {
    let mut bun = Command::new(find().with_context(missing)?);
    bun.arg(SCRIPT);
    if setup.needs.tls {
        let identity = identity()?;
        bun.env("BENCH_CERTIFICATE", identity.certificate).env("BENCH_KEY", identity.key);
    }
    if setup.needs.deflate {
        bun.env("BENCH_DEFLATE", "1");
    }
    Err(bun.exec()).context("starting Bun")
}

/// Where Bun is: on the path, or where [`installed`] puts it.
pub fn find() -> Option<PathBuf> {
    on_path("bun").or_else(|| Some(folder()?.join("node_modules/.bin/bun")).filter(|bun| bun.is_file()))
}

/// Finds Bun, or installs it into the target folder.
pub fn installed() -> anyhow::Result<()> {
    if find().is_some() {
        return Ok(());
    }
    let Some(npm) = on_path("npm") else { bail!("npm is not here either; {}", missing()) };
    eprintln!("{}", missing());
    let mut install = Command::new(npm);
    install.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(folder().context("no folder")?);
    let status = install.arg(PACKAGE).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    ensure!(status.success() && find().is_some(), "npm did not install it; {}", missing());
    Ok(())
}

/// What to do about it.
pub fn missing() -> String {
    let folder = folder().unwrap_or_default();
    format!("Bun is not on the path; this installs it: npm install --prefix {} {PACKAGE}", folder.display())
}

/// `bun` in the target folder.
fn folder() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    Some(program.parent().and_then(Path::parent)?.join("bun"))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
