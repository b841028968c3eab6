//! Lookup of users, and revocation of their credentials.

use std::{borrow::Borrow, hash::Hash};

use websockets_simple_core::CloseCode;

use super::WebsocketServerAuth;
use crate::{
    addressing::Audience,
    connection::Connection,
    users::{Revocation, User, UserId},
};

/// A user with at least one connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectedUser<T: UserId> {
    /// The id of the user.
    pub id: T,
    /// The open connections of the user.
    pub connections: Vec<Connection<User<T>>>,
}

impl<T: UserId> WebsocketServerAuth<T> {
    /// Selects all connections of one user. The id may be given in a borrowed form: `to_user("bob")` where ids are
    /// `String`, as for the keys of a map.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{MemoryUsers, ServerParams, WebsocketServerAuth};
    ///
    /// let server = WebsocketServerAuth::<String>::new(ServerParams::local(), MemoryUsers::new());
    /// server.to_user("bob").send_text("hello on every device")?;
    /// assert!(!server.is_user_connected("bob"));
    /// # Ok::<(), websockets_simple_server::BroadcastError>(())
    /// ```
    pub fn to_user<Q>(&self, user: &Q) -> Audience<User<T>>
    where
        T: Borrow<Q>,
        Q: ToOwned<Owned = T> + ?Sized,
    {
        Audience::all(&self.shared).user(user)
    }

    /// The users with at least one connection, in no particular order.
    #[must_use]
    pub fn identities(&self) -> Vec<ConnectedUser<T>> {
        self.shared.registry.users().into_iter().filter_map(|id| self.identity(&id)).collect()
    }

    /// One user and their connections; `None` if there are none.
    #[must_use]
    pub fn identity<Q>(&self, user: &Q) -> Option<ConnectedUser<T>>
    where
        T: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let connections: Vec<_> = self.shared.registry.user(user).iter().cloned().collect();
        Some(ConnectedUser { id: connections.first()?.user_id().clone(), connections })
    }

    /// Whether a user has a connection. False as soon as the last one has ended.
    #[must_use]
    pub fn is_user_connected<Q>(&self, user: &Q) -> bool
    where
        T: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shared.registry.has_user(user)
    }

    /// Closes the connections that were opened with these credentials, or by this user, with [`CloseCode::REVOKED`],
    /// and those whose handshakes are pending; answers how many were open. The user service decides whether the clients
    /// can connect again. A service with a stream of [revocations](crate::UserService::revocations) does not need this
    /// call.
    ///
    /// In a cluster (feature `cluster`) this is so at every node; the number is that of this one. A node that is cut off does
    /// it when it is back.
    pub fn revoke(&self, revocation: &Revocation<T>) -> usize {
        #[cfg(feature = "cluster")]
        self.shared.tell_revoked(revocation);
        self.shared.revoke(revocation)
    }

    /// Closes all connections of a user; answers how many were open. Resolves when their transports are released. In a
    /// cluster (feature `cluster`) those at other nodes are closed as well, without being counted or waited for.
    ///
    /// # Cancel safety
    ///
    /// Once the future was polled, the connections close even if the future is dropped.
    pub async fn disconnect_user<Q>(&self, user: &Q, code: CloseCode, reason: &str) -> usize
    where
        T: Borrow<Q>,
        Q: ToOwned<Owned = T> + Hash + Eq + ?Sized,
    {
        let connections = self.shared.registry.user(user);
        let closed = self.to_user(user).close(code, reason);
        for connection in connections.iter() {
            connection.0.core.outbox.closed().await;
        }
        closed
    }
}
