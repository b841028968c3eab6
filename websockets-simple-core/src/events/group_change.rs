//! A client has joined or left a group by itself.

use crate::protocol::GroupName;

/// A change of the groups that a client is in, which the client has asked for.
#[derive(Clone, Debug)]
pub struct GroupChange {
    /// The group.
    pub group: GroupName,
    /// Whether the client is in it now.
    pub joined: bool,
}
