//! Users and their connections.

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
    /// Who it is.
    pub id: T,
    /// Their connections.
    pub connections: Vec<Connection<User<T>>>,
}

impl<T: UserId> WebsocketServerAuth<T> {
    /// All connections of one user.
    pub fn to_user(&self, user: &T) -> Audience<User<T>> {
        Audience::all(&self.shared).only(Selector::User(user.clone()))
    }

    /// The users that are connected, each once, in no particular order.
    #[must_use]
    pub fn identities(&self) -> Vec<ConnectedUser<T>> {
        self.shared.registry.users().into_iter().filter_map(|id| self.identity(&id)).collect()
    }

    /// One user and their connections, while there are any.
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

    /// Closes the connections that were opened with these credentials, or by this user, with
    /// [`CloseCode::REVOKED`], and those that are on their way; answers how many were open. Whether they can come back
    /// is up to the user service. A service that tells its revocations itself
    /// ([`UserService::revocations`](crate::UserService::revocations)) needs no call of this.
    pub fn revoke(&self, revocation: &Revocation<T>) -> usize {
        self.shared.revoke(revocation)
    }

    /// Closes all connections of a user; answers how many. Resolves when their transports are let go of.
    ///
    /// # Cancel safety
    ///
    /// They close even if this is dropped before it resolves, once it was polled.
    pub async fn disconnect_user(&self, user: &T, code: CloseCode, reason: &str) -> usize {
        let connections = self.shared.registry.user(user);
        let closed = connections.iter().filter(|connection| connection.close(code, reason)).count();
        for connection in connections.iter() {
            connection.0.core.outbox.closed().await;
        }
        closed
    }
}
