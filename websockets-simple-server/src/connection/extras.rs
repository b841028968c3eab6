//! What few connections have: a channel that is not the path, groups, values of the application.

use std::sync::{Arc, Mutex, OnceLock};

use crate::{connection::UserState, users::Identity};

/// What few connections have. Most keep one pointer for all of it.
pub(crate) struct Extras<I: Identity>(OnceLock<Arc<Held<I>>>);

/// What such a connection has.
pub(crate) struct Held<I: Identity> {
    /// Replaces the path of the request, if the placement set it.
    pub(super) channel: Option<Box<str>>,
    /// Changed only by the registry, under its lock.
    pub(super) groups: Mutex<Vec<Arc<str>>>,
    pub(super) state: UserState<I>,
}

impl<I: Identity> Extras<I> {
    /// Those of a connection to be opened.
    pub(crate) fn new(channel: Option<Box<str>>, groups: Vec<Arc<str>>) -> Self {
        if channel.is_none() && groups.is_empty() {
            return Self(OnceLock::new());
        }
        let held = Held { channel, groups: Mutex::new(groups), state: UserState::new() };
        Self(OnceLock::from(Arc::new(held)))
    }

    pub(super) fn get(&self) -> Option<&Held<I>> {
        self.0.get().map(|held| &**held)
    }

    pub(super) fn get_or_make(&self) -> &Held<I> {
        self.0.get_or_init(Arc::default)
    }

    /// The connection has ended. One that has nothing shares `nothing` with the others, to which nothing can be added.
    pub(super) fn end(&self, nothing: &Arc<Held<I>>) {
        self.0.get_or_init(|| Arc::clone(nothing)).state.end();
    }
}

impl<I: Identity> Default for Held<I> {
    fn default() -> Self {
        Self { channel: None, groups: Mutex::default(), state: UserState::new() }
    }
}
