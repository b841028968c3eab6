//! A server as one of several nodes: joining a cluster, its state, and who is connected where.

use std::{
    borrow::Borrow,
    fmt,
    ops::Deref,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::Server;
use crate::{
    cluster::{
        ClusterParams, Codec, NodeId, NodeInfo, NodePresence, PublishError,
        internal::{ClusterState, Head, Lane, Status},
    },
    config::ClientId,
    figures::ClusterFigures,
    run::{ClusterNode, Shared},
    users::{Anonymous, Identity, User, UserId},
};

/// How long [`Cluster::settled`] waits before it publishes again.
const PROBED_AGAIN: Duration = Duration::from_millis(500);

impl Server<Anonymous> {
    /// Makes this server one of the nodes of a cluster, from its next start on. Only the first call counts.
    #[must_use]
    pub fn with_cluster(self, params: ClusterParams) -> Self {
        let _ = self.shared.cluster.set(ClusterNode::new(params, Codec::none()));
        self
    }
}

impl<T: UserId + Serialize + DeserializeOwned> Server<User<T>> {
    /// Makes this server one of the nodes of a cluster, from its next start on. Only the first call counts. Ids of users go
    /// between nodes as JSON, which has to be the same each time that an id is written.
    #[must_use]
    pub fn with_cluster(self, params: ClusterParams) -> Self {
        let _ = self.shared.cluster.set(ClusterNode::new(params, Codec::json()));
        self
    }
}

impl<I: Identity> Server<I> {
    /// The cluster, as this node sees it.
    #[must_use]
    pub fn cluster(&self) -> Cluster<I> {
        Cluster(Arc::clone(&self.shared))
    }

    /// Who is connected to which node of the cluster. Without a cluster nobody is known here.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{ClusterParams, MemoryBus, MemoryUsers, ServerParams, WebsocketServerAuth};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = WebsocketServerAuth::<String>::new(ServerParams::local(), MemoryUsers::new())
    ///     .with_cluster(ClusterParams::new("chat", MemoryBus::new()));
    /// server.start().await?;
    /// let online = server.presence().is_online("bob");
    /// println!("bob is online: {}, as of {:?} ago", online.value, online.age);
    /// assert!(!*online);
    /// # server.stop().await;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn presence(&self) -> Presence<I> {
        Presence(Arc::clone(&self.shared))
    }
}

/// The cluster, as one of its nodes sees it.
pub struct Cluster<I: Identity>(Arc<Shared<I>>);

/// Whether a node hears the others.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ClusterStatus {
    /// The server is no node of a cluster.
    Alone,
    /// It hears nothing of the others, nor they of it.
    Down {
        /// Why, without any secret.
        why: Arc<str>,
        /// For how long.
        since: Duration,
    },
    /// It is connected to the bus, and has not heard itself through it yet.
    Joining,
    /// It hears everything.
    Up {
        /// For how long.
        since: Duration,
    },
}

impl<I: Identity> Cluster<I> {
    /// Whether the server is ready to be given clients: it hears the other nodes, and knows who is connected to each of
    /// them. A server without a cluster is ready while it runs. For the readiness check of a load balancer; not for its
    /// liveness check, as a node that is cut off serves its own connections well.
    #[must_use]
    pub fn ready(&self) -> bool {
        let runs = self.0.run().is_some_and(|run| !run.handle.stop.has_begun());
        runs && self.0.is_cluster_ready()
    }

    /// Resolves when the server is [ready](Self::ready).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn until_ready(&self) {
        while !self.ready() {
            match self.state() {
                // It looks around several times a second.
                Some(state) => drop(tokio::time::timeout(PROBED_AGAIN, state.probed.notified()).await),
                None => tokio::time::sleep(PROBED_AGAIN / 10).await,
            }
        }
    }

    /// Whether this node hears the others.
    #[must_use]
    pub fn status(&self) -> ClusterStatus {
        match self.state().map(ClusterState::status) {
            None => ClusterStatus::Alone,
            Some(Status::Down(since, why)) => ClusterStatus::Down { why, since: since.elapsed() },
            Some(Status::Joining(_)) => ClusterStatus::Joining,
            Some(Status::Up(since)) => ClusterStatus::Up { since: since.elapsed() },
        }
    }

    /// This node; `None` without a cluster.
    #[must_use]
    pub fn node(&self) -> Option<NodeInfo> {
        self.state().map(|state| state.node.clone())
    }

    /// Waits until this node hears what is published for the connections that it has now: the first message to a channel
    /// may otherwise come before the bus knows that this node wants it, some milliseconds after the connection was
    /// opened.
    ///
    /// # Errors
    ///
    /// [`PublishError`] if the bus is not connected, or is not any more.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn settled(&self) -> Result<(), PublishError> {
        let Some(state) = self.state() else { return Ok(()) };
        loop {
            let probe = state.probe.fetch_add(1, Relaxed) + 1;
            state.say(Lane::Node(state.node.id), &Head::Probe(probe))?;
            let until = Instant::now() + PROBED_AGAIN;
            loop {
                let back = state.probed.notified();
                if state.probes_back.load(Relaxed) >= probe {
                    return Ok(());
                }
                if let Status::Down(..) = state.status() {
                    return Err(PublishError::Down);
                }
                if tokio::time::timeout_at(until, back).await.is_err() {
                    break;
                }
            }
        }
    }

    /// What this node has done.
    #[must_use]
    pub fn figures(&self) -> ClusterFigures {
        self.0.cluster_figures().unwrap_or_default()
    }

    fn state(&self) -> Option<&ClusterState> {
        self.0.cluster.get().map(|cluster| &cluster.state)
    }
}

/// Who is connected to which node, as this node knows it: its own connections at once, those of others some milliseconds
/// later, or for as long as it hears nothing as it was before.
pub struct Presence<I: Identity>(Arc<Shared<I>>);

/// Something that is known of the other nodes, and how old it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seen<T> {
    /// What is known.
    pub value: T,
    /// How long ago the node was last heard that was not heard for the longest time, or for how long this one hears none.
    /// Usually below a second, the time between two beats; it grows while this node or another one is cut off.
    pub age: Duration,
}

/// Who is in a channel.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ChannelPresence<T> {
    /// The number of connections, of all nodes.
    pub connections: u64,
    /// One by one, if the channel is one of [those](crate::ClusterParams::list_members); otherwise empty.
    pub members: Vec<Member<T>>,
}

/// A connection of whatever node.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Member<T> {
    /// Its id.
    pub client: ClientId,
    /// Its user; `None` on a server without users.
    pub user: Option<T>,
    /// Its node.
    pub node: NodeId,
}

impl<I: Identity> Presence<I> {
    /// The nodes, this one first. How many connections each of them has is summed up over all channels.
    #[must_use]
    pub fn nodes(&self) -> Seen<Vec<NodePresence>> {
        let (value, age) = self.0.nodes();
        Seen { value, age }
    }

    /// Who is in a channel, over all nodes.
    #[must_use]
    pub fn channel(&self, channel: &str) -> Seen<ChannelPresence<I::Id>> {
        let nobody = || ChannelPresence { connections: 0, members: Vec::new() };
        let Some(ClusterNode { state, codec }) = self.0.cluster.get() else { return Seen::now(nobody()) };
        let (connections, listed, age) = {
            let directory = state.directory();
            let listed = directory.members(channel, state.node.id);
            let connections = directory.view.channel(channel).map_or(0, |holders| holders.total());
            (connections, listed, directory.age())
        };
        let age = age.max(state.deaf_for());
        // Ids are values of the application, and are read outside of the lock.
        let members = listed.into_iter().filter_map(|(client, user, node)| {
            let user = user.and_then(|json| codec.read(&json));
            Some(Member { client: ClientId::new(&client).ok()?, user, node })
        });
        Seen { value: ChannelPresence { connections, members: members.collect() }, age }
    }

    fn users<R: Default>(&self, read: impl FnOnce(&ClusterNode<I>) -> R) -> Seen<R> {
        let Some(cluster) = self.0.cluster.get() else { return Seen::now(R::default()) };
        let value = read(cluster);
        let age = cluster.state.directory().age().max(cluster.state.deaf_for());
        Seen { value, age }
    }
}

impl<T: UserId> Presence<User<T>> {
    /// Whether a user has a connection, at whatever node.
    #[must_use]
    pub fn is_online<Q>(&self, user: &Q) -> Seen<bool>
    where
        T: Borrow<Q>,
        Q: ToOwned<Owned = T> + ?Sized,
    {
        let Seen { value, age } = self.devices(user);
        Seen { value: value > 0, age }
    }

    /// How many connections a user has, over all nodes.
    #[must_use]
    pub fn devices<Q>(&self, user: &Q) -> Seen<u64>
    where
        T: Borrow<Q>,
        Q: ToOwned<Owned = T> + ?Sized,
    {
        self.users(|ClusterNode { state, codec }| {
            let json = codec.write(&user.to_owned());
            let directory = state.directory();
            json.and_then(|json| directory.view.user(&json).map(|holders| holders.total())).unwrap_or(0)
        })
    }

    /// How many users have a connection, at whatever node.
    #[must_use]
    pub fn count(&self) -> Seen<usize> {
        self.users(|cluster| cluster.state.directory().view.online())
    }
}

impl<T> Seen<T> {
    fn now(value: T) -> Self {
        Self { value, age: Duration::ZERO }
    }
}

impl<T> Deref for Seen<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<I: Identity> Clone for Cluster<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I: Identity> Clone for Presence<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I: Identity> fmt::Debug for Cluster<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("node", &self.node())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl<I: Identity> fmt::Debug for Presence<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence").field("nodes", &self.nodes()).finish_non_exhaustive()
    }
}
