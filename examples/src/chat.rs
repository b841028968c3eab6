//! The chat: its packets, its people and its rooms.

pub mod name;
pub mod wire;

mod room;
mod roster;
mod side_rooms;

pub use room::{Room, params};
pub use side_rooms::clean as room_name;
pub use wire::{ChatPacket, SideRoom};

/// The three users that the chat server invites.
pub const DEMO_USERS: [&str; 3] = ["Ronald", "John", "Adam"];

/// The subprotocol of clients that speak the tagged packet.
pub const SUBPROTOCOL: &str = "chat.v1";
