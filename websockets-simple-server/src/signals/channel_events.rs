//! Named handlers for connections of a channel that open or end.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use websockets_simple_core::{HandlerFuture, Moment};

use crate::{connection::Connection, users::Identity};

/// Whether a connection of a channel opened or ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ChannelEventKind {
    /// The connection opened.
    Connect,
    /// The connection ended.
    Disconnect,
}

/// The event that a connection of a channel opened or ended, for handlers of
/// [`Server::register`](crate::Server::register).
#[derive(Debug)]
#[non_exhaustive]
pub struct ChannelEvent<I: Identity> {
    /// The channel.
    pub name: Arc<str>,
    /// What happened.
    pub kind: ChannelEventKind,
    /// When it happened.
    pub timestamp: DateTime<Utc>,
    /// The connection, with its channel, groups, id and user.
    pub connection: Connection<I>,
    /// Values that handlers add for the handlers after them.
    pub metadata: EventMetadata,
}

/// Values that the handlers of one [`ChannelEvent`] share; its clones share the same values.
#[derive(Clone, Debug, Default)]
pub struct EventMetadata(Arc<Mutex<Map<String, Value>>>);

impl EventMetadata {
    /// Adds a value. Answers the value that it replaces.
    pub fn insert(&self, name: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.into(), value.into())
    }

    /// A copy of the value with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

/// The error of [`Server::register`](crate::Server::register) for a name that is already registered.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the event `{event_name}` of the channel `{channel}` is already registered")]
#[non_exhaustive]
pub struct DuplicateEvent {
    /// The channel.
    pub channel: String,
    /// The name of the handler.
    pub event_name: String,
}

type Handle<I> = dyn Fn(ChannelEvent<I>) -> HandlerFuture + Send + Sync;

struct Registration<I: Identity> {
    event_name: Box<str>,
    is_active: AtomicBool,
    handle: Box<Handle<I>>,
}

/// The handlers of one kind and one channel, shared with events that are being raised.
struct Listed<I: Identity> {
    channel: Arc<str>,
    registrations: Arc<[Arc<Registration<I>>]>,
}

type Key = (ChannelEventKind, Arc<str>);

/// The registered handlers of a server.
pub(crate) struct ChannelEvents<I: Identity> {
    lists: RwLock<HashMap<Key, Listed<I>>>,
    are_in_use: AtomicBool,
}

impl<I: Identity> ChannelEvents<I> {
    pub(crate) fn new() -> Self {
        Self { lists: RwLock::default(), are_in_use: AtomicBool::new(false) }
    }

    pub(crate) fn register(
        &self,
        kind: ChannelEventKind,
        channel: &str,
        event_name: &str,
        handle: impl Fn(ChannelEvent<I>) -> HandlerFuture + Send + Sync + 'static,
    ) -> Result<(), DuplicateEvent> {
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        let channel: Arc<str> = channel.into();
        let listed = lists
            .entry((kind, Arc::clone(&channel)))
            .or_insert_with(|| Listed { channel, registrations: Arc::new([]) });
        if listed.registrations.iter().any(|one| *one.event_name == *event_name) {
            let (channel, event_name) = (listed.channel.to_string(), event_name.to_owned());
            return Err(DuplicateEvent { channel, event_name });
        }
        let added = Registration {
            event_name: event_name.into(),
            is_active: AtomicBool::new(true),
            handle: Box::new(handle),
        };
        let all = listed.registrations.iter().cloned().chain([Arc::new(added)]);
        listed.registrations = all.collect();
        self.are_in_use.store(true, Ordering::Release);
        Ok(())
    }

    /// False if nothing was registered under this name.
    pub(crate) fn unregister(&self, kind: ChannelEventKind, channel: &str, event_name: &str) -> bool {
        // Bound, so that its closure is dropped after the lock.
        let removed = self.remove(kind, channel, event_name);
        // For events that are being raised now.
        removed.is_some_and(|removed| {
            removed.is_active.store(false, Ordering::Release);
            true
        })
    }

    fn remove(
        &self,
        kind: ChannelEventKind,
        channel: &str,
        event_name: &str,
    ) -> Option<Arc<Registration<I>>> {
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        let key = (kind, channel.into());
        let listed = lists.get_mut(&key)?;
        let removed = listed.registrations.iter().find(|one| *one.event_name == *event_name).cloned()?;
        let rest = listed.registrations.iter().filter(|one| *one.event_name != *event_name);
        let rest: Arc<[_]> = rest.cloned().collect();
        if rest.is_empty() {
            lists.remove(&key);
        } else {
            listed.registrations = rest;
        }
        Some(removed)
    }

    /// Calls the handlers that are registered now, one after the other.
    pub(crate) fn raise(
        &self,
        kind: ChannelEventKind,
        connection: &Connection<I>,
        at: Moment,
    ) -> Option<HandlerFuture> {
        if !self.are_in_use.load(Ordering::Acquire) {
            return None;
        }
        let (name, registrations) = {
            let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
            let listed = lists.get(&(kind, connection.channel().into()))?;
            (Arc::clone(&listed.channel), Arc::clone(&listed.registrations))
        };
        let (connection, metadata) = (connection.clone(), EventMetadata::default());
        Some(HandlerFuture::new(async move {
            for registration in registrations.iter() {
                if registration.is_active.load(Ordering::Acquire) {
                    let (name, metadata) = (Arc::clone(&name), metadata.clone());
                    let (timestamp, connection) = (at.utc, connection.clone());
                    let event = ChannelEvent { name, kind, timestamp, connection, metadata };
                    (registration.handle)(event).await;
                }
            }
        }))
    }
}

impl<I: Identity> fmt::Debug for ChannelEvents<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelEvents").field("are_in_use", &self.are_in_use).finish_non_exhaustive()
    }
}
