//! A server as one of several nodes, by the arguments of its program.

use std::{error::Error, path::PathBuf};

use clap::Args;
use tokio::sync::mpsc;
use websockets_simple_server::{ClusterEventKind, ClusterParams, Event, Identity, NatsBus, RedisBus, Server};

/// The application that the nodes of a bus serve: others may share the bus.
const APP: &str = "chat";

/// Lines that wait to be shown.
const LINES: usize = 64;

/// Arguments of a program that may be one of several nodes.
#[derive(Args, Debug)]
pub struct ClusterArgs {
    /// Be one of several nodes, over the bus at this URL: nats://HOST, tls://HOST (NATS with TLS), redis://HOST or
    /// rediss://HOST (with TLS). Read from the environment variable CHAT_CLUSTER when it is not given here: a URL with a
    /// password belongs there, as other users of the machine can see command lines. What nodes say is signed with the
    /// key in CHAT_CLUSTER_KEY, if there is one.
    #[arg(long, value_name = "URL")]
    cluster: Option<String>,
    /// The name of this node, another one than those of the others.
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Trust the authority in this PEM file, for a bus with TLS.
    #[arg(long, value_name = "FILE")]
    cluster_root: Option<PathBuf>,
}

impl ClusterArgs {
    /// The parameters; `None` for a server that is alone.
    ///
    /// # Errors
    ///
    /// When the URL is not one of a bus. The error shows nothing of it.
    pub fn params(&self) -> Result<Option<ClusterParams>, Box<dyn Error>> {
        let from_environment = || std::env::var("CHAT_CLUSTER").ok();
        let Some(url) = self.cluster.clone().or_else(from_environment) else {
            return match (&self.node, &self.cluster_root) {
                (None, None) => Ok(None),
                _ => Err("--node and --cluster-root need --cluster, or CHAT_CLUSTER".into()),
            };
        };
        let name = format!("{APP}-{}", self.node.as_deref().unwrap_or("node"));
        let not_a_bus = |why: &dyn Error| format!("the URL of the cluster is not one of a bus: {why}");
        let params = if ["redis", "valkey"].iter().any(|scheme| url.starts_with(scheme)) {
            let bus = RedisBus::new(url).map_err(|why| not_a_bus(&why))?.name(name);
            ClusterParams::new(
                APP,
                match &self.cluster_root {
                    Some(root) => bus.tls_root_certificates(root),
                    None => bus,
                },
            )
        } else {
            let bus = NatsBus::new(url).map_err(|why| not_a_bus(&why))?.name(name);
            ClusterParams::new(
                APP,
                match &self.cluster_root {
                    Some(root) => bus.tls_root_certificates(root),
                    None => bus,
                },
            )
        };
        let params = match &self.node {
            Some(name) => params.node(name),
            None => params,
        };
        Ok(Some(match std::env::var("CHAT_CLUSTER_KEY") {
            Ok(key) => params.key(key),
            Err(_) => params,
        }))
    }
}

/// What happens to the cluster of a server from now on, a line for each event. They wait until they are taken.
pub fn lines<I: Identity>(server: &Server<I>) -> mpsc::Receiver<String> {
    let (lines, shown) = mpsc::channel(LINES);
    let _ = server.on(move |event| {
        let lines = lines.clone();
        async move {
            if let Event::Cluster(event) = event {
                // Nobody takes them while the program ends.
                let _ = lines.send(line(&event.kind)).await;
            }
        }
    });
    shown
}

/// What has happened to a cluster.
fn line(kind: &ClusterEventKind) -> String {
    match kind {
        ClusterEventKind::Up => "cluster: up".to_owned(),
        ClusterEventKind::Down(why) => format!("cluster: down: {why}"),
        ClusterEventKind::NodeJoined(node) => format!("cluster: node {} joined", node.name),
        ClusterEventKind::NodeLeft(node) => format!("cluster: node {} left", node.name),
        ClusterEventKind::Missed { node, messages } => {
            format!("cluster: messages of node {} were missed: {messages}", node.name)
        }
        ClusterEventKind::OtherVersion { node, version } => {
            format!("cluster: node {node} speaks version {version}, which this one does not")
        }
        ClusterEventKind::DuplicateName(name) => format!("cluster: two nodes are named {name}"),
        ClusterEventKind::Invalid { messages, why } => {
            format!("cluster: messages were not believed: {messages}, the last one as {why}")
        }
        ClusterEventKind::Uncertain { closed } => {
            format!("cluster: connections were closed, as revocations may have been missed: {closed}")
        }
        other => format!("cluster: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(cluster: &str) -> ClusterArgs {
        ClusterArgs { cluster: Some(cluster.to_owned()), node: Some("a".to_owned()), cluster_root: None }
    }

    #[test]
    fn the_scheme_says_which_bus_it_is() {
        for url in ["nats://a,nats://b", "tls://bus.example:4222", "redis://127.0.0.1:1", "rediss://[::1]"] {
            let params = args(url).params().unwrap().unwrap();
            assert!(format!("{params:?}").contains(r#"name: Some("a")"#), "{params:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_its_password() {
        for (url, why) in [
            ("http://u:hidden@h", "the URL does not begin with nats:// or tls://"),
            ("nats://u:hidden@h:0", "the URL is malformed"),
            ("redis://u:hidden@h#insecure", "the URL has a fragment"),
        ] {
            let error = args(url).params().unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn a_name_without_a_cluster_is_a_mistake() {
        let args = ClusterArgs { cluster: None, ..args("") };
        assert!(args.params().unwrap_err().to_string().contains("CHAT_CLUSTER"));
    }
}
