//! The errors of a server start.

use std::{io, sync::Arc};

use crate::config::{Endpoint, ParamsError};

/// Why a server did not start. Its state is unchanged, and it may be started again.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The server is running already, or its last stop is not over.
    #[error("the server is already running")]
    AlreadyRunning,
    /// An endpoint cannot be bound: it is in use, or not an address of this machine.
    #[error("cannot listen on {endpoint}")]
    Bind {
        /// Which endpoint.
        endpoint: Endpoint,
        /// The error of the system.
        #[source]
        source: Arc<io::Error>,
    },
    /// What is set of the cluster is invalid.
    #[cfg(feature = "cluster")]
    #[error("the cluster cannot be joined")]
    Cluster(#[from] crate::cluster::InvalidCluster),
    /// The certificate, the key, or the CA certificates for clients cannot be used. The source says why.
    #[cfg(feature = "rustls")]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls", feature = "tls-ring"))))]
    #[error("TLS cannot be set up for {endpoint}")]
    Tls {
        /// Which endpoint.
        endpoint: Endpoint,
        /// What is wrong.
        #[source]
        source: websockets_simple_core::tls::TlsError,
    },
    /// A parameter is invalid.
    #[error("invalid parameters")]
    Params(#[from] ParamsError),
    /// The tokio runtime has no driver for timers (`enable_time`) or sockets (`enable_io`).
    #[error("the tokio runtime has no driver for {0}: build it with `enable_all`")]
    NoDriver(&'static str),
    /// `start` was called outside a tokio runtime.
    #[error("a server can only start inside a tokio runtime")]
    NoRuntime,
}
