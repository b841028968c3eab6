//! Whom messages go to: channels, groups, users, single connections, with exceptions.
//!
//! A connection is in one channel for its whole life, in any number of the channel's groups, and has an id; a
//! [`Placement`] chooses them. An [`Audience`] selects connections by these, and sends to them.
//!
//! | receivers | call |
//! |---|---|
//! | all | [`Server::broadcast`](crate::Server::broadcast), [`to_all`](crate::Server::to_all) |
//! | a channel, a group in it | [`to_channel`](crate::Server::to_channel), [`to_group`](crate::Server::to_group) |
//! | the channel of a connection, a group in it | [`Connection::to_channel`](crate::Connection::to_channel), [`to_group`](crate::Connection::to_group) |
//! | a user, a connection | [`to_user`](crate::WebsocketServerAuth::to_user), [`to_client`](crate::Server::to_client) |

pub use crate::config::{BroadcastLevel, ClientId, IdSigning, InvalidClientId, InvalidSignature};
pub use audience::Audience;
pub(crate) use group_rule::GroupRule;
pub(crate) use members::{ListPositions, Snapshot};
pub(crate) use placement::PlacedConnection;
pub use placement::Placement;
pub(crate) use registry::{Registered, Registry};
pub(crate) use reserved::{ReservedId, UserPermit};
pub(crate) use revocable::RevocableConnections;
pub(crate) use unlisted::{UnlistedConnections, UnlistedGuard};

mod audience;
pub(crate) mod group_rule;
mod members;
mod placement;
mod registry;
#[cfg(feature = "cluster")]
mod remote;
mod reserved;
mod revocable;
mod unlisted;
