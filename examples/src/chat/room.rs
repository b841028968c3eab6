//! The room: handles the events of a server and passes on what people say.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use websockets_simple_server::{
    Anonymous, Connection, ConnectionEventKind, Endpoint, Event, GroupEvent, GroupEventKind, Guard, Handler,
    Heartbeat, HeartbeatMode, Identity, Limits, Message, Operations, PresenceEvent, PresenceEventKind,
    Server, ServerParams, Subscription, User, WebsocketServer, WebsocketServerAuth,
};

use super::{
    ChatPacket, SUBPROTOCOL, name,
    roster::{News, Roster, tell},
    side_rooms,
    wire::one_line,
};

/// Bytes of the longest message that a client may send.
const MAX_MESSAGE: usize = 64 * 1024;

/// The interval of the heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Parameters of a chat server. The heartbeat uses ping frames, as the text `ping` is an ordinary word in a chat.
#[must_use]
pub fn params(endpoint: Endpoint) -> ServerParams {
    ServerParams::local()
        .endpoint(endpoint)
        .subprotocols([SUBPROTOCOL])
        .heartbeat(Heartbeat::new(HEARTBEAT, HeartbeatMode::Ping))
        .operations(Operations::new().metrics(Guard::loopback()).live_page(Guard::loopback()))
        .limits(Limits::default().message_size(MAX_MESSAGE).groups_per_connection(side_rooms::MOST))
}

/// The room of a chat server, also of one that is a node of a cluster.
///
/// All people get `NAME joined.`, the newcomer included; then the newcomer gets `Welcome NAME.`. A text reaches all
/// people, the sender included, in the same order. A person may have several devices: `joined` is sent for the first,
/// `left` for the last, `Welcome` to each.
///
/// For fewer listeners there are side rooms; each exists as long as a person is in it. A client enters one by a packet, or
/// by joining the group of that name.
///
/// In a cluster of servers with users all this crosses the nodes, but for two things. A person leaves some seconds after the
/// last device has gone, as it may come back at another node. And of the side rooms each node knows who is in them there:
/// its list of rooms is its own, and a person with devices at two nodes enters a room at both.
pub struct Room<I: Identity> {
    roster: Mutex<Roster<I>>,
    wish: fn(&Connection<I>) -> Wish,
    /// The name of a user of whom the cluster tells.
    name: fn(&I::Id) -> Option<&str>,
}

/// The name that a connection asks for.
enum Wish {
    /// The name of a known user, who may have several devices here.
    User(String),
    /// The name that a guest asked for. Guests are not authenticated, so each gets a name that no other person has.
    Guest(Option<String>),
}

impl Room<User<String>> {
    /// Opens a room in a server whose user ids are names.
    pub fn open_to_users(server: &WebsocketServerAuth<String>) -> Subscription<Event<User<String>>> {
        Self::new(|connection| Wish::User(connection.user_id().clone()), |user| Some(user)).open(server)
    }
}

impl Room<Anonymous> {
    /// Opens a room in a server without users. Guests give their name in the query: `?name=Ronald`.
    pub fn open_to_guests(server: &WebsocketServer) -> Subscription<Event<Anonymous>> {
        let wish = |connection: &Connection<_>| {
            Wish::Guest(connection.query("name").and_then(|asked| name::clean(&asked)))
        };
        Self::new(wish, |_| None).open(server)
    }
}

impl<I: Identity> Room<I> {
    fn new(wish: fn(&Connection<I>) -> Wish, name: fn(&I::Id) -> Option<&str>) -> Self {
        Self { roster: Mutex::new(Roster::new()), wish, name }
    }

    /// Clients may enter and leave side rooms as groups.
    fn open(self, server: &Server<I>) -> Subscription<Event<I>> {
        let _ = server.clone().with_group_rule(|_, group| side_rooms::clean(group).as_deref() == Some(group));
        server.subscribe(self)
    }

    fn enter(&self, connection: &Connection<I>) {
        let mut roster = self.roster();
        let name = match (self.wish)(connection) {
            Wish::User(name) => name,
            Wish::Guest(wished) => roster.free_name(wished.as_deref()),
        };
        let joined = ChatPacket::Joined { name: name.clone() };
        match roster.enter(connection, &name) {
            News::ToAll => roster.tell_here(&joined),
            News::ToItself => tell(connection, &joined),
            News::None => {}
        }
        tell(connection, &ChatPacket::Welcome { name });
    }

    fn leave(&self, connection: &Connection<I>) {
        let mut roster = self.roster();
        let rooms = roster.rooms.of(connection.id());
        for room in &rooms {
            exit(&mut roster, connection, room);
        }
        if !rooms.is_empty() {
            roster.tell_rooms();
        }
        if let Some(name) = roster.leave(connection.id()) {
            roster.tell_here(&ChatPacket::Left { name: name.to_string() });
        }
    }

    /// Says who has come and gone at other nodes. Each node says it to its own devices.
    fn notice(&self, event: &PresenceEvent<I>) {
        let Some(name) = (self.name)(&event.user) else { return };
        let mut roster = self.roster();
        let packet = match event.kind {
            PresenceEventKind::Joined if roster.joined(name) => ChatPacket::Joined { name: name.to_owned() },
            PresenceEventKind::Left if roster.left(name) => ChatPacket::Left { name: name.to_owned() },
            _ => return,
        };
        roster.tell_here(&packet);
    }

    fn hear(&self, connection: &Connection<I>, message: &Message) {
        let heard = ChatPacket::heard(message);
        let mut roster = self.roster();
        let Some(name) = roster.name_of(connection.id()) else { return };
        let from = Some(name.to_string());
        let refusal = match heard {
            Ok(ChatPacket::Say { text, .. }) => {
                let text = one_line(&text);
                // An empty line is ignored.
                if !text.trim().is_empty() {
                    roster.tell_all(&ChatPacket::Say { from, text });
                }
                return;
            }
            Ok(ChatPacket::Private { to, text, .. }) if roster.is_here(&to) => {
                let packet = ChatPacket::Private { from, to: to.clone(), text: one_line(&text) };
                return roster.tell_people([&to, &name], &packet);
            }
            Ok(ChatPacket::Tell { room, text, .. }) => {
                let room = side_rooms::clean(&room).unwrap_or_default();
                if roster.rooms.has(connection.id(), &room) {
                    let text = one_line(&text);
                    return roster.tell_room(&room, &ChatPacket::Tell { from, room: room.clone(), text });
                }
                "you are not in that room".to_owned()
            }
            Ok(ChatPacket::Enter { room }) => match enter(&mut roster, connection, &room) {
                Ok(()) => return roster.tell_rooms(),
                Err(reason) => reason,
            },
            Ok(ChatPacket::Exit { room }) => {
                let room = side_rooms::clean(&room).unwrap_or_default();
                if roster.rooms.has(connection.id(), &room) {
                    connection.leave(&room);
                    exit(&mut roster, connection, &room);
                    return roster.tell_rooms();
                }
                "you are not in that room".to_owned()
            }
            Ok(ChatPacket::List) => {
                roster.keep_listing_rooms(connection.id());
                return tell(connection, &roster.list_rooms());
            }
            Ok(ChatPacket::Who) => {
                return tell(connection, &ChatPacket::Online { names: roster.names() });
            }
            Ok(ChatPacket::Private { to, .. }) => {
                format!("{} is not here", one_line(&to).chars().take(name::MAX_CHARS).collect::<String>())
            }
            Ok(_) => "only the server says that".to_owned(),
            Err(misheard) => misheard.reason(),
        };
        tell(connection, &ChatPacket::Error { reason: refusal });
    }

    /// Takes a client that has joined a group into the room of that name, and out of it when it has left.
    fn follow(&self, event: &GroupEvent<I>) {
        let connection = &event.connection;
        let mut roster = self.roster();
        let done = match event.kind {
            GroupEventKind::Joined => enter(&mut roster, connection, &event.group),
            GroupEventKind::Left if roster.rooms.has(connection.id(), &event.group) => {
                exit(&mut roster, connection, &event.group);
                Ok(())
            }
            _ => return,
        };
        match done {
            Ok(()) => roster.tell_rooms(),
            Err(reason) => {
                connection.leave(&event.group);
                tell(connection, &ChatPacket::Error { reason });
            }
        }
    }

    /// Locks the roster. It stays locked while packets are sent, which never waits, so that all receivers get them in
    /// the same order.
    fn roster(&self) -> MutexGuard<'_, Roster<I>> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds a device to a room. The people in it are notified if it is the first device of its person; otherwise only that
/// device.
fn enter<I: Identity>(roster: &mut Roster<I>, connection: &Connection<I>, asked: &str) -> Result<(), String> {
    let room = side_rooms::clean(asked).ok_or("a room needs a name")?;
    let Some(name) = roster.name_of(connection.id()) else { return Ok(()) };
    let is_in = roster.is_in(&name, &room);
    if !roster.enter_room(connection, &room) {
        return Err(format!("nobody can be in more than {} rooms", side_rooms::MOST));
    }
    let entered = ChatPacket::Entered { room: room.clone(), name: name.to_string() };
    if is_in {
        tell(connection, &entered);
    } else {
        roster.tell_room(&room, &entered);
    }
    Ok(())
}

/// Removes a device from a room that it is in. The device is notified; if it was the last one of its person, also the
/// people in the room.
fn exit<I: Identity>(roster: &mut Roster<I>, connection: &Connection<I>, room: &str) {
    let Some(name) = roster.name_of(connection.id()) else { return };
    roster.exit_room(connection, room);
    let exited = ChatPacket::Exited { room: room.to_owned(), name: name.to_string() };
    tell(connection, &exited);
    if !roster.is_in(&name, room) {
        roster.tell_room(room, &exited);
    }
}

impl<I: Identity> Handler<Event<I>> for Room<I> {
    async fn handle(&self, event: Event<I>) {
        match event {
            Event::Message(event) => self.hear(&event.connection, &event.message),
            Event::Group(event) => self.follow(&event),
            Event::Presence(event) => self.notice(&event),
            Event::Connection(event) => match event.kind {
                ConnectionEventKind::Connected(connection) => self.enter(&connection),
                ConnectionEventKind::Disconnected(connection, _) => self.leave(&connection),
                _ => {}
            },
            _ => {}
        }
    }
}

impl<I: Identity> std::fmt::Debug for Room<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("roster", &self.roster).finish_non_exhaustive()
    }
}
