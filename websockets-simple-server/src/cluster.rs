//! One server on several nodes: a message reaches whom it names at whatever node they are connected, and each node knows
//! who is connected to the others. The nodes are connected by a [`Bus`].
//!
//! | to | call |
//! |---|---|
//! | be one of several nodes | [`Server::with_cluster`](crate::WebsocketServer::with_cluster), with [`ClusterParams`] |
#![cfg_attr(feature = "nats", doc = "| have a bus over NATS | [`NatsBus`] |")]
#![cfg_attr(feature = "redis", doc = "| have a bus over Redis or Valkey | [`RedisBus`] |")]
//! | have a bus within a process, for tests | [`MemoryBus`] |
//! | make a bus | [`Bus`] |
//! | send to connections at every node | every [`Audience`](crate::Audience) |
//! | send to those of this node alone | [`Audience::here`](crate::Audience::here) |
//! | know whether a message went to the other nodes | [`BroadcastReport::remote`](crate::BroadcastReport::remote) |
//! | know who is connected, at whatever node | [`Server::presence`](crate::Server::presence) |
//! | be told who comes and goes, once for each user | [`Event::Presence`](crate::Event::Presence) |
//! | be told what happens to the cluster | [`Event::Cluster`](crate::Event::Cluster) |
//! | know whether to give this node clients | [`Cluster::ready`](crate::Cluster::ready) |
//! | have numbers for a dashboard | [`Cluster::figures`](crate::Cluster::figures) |
//!
//! A message is delivered at most once at each connection, those of one node to one channel in their order, and nothing is
//! kept for later. What never came is counted, and told by [`ClusterEventKind::Missed`]. Without its bus a node serves its
//! own connections among themselves, and each send says [`Remote::Down`](crate::Remote::Down). A node is gone for the others
//! when it says so, or is not heard for its [lease](ClusterParams::lease); one that does not hear itself judges nobody.
//!
//! [docs/cluster.md](https://github.com/websockets-simple/websockets-simple/blob/main/docs/cluster.md) has what happens when
//! something fails, what belongs to each node alone, load balancers, security and costs.
//!
//! # Examples
//!
//! ```
//! use websockets_simple_server::{ClusterParams, MemoryBus, Remote, ServerParams, WebsocketServer};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bus = MemoryBus::new();
//! let node = |name: &str| {
//!     let cluster = ClusterParams::new("news", bus.clone()).node(name);
//!     WebsocketServer::new(ServerParams::bind("127.0.0.1:0")).with_cluster(cluster)
//! };
//! let (a, b) = (node("a"), node("b"));
//! for server in [&a, &b] {
//!     server.start().await?;
//!     server.cluster().until_ready().await;
//! }
//! // To the connections in this channel, at both nodes.
//! let report = a.to_channel("/news").send_text("hello")?;
//! assert_eq!(report.remote, Remote::Handed);
//! # a.stop().await;
//! # b.stop().await;
//! # Ok(()) }
//! ```

pub use bus::{Bus, BusCommand, BusEvent, PublishError, Subject};
pub use envelope::InvalidMessage;
pub use event::{ClusterEvent, ClusterEventKind, PresenceEvent, PresenceEventKind};
pub use memory_bus::MemoryBus;
#[cfg(feature = "nats")]
pub use nats::{NatsBus, NatsUrlError};
pub use node_id::{NodeId, NodeInfo};
pub use node_presence::NodePresence;
pub use params::{ClusterParams, InvalidCluster, Uncertainty};
pub use port::{BusInbox, BusLink, BusPort};
#[cfg(feature = "redis")]
pub use redis_bus::{RedisBus, RedisUrlError};

pub(crate) use codec::Codec;

/// What the rest of the server has of a node.
pub(crate) mod internal {
    pub(crate) use super::{
        directory::OwnConnection,
        envelope::Opened,
        head::{Close, Head, Send, Target, Who},
        holders::OWN,
        lane::Lane,
        node::{Local, Node},
        revoked::NewRevocation,
        state::{ClusterState, Next, Status},
        view::Told,
    };
}

mod bus;
#[cfg(all(feature = "rustls", any(feature = "nats", feature = "redis")))]
mod bus_tls;
mod codec;
#[cfg(any(feature = "nats", feature = "redis"))]
mod connecting;
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
mod node_presence;
mod params;
mod parts;
mod peer;
mod port;
#[cfg(feature = "redis")]
mod redis_bus;
mod revoked;
mod sequence;
mod state;
mod view;
