//! What the measurements ask of the operating system: cores, CPU time, waiting, memory, file descriptors.

use std::{fs, time::Duration};

use anyhow::Context;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::Pid,
};

/// The core a process runs on.
pub struct Core;

impl Core {
    /// Keeps this process on one core, where the system lets it.
    pub fn pin(core: Option<usize>) -> anyhow::Result<()> {
        let Some(core) = core else { return Ok(()) };
        let mut set = CpuSet::new();
        set.set(core)?;
        // Elsewhere the samples scatter more, which the report shows.
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
        Ok(())
    }

    /// One core for the server and another for the load, if there are two.
    pub fn pair() -> (Option<usize>, Option<usize>) {
        match std::thread::available_parallelism() {
            Ok(cores) if cores.get() >= 2 => (Some(0), Some(1)),
            _ => (None, None),
        }
    }
}

/// Files that all rows of the table need.
const FILES: u64 = 65_536;

/// Every connection is a file descriptor in two processes. What may raise the limit for itself, as root may, gets as
/// many as the largest row needs.
pub fn raise_file_limit() -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if most < FILES && setrlimit(Resource::RLIMIT_NOFILE, FILES, FILES).is_ok() {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raising the limit of open files")
}

/// Connections that a process may have at once.
pub fn most_connections() -> anyhow::Result<usize> {
    // Sockets that come and go beside them, and what is open anyway.
    const OTHERS: u64 = 1500;
    let (now, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(usize::try_from(now.saturating_sub(OTHERS))?)
}

/// CPU time and waiting of a process so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu: Duration,
    /// Runnable, but without a CPU; all threads together.
    pub waited: Duration,
}

impl Usage {
    pub fn of(process: u32) -> anyhow::Result<Self> {
        let pid = Pid::from_raw(process.try_into()?);
        let clock = nix::time::clock_getcpuclockid(pid).context("the CPU clock of the process")?;
        let cpu = Duration::from(clock.now()?);
        let mut waited = 0;
        for task in fs::read_dir(format!("/proc/{process}/task"))? {
            // A thread may end in between.
            let Ok(stat) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            waited += stat.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or_default();
        }
        Ok(Self { cpu, waited: Duration::from_nanos(waited) })
    }

    pub fn and(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, waited: self.waited + other.waited }
    }

    pub fn since(self, before: Self) -> Self {
        Self { cpu: self.cpu - before.cpu, waited: self.waited.saturating_sub(before.waited) }
    }
}

/// Resident memory of a process in bytes.
pub fn resident(process: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS")?;
    let kib: u64 = line.split_whitespace().nth(1).context("VmRSS")?.parse()?;
    Ok(kib * 1024)
}
