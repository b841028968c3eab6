//! The handlers of signals, by channel.

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use matchit::Router;
use websockets_simple_core::{ErrorStage, EventError, HandlerFuture, Message, Moment};

use super::{Signal, SignalData, SignalError};
use crate::config::SignalDefault;
use crate::{connection::Connection, users::Identity};

/// Why a route was not added.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// A channel could match both this pattern and an existing one.
    #[error("the pattern `{pattern}` conflicts with `{with}`")]
    Conflict {
        /// The new pattern.
        pattern: String,
        /// The existing pattern.
        with: String,
    },
    /// The pattern is malformed: its braces do not match, or a name is used twice.
    #[error("`{0}` is not a valid channel pattern")]
    Pattern(String),
}

type Handle<I> = dyn Fn(Signal<I>) -> HandlerFuture + Send + Sync;

struct Route<I: Identity> {
    pattern: Arc<str>,
    handle: Box<Handle<I>>,
}

/// The routes of a server.
pub(crate) struct Routes<I: Identity> {
    router: RwLock<Router<Arc<Route<I>>>>,
    /// Whether any message may have a route or a default.
    are_in_use: AtomicBool,
}

impl<I: Identity> Routes<I> {
    /// No routes. `has_defaults` is whether any channel has another default than `Ignore`.
    pub(crate) fn new(has_defaults: bool) -> Self {
        Self { router: RwLock::new(Router::new()), are_in_use: AtomicBool::new(has_defaults) }
    }

    pub(crate) fn add(
        &self,
        pattern: &str,
        handle: impl Fn(Signal<I>) -> HandlerFuture + Send + Sync + 'static,
    ) -> Result<(), RouteError> {
        let route = Arc::new(Route { pattern: pattern.into(), handle: Box::new(handle) });
        // A second handle: without a place for it, the route is dropped after the lock, as its closure is the user's.
        let added = self.write().insert(pattern, Arc::clone(&route));
        added.map_err(|error| match error {
            matchit::InsertError::Conflict { with } => {
                RouteError::Conflict { pattern: pattern.to_owned(), with }
            }
            _ => RouteError::Pattern(pattern.to_owned()),
        })?;
        self.are_in_use.store(true, Ordering::Release);
        Ok(())
    }

    /// False if there is no such route.
    pub(crate) fn remove(&self, pattern: &str) -> bool {
        // Bound, so that its closure is dropped after the lock.
        let removed = self.write().remove(pattern);
        removed.is_some()
    }

    fn write(&self) -> RwLockWriteGuard<'_, Router<Arc<Route<I>>>> {
        self.router.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn are_in_use(&self) -> bool {
        self.are_in_use.load(Ordering::Acquire)
    }

    /// The work for a received message, if there is any.
    pub(crate) fn take(
        &self,
        connection: &Connection<I>,
        message: &Message,
        at: Moment,
    ) -> Option<HandlerFuture> {
        let (route, captures) = {
            let router = self.router.read().unwrap_or_else(PoisonError::into_inner);
            match router.at(connection.channel()) {
                Ok(found) => {
                    let captures = found.params.iter();
                    let captures = captures.map(|(name, value)| (name.to_owned(), value.to_owned()));
                    (Some(Arc::clone(found.value)), captures.collect())
                }
                Err(_) => (None, Vec::new()),
            }
        };
        let signal = |pattern| {
            SignalData::read(message).map(|data| Signal {
                data,
                connection: connection.clone(),
                pattern,
                captures,
                timestamp: at.utc,
            })
        };
        if let Some(route) = route {
            return match signal(Arc::clone(&route.pattern)) {
                Ok(signal) => Some((route.handle)(signal)),
                Err(error) => failed(connection, error, at),
            };
        }
        match connection.0.shared.params.signals.of(connection.channel()) {
            SignalDefault::Ignore => None,
            SignalDefault::Echo => {
                let (connection, message) = (connection.clone(), message.clone());
                Some(HandlerFuture::new(async move {
                    // The connection may have ended meanwhile.
                    let _ = connection.send(message).await;
                }))
            }
            SignalDefault::Rebroadcast => {
                let sent = signal(connection.channel().into()).and_then(|signal| signal.rebroadcast());
                sent.err().and_then(|error| failed(connection, error, at))
            }
        }
    }
}

/// Raises an error; the message event was raised already.
fn failed<I: Identity>(connection: &Connection<I>, error: SignalError, at: Moment) -> Option<HandlerFuture> {
    let subscriptions = &connection.0.shared.subscriptions;
    subscriptions.dispatch_error_of(connection, ErrorStage::Signal, EventError::new(error), at)
}

impl<I: Identity> fmt::Debug for Routes<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("are_in_use", &self.are_in_use).finish_non_exhaustive()
    }
}
