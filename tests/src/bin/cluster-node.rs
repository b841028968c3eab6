//! A node of a cluster that is told what to do, and may be killed: `cluster-node <bus> <name> <address> <lease in ms>`.
//!
//! Prints JSON, one object a line: where it listens, then each event and each answer. Reads commands in the same way, and
//! ends with them.
#![expect(clippy::print_stdout, reason = "a program")]

use std::{error::Error, net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    task::JoinSet,
};
use websockets_simple_server::{
    Audience, CloseCode, ClusterEventKind, Endpoint, Event, Limits, PresenceEventKind, Revocation,
    ServerParams, User,
};
use websockets_simple_tests::cluster::{NodeServer, params_over, server_with};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [bus, name, address, lease] = &*arguments else { return Err("bus, name, address, lease?".into()) };
    let address: SocketAddr = address.parse()?;
    let params = params_over(bus).node(name).lease(Duration::from_millis(lease.parse()?));
    // Clients that come and go faster than people do.
    let limits = Limits::default().connections_per_ip(usize::MAX);
    let server = server_with(ServerParams::local().endpoint(Endpoint::tcp(address)).limits(limits), params);
    let mut events = server.events();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Some(event) = events.recv().await {
            if let Some(told) = told(event) {
                println!("{told}");
            }
        }
    });
    server.start().await?;
    println!("{}", json!({ "address": server.local_addr().ok_or("it listens")?.to_string() }));
    let mut commands = BufReader::new(stdin()).lines();
    while let Some(command) = commands.next_line().await? {
        let command = serde_json::from_str(&command)?;
        println!("{}", json!({ "answer": obey(&server, &command).await? }));
    }
    Ok(())
}

fn told(event: Event<User<String>>) -> Option<Value> {
    let kind = match event {
        Event::Presence(event) => {
            let kind = match event.kind {
                PresenceEventKind::Joined => "Joined",
                PresenceEventKind::Left => "Left",
                _ => return None,
            };
            return Some(json!({ "event": kind, "user": event.user }));
        }
        Event::Cluster(event) => event.kind,
        _ => return None,
    };
    Some(match kind {
        ClusterEventKind::Up => json!({ "event": "Up" }),
        ClusterEventKind::Down(why) => json!({ "event": "Down", "why": *why }),
        ClusterEventKind::NodeJoined(node) => json!({ "event": "NodeJoined", "node": *node.name }),
        ClusterEventKind::NodeLeft(node) => json!({ "event": "NodeLeft", "node": *node.name }),
        ClusterEventKind::Missed { node, messages } => {
            json!({ "event": "Missed", "node": *node.name, "messages": messages })
        }
        ClusterEventKind::OtherVersion { node, version } => {
            json!({ "event": "OtherVersion", "node": node.to_string(), "version": version })
        }
        other => json!({ "event": format!("{other:?}") }),
    })
}

async fn obey(server: &NodeServer, command: &Value) -> Result<Value, Failure> {
    let word = |name: &str| command[name].as_str().ok_or_else(|| format!("{name}?"));
    let (cluster, presence) = (server.cluster(), server.presence());
    Ok(match word("do")? {
        "send" => {
            let report = audience(server, command)?.send_text(word("text")?)?;
            json!({ "accepted": report.accepted, "remote": report.remote })
        }
        "close" => json!(audience(server, command)?.close(CloseCode::new(4100)?, "closed")),
        "revoke" => json!(server.revoke(&Revocation::User(word("user")?.to_owned()))),
        "online" => json!(*presence.is_online(word("user")?)),
        "presence" => {
            let mut nodes: Vec<_> = presence.nodes().iter().map(|node| node.info.name.to_string()).collect();
            nodes.sort();
            json!({ "nodes": nodes, "users": *presence.count(), "ready": cluster.ready() })
        }
        "figures" => json!(cluster.figures()),
        "settled" => json!(cluster.settled().await.is_ok()),
        "stop" => {
            server.stop().await;
            json!(true)
        }
        other => return Err(format!("{other}?").into()),
    })
}

/// A user, a channel, or all.
fn audience(server: &NodeServer, command: &Value) -> Result<Audience<User<String>>, Failure> {
    Ok(match (command["user"].as_str(), command["channel"].as_str()) {
        (Some(user), None) => server.to_user(user),
        (None, Some(channel)) => server.to_channel(channel),
        (None, None) => server.to_all(),
        _ => return Err("a user or a channel".into()),
    })
}
