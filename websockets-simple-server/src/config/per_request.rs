//! A function of the application that is asked about each request.

use std::{fmt, sync::Arc};

use crate::net::HandshakeRequest;

type Ask<T> = dyn Fn(&HandshakeRequest<'_>) -> T + Send + Sync;

/// A function of the application that is asked about each request, before the handshake is answered.
pub(crate) struct PerRequest<T>(Arc<Ask<T>>);

impl<T> PerRequest<T> {
    pub(super) fn new(ask: impl Fn(&HandshakeRequest<'_>) -> T + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    pub(super) fn ask(&self, request: &HandshakeRequest<'_>) -> T {
        (self.0)(request)
    }
}

impl<T> Clone for PerRequest<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for PerRequest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PerRequest")
    }
}
