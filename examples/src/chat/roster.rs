//! The people in the room and their devices.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use websockets_simple_server::{ClientId, Connection, Identity, Message};

use super::{ChatPacket, SUBPROTOCOL, side_rooms::SideRooms, wire::SideRoom};

/// The people in the room and their devices. Packets sent through one roster reach all devices in the same order.
pub(crate) struct Roster<I: Identity> {
    devices: HashMap<ClientId, Device<I>>,
    people: BTreeMap<Arc<str>, Vec<ClientId>>,
    guests: u64,
    pub(crate) rooms: SideRooms,
}

struct Device<I: Identity> {
    connection: Connection<I>,
    name: Arc<str>,
    /// Whether it has asked for the list of rooms, and gets it again when it changes.
    lists_rooms: bool,
}

/// A packet in both its forms, encoded once for all receivers.
struct Spoken {
    tagged: Message,
    plain: Message,
}

impl<I: Identity> Roster<I> {
    pub(crate) fn new() -> Self {
        Self { devices: HashMap::new(), people: BTreeMap::new(), guests: 0, rooms: SideRooms::default() }
    }

    /// Adds a device. True if it is the first of this person.
    pub(crate) fn enter(&mut self, connection: &Connection<I>, name: &str) -> bool {
        let name: Arc<str> = name.into();
        let devices = self.people.entry(Arc::clone(&name)).or_default();
        devices.push(connection.id().clone());
        let first = devices.len() == 1;
        self.devices.insert(
            connection.id().clone(),
            Device { connection: connection.clone(), name, lists_rooms: false },
        );
        first
    }

    /// Removes a device. Returns the name if it was the last device of this person.
    pub(crate) fn leave(&mut self, connection: &ClientId) -> Option<Arc<str>> {
        let name = self.devices.remove(connection)?.name;
        let devices = self.people.get_mut(&name)?;
        devices.retain(|device| device != connection);
        if !devices.is_empty() {
            return None;
        }
        self.people.remove(&name);
        Some(name)
    }

    /// The name of the person with this device.
    pub(crate) fn name_of(&self, connection: &ClientId) -> Option<Arc<str>> {
        self.devices.get(connection).map(|device| Arc::clone(&device.name))
    }

    pub(crate) fn is_here(&self, name: &str) -> bool {
        self.people.contains_key(name)
    }

    /// The names of all people, in alphabetical order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.people.keys().map(|name| name.to_string()).collect()
    }

    /// A free name for a guest: the one that the guest asked for, with a number appended if it is taken; or `Guest`
    /// with a number.
    pub(crate) fn free_name(&mut self, wished: Option<&str>) -> String {
        if let Some(wished) = wished
            && !self.is_taken(wished)
        {
            return wished.to_owned();
        }
        let mut number = 1;
        loop {
            let name = match wished {
                Some(wished) => {
                    number += 1;
                    format!("{wished}-{number}")
                }
                None => {
                    self.guests += 1;
                    format!("Guest-{}", self.guests)
                }
            };
            if !self.is_taken(&name) {
                return name;
            }
        }
    }

    /// Whether a name is taken. Case is ignored, so that no guest can imitate another.
    fn is_taken(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.people.keys().any(|taken| taken.to_lowercase() == name)
    }

    /// Whether any device of this person is in a room.
    pub(crate) fn is_in(&self, name: &str, room: &str) -> bool {
        let mut devices = self.people.get(name).into_iter().flatten();
        devices.any(|device| self.rooms.has(device, room))
    }

    /// All rooms, and the people in them.
    pub(crate) fn list_rooms(&self) -> ChatPacket {
        let names = |devices: &HashSet<ClientId>| -> BTreeSet<String> {
            devices
                .iter()
                .filter_map(|device| self.devices.get(device))
                .map(|device| device.name.to_string())
                .collect()
        };
        let rooms = self.rooms.iter();
        ChatPacket::Rooms {
            rooms: rooms
                .map(|(name, devices)| SideRoom {
                    name: name.to_owned(),
                    people: names(devices).into_iter().collect(),
                })
                .collect(),
        }
    }

    /// Sends this device the list of rooms from now on whenever it changes.
    pub(crate) fn keep_listing_rooms(&mut self, connection: &ClientId) {
        if let Some(device) = self.devices.get_mut(connection) {
            device.lists_rooms = true;
        }
    }

    /// Sends the list of rooms to all devices that have asked for it.
    pub(crate) fn tell_rooms(&self) {
        let spoken = Spoken::new(&self.list_rooms());
        for device in self.devices.values().filter(|device| device.lists_rooms) {
            spoken.to(&device.connection);
        }
    }

    /// Sends a packet to all devices in a room.
    pub(crate) fn tell_room(&self, room: &str, packet: &ChatPacket) {
        let spoken = Spoken::new(packet);
        for device in self.rooms.devices(room).filter_map(|device| self.devices.get(device)) {
            spoken.to(&device.connection);
        }
    }

    pub(crate) fn tell_all(&self, packet: &ChatPacket) {
        let spoken = Spoken::new(packet);
        for device in self.devices.values() {
            spoken.to(&device.connection);
        }
    }

    /// Sends a packet to all devices of these people, once each.
    pub(crate) fn tell_people(&self, names: [&str; 2], packet: &ChatPacket) {
        let spoken = Spoken::new(packet);
        let [one, other] = names;
        let other = (other != one).then_some(other);
        let devices = std::iter::once(one).chain(other).filter_map(|name| self.people.get(name)).flatten();
        for device in devices.filter_map(|device| self.devices.get(device)) {
            spoken.to(&device.connection);
        }
    }
}

/// Sends a packet to one device.
pub(crate) fn tell<I: Identity>(connection: &Connection<I>, packet: &ChatPacket) {
    Spoken::new(packet).to(connection);
}

impl Spoken {
    fn new(packet: &ChatPacket) -> Self {
        Self {
            tagged: Message::from_json(packet).expect("a packet of strings has a JSON form"),
            plain: Message::text(packet.to_string()),
        }
    }

    /// Errors are ignored: a device that is gone, or reads too slowly and is therefore disconnected, gets its
    /// Disconnected event anyway.
    fn to<I: Identity>(&self, connection: &Connection<I>) {
        let speaks_packets = connection.subprotocol() == Some(SUBPROTOCOL);
        let _ = connection.try_send(if speaks_packets { &self.tagged } else { &self.plain });
    }
}

impl<I: Identity> fmt::Debug for Roster<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roster").field("people", &self.people).finish_non_exhaustive()
    }
}
