//! One server on several nodes: what goes between them, and how.

pub use bus::{Bus, BusCommand, BusEvent, PublishError, Subject};
pub use envelope::InvalidMessage;
pub use event::{ClusterEvent, ClusterEventKind, PresenceEvent, PresenceEventKind};
pub use memory_bus::MemoryBus;
#[cfg(feature = "nats")]
pub use nats::{NatsBus, NatsUrlError};
pub use node_id::{NodeId, NodeInfo};
pub use params::{ClusterParams, InvalidCluster, Uncertainty};
pub use port::{BusInbox, BusLink, BusPort};

pub(crate) use codec::Codec;

/// What the rest of the server has of a node.
pub(crate) mod internal {
    pub(crate) use super::{
        directory::OwnConnection,
        envelope::Opened,
        head::{Close, Head, Send, Target, Who},
        lane::Lane,
        node::{Local, Node},
        revoked::NewRevocation,
        state::{ClusterState, Next, Status},
        view::Told,
    };
}

mod bus;
mod codec;
mod cut;
mod directory;
mod envelope;
mod event;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod head;
mod holders;
mod interest;
mod lane;
mod memory_bus;
#[cfg(feature = "nats")]
mod nats;
mod node;
mod node_id;
mod params;
mod parts;
mod peer;
mod port;
mod revoked;
mod sequence;
mod state;
mod turns;
mod view;
