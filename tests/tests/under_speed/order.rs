//! What one sender says reaches each receiver in the order in which it was said.

use std::collections::HashMap;

use tokio::task::JoinSet;
use websockets_simple_client::{ClientEvent, WebsocketClient};
use websockets_simple_server::{Event, Limits, MemoryUsers, Message, ServerParams, WebsocketServerAuth};
use websockets_simple_tests::{opened, params, started, within};

use crate::wire::StrictPeer;

const RECEIVERS: usize = 50;
const PUBLISHERS: usize = 8;
const TASKS: usize = 4;
const MESSAGES: usize = 200;
const CHANNELS: [&str; 3] = ["/a", "/b", "/c"];
/// The users of the receivers; several receivers belong to each.
const USERS: i64 = 10;

/// Says the next thing to every receiver, by a way that changes from one to the next.
async fn say(server: &WebsocketServerAuth<i64>, sender: usize, n: usize) {
    // Both sides of the size up to which a payload shares the buffer of its header.
    let filling = if n % 16 == 5 { 6000 } else { n % 100 };
    let message = Message::text(format!("{sender} {n} {}", "x".repeat(filling)));
    match n % 4 {
        0 => assert_eq!(server.broadcast(&message).unwrap().accepted, RECEIVERS + PUBLISHERS),
        1 => {
            for channel in CHANNELS {
                server.to_channel(channel).send(&message).unwrap();
            }
        }
        2 => {
            for user in 0..USERS {
                assert_eq!(
                    server.to_user(&user).send(&message).unwrap().accepted,
                    RECEIVERS / USERS as usize
                );
            }
        }
        _ => {
            for channel in CHANNELS {
                for connection in server.to_channel(channel).connections() {
                    connection.send(&message).await.unwrap();
                }
            }
        }
    }
}

/// Takes note of what was heard; true when everything of everybody was.
fn hear(heard: &mut HashMap<usize, usize>, text: &str, step: usize) -> bool {
    let mut words = text.split(' ').map_while(|word| word.parse::<usize>().ok());
    let (sender, n) = (words.next().unwrap(), words.next().unwrap());
    let next = heard.entry(sender).or_default();
    assert_eq!(n, *next, "the next of sender {sender}");
    *next += step;
    heard.len() == PUBLISHERS + TASKS && heard.values().all(|next| *next >= MESSAGES)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn each_receiver_hears_each_sender_in_order_and_completely_whichever_way_the_messages_take() {
    let users = MemoryUsers::new();
    for user in 0..USERS + 1 {
        users.add(format!("token-{user}"), user);
    }
    let limits = Limits::default().connections_per_user(RECEIVERS);
    let server =
        WebsocketServerAuth::<i64>::new(ServerParams::local().limits(limits).outbox(16 << 20), users);
    server.on(|event| async move {
        if let Event::Message(event) = event {
            let (sender, n) = event.message.as_text().unwrap().split_once(' ').unwrap();
            say(&event.connection.server(), sender.parse().unwrap(), n.parse().unwrap()).await;
        }
    });
    let mut events = server.events();
    let addr = started(&server).await;
    let mut listening = JoinSet::new();
    for n in 0..RECEIVERS {
        let target = format!("{}?token=token-{}", CHANNELS[n % CHANNELS.len()], n % USERS as usize);
        let mut peer = StrictPeer::open(addr, &target).await;
        opened(&mut events).await;
        listening.spawn(async move {
            let mut heard = HashMap::new();
            while !hear(&mut heard, &peer.next().await.expect("more to come").as_text(), 1) {}
        });
    }
    let mut publishers = Vec::new();
    for _ in 0..PUBLISHERS {
        let client = WebsocketClient::new(params(addr).token(format!("token-{USERS}"))).unwrap();
        let mut events_of_client = client.events();
        client.connect().await.unwrap();
        opened(&mut events).await;
        publishers.push(client);
        // A publisher hears what goes to all, itself included.
        listening.spawn(async move {
            let mut heard = HashMap::new();
            while let Some(event) = events_of_client.recv().await {
                if let ClientEvent::Message(event) = event
                    && hear(&mut heard, event.message.as_text().unwrap(), 4)
                {
                    return;
                }
            }
            panic!("more to come");
        });
    }
    // The events were for `opened` alone, and hold up their connections when nobody takes them.
    drop(events);
    let mut talking = JoinSet::new();
    for (sender, client) in publishers.into_iter().enumerate() {
        talking.spawn(async move {
            for n in 0..MESSAGES {
                client.send(Message::text(format!("{sender} {n}"))).await.unwrap();
            }
            client
        });
    }
    for sender in PUBLISHERS..PUBLISHERS + TASKS {
        let server = server.clone();
        let client = WebsocketClient::new(params(addr)).unwrap();
        talking.spawn(async move {
            for n in 0..MESSAGES {
                say(&server, sender, n).await;
                if n % 3 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            client
        });
    }
    let talked = within(talking.join_all()).await;
    within(listening.join_all()).await;
    for connection in server.connections() {
        let statistics = connection.statistics();
        assert_eq!((statistics.dropped, statistics.queued_bytes), (0, 0));
    }
    drop(talked);
}
