//! What can go wrong when a server starts.

use std::io;

use crate::config::{Endpoint, ParamsError};

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
    /// The certificate, the key, or what clients are verified with cannot be used. The source says why.
    #[cfg(feature = "rustls")]
    #[error("TLS cannot be set up for {endpoint}")]
    Tls {
        /// Which endpoint.
        endpoint: Endpoint,
        /// What is wrong.
        #[source]
        source: websockets_simple_core::tls::TlsError,
    },
    /// A parameter is wrong.
    #[error("the parameters are wrong")]
    Params(#[from] ParamsError),
    /// `start` was called outside a tokio runtime.
    #[error("a server can only start inside a tokio runtime")]
    NoRuntime,
}
