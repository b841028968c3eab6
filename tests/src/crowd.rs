//! A crowd: many connections of one server, all of which hear the same broadcasts.

pub mod notice;
pub mod told;

pub use notice::Notice;
pub use told::{Asked, Broadcast, Counted, Told};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds of the clock that all processes of a machine share.
#[must_use]
pub fn now() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Nanoseconds of CPU time that all threads of this process have taken so far.
#[must_use]
pub fn cpu() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime))
}

/// Nanoseconds of CPU time that this thread has taken so far.
#[must_use]
pub fn thread_cpu() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

fn nanoseconds(time: Timespec) -> u64 {
    // Neither clock was ever below zero.
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
