//! What the handles of a connection share: its groups, and its end.

use std::sync::{Arc, MutexGuard, PoisonError};

use websockets_simple_core::{ConnectionShared, EndCause, Outbox, catch_panic};

use crate::{connection::ConnectionState, users::Identity};

impl<I: Identity> ConnectionState<I> {
    /// Its groups; `None` if it has not been in any.
    pub(crate) fn groups(&self) -> Option<MutexGuard<'_, Vec<Arc<str>>>> {
        Some(self.origin.extras.get()?.groups.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Its groups, to which one is to be added.
    pub(crate) fn groups_to_join(&self) -> MutexGuard<'_, Vec<Arc<str>>> {
        self.origin.extras.get_or_make().groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection has ended: the values of the application are dropped, unless an event keeps them.
    pub(crate) fn end_state(&self) {
        self.origin.extras.end(&self.shared.no_extras);
    }

    /// False if the connection was ending already.
    pub(crate) fn close_as_revoked(&self) -> bool {
        self.core.outbox.close(EndCause::CredentialsRevoked)
    }
}

impl<I: Identity> Drop for ConnectionState<I> {
    fn drop(&mut self) {
        // The last handle may be anywhere, also in a flusher. Dropping the id of a user is code of the application.
        let user = self.origin.user.take();
        if let Err(panicked) = catch_panic(|| drop(user)) {
            self.shared.report_panic(panicked, "the id of a user");
        }
    }
}

impl<I: Identity> AsRef<Outbox> for ConnectionState<I> {
    fn as_ref(&self) -> &Outbox {
        &self.core.outbox
    }
}

impl<I: Identity> AsRef<ConnectionShared> for ConnectionState<I> {
    fn as_ref(&self) -> &ConnectionShared {
        &self.core
    }
}
