//! The number of files that a process may open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of this process and of those that it starts, beyond the hard one if it may.
pub(crate) fn raise(files: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= files) {
        return;
    }
    let maximum = maximum.map(|maximum| maximum.max(files));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum });
    assert!(
        raised.is_ok(),
        "server and clients need {files} open files each: run it as root, or after `ulimit -Hn {files}` by root"
    );
}
