//! The end of a session.

use std::sync::atomic::Ordering;

use crate::{
    connection::{Connection, ConnectionState},
    users::Identity,
};

/// What is done when a session is over, in whatever way: after the drop of its driver, which may raise Disconnected.
pub(super) struct SessionEnd<I: Identity>(pub(super) Connection<I>);

impl<I: Identity> Drop for SessionEnd<I> {
    fn drop(&mut self) {
        let ConnectionState { shared, core, is_summed, .. } = &*self.0.0;
        shared.revocable.remove(&self.0);
        shared.totals.ended(core.end(), &core.statistics(), || {
            is_summed.store(true, Ordering::Relaxed);
            shared.registry.drained(&self.0);
        });
        self.0.0.end_state();
    }
}
