//! Who is online.

use std::time::Duration;

use serde_json::{Value, json};
use websockets_simple_client::{ClientEvent, ClientParams, Events, WebsocketClient};

use crate::program::Program;

const PATIENCE: Duration = Duration::from_secs(20);

struct Device {
    client: WebsocketClient,
    events: Events<ClientEvent>,
}

impl Device {
    async fn connect(url: &str) -> Self {
        let client = WebsocketClient::new(ClientParams::url(url).unwrap()).unwrap();
        let events = client.events();
        client.connect().await.unwrap();
        Self { client, events }
    }

    async fn hears(&mut self) -> Value {
        let heard = async {
            loop {
                if let ClientEvent::Message(event) = self.events.recv().await.unwrap() {
                    return event.message.json().unwrap();
                }
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.expect("a message in time")
    }
}

#[tokio::test]
async fn users_come_with_their_first_device_and_go_with_their_last_one() {
    let args = ["--listen", "127.0.0.1:0", "Ronald", "John"];
    let mut server = Program::start(env!("CARGO_BIN_EXE_who-is-online"), &args);
    server.address().await;
    let ronald = server.line().await.strip_prefix("Ronald: ").unwrap().to_owned();
    let john = server.line().await.strip_prefix("John: ").unwrap().to_owned();

    let mut first = Device::connect(&ronald).await;
    assert_eq!(first.hears().await, json!({ "type": "online", "users": ["Ronald"] }));
    let mut guest = Device::connect(&john).await;
    let both = json!({ "type": "online", "users": ["John", "Ronald"] });
    assert_eq!(guest.hears().await, both);
    assert_eq!(first.hears().await, json!({ "type": "came", "user": "John" }));
    // A second device is told to nobody else.
    let mut second = Device::connect(&ronald).await;
    assert_eq!(second.hears().await, both);
    first.client.disconnect().await;
    second.client.disconnect().await;
    assert_eq!(guest.hears().await, json!({ "type": "went", "user": "Ronald" }));
    let mut again = Device::connect(&ronald).await;
    assert_eq!(again.hears().await, both);
    assert_eq!(guest.hears().await, json!({ "type": "came", "user": "Ronald" }));
}
