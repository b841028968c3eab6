//! Whom a message goes to.

use std::{fmt, sync::Arc};

use websockets_simple_core::{Delivery, EncodeError, IntoMessage, encode, spent};

use crate::{Connection, ConnectionId, Identity, connection::Inner, shared::Shared};

/// Some connections of a server, to send to or to look at. Whom it means is decided when it is used.
#[must_use = "an audience does nothing until a message is sent to it"]
pub struct Audience<I: Identity> {
    shared: Arc<Shared<I>>,
    whom: Whom<I>,
    except: Vec<ConnectionId>,
}

pub(crate) enum Whom<I: Identity> {
    All,
    Channel(Box<str>),
    User(I::Id),
}

impl<I: Identity> Audience<I> {
    pub(crate) fn new(shared: &Arc<Shared<I>>, whom: Whom<I>) -> Self {
        Self { shared: Arc::clone(shared), whom, except: Vec::new() }
    }

    /// Leaves a connection out.
    pub fn except(mut self, connection: &Connection<I>) -> Self {
        self.except.push(connection.id());
        self
    }

    /// Leaves connections out.
    pub fn except_all<'a>(mut self, connections: impl IntoIterator<Item = &'a Connection<I>>) -> Self {
        self.except.extend(connections.into_iter().map(Connection::id));
        self
    }

    /// The connections it means now.
    #[must_use]
    pub fn connections(&self) -> Vec<Connection<I>> {
        self.members().iter().filter(|member| !self.except.contains(&member.id())).cloned().collect()
    }

    /// Sends a message to all of them. It is encoded once and is in every outbox when this returns, in the order
    /// of the calls; it waits for nobody. A receiver whose outbox is full meets its overflow policy.
    ///
    /// # Errors
    ///
    /// When the value has no form on the wire.
    pub fn send(&self, message: impl IntoMessage) -> Result<Delivery, EncodeError> {
        let (frame, notice) = encode(message, self.shared.subscriptions.wants_notices())?;
        let mut delivery = Delivery::default();
        let flushers = &self.shared.flushers;
        let mut lists: Vec<Vec<Arc<Inner<I>>>> = flushers.iter().map(|_| Vec::new()).collect();
        let members = self.members();
        spent(members.len());
        for member in members.iter() {
            if self.except.contains(&member.id()) {
                continue;
            }
            if member.0.line.broadcast(&frame, notice.as_ref(), &mut delivery) {
                lists[member.0.id.0 as usize % flushers.len()].push(Arc::clone(&member.0));
            }
        }
        for (flusher, list) in flushers.iter().zip(&mut lists) {
            flusher.list(list);
        }
        Ok(delivery)
    }

    fn members(&self) -> Arc<[Connection<I>]> {
        match &self.whom {
            Whom::All => self.shared.registry.all(),
            Whom::Channel(channel) => self.shared.registry.channel(channel),
            Whom::User(user) => self.shared.registry.user(user),
        }
    }
}

impl<I: Identity> fmt::Debug for Audience<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audience").field("except", &self.except).finish_non_exhaustive()
    }
}
