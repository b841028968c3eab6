//! A bus of an application's own: a small hub over TCP, and a `Bus` that speaks to it.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex, mpsc},
    task::JoinSet,
};
use websockets_simple_server::{Bus, BusCommand, BusInbox, BusLink, test_util::bus_conformance};

/// The largest message that the hub takes.
const LARGEST: usize = 1024 * 1024;

/// Before it connects again.
const PAUSE: Duration = Duration::from_millis(50);

/// What a frame is: its first byte. Then come the lengths of its subject and of its message, and both of these.
const PUBLISH: u8 = b'P';
const SUBSCRIBE: u8 = b'S';
const UNSUBSCRIBE: u8 = b'U';

/// A bus over a hub at an address.
struct TcpBus(SocketAddr);

#[async_trait]
impl Bus for TcpBus {
    async fn run(&self, mut link: BusLink) {
        loop {
            let stream = tokio::select! {
                stream = TcpStream::connect(self.0) => stream,
                () = link.closing() => return,
            };
            let ended = match stream {
                Ok(stream) => connected(stream, &mut link).await,
                Err(error) => Err(error),
            };
            match ended {
                Ok(()) => return,
                Err(error) => link.down(error),
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = link.closing() => return,
            }
        }
    }
}

/// Speaks with the hub until the server has asked for the end, or the connection is lost.
async fn connected(stream: TcpStream, link: &mut BusLink) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reading, writing) = stream.into_split();
    let (mut writing, inbox) = (BufWriter::new(writing), link.inbox());
    link.up(LARGEST);
    tokio::select! {
        ended = deliver(BufReader::new(reading), inbox) => ended,
        ended = send(link, &mut writing) => ended,
    }
}

async fn deliver(mut reading: BufReader<OwnedReadHalf>, inbox: BusInbox) -> io::Result<()> {
    loop {
        let (_, _, message) = read_frame(&mut reading).await?;
        inbox.deliver(message);
    }
}

async fn send(link: &mut BusLink, writing: &mut BufWriter<OwnedWriteHalf>) -> io::Result<()> {
    loop {
        let command = match link.try_next() {
            Some(command) => command,
            None => {
                writing.flush().await?;
                link.next().await
            }
        };
        match command {
            BusCommand::Publish { subject, message } => {
                write_frame(writing, PUBLISH, subject.as_str(), &message).await?;
            }
            BusCommand::Subscribe(subject) => write_frame(writing, SUBSCRIBE, subject.as_str(), b"").await?,
            BusCommand::Unsubscribe(subject) => {
                write_frame(writing, UNSUBSCRIBE, subject.as_str(), b"").await?;
            }
            BusCommand::Reconnect => return Err(io::Error::other("a new connection was asked for")),
            // A hub that takes nothing does not hold back the end of the server.
            BusCommand::Close => {
                return tokio::time::timeout(Duration::from_secs(1), writing.shutdown()).await?;
            }
            // A later version may have more of them.
            _ => {}
        }
    }
}

async fn write_frame(
    writing: &mut BufWriter<OwnedWriteHalf>,
    kind: u8,
    subject: &str,
    message: &[u8],
) -> io::Result<()> {
    writing.write_u8(kind).await?;
    writing.write_u16(subject.len() as u16).await?;
    writing.write_u32(message.len() as u32).await?;
    writing.write_all(subject.as_bytes()).await?;
    writing.write_all(message).await
}

async fn read_frame(reading: &mut BufReader<OwnedReadHalf>) -> io::Result<(u8, String, Bytes)> {
    let kind = reading.read_u8().await?;
    let (subject, message) = (reading.read_u16().await? as usize, reading.read_u32().await? as usize);
    if message > LARGEST {
        return Err(io::Error::other("the message is too large"));
    }
    let (mut subject, mut message) = (vec![0; subject], vec![0; message]);
    reading.read_exact(&mut subject).await?;
    reading.read_exact(&mut message).await?;
    let subject = String::from_utf8(subject).map_err(io::Error::other)?;
    Ok((kind, subject, message.into()))
}

type Frame = (String, Bytes);

/// Who is subscribed, by subject and number.
type Subscribed = Arc<Mutex<HashMap<String, HashMap<u64, mpsc::Sender<Frame>>>>>;

/// Takes connections until it is dropped, and they are dropped with it.
async fn hub(listener: TcpListener, subscribed: Subscribed) {
    let mut connections = JoinSet::new();
    for number in 0.. {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let subscribed = Arc::clone(&subscribed);
        connections.spawn(async move {
            let (reading, writing) = stream.into_split();
            let (queue, queued) = mpsc::channel(4096);
            let reads = serve(BufReader::new(reading), &subscribed, number, queue);
            // Either end is that of the connection.
            tokio::select! {
                _ = reads => {}
                _ = forward(BufWriter::new(writing), queued) => {}
            }
            leave(&subscribed, number).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Does what the frames of one node say.
async fn serve(
    mut reading: BufReader<OwnedReadHalf>,
    subscribed: &Subscribed,
    number: u64,
    queue: mpsc::Sender<Frame>,
) -> io::Result<()> {
    loop {
        let (kind, subject, message) = read_frame(&mut reading).await?;
        let mut subscribed = subscribed.lock().await;
        match kind {
            SUBSCRIBE => {
                subscribed.entry(subject).or_default().insert(number, queue.clone());
            }
            UNSUBSCRIBE => {
                subscribed.entry(subject).or_default().remove(&number);
            }
            _ => {
                for queue in subscribed.get(&subject).into_iter().flat_map(HashMap::values) {
                    // A node that reads too slowly loses it.
                    let _ = queue.try_send((subject.clone(), message.clone()));
                }
            }
        }
    }
}

async fn forward(
    mut writing: BufWriter<OwnedWriteHalf>,
    mut queued: mpsc::Receiver<Frame>,
) -> io::Result<()> {
    while let Some((subject, message)) = queued.recv().await {
        write_frame(&mut writing, PUBLISH, &subject, &message).await?;
        if queued.is_empty() {
            writing.flush().await?;
        }
    }
    Ok(())
}

async fn leave(subscribed: &Subscribed, number: u64) {
    subscribed.lock().await.retain(|_, nodes| {
        nodes.remove(&number);
        !nodes.is_empty()
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_of_an_applications_own_keeps_all_rules_also_when_its_hub_restarts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let subscribed = Subscribed::default();
    let hubs = Arc::new(Mutex::new(JoinSet::new()));
    hubs.lock().await.spawn(hub(listener, Arc::clone(&subscribed)));
    let left = Arc::clone(&subscribed);
    let outage = move |down| {
        let (hubs, subscribed) = (Arc::clone(&hubs), Arc::clone(&subscribed));
        async move {
            let mut hubs = hubs.lock().await;
            if down {
                hubs.shutdown().await;
                subscribed.lock().await.clear();
            } else {
                hubs.spawn(hub(TcpListener::bind(addr).await.unwrap(), subscribed));
            }
        }
    };
    bus_conformance(move || TcpBus(addr))
        .outage(outage)
        .left(move || {
            let left = Arc::clone(&left);
            async move { left.lock().await.len() }
        })
        .run()
        .await;
}
