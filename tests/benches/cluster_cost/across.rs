//! Messages from one node to a client of another one.

use std::time::{Duration, Instant};

use websockets_simple_client::{ClientParams, WebsocketClient};
use websockets_simple_tests::{
    bus_server::{BusServer, BusServerKind},
    raw::RawPeer,
    text,
};

use crate::{
    helper::{Helper, cpu_of, middle_and_99},
    raw_bus::{RawSubscriber, age},
};

/// Messages that are timed in each round, of the bus alone and of the nodes.
const TIMED: usize = 500;
const ROUNDS: usize = 6;

/// Messages of which many are on their way.
const MANY: usize = 100_000;

/// Of which so many are sent without a look at whether the other node keeps up.
const ROW: usize = 5_000;

/// Prints what there is to know of each bus.
pub(crate) async fn measure() {
    over(BusServerKind::Nats29).await;
    over(BusServerKind::Redis7).await;
}

async fn over(kind: BusServerKind) {
    let bus = BusServer::start(kind).await;
    let url = bus.url();
    let (mut one, mut other) = (Helper::start(&["node", "a", &url]), Helper::start(&["node", "b", &url]));
    let _addr = one.line().await;
    let addr = other.line().await;
    for node in [&mut one, &mut other] {
        node.say("nodes 2").await;
    }
    let client = ClientParams::url(&format!("ws://{addr}/room")).unwrap().token("ann");
    let client = WebsocketClient::new(client).unwrap();
    let mut events = client.events();
    client.connect().await.unwrap();
    let mut publisher = Helper::start(&["publisher", &url]);
    publisher.line().await;
    let mut subscriber = RawSubscriber::connect(&url).await;
    // The first ones find cold caches.
    let (mut alone, mut across) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        publisher.tell(&TIMED.to_string()).await;
        for _ in 0..TIMED {
            alone.push(subscriber.next().await);
        }
        publisher.line().await;
        one.tell(&format!("latency {TIMED}")).await;
        for _ in 0..TIMED {
            across.push(age(&text(&mut events).await));
        }
        one.line().await;
        if round == 0 {
            (alone, across) = (Vec::new(), Vec::new());
        }
    }
    println!(
        "\n{kind:?}, one message a millisecond, {} of them: the middle, and 99 of 100, us",
        TIMED * ROUNDS
    );
    for (what, mut times) in [("the bus alone", alone), ("from send to the event of a client", across)] {
        let (middle, most) = middle_and_99(&mut times);
        println!("{what:<40} {:>8} {:>8}", middle.as_micros(), most.as_micros());
    }
    client.disconnect().await;
    drop((events, publisher, subscriber));
    println!(
        "{MANY} messages of 128 bytes, {:>26} {:>12} {:>12} {:>12}",
        "per second", "node, us", "other, us", "bus, us"
    );
    let mut peer = RawPeer::open(addr.parse().unwrap(), "/room", "Authorization: Bearer ann\r\n").await;
    let mut heard = TIMED * (ROUNDS + 1);
    for order in ["nobody", "burst", "nobody", "burst"] {
        let cpu = |one: &Helper, other: &Helper| [one.cpu(), other.cpu(), cpu_of(bus.process())];
        let (before, begun) = (cpu(&one, &other), Instant::now());
        for _ in 0..MANY / ROW {
            one.say(&format!("{order} {ROW}")).await;
            for _ in 0..if order == "burst" { ROW } else { 0 } {
                assert_eq!(peer.next().await.unwrap().payload.len(), 128);
            }
            heard += ROW;
            other.say(&format!("heard {heard}")).await;
        }
        let (wall, after) = (begun.elapsed(), cpu(&one, &other));
        let each = |index: usize| micros((after[index] - before[index]) / MANY as u32);
        let what = if order == "burst" { "to one client" } else { "to nobody there" };
        println!(
            "{what:<40} {:>12.0} {:>12.2} {:>12.2} {:>12.2}",
            MANY as f64 / wall.as_secs_f64(),
            each(0),
            each(1),
            each(2)
        );
    }
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
