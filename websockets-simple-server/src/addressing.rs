//! The open connections of a server, and the targets of messages.

pub use audience::Audience;
pub(crate) use group_rule::GroupRule;
pub(crate) use members::ListPositions;
pub(crate) use placement::PlacedConnection;
pub use placement::Placement;
pub(crate) use registry::{Registered, Registry, UserPermit};
pub(crate) use unlisted::{UnlistedConnections, UnlistedGuard};

mod audience;
pub(crate) mod group_rule;
mod members;
mod placement;
mod registry;
mod unlisted;
