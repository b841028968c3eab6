//! The number of files that a process may open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of this process and of those that it starts, beyond the hard one if it may.
pub(crate) fn raise(files: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= files) {
        return;
    }
    let raised = Rlimit { current: Some(files), maximum: maximum.map(|maximum| maximum.max(files)) };
    if setrlimit(Resource::Nofile, raised).is_err() {
        let maximum = maximum.unwrap_or(files);
        panic!(
            "server and clients need {files} open files each, and may have {maximum}: start this with a higher \
             `ulimit -Hn`, which CAP_SYS_RESOURCE is needed for, or with fewer CROWD_CONNECTIONS"
        );
    }
}
