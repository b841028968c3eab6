//! Lookup of users, and revocation of their credentials.

use websockets_simple_core::CloseCode;

use super::WebsocketServerAuth;
use crate::{
    addressing::{Audience, Selector},
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
    /// Selects all connections of one user.
    pub fn to_user(&self, user: &T) -> Audience<User<T>> {
        Audience::all(&self.shared).only(Selector::User(user.clone()))
    }

    /// The users with at least one connection, in no particular order.
    #[must_use]
    pub fn identities(&self) -> Vec<ConnectedUser<T>> {
        self.shared.registry.users().into_iter().filter_map(|id| self.identity(&id)).collect()
    }

    /// One user and their connections; `None` if there are none.
    #[must_use]
    pub fn identity(&self, user: &T) -> Option<ConnectedUser<T>> {
        let connections = self.shared.registry.user(user);
        (!connections.is_empty())
            .then(|| ConnectedUser { id: user.clone(), connections: connections.to_vec() })
    }

    /// Whether a user has a connection. False as soon as the last one has ended.
    #[must_use]
    pub fn is_user_connected(&self, user: &T) -> bool {
        self.shared.registry.has_user(user)
    }

    /// Closes the connections that were opened with these credentials, or by this user, with [`CloseCode::REVOKED`],
    /// and those whose handshakes are pending; answers how many were open. The user service decides whether the clients
    /// can connect again. A service with a stream of [revocations](crate::UserService::revocations) does not need this
    /// call.
    pub fn revoke(&self, revocation: &Revocation<T>) -> usize {
        self.shared.revoke(revocation)
    }

    /// Closes all connections of a user; answers how many were open. Resolves when their transports are released.
    ///
    /// # Cancel safety
    ///
    /// Once the future was polled, the connections close even if the future is dropped.
    pub async fn disconnect_user(&self, user: &T, code: CloseCode, reason: &str) -> usize {
        let connections = self.shared.registry.user(user);
        let closed = connections.iter().filter(|connection| connection.close(code, reason)).count();
        for connection in connections.iter() {
            connection.0.core.outbox.closed().await;
        }
        closed
    }
}
