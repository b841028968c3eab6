//! A node, as another one knows it.

use std::time::Duration;

use serde::Serialize;

use crate::{cluster::NodeInfo, figures::as_seconds};

/// Another node, or this one. Serialized with its age in seconds.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NodePresence {
    /// The node.
    pub info: NodeInfo,
    /// Whether it is this one.
    pub is_here: bool,
    /// How long ago it was last heard; zero for this one.
    #[serde(serialize_with = "as_seconds")]
    pub age: Duration,
    /// How many connections it has.
    pub connections: u64,
}
