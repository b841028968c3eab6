//! One chat on several nodes.

use super::*;

/// Nodes of one chat, which hear each other.
async fn nodes<const N: usize>(bus: &MemoryBus) -> [Chat; N] {
    let users = MemoryUsers::new();
    let tokens = DEMO_USERS.map(|name| (name, users.issue(name.to_owned()))).to_vec();
    let mut nodes = Vec::new();
    for _ in 0..N {
        let params = ClusterParams::new("chat", bus.clone()).linger(Duration::from_millis(300));
        let server = WebsocketServerAuth::<String>::new(chat::params(anywhere()), users.clone());
        let server = server.with_cluster(params);
        Room::open_to_users(&server);
        server.start().await.unwrap();
        nodes.push(Chat { server, tokens: tokens.clone() });
    }
    for node in &nodes {
        while node.server.presence().nodes().len() < N || !node.server.cluster().ready() {
            node.server.cluster().until_ready().await;
            tokio::task::yield_now().await;
        }
    }
    nodes.try_into().map_err(|_| "as many").unwrap()
}

#[tokio::test]
async fn the_nodes_of_a_cluster_have_one_chat() {
    let [one, two] = nodes(&MemoryBus::new()).await;
    let mut ronald = one.tagged("Ronald").await;
    ronald.hears(&[r#"{"type":"joined","name":"Ronald"}"#, r#"{"type":"welcome","name":"Ronald"}"#]).await;
    let mut john = two.plain("John").await;
    // Ronald's coming was told before, or is told now: it takes some milliseconds.
    while john.next().await != "Welcome John." {}
    ronald.hears(&[r#"{"type":"joined","name":"John"}"#]).await;

    john.says("words").await;
    ronald.hears(&[r#"{"type":"say","from":"John","text":"words"}"#]).await;
    while john.next().await != "John says: words" {}
    ronald.sends(&ChatPacket::Private { from: None, to: "John".into(), text: "between us".into() }).await;
    john.hears(&["Ronald says to John: between us"]).await;
    ronald.hears(&[r#"{"type":"private","from":"Ronald","to":"John","text":"between us"}"#]).await;
    ronald.sends(&ChatPacket::Who).await;
    ronald.hears(&[r#"{"type":"online","names":["John","Ronald"]}"#]).await;
    ronald.sends(&ChatPacket::Private { from: None, to: "Adam".into(), text: "?".into() }).await;
    ronald.hears(&[r#"{"type":"error","reason":"Adam is not here"}"#]).await;

    let enter = ChatPacket::Enter { room: "rust".into() };
    john.sends(&enter).await;
    john.hears(&["John entered rust."]).await;
    ronald.sends(&enter).await;
    ronald.hears(&[r#"{"type":"entered","room":"rust","name":"Ronald"}"#]).await;
    john.hears(&["Ronald entered rust."]).await;
    ronald.sends(&ChatPacket::Tell { from: None, room: "rust".into(), text: "hi".into() }).await;
    john.hears(&["Ronald says in rust: hi"]).await;
    ronald.hears(&[r#"{"type":"tell","from":"Ronald","room":"rust","text":"hi"}"#]).await;

    // A second device at another node joins for nobody but itself, and neither of the two leaves alone.
    let mut phone = one.plain("John").await;
    phone.hears(&["John joined.", "Welcome John."]).await;
    john.leaves().await;
    ronald.hears(&[r#"{"type":"exited","room":"rust","name":"John"}"#]).await;
    phone.says("still here").await;
    phone.hears(&["John says: still here"]).await;
    ronald.hears(&[r#"{"type":"say","from":"John","text":"still here"}"#]).await;
    phone.leaves().await;
    ronald.hears(&[r#"{"type":"left","name":"John"}"#]).await;
    ronald.leaves().await;
}

#[tokio::test]
async fn who_changes_the_node_of_a_cluster_is_not_announced() {
    let [one, two] = nodes(&MemoryBus::new()).await;
    let mut ronald = one.plain("Ronald").await;
    ronald.hears(&["Ronald joined.", "Welcome Ronald."]).await;
    let john = one.plain("John").await;
    ronald.hears(&["John joined."]).await;
    let adam = one.plain("Adam").await;
    ronald.hears(&["Adam joined."]).await;
    john.client.disconnect().await;
    let mut john = two.plain("John").await;
    while john.next().await != "Welcome John." {}
    // Who goes after John is told, so John would have been.
    adam.client.disconnect().await;
    ronald.hears(&["Adam left."]).await;
    john.says("back").await;
    ronald.hears(&["John says: back"]).await;
}
