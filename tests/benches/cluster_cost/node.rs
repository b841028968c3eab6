//! The process of a node.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use websockets_simple_server::{
    Authenticated, ClusterParams, Credentials, HandshakeRequest, Limits, NatsBus, OverflowPolicy, Placement,
    RedisBus, Remote, ServerParams, UserService, UserServiceError, WebsocketServerAuth, async_trait,
};

use crate::{
    helper::orders,
    raw_bus::{PACE, stamp},
};

/// Knows everybody who shows a token.
struct Anybody;

#[async_trait]
impl UserService for Anybody {
    type Id = String;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<String>>, UserServiceError> {
        Ok(credentials.token().map(|token| Authenticated::new(token.expose().to_owned())))
    }
}

/// A bus by its URL.
pub(crate) fn params(url: &str) -> ClusterParams {
    match url.starts_with("nats") {
        true => ClusterParams::new("bench", NatsBus::new(url).unwrap()),
        false => ClusterParams::new("bench", RedisBus::new(url).unwrap()),
    }
}

/// Runs until the orders end: `latency` and a count sends messages that are timed, `burst` and `nobody` send many, to
/// whoever is in the room or to a group that nobody is in, `heard` waits until so many were heard.
pub(crate) async fn run(name: String, url: String) {
    let limits = Limits::default().connections_per_ip(usize::MAX).messages_per_second(None);
    let server = ServerParams::local().limits(limits).outbox(64 << 20);
    let server = server.overflow(OverflowPolicy::Wait(Duration::from_secs(30)));
    let server = WebsocketServerAuth::new(server, Anybody).with_placement(|_, _| Placement::new());
    let server = server.with_cluster(params(&url).node(&name));
    server.start().await.unwrap();
    server.cluster().until_ready().await;
    println!("{}", server.local_addr().unwrap());
    let mut orders = orders();
    while let Some(order) = orders.next_line().await.unwrap() {
        let (order, count) = order.split_once(' ').unwrap();
        let count: usize = count.parse().unwrap();
        match order {
            "latency" => {
                let mut pace = interval(PACE);
                pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                for _ in 0..count {
                    pace.tick().await;
                    let report = server.to_channel("/room").send_text(stamp()).unwrap();
                    assert_eq!(report.remote, Remote::Handed);
                }
            }
            "burst" | "nobody" => {
                let text = "x".repeat(128);
                let room = match order {
                    "burst" => server.to_channel("/room"),
                    _ => server.to_group("/room", "nobody"),
                };
                for _ in 0..count {
                    let report = room.send_text(text.as_str()).unwrap();
                    assert_eq!(report.remote, Remote::Handed);
                }
            }
            "heard" => {
                while (server.cluster().figures().heard as usize) < count {
                    let figures = server.cluster().figures();
                    assert_eq!((figures.missed, figures.overflowed), (0, 0));
                    tokio::time::sleep(Duration::from_micros(500)).await;
                }
            }
            "nodes" => {
                while !server.cluster().ready() || server.presence().nodes().len() < count {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            _ => panic!("no order: {order}"),
        }
        println!("done");
    }
}
