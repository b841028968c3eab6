//! What one measurement found.

use serde::{Deserialize, Serialize};

use crate::scenario::Scenario;

/// What the load generator saw in its window.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Seen {
    /// Operations that were complete, each of them verified.
    pub operations: u64,
    /// Seconds of the window.
    pub seconds: f64,
    /// Microseconds from a message's departure to its (last) arrival.
    pub p50_us: f64,
    pub p99_us: f64,
    /// Data frames per successful read of the generator's sockets: how far the server joins its writes.
    pub frames_per_read: f64,
}

/// What connections cost that come and go while broadcasts go out.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Churned {
    /// CPU time of the server per operation, in a window before without them.
    pub quiet_cpu_ns_per_operation: f64,
    pub joins_per_second: f64,
    /// CPU time of the server beyond what the operations would have cost in quiet, for each that came and went. `None`
    /// where the server was so busy that nobody came to an end.
    pub cpu_us_per_join: Option<f64>,
}

/// One window of one server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Sample {
    pub server: String,
    pub scenario: Scenario,
    #[serde(flatten)]
    pub seen: Seen,
    /// CPU time of the server, user and kernel, all threads, per operation.
    pub cpu_ns_per_operation: f64,
    /// The larger share of the window in which server or generator was runnable but had no CPU.
    pub waited: f64,
    /// Share of the window in which the generator was on a CPU: near 1 it is the generator that limits.
    pub generator_busy: f64,
    /// Resident memory of the server.
    pub rss_bytes: u64,
    /// Idle rows: user memory per connection, before and after one message each.
    pub bytes_per_connection: Option<(f64, f64)>,
    /// Rows with churn.
    pub churn: Option<Churned>,
}

/// A sample with more waiting than this says more about the machine than about the server.
pub const QUIET: f64 = 0.05;

impl Sample {
    pub fn is_quiet(&self) -> bool {
        self.waited <= QUIET
    }

    pub fn per_second(&self) -> f64 {
        self.seen.operations as f64 / self.seen.seconds
    }
}
