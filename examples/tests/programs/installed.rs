//! Packages of other languages, installed by name and kept under the target folder.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{process::Command, sync::OnceCell};

/// What the Python scripts import.
const PYTHON_PACKAGES: [&str; 4] =
    ["websockets==17.4", "websocket-client==1.9.2", "aiohttp==3.14.5", "prometheus_client==0.26.0"];

/// What the Node scripts require, the compiler that checks declarations, and what Pode's page is written with.
const NODE_PACKAGES: [&str; 4] = ["ws@8.23.0", "undici@6.29.1", "typescript@7.0.2", "jquery@3.4.1"];

const DEBIAN: &str = "apt-get install python3 python3-venv nodejs npm";

/// The Python of an environment that has the packages.
pub(crate) async fn python() -> &'static Path {
    static PYTHON: OnceCell<PathBuf> = OnceCell::const_new();
    PYTHON
        .get_or_init(|| async {
            let home = installed("python", &PYTHON_PACKAGES, async |home| {
                run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(home)).await;
                let python = home.join("bin/python");
                let quiet = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
                run(Command::new(python).args(quiet).args(PYTHON_PACKAGES)).await;
            });
            home.await.join("bin/python")
        })
        .await
}

/// Node, which finds its packages.
pub(crate) async fn node() -> Command {
    let mut node = Command::new("node");
    node.env("NODE_PATH", node_modules().await);
    node
}

/// The folder that holds the packages of Node.
pub(crate) async fn node_modules() -> &'static Path {
    static NODE_MODULES: OnceCell<PathBuf> = OnceCell::const_new();
    NODE_MODULES
        .get_or_init(|| async {
            let home = installed("node", &NODE_PACKAGES, async |home| {
                let quiet =
                    ["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"];
                run(Command::new("npm").args(quiet).arg(home).args(NODE_PACKAGES)).await;
            });
            home.await.join("node_modules")
        })
        .await
}

/// A folder under the target folder into which the packages were installed, in this run or in an earlier one.
async fn installed(language: &str, packages: &[&str], install: impl AsyncFnOnce(&Path)) -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("other-clients").join(language);
    let (list, packages) = (home.join("installed.txt"), packages.join("\n"));
    if std::fs::read_to_string(&list).is_ok_and(|installed| installed == packages) {
        return home;
    }
    let _ = std::fs::remove_dir_all(&home);
    std::fs::create_dir_all(&home).unwrap();
    install(&home).await;
    // Last, so that what was cut short is begun anew.
    std::fs::write(list, packages).unwrap();
    home
}

/// Runs a program of the system to its end.
pub(crate) async fn run(command: &mut Command) {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}. Please install it: {DEBIAN}"));
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} failed: {said}{complaint}\nIf something is missing: {DEBIAN}");
}
