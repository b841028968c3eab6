//! The server of a crowd: `crowd-server <connections> <ms between broadcasts> <ms between heartbeats>`.
//!
//! Sends a broadcast to all at a pace, asks the server for its figures as often, and prints both. Reads commands, one a line:
//! `last` for the last broadcast, `count` for what was counted in the end, after which it stops.
#![expect(clippy::print_stdout, reason = "a program")]

use std::{
    collections::HashSet,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use peak_alloc::PeakAlloc;
use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    sync::watch,
    time::{interval, timeout},
};
use websockets_simple_server::{
    Anonymous, ConnectionEventKind, EndedBy, Event, Events, Guard, Heartbeat, HeartbeatMode, Limits,
    Operations, ServerParams, WebsocketServer,
};
use websockets_simple_tests::crowd::{
    Asked, Broadcast, Counted, Notice, Told, cpu, notice::BYE, now, thread_cpu,
};

type Failure = Box<dyn Error + Send + Sync>;

/// Tells what is in use from what the allocator keeps.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// How long connections may take to end once all clients have left.
const LONGEST: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr).init();
    let numbers: Result<Vec<u64>, _> = std::env::args().skip(1).map(|argument| argument.parse()).collect();
    let [connections, pace, heartbeat] = numbers?[..] else {
        return Err("how many connections, and how many ms between broadcasts and between heartbeats?".into());
    };
    let connections = usize::try_from(connections)?;
    let server = WebsocketServer::new(params(connections, Duration::from_millis(heartbeat)));
    let begun = Arc::new(AtomicU64::new(0));
    let greeted = Arc::new(AtomicU64::new(0));
    converse(&server, &begun, &greeted);
    let (tell, counted) = watch::channel(Counted::default());
    let count = tokio::spawn(count(server.events(), tell, connections));
    server.start().await?;
    print(&Told::Listens(server.local_addr().ok_or("it listens")?));

    // In a task, as applications do.
    let broadcasts = tokio::spawn(broadcast(server.clone(), begun, Duration::from_millis(pace)));
    broadcasts.await??;
    print(&Told::Counted(result(&server, counted, &greeted).await));
    server.stop().await;
    drop(server);
    count.await?;
    Ok(())
}

/// The limits are those of the defaults, but for the numbers of connections; the heartbeat is a ping frame, as clients
/// that are no client of ours answer nothing else.
fn params(connections: usize, heartbeat: Duration) -> ServerParams {
    let limits = Limits::default()
        // Some of those that leave are still there while those that follow come.
        .connections(connections + connections / 8 + 64)
        .connections_per_ip(connections);
    ServerParams::local()
        .limits(limits)
        .heartbeat(Heartbeat::new(heartbeat, HeartbeatMode::Ping))
        .operations(Operations::new().metrics(Guard::loopback()))
}

/// Greets each connection, and answers it when it is about to leave.
fn converse(server: &WebsocketServer, begun: &Arc<AtomicU64>, greeted: &Arc<AtomicU64>) {
    let (last, greeted) = (Arc::clone(begun), Arc::clone(greeted));
    server.on_connect(move |connection| {
        greeted.fetch_add(1, Ordering::Relaxed);
        let hello = Notice::Hello(last.load(Ordering::SeqCst)).to_string();
        // One that has gone already is counted all the same.
        async move { _ = connection.send_text(hello).await }
    });
    let last = Arc::clone(begun);
    server.on_message(move |connection, message| {
        let answer = (message.as_text() == Some(BYE)).then(|| Notice::Bye(last.load(Ordering::SeqCst)));
        async move {
            if let Some(answer) = answer {
                _ = connection.send_text(answer.to_string()).await;
            }
        }
    });
}

/// Counts what a stream tells of each connection.
async fn count(mut events: Events<Event<Anonymous>>, tell: watch::Sender<Counted>, connections: usize) {
    // Twice as large as need be: it never grows, and is part of what the server has without connections.
    let mut open = HashSet::with_capacity(2 * connections);
    while let Some(event) = events.recv().await {
        tell.send_modify(|counted| match event {
            Event::Connection(event) => match event.kind {
                ConnectionEventKind::Connected(connection) => {
                    counted.connected += 1;
                    counted.doubled += u64::from(!open.insert(connection.id().clone()));
                }
                ConnectionEventKind::Disconnected(connection, _) => {
                    counted.disconnected += 1;
                    counted.unmatched += u64::from(!open.remove(connection.id()));
                }
                _ => {}
            },
            Event::Message(_) => counted.messages += 1,
            Event::Error(_) => counted.errors += 1,
            _ => {}
        });
    }
}

/// Broadcasts at a pace until it is told to send the last one.
///
/// The figures are asked for as often: in turns at the moment at which a broadcast begins, and in the middle between two.
async fn broadcast(server: WebsocketServer, begun: Arc<AtomicU64>, pace: Duration) -> Result<(), Failure> {
    let (ask, asked) = mpsc::channel();
    let monitored = server.clone();
    let monitor = thread::spawn(move || asked.into_iter().for_each(|beside| monitor(&monitored, beside)));
    let mut commands = BufReader::new(stdin()).lines();
    let mut halves = interval(pace / 2);
    let mut half = 0_u64;
    loop {
        let is_last = tokio::select! {
            _ = halves.tick() => false,
            command = commands.next_line() => match command?.as_deref() {
                Some("last") => true,
                Some(other) => return Err(format!("{other}?").into()),
                None => return Err("nobody needs this server any more".into()),
            },
        };
        let turn = half % 4;
        half += 1;
        if turn == 0 || turn == 3 {
            ask.send(turn == 0)?;
        }
        if !is_last && turn % 2 == 1 {
            continue;
        }
        let number = begun.fetch_add(1, Ordering::SeqCst) + 1;
        let at = now();
        let report = server.to_all().send_text(Notice::Broadcast { number, at, is_last }.to_string())?;
        let until = now();
        let (accepted, others) = (report.accepted, report.dropped + report.closed);
        print(&Told::Broadcast(Broadcast { number, at, until, accepted, others, cpu: cpu() }));
        if is_last {
            break;
        }
    }
    drop(ask);
    monitor.join().map_err(|_| "the monitor has panicked")?;
    match commands.next_line().await?.as_deref() {
        Some("count") => Ok(()),
        other => Err(format!("{other:?}?").into()),
    }
}

/// Asks for all that a server says of itself.
fn monitor(server: &WebsocketServer, beside_broadcast: bool) {
    let (at, begun) = (now(), thread_cpu());
    let asked = server.figures();
    let (figures, cpu) = (now(), thread_cpu() - begun);
    let bytes = asked.prometheus().len();
    let text = now();
    let is_ready = server.health().is_ready();
    let health = now();
    print(&Told::Asked(Asked {
        beside_broadcast,
        at,
        figures,
        cpu,
        text,
        bytes,
        health,
        is_ready,
        open: asked.connections.open,
        missed: asked.events_missed,
        queued: asked.queued_bytes,
        heap: HEAP.current_usage(),
        beating: asked.round_trips.connections,
    }));
}

/// What was counted, once all connections have ended.
async fn result(
    server: &WebsocketServer,
    mut counted: watch::Receiver<Counted>,
    greeted: &AtomicU64,
) -> Counted {
    let ended = counted.wait_for(|counted| counted.connected == counted.disconnected);
    // Too late or not: what is counted says it.
    drop(timeout(LONGEST, ended).await);
    let counted = *counted.borrow();
    let figures = server.figures();
    let connections = figures.connections;
    let closes = |by: fn(EndedBy) -> bool| {
        figures.closes.iter().filter(|close| by(close.by)).map(|close| close.count).sum()
    };
    Counted {
        greeted: greeted.load(Ordering::Relaxed),
        opened: figures.handshakes.opened,
        unopened: figures.handshakes.refused + figures.handshakes.failed + figures.handshakes.idle,
        closed: closes(|_| true),
        unresponsive: closes(|by| by == EndedBy::Heartbeat),
        missed: figures.events_missed,
        dropped: figures.traffic.dropped,
        left: connections.handshaking + connections.open + connections.local + connections.ending,
        heap: HEAP.current_usage(),
        ..counted
    }
}

fn print(told: &Told) {
    match serde_json::to_string(told) {
        Ok(line) => println!("{line}"),
        Err(error) => eprintln!("{error}"),
    }
}
