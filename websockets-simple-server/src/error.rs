//! What can go wrong when a server starts.

use std::io;

use crate::Endpoint;

/// Why a server did not start. It is then as it was before, and may be started again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// It runs already, or its last stop is not over.
    #[error("the server runs already")]
    AlreadyRunning,
    /// An endpoint cannot be listened on: in use, or not an address of this machine.
    #[error("cannot listen on {endpoint}")]
    Bind {
        /// Which endpoint.
        endpoint: Endpoint,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no endpoint to listen on.
    #[error("the parameters name no endpoint")]
    NoEndpoint,
    /// `start` was called outside a tokio runtime.
    #[error("a server can only start inside a tokio runtime")]
    NoRuntime,
}
