//! Servers that are nodes of a cluster, and devices that are connected to them.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use websockets_simple_client::{ClientEvent, ClientParams, Events, WebsocketClient};
use websockets_simple_server::{
    Authenticated, ClientId, ClusterEventKind, ClusterParams, Connection, Credentials, Event,
    HandshakeRequest, Message, NatsBus, Placement, PresenceEventKind, RedisBus, Remote, ServerParams, User,
    UserService, UserServiceError, WebsocketServerAuth, async_trait,
};

use crate::{next, opened, started, text, within};

#[cfg(unix)]
pub mod process;

/// The application that nodes over a server of a bus serve.
pub const APP: &str = "chat";

/// A server whose users are who their tokens say.
pub type NodeServer = WebsocketServerAuth<String>;

/// Around the name of a user in the token.
const TOKEN: [&str; 2] = ["the-token-of-", "-that-nobody-guesses"];

/// Each user has a [`token`].
struct ByName;

#[async_trait]
impl UserService for ByName {
    type Id = String;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<String>>, UserServiceError> {
        let token = credentials.token().map_or("", |token| token.expose());
        let user = token.strip_prefix(TOKEN[0]).and_then(|rest| rest.strip_suffix(TOKEN[1]));
        Ok(user.map(|user| Authenticated::new(user.to_owned())))
    }
}

/// A server whose users each have a [`token`]. The query says which groups and which id a client gets.
#[must_use]
pub fn server(params: ClusterParams) -> NodeServer {
    server_with(ServerParams::local(), params)
}

/// The same, with parameters of its own.
#[must_use]
pub fn server_with(server: ServerParams, params: ClusterParams) -> NodeServer {
    let placed = WebsocketServerAuth::new(server, ByName).with_placement(|request, _user| {
        let head = request.head();
        let groups = head.query("groups").unwrap_or_default();
        let placement =
            groups.split(',').filter(|group| !group.is_empty()).fold(Placement::new(), Placement::group);
        match head.query("id").and_then(|id| ClientId::new(&id).ok()) {
            Some(id) => placement.client_id(id),
            None => placement,
        }
    });
    placed.with_cluster(params)
}

/// The token of a user.
#[must_use]
pub fn token(user: &str) -> String {
    let [before, behind] = TOKEN;
    format!("{before}{user}{behind}")
}

/// The parameters of a node whose bus has this URL.
///
/// # Panics
///
/// When it is no URL of NATS or Redis.
#[must_use]
pub fn params_over(bus: &str) -> ClusterParams {
    let params = match bus.starts_with("nats:") {
        true => ClusterParams::new(APP, NatsBus::new(bus).expect("a URL of NATS")),
        false => ClusterParams::new(APP, RedisBus::new(bus).expect("a URL of Redis")),
    };
    params.key("a key of the cluster, of 16 bytes or more")
}

/// Starts servers, and waits until each hears all others.
pub async fn all_started(nodes: &[NodeServer]) -> Vec<SocketAddr> {
    let mut addrs = Vec::new();
    for node in nodes {
        addrs.push(started(node).await);
    }
    all_ready(nodes).await;
    addrs
}

/// Waits until each server hears all others, and knows who is connected to them.
pub async fn all_ready(nodes: &[NodeServer]) {
    for node in nodes {
        eventually(|| node.cluster().ready() && node.presence().nodes().len() == nodes.len()).await;
    }
}

/// Resolves when something has become true, which is looked at again and again.
///
/// # Panics
///
/// When it does not in time.
pub async fn eventually(mut is_true: impl FnMut() -> bool) {
    let becomes_true = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(becomes_true).await;
}

/// A client, what it hears, and its connection at its server.
#[derive(Debug)]
pub struct Device {
    /// The client.
    pub client: WebsocketClient,
    /// What it hears.
    pub heard: Events<ClientEvent>,
    /// At its server.
    pub connection: Connection<User<String>>,
}

/// A device of a user, connected to a node.
///
/// # Panics
///
/// When it cannot connect.
pub async fn device(node: &NodeServer, user: &str, path: &str) -> Device {
    let mut events = node.events();
    let addr = node.local_addr().expect("it runs");
    let params = ClientParams::url(&format!("ws://{addr}{path}")).expect("a URL").token(token(user));
    let client = WebsocketClient::new(params).expect("the parameters are right");
    let heard = client.events();
    client.connect().await.expect("it connects");
    Device { client, heard, connection: opened(&mut events).await }
}

/// The next event of the cluster.
pub async fn cluster_event(events: &mut Events<Event<User<String>>>) -> ClusterEventKind {
    next(events, |event| match event {
        Event::Cluster(event) => Some(event.kind),
        _ => None,
    })
    .await
}

/// The next event of a user who joins or leaves.
pub async fn presence_event(events: &mut Events<Event<User<String>>>) -> (String, PresenceEventKind) {
    next(events, |event| match event {
        Event::Presence(event) => Some((event.user, event.kind)),
        _ => None,
    })
    .await
}

/// Devices at three nodes, one of whose users has two.
#[derive(Debug)]
pub struct Crowd {
    /// What each is called, and the number of its node.
    pub devices: Vec<(&'static str, usize, Device)>,
}

impl Crowd {
    /// Connects them.
    ///
    /// # Panics
    ///
    /// When one cannot.
    pub async fn connect(nodes: &[NodeServer]) -> Self {
        let mut devices = Vec::new();
        for (name, node, user, path) in [
            ("ann-0", 0, "ann", "/a?id=ann-0&groups=red"),
            ("ann-1", 1, "ann", "/a?id=ann-1&groups=red,blue"),
            ("ben-1", 1, "ben", "/a?id=ben-1"),
            ("cat-2", 2, "cat", "/a?id=cat-2&groups=blue"),
            ("cat-0", 0, "cat", "/b?id=cat-0&groups=red"),
            ("dan-2", 2, "dan", "/b?id=dan-2"),
        ] {
            devices.push((name, node, device(&nodes[node], user, path).await));
        }
        for node in nodes {
            node.cluster().settled().await.expect("the bus is there");
            let presence = node.presence();
            eventually(|| presence.channel("/a").connections == 4 && presence.channel("/b").connections == 2)
                .await;
            eventually(|| *presence.count() == 4 && *presence.devices("ann") == 2).await;
        }
        Self { devices }
    }

    /// The connection of one.
    ///
    /// # Panics
    ///
    /// When there is none of this name.
    #[must_use]
    pub fn connection(&self, name: &str) -> Connection<User<String>> {
        let found = self.devices.iter().find(|(of, ..)| *of == name);
        found.expect("one of the devices").2.connection.clone()
    }

    /// Who has heard something since the last time. Each node says something to all, so that what came before it is all
    /// there is.
    ///
    /// # Panics
    ///
    /// When somebody has heard it twice.
    pub async fn heard(&mut self, nodes: &[NodeServer]) -> BTreeSet<&'static str> {
        for node in nodes {
            node.cluster().settled().await.expect("the bus is there");
            node.to_all().send_text("end").expect("no level is set");
        }
        let mut heard = BTreeSet::new();
        for (name, _, device) in &mut self.devices {
            let mut ends = 0;
            while ends < nodes.len() {
                match &*text(&mut device.heard).await {
                    "end" => ends += 1,
                    _ => assert!(heard.insert(*name), "{name} heard it twice"),
                }
            }
        }
        heard
    }
}

/// Sends to each kind of audience from each node: exactly whom it names hears it, once, wherever they are.
///
/// # Panics
///
/// When anybody else does, or not.
pub async fn each_audience(nodes: &[NodeServer]) {
    let mut crowd = Crowd::connect(nodes).await;
    let id = |name: &str| ClientId::new(name).expect("an id");
    let (ann, cat) = (crowd.connection("ann-0"), crowd.connection("cat-2"));
    for (from, node) in nodes.iter().enumerate() {
        let all = ["ann-0", "ann-1", "ben-1", "cat-2", "cat-0", "dan-2"];
        let audiences: [(&str, _, &[&str]); 17] = [
            ("all", node.to_all(), &all),
            ("channel", node.to_channel("/a"), &["ann-0", "ann-1", "ben-1", "cat-2"]),
            ("channels", node.to_channel("/a").channel("/b"), &all),
            ("group", node.to_group("/a", "red"), &["ann-0", "ann-1"]),
            ("groups", node.to_group("/a", "red").group("blue"), &["ann-0", "ann-1", "cat-2"]),
            ("group anywhere", node.to_all().group("red"), &["ann-0", "ann-1", "cat-0"]),
            ("user", node.to_user("ann"), &["ann-0", "ann-1"]),
            ("users", node.to_user("ann").user("dan"), &["ann-0", "ann-1", "dan-2"]),
            ("user in a channel", node.to_channel("/b").user("cat"), &["cat-0"]),
            ("client", node.to_client(&id("cat-2")), &["cat-2"]),
            (
                "user and client",
                node.to_user("ann").client(&id("ann-1")).client(&id("ben-1")),
                &["ann-0", "ann-1", "ben-1"],
            ),
            ("nobody", node.to_channel("/c"), &[]),
            ("but a connection", node.to_all().except(&cat), &["ann-0", "ann-1", "ben-1", "cat-0", "dan-2"]),
            ("but connections", node.to_channel("/a").except_all([&ann, &cat]), &["ann-1", "ben-1"]),
            (
                "but a channel and a group",
                node.to_all().except_channel("/b").except_group("blue"),
                &["ann-0", "ben-1"],
            ),
            ("but a client", node.to_user("ann").except_client(&id("ann-1")), &["ann-0"]),
            ("but a user", node.to_channel("/a").except_user("ann"), &["ben-1", "cat-2"]),
        ];
        for (kind, audience, expected) in audiences {
            let report = audience.send_text("for you").expect("no level is set");
            let here = kind == "client" && from == 2;
            let remote = if here { Remote::Alone } else { Remote::Handed };
            assert_eq!(report.remote, remote, "{kind} from {from}");
            let heard = crowd.heard(nodes).await;
            assert_eq!(heard, expected.iter().copied().collect(), "{kind} from {from}");
            let sent = audience.here().send(Message::text("here")).expect("no level is set");
            assert_eq!(sent.remote, Remote::Alone);
            let here: BTreeSet<_> =
                crowd.devices.iter().filter(|(_, at, _)| *at == from).map(|(name, ..)| *name).collect();
            let expected = heard.intersection(&here).copied().collect();
            assert_eq!(crowd.heard(nodes).await, expected, "{kind} at {from} alone");
        }
    }
}
