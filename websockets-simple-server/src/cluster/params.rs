//! What an operator sets of a cluster.

use std::{fmt, sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretSlice};
use websockets_simple_core::catch_panic;

use crate::cluster::Bus;

/// Shortest lease: three beats.
const SHORTEST_LEASE: Duration = Duration::from_secs(3);

/// Longest name of an application or a node.
const LONGEST_NAME: usize = 64;

/// Shortest key, in bytes: 128 bits.
const SHORTEST_KEY: usize = 16;

/// Smallest queue, in bytes.
const SMALLEST_QUEUE: usize = 64 * 1024;

/// Which channels are meant.
type ChannelRule = dyn Fn(&str) -> bool + Send + Sync;

/// How a server is one of several nodes: the application that they serve, and the bus between them.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{ClusterParams, MemoryBus, ServerParams, WebsocketServer};
///
/// let cluster = ClusterParams::new("chat", MemoryBus::new())
///     .node("a")
///     .key("at least 16 bytes, the same at every node");
/// let server = WebsocketServer::new(ServerParams::local()).with_cluster(cluster);
/// ```
#[derive(Clone)]
pub struct ClusterParams {
    pub(crate) app: Box<str>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) keys: Vec<SecretSlice<u8>>,
    pub(crate) lease: Duration,
    pub(crate) linger: Duration,
    pub(crate) outgoing: usize,
    pub(crate) incoming: usize,
    pub(crate) listed: Option<Arc<ChannelRule>>,
    pub(crate) uncertainty: Uncertainty,
}

/// What becomes of the connections of users when the node was cut off from the others, and nobody is left who could say
/// what was revoked meanwhile.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Uncertainty {
    /// They are closed with 1012 (service restart), so that their clients come back and are authenticated again.
    #[default]
    Close,
    /// They stay open. A revocation may then never reach them.
    Keep,
}

/// Which parameter of a cluster is invalid.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCluster {
    /// The name of the application or the node is not valid in a subject of a bus.
    #[error("`{0}` is not a name of 1 to {LONGEST_NAME} ASCII letters, digits, `-` and `_`")]
    Name(String),
    /// The key is too short.
    #[error("the key of the cluster has less than {SHORTEST_KEY} bytes")]
    Key,
    /// The lease is too short.
    #[error("the lease of nodes is shorter than 3 s, which is three beats")]
    Lease,
    /// A queue is too small for what nodes say to each other.
    #[error("the queues to and from the bus take less than {SMALLEST_QUEUE} bytes")]
    Queue,
}

impl ClusterParams {
    /// One of the nodes that serve `app` and have this bus. The name is 1 to 64 ASCII letters, digits, `-` and `_`;
    /// several applications may share a bus.
    #[must_use]
    pub fn new(app: &str, bus: impl Bus) -> Self {
        Self {
            app: app.into(),
            bus: Arc::new(bus),
            name: None,
            keys: Vec::new(),
            lease: Duration::from_secs(12),
            linger: Duration::from_secs(3),
            outgoing: 8 * 1024 * 1024,
            incoming: 8 * 1024 * 1024,
            listed: None,
            uncertainty: Uncertainty::default(),
        }
    }

    /// Names this node. A node that starts under the name of one that is silent takes its place within 3 s, instead of
    /// beside it until the lease ends; two that live under one name are told by
    /// [`DuplicateName`](crate::ClusterEventKind::DuplicateName). Default: the first digits of its id.
    #[must_use]
    pub fn node(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Signs what is said on the bus with HMAC-SHA256 (RFC 2104), and believes nothing that is not signed with this key.
    /// It protects from others on the same bus; it does not encrypt. At least 16 bytes, the same at every node. Default:
    /// nothing is signed.
    #[must_use]
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.keys.insert(0, key.as_ref().to_vec().into());
        self
    }

    /// Also believes what is signed with this previous key, for the time of a change of keys.
    #[must_use]
    pub fn previous_key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.keys.push(key.as_ref().to_vec().into());
        self
    }

    /// Sets after how long a node that is not heard counts as gone, with all its connections. At least 3 s. Default: 12 s.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets how long after their last connection users are still [there](crate::PresenceEventKind::Left): who comes back
    /// meanwhile, at whatever node, has not left. Default: 3 s.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Chooses the channels whose members are known to all nodes, one by one, with their ids and users. Of the others the
    /// numbers are known. Each member takes about 200 bytes at every node. Default: none.
    #[must_use]
    pub fn list_members(mut self, of: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.listed = Some(Arc::new(of));
        self
    }

    /// Sets how many bytes may wait to be sent on the bus, and how many that were heard wait to be delivered: at least
    /// 64 KiB. Default: 8 MiB each.
    #[must_use]
    pub fn queues(mut self, outgoing: usize, incoming: usize) -> Self {
        (self.outgoing, self.incoming) = (outgoing, incoming);
        self
    }

    /// Sets what becomes of connections that may have been revoked while this node was cut off. Default:
    /// [`Uncertainty::Close`].
    #[must_use]
    pub fn when_uncertain(mut self, uncertainty: Uncertainty) -> Self {
        self.uncertainty = uncertainty;
        self
    }

    pub(crate) fn check(&self) -> Result<(), InvalidCluster> {
        for name in [Some(&*self.app), self.name.as_deref()].into_iter().flatten() {
            let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(is_valid) {
                return Err(InvalidCluster::Name(name.to_owned()));
            }
        }
        if self.keys.iter().any(|key| key.expose_secret().len() < SHORTEST_KEY) {
            return Err(InvalidCluster::Key);
        }
        if self.lease < SHORTEST_LEASE {
            return Err(InvalidCluster::Lease);
        }
        if self.outgoing.min(self.incoming) < SMALLEST_QUEUE {
            return Err(InvalidCluster::Queue);
        }
        Ok(())
    }

    pub(crate) fn lists(&self, channel: &str) -> bool {
        // Of a rule that panics, no channel is listed.
        self.listed.as_ref().is_some_and(|of| catch_panic(|| of(channel)).unwrap_or(false))
    }
}

impl fmt::Debug for ClusterParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterParams")
            .field("app", &self.app)
            .field("name", &self.name)
            .field("lease", &self.lease)
            .field("linger", &self.linger)
            .field("is_signed", &!self.keys.is_empty())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::MemoryBus;

    fn params(app: &str) -> ClusterParams {
        ClusterParams::new(app, MemoryBus::new())
    }

    #[test]
    fn each_invalid_parameter_is_named() {
        assert_eq!(params("chat").node("a-1_B").key("0123456789abcdef").check(), Ok(()));
        for name in ["", "a.b", "a b", "é", ">", "*", &"x".repeat(LONGEST_NAME + 1)] {
            assert_eq!(params(name).check(), Err(InvalidCluster::Name(name.to_owned())));
            assert_eq!(params("chat").node(name).check(), Err(InvalidCluster::Name(name.to_owned())));
        }
        assert_eq!(params("chat").key("short").check(), Err(InvalidCluster::Key));
        assert_eq!(params("chat").previous_key("").check(), Err(InvalidCluster::Key));
        assert_eq!(params("chat").lease(Duration::from_millis(2999)).check(), Err(InvalidCluster::Lease));
        assert_eq!(params("chat").queues(1, usize::MAX).check(), Err(InvalidCluster::Queue));
    }

    #[test]
    fn keys_are_not_shown() {
        let shown = format!("{:?}", params("chat").key("a secret that nobody sees"));
        assert!(shown.contains("is_signed: true") && !shown.contains("secret"), "{shown}");
    }
}
