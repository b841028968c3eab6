//! cargo run --release --bin history
//!
//! Rooms whose newcomers get what was said before they came: nothing twice, nothing left out, all in one order. The path
//! is the room.
#![expect(clippy::print_stdout, reason = "a program with an output")]

use std::{
    collections::{HashMap, VecDeque},
    error::Error,
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use clap::Parser;
use websockets_simple_examples::{in_one_line, service, stop_request};
use websockets_simple_server::{
    Anonymous, Connection, Endpoint, Limits, Message, ServerParams, WebsocketServer,
};

/// Messages that a room keeps.
const KEPT: usize = 100;

/// Bytes of the longest message. All that a newcomer gets fits its outbox of 1 MiB.
const LONGEST: usize = 4 * 1024;

/// The group of those who have got the history of their room.
const UP_TO_DATE: &str = "up to date";

/// Rooms that remember.
#[derive(Parser)]
struct Args {
    /// The address to listen on; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

/// What was said in each room that somebody is in.
#[derive(Default)]
struct Rooms(Mutex<HashMap<String, VecDeque<Message>>>);

impl Rooms {
    /// Copies the history, and joins those who get what is said from now on. Both are done under the lock under which a
    /// message is kept and sent: each message is either in the copy or comes later by itself. The channel alone would
    /// not do, as a connection is in it before its first event.
    fn enter(&self, connection: &Connection<Anonymous>) {
        let mut rooms = self.lock();
        for message in rooms.entry(connection.channel().to_owned()).or_default().iter() {
            // Never waits. It fails if the connection has ended, and then for the rest, too.
            if connection.try_send(message).is_err() {
                return;
            }
        }
        connection.join(UP_TO_DATE);
    }

    fn say(&self, connection: &Connection<Anonymous>, message: Message) {
        let mut rooms = self.lock();
        let said = rooms.entry(connection.channel().to_owned()).or_default();
        if said.len() == KEPT {
            said.pop_front();
        }
        said.push_back(message.clone());
        // Cannot fail: a received message needs no encoding.
        let _ = connection.to_group(UP_TO_DATE).send(message);
    }

    /// Forgets a room with its last connection: clients choose the names, and could fill the memory with them.
    fn leave(&self, connection: &Connection<Anonymous>) {
        let mut rooms = self.lock();
        if !connection.server().has_channel(connection.channel()) {
            rooms.remove(connection.channel());
        }
    }

    /// Held for as long as messages are queued, which never waits.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, VecDeque<Message>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("history: {}", in_one_line(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let limits = Limits::default().message_size(LONGEST);
    let params = ServerParams::local().endpoint(Endpoint::tcp(args.listen)).limits(limits);
    let server = WebsocketServer::new(params);
    let rooms = server.with_state(Arc::new(Rooms::default()));
    rooms.on_connect(|rooms, connection| async move { rooms.enter(&connection) });
    rooms.on_message(|rooms, connection, message| async move { rooms.say(&connection, message) });
    rooms.on_disconnect(|rooms, connection, _| async move { rooms.leave(&connection) });
    let stop = stop_request()?;
    server.start().await?;
    println!("listening on {}", server.local_addr().ok_or("the server has stopped already")?);
    stop.await;
    println!("{}", service::stop(&server).await);
    Ok(())
}
