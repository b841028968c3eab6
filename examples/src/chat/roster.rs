//! The people in the room and their devices.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map::Entry},
    fmt,
    sync::Arc,
};

use websockets_simple_server::{Audience, ClientId, Connection, Identity, Message, Server};

use super::{ChatPacket, SUBPROTOCOL, side_rooms::SideRooms, wire::SideRoom};

/// The people in the room and their devices. Packets sent through one roster reach all devices in the same order.
///
/// Devices are in groups of the server, so that packets reach them at every node of a cluster. No client can join these
/// groups by itself, as their names have blanks.
pub(crate) struct Roster<I: Identity> {
    /// Of this node.
    devices: HashMap<ClientId, Device<I>>,
    /// The devices of those who have one here.
    here: HashMap<Arc<str>, Vec<ClientId>>,
    /// Who has joined, at whatever node, and whether the cluster has said so.
    people: BTreeMap<Arc<str>, bool>,
    guests: u64,
    pub(crate) rooms: SideRooms,
}

/// Who has to be told of a new device.
pub(crate) enum News {
    /// All, as the person was at no node.
    ToAll,
    /// Itself, as its person was at other nodes alone.
    ToItself,
    /// Nobody, as its person is here.
    None,
}

/// Which devices of a form.
enum Of<'a> {
    All,
    Person(&'a str),
    Room(&'a str),
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
        Self {
            devices: HashMap::new(),
            here: HashMap::new(),
            people: BTreeMap::new(),
            guests: 0,
            rooms: SideRooms::default(),
        }
    }

    /// Adds a device.
    pub(crate) fn enter(&mut self, connection: &Connection<I>, name: &str) -> News {
        let form = form_of(connection);
        connection.join(&Of::All.group(form));
        connection.join(&Of::Person(name).group(form));
        let (id, name): (_, Arc<str>) = (connection.id().clone(), name.into());
        let device = Device { connection: connection.clone(), name: Arc::clone(&name), lists_rooms: false };
        self.devices.insert(id.clone(), device);
        let devices = self.here.entry(Arc::clone(&name)).or_default();
        devices.push(id);
        match self.people.entry(name) {
            Entry::Vacant(person) => {
                person.insert(false);
                News::ToAll
            }
            Entry::Occupied(_) if devices.len() == 1 => News::ToItself,
            Entry::Occupied(_) => News::None,
        }
    }

    /// Removes a device. Returns the name if this person has left with it. In a cluster, [`left`](Self::left) says that.
    pub(crate) fn leave(&mut self, connection: &ClientId) -> Option<Arc<str>> {
        let name = self.devices.remove(connection)?.name;
        let devices = self.here.get_mut(&name)?;
        devices.retain(|device| device != connection);
        if !devices.is_empty() {
            return None;
        }
        self.here.remove(&name);
        if self.people.get(&name).is_some_and(|is_told| *is_told) {
            return None;
        }
        self.people.remove(&name);
        Some(name)
    }

    /// The cluster says that this person is there. True if that is news.
    pub(crate) fn joined(&mut self, name: &str) -> bool {
        self.people.insert(name.into(), true).is_none()
    }

    /// The cluster says that this person is there no more. False if a device has come since, of which it knows nothing
    /// yet.
    pub(crate) fn left(&mut self, name: &str) -> bool {
        if !self.here.contains_key(name) {
            return self.people.remove(name).is_some();
        }
        if let Some(is_told) = self.people.get_mut(name) {
            *is_told = false;
        }
        false
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
        self.people.keys().map(ToString::to_string).collect()
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

    /// Whether any device of this person is in a room, of those at this node.
    pub(crate) fn is_in(&self, name: &str, room: &str) -> bool {
        let mut devices = self.here.get(name).into_iter().flatten();
        devices.any(|device| self.rooms.has(device, room))
    }

    /// Adds a device to a room. False if it is already in too many rooms.
    pub(crate) fn enter_room(&mut self, connection: &Connection<I>, room: &str) -> bool {
        let has_entered = self.rooms.enter(connection.id(), room);
        if has_entered {
            connection.join(&Of::Room(room).group(form_of(connection)));
        }
        has_entered
    }

    pub(crate) fn exit_room(&mut self, connection: &Connection<I>, room: &str) {
        connection.leave(&Of::Room(room).group(form_of(connection)));
        self.rooms.exit(connection.id(), room);
    }

    /// All rooms with people at this node, and these people.
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

    /// Sends a packet to all devices in a room, at every node.
    pub(crate) fn tell_room(&self, room: &str, packet: &ChatPacket) {
        self.tell([Of::Room(room)], packet, |audience| audience);
    }

    /// Sends a packet to all devices, at every node.
    pub(crate) fn tell_all(&self, packet: &ChatPacket) {
        self.tell([Of::All], packet, |audience| audience);
    }

    /// Sends a packet to all devices of this node: the others know it by themselves.
    pub(crate) fn tell_here(&self, packet: &ChatPacket) {
        self.tell([Of::All], packet, Audience::here);
    }

    /// Sends a packet to all devices of these people, at every node, once each.
    pub(crate) fn tell_people(&self, names: [&str; 2], packet: &ChatPacket) {
        self.tell(names.map(Of::Person), packet, |audience| audience);
    }

    /// Errors are ignored: a device that reads too slowly is disconnected, and gets its Disconnected event.
    fn tell<const N: usize>(
        &self,
        to: [Of<'_>; N],
        packet: &ChatPacket,
        narrow: impl Fn(Audience<I>) -> Audience<I>,
    ) {
        let Some(server) = self.server() else { return };
        let Spoken { tagged, plain } = Spoken::new(packet);
        for (form, message) in [(PACKETS, tagged), (LINES, plain)] {
            let audience = to.iter().fold(server.to_all(), |audience, of| audience.group(&of.group(form)));
            let _ = narrow(audience).send(message);
        }
    }

    /// The server, if anybody is here.
    fn server(&self) -> Option<Server<I>> {
        self.devices.values().next().map(|device| device.connection.server())
    }
}

/// The form that devices of the subprotocol get.
const PACKETS: &str = "packets";

/// The form that all others get.
const LINES: &str = "lines";

fn form_of<I: Identity>(connection: &Connection<I>) -> &'static str {
    if connection.subprotocol() == Some(SUBPROTOCOL) { PACKETS } else { LINES }
}

impl Of<'_> {
    /// The group of those that get packets in this form.
    fn group(&self, form: &str) -> String {
        match self {
            Self::All => format!("{form} for all"),
            Self::Person(name) => format!("{form} for the person {name}"),
            Self::Room(room) => format!("{form} for the room {room}"),
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
        let _ = connection.try_send(if form_of(connection) == PACKETS { &self.tagged } else { &self.plain });
    }
}

impl<I: Identity> fmt::Debug for Roster<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roster").field("people", &self.people).finish_non_exhaustive()
    }
}
