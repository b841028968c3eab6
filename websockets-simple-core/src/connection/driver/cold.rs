//! What a connection has for a short time, or only with some peers: one pointer while there is nothing of it.

use std::{io, ops::Deref};

use tokio::time::Instant;

use crate::{
    connection::{
        closing::Closing,
        driver::{Leftover, ending::Ending},
        kept_buffers::KeptBuffers,
        ping_watch::PingWatch,
    },
    events::Disconnect,
    outbox::budget::DeferredWakes,
};

/// The state that an idle connection does not have.
#[derive(Default)]
pub(super) struct Cold(Option<Box<ColdState>>);

#[derive(Default)]
pub(super) struct ColdState {
    /// Input that was read, and comes before what is in the socket.
    pub(super) leftover: Option<Leftover>,
    pub(super) ping_watch: Option<PingWatch>,
    /// Set while large messages arrive.
    pub(super) kept_buffers: Option<KeptBuffers>,
    /// Since when nothing is read because too many messages wait for the handler.
    pub(super) paused: Option<Instant>,
    /// Until when the peer has to give a sign of life.
    pub(super) probe: Option<Instant>,
    pub(super) closing: Option<Closing>,
    /// How the connection ended, until that was told.
    pub(super) end: Option<Disconnect>,
    /// The peer's Close or its fault, whose answer waits for the handlers of what came before.
    pub(super) ending: Option<Ending>,
    /// Writing failed. What arrived before that is read first: the peer's Close may be in it.
    pub(super) broken: Option<io::Error>,
    /// Reads since then.
    pub(super) last_reads: u32,
    /// The peer was asked for a sign of life, and has given none.
    pub(super) asked: bool,
    /// Flushers that wait because the driver had not finished in its last poll.
    pub(super) deferred: Option<Box<DeferredWakes>>,
}

impl ColdState {
    const NOTHING: Self = Self {
        leftover: None,
        ping_watch: None,
        kept_buffers: None,
        paused: None,
        probe: None,
        closing: None,
        end: None,
        ending: None,
        broken: None,
        last_reads: 0,
        asked: false,
        deferred: None,
    };

    fn is_nothing(&self) -> bool {
        let Self { leftover, ping_watch, kept_buffers, paused, .. } = self;
        let is_open = self.closing.is_none() && self.ending.is_none() && self.end.is_none();
        let has_nothing = leftover.is_none() && ping_watch.is_none() && kept_buffers.is_none();
        is_open
            && has_nothing
            && self.probe.is_none()
            && !self.asked
            && paused.is_none()
            && self.broken.is_none()
            && self.deferred.is_none()
    }
}

impl Deref for Cold {
    type Target = ColdState;

    fn deref(&self) -> &ColdState {
        static NOTHING: ColdState = ColdState::NOTHING;
        self.0.as_deref().unwrap_or(&NOTHING)
    }
}

impl Cold {
    /// To change what there is.
    pub(super) fn get(&mut self) -> Option<&mut ColdState> {
        self.0.as_deref_mut()
    }

    /// To add to it.
    pub(super) fn make(&mut self) -> &mut ColdState {
        self.0.get_or_insert_default()
    }

    /// Gives the memory back if nothing is left.
    pub(super) fn shrink(&mut self) {
        if self.0.as_ref().is_some_and(|cold| cold.is_nothing()) {
            self.0 = None;
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.0.as_ref().is_some_and(|cold| cold.closing.is_some())
    }

    pub(super) fn closing(&mut self) -> Option<&mut Closing> {
        self.get()?.closing.as_mut()
    }

    pub(super) fn ping_watch(&mut self) -> Option<&mut PingWatch> {
        self.get()?.ping_watch.as_mut()
    }

    pub(super) fn take_deferred(&mut self) -> Option<Box<DeferredWakes>> {
        self.get()?.deferred.take()
    }

    pub(super) fn take_broken(&mut self) -> Option<io::Error> {
        self.get()?.broken.take()
    }
}
