//! The rooms besides the common one, and the devices in them.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use websockets_simple_server::ClientId;

use super::name;

/// Rooms that one device may be in.
pub(crate) const MOST: usize = 16;

/// Which devices are in which room. A room exists as long as a device is in it.
#[derive(Debug, Default)]
pub(crate) struct SideRooms {
    rooms: BTreeMap<Arc<str>, HashSet<ClientId>>,
}

impl SideRooms {
    /// Adds a device to a room. False if it is already in too many rooms.
    pub(crate) fn enter(&mut self, device: &ClientId, room: &str) -> bool {
        if !self.has(device, room) && self.of(device).len() >= MOST {
            return false;
        }
        self.rooms.entry(room.into()).or_default().insert(device.clone());
        true
    }

    pub(crate) fn exit(&mut self, device: &ClientId, room: &str) {
        if let Some(devices) = self.rooms.get_mut(room) {
            devices.remove(device);
            if devices.is_empty() {
                self.rooms.remove(room);
            }
        }
    }

    pub(crate) fn has(&self, device: &ClientId, room: &str) -> bool {
        self.rooms.get(room).is_some_and(|devices| devices.contains(device))
    }

    /// The rooms that a device is in.
    pub(crate) fn of(&self, device: &ClientId) -> Vec<Arc<str>> {
        let there = self.rooms.iter().filter(|(_, devices)| devices.contains(device));
        there.map(|(room, _)| Arc::clone(room)).collect()
    }

    /// All rooms, in alphabetical order, with the devices in them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &HashSet<ClientId>)> {
        self.rooms.iter().map(|(room, devices)| (&**room, devices))
    }
}

/// The name of a room for the one that was asked for, `None` if nothing is left of it. Case is ignored: the name is in
/// lower case.
#[must_use]
pub fn clean(asked: &str) -> Option<String> {
    name::clean(asked).map(|name| name.to_lowercase())
}
