//! Which node of a cluster.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};
use uuid::{Builder, Uuid};

/// The id of one run of a server as a node of its cluster: random, and another one after each start.
#[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeId([u8; 16]);

/// A node of a cluster.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Of this run of it.
    pub id: NodeId,
    /// The [name](crate::ClusterParams::node) that the operator gave it; the first digits of the id without one.
    #[serde(serialize_with = "as_text")]
    pub name: Arc<str>,
}

fn as_text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

impl NodeId {
    pub(crate) fn random() -> Self {
        Self(Builder::from_random_bytes(rand::random()).into_uuid().into_bytes())
    }

    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// What a node without a name is called.
    pub(crate) fn short(&self) -> Arc<str> {
        self.to_string()[..8].into()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).simple().fmt(f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for NodeId {
    /// As its 32 digits for readers, as its 16 bytes between nodes.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl fmt::Display for NodeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
