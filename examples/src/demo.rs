//! What the program `cluster` starts: a bus, servers, one address for them, and people.

mod bus;
mod line;
mod nodes;
mod person;

pub use bus::{BusServer, keep as keep_bus};
pub use line::Line;
pub use nodes::Nodes;
pub use person::Person;

use std::{error::Error, io, path::Path, time::Duration};

use tokio::process::{Child, Command};

/// How long anything of the demonstration may take.
const PATIENCE: Duration = Duration::from_secs(20);

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What is expected to come, within some time.
async fn within<T>(what: &str, coming: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let come = tokio::time::timeout(PATIENCE, coming).await;
    come.unwrap_or_else(|_| Err(format!("{what}: nothing in {} s", PATIENCE.as_secs()).into()))
}

/// Starts the program `cluster` as something else. It ends when this one does, as its standard input ends then.
fn start_beside(program: &Path, change: impl FnOnce(&mut Command) -> &mut Command) -> io::Result<Child> {
    let mut command = Command::new(program);
    change(&mut command).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn()
}
