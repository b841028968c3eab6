//! Pings and pongs pass between messages, never inside one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinSet};
use websockets_simple_server::{Heartbeat, HeartbeatMode, Limits, Message, ServerParams, WebsocketServer};
use websockets_simple_tests::{opened, started, within};

use crate::wire::{READ, StrictPeer};

const PEERS: usize = 8;
/// Messages on their way to a peer at any time: more than its kernel and ours hold.
const AHEAD: usize = 140;
const END: &[u8] = b"the end";

/// Sizes on both sides of every bound there is, and some large ones.
const SIZES: [usize; 14] =
    [1, 200 * 1024, 2, 125, 126, 127, 4095, 4096, 4097, 20_000, 65_535, 65_536, 150_000, 1];

fn payload(n: usize) -> Vec<u8> {
    vec![b'a' + u8::try_from(n % 26).unwrap(); SIZES[n % SIZES.len()]]
}

fn message(n: usize) -> Message {
    let payload = payload(n);
    if n.is_multiple_of(3) {
        Message::binary(payload)
    } else {
        Message::text(String::from_utf8(payload).unwrap())
    }
}

/// Reads everything, pings now and then, and answers every second ping of the server only: any traffic counts.
async fn read(
    mut peer: StrictPeer,
    seed: u32,
    pings_of_server: Arc<AtomicUsize>,
    mut on_their_way: mpsc::Receiver<()>,
) {
    let (mut random, mut next, mut pinged, mut ponged) = (seed, 0_usize, 0_u32, 0_u32);
    loop {
        let Some(frame) = peer.take() else {
            assert!(peer.more(READ).await, "the end is a message");
            // Wherever in a message that was.
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if random >> 30 == 0 {
                pinged += 1;
                peer.frame(0x89, &ping(pinged)).await;
            }
            continue;
        };
        match frame.first {
            0x89 => {
                if pings_of_server.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                    peer.frame(0x8A, &frame.payload).await;
                }
            }
            0x8A => {
                // Only the last ping needs an answer (RFC 6455 section 5.5.3).
                let echoed = u32::from_be_bytes(frame.payload[..4].try_into().unwrap());
                assert_eq!(frame.payload, ping(echoed));
                assert!(ponged < echoed && echoed <= pinged, "{ponged} {echoed} {pinged}");
                ponged = echoed;
            }
            0x81 | 0x82 if frame.payload == END => break,
            kind => {
                assert_eq!(kind == 0x82, next.is_multiple_of(3));
                assert!(frame.payload == payload(next), "message {next}");
                next += 1;
                on_their_way.recv().await;
            }
        }
    }
    pinged += 1;
    peer.frame(0x89, &ping(pinged)).await;
    while ponged < pinged {
        let frame = peer.next().await.expect("the last pong");
        if frame.first == 0x8A {
            ponged = u32::from_be_bytes(frame.payload[..4].try_into().unwrap());
            assert_eq!(frame.payload, ping(ponged));
        } else {
            assert_eq!(frame.first, 0x89);
        }
    }
}

/// The payload of a ping: its number, and as much again of it as the number says.
fn ping(number: u32) -> Vec<u8> {
    number.to_be_bytes().into_iter().cycle().take(4 + number as usize % 122).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_and_pongs_come_between_messages_of_a_large_fan_out_and_never_inside_one() {
    let heartbeat = Heartbeat::new(Duration::from_secs(1), HeartbeatMode::AnyTraffic);
    let limits = Limits::default().messages_per_second(None).bytes_per_second(None);
    let params = ServerParams::local().outbox(64 << 20).heartbeat(heartbeat).limits(limits);
    let server = WebsocketServer::new(params);
    let mut events = server.events();
    let addr = started(&server).await;
    let mut reading = JoinSet::new();
    let mut pings: Vec<Arc<AtomicUsize>> = Vec::new();
    let mut on_their_way = Vec::new();
    for n in 0..PEERS {
        // Some take little at once, so that frames are torn by the socket.
        let peer = match n % 2 {
            0 => StrictPeer::open_small(addr, "/").await,
            _ => StrictPeer::open(addr, "/").await,
        };
        opened(&mut events).await;
        pings.push(Arc::default());
        let (sender, receiver) = mpsc::channel(AHEAD);
        on_their_way.push(sender);
        reading.spawn(read(peer, n as u32, Arc::clone(&pings[n]), receiver));
    }
    drop(events);
    let connections = server.connections();
    let mut torn = 0;
    within(async {
        let mut n = 0;
        // Until everybody was pinged in the middle of it.
        while pings.iter().any(|pings| pings.load(Ordering::Relaxed) < 1) {
            for sender in &on_their_way {
                sender.send(()).await.expect("everybody reads");
            }
            assert_eq!(server.broadcast(message(n)).unwrap().accepted, PEERS);
            n += 1;
            torn += connections.iter().filter(|connection| connection.statistics().queued_bytes > 0).count();
        }
        server.broadcast(Message::binary(END)).unwrap();
    })
    .await;
    within(reading.join_all()).await;
    assert!(torn > 0, "sockets refused nothing");
}
