//! Whether a server lives, and whether it is to be given clients.

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::figures::labels::labelled;

/// Whether a server lives, and whether it is to be given clients. Made by [`Server::health`](crate::Server::health).
/// Serialized as `{"live":true,"ready":false,"why":["stopping"]}`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Health {
    /// Whether the process does its work. If not, it is to be started again.
    pub live: bool,
    /// Why it is to be given no clients now, if so. Those that it has are served.
    pub why: Vec<NotReady>,
}

labelled! {
    /// Why a server is to be given no clients.
    NotReady {
        /// It was not started, or has stopped.
        AtRest = "at_rest",
        /// The application has [said so](crate::Server::set_ready).
        Withdrawn = "withdrawn",
        /// It stops.
        Stopping = "stopping",
        /// It has as many connections as it may have.
        Full = "full",
        /// The user service has failed for the last clients, some seconds ago.
        UserService = "user_service",
        /// It does not hear the other nodes of its cluster, or does not know yet who is connected to them.
        Cluster = "cluster",
    }
}

impl Health {
    /// Whether it is to be given clients.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.live && self.why.is_empty()
    }
}

impl Serialize for Health {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut health = serializer.serialize_struct("Health", 3)?;
        health.serialize_field("live", &self.live)?;
        health.serialize_field("ready", &self.is_ready())?;
        health.serialize_field("why", &self.why)?;
        health.end()
    }
}
