//! cargo run --release --bin who-is-online
//!
//! Users with any number of devices each. Whoever comes is told who is online, and all are told when a user comes with the
//! first device and goes with the last one.
#![expect(clippy::print_stdout, reason = "a program with an output")]

use std::{
    collections::BTreeMap,
    error::Error,
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use clap::Parser;
use serde::Serialize;
use websockets_simple_examples::{in_one_line, stop_request};
use websockets_simple_server::{
    Connection, Endpoint, Json, MemoryUsers, ServerParams, User, WebsocketServerAuth,
};

/// The group of those who were told who is online.
const TOLD: &str = "told";

/// A server that tells who is online.
#[derive(Parser)]
struct Args {
    /// The address to listen on; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The users, who each get a token.
    #[arg(value_name = "NAME", default_values_t = ["Ronald".to_owned(), "John".to_owned()])]
    names: Vec<String>,
}

/// What the clients are told.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Presence<'a> {
    /// To a device that comes: all users, itself included.
    Online { users: Vec<&'a str> },
    /// To all others.
    Came { user: &'a str },
    /// To all.
    Went { user: &'a str },
}

/// The devices of each user who is online.
#[derive(Default)]
struct Roster(Mutex<BTreeMap<String, usize>>);

impl Roster {
    /// The list and the change of it are sent under one lock, so that all clients agree on who is online after each
    /// message that they got.
    fn come(&self, connection: &Connection<User<String>>) {
        let mut devices = self.lock();
        let user = connection.user_id();
        let count = devices.entry(user.clone()).or_default();
        *count += 1;
        if *count == 1 {
            let _ = connection.server().to_all().group(TOLD).send(Json(Presence::Came { user }));
        }
        let users = devices.keys().map(String::as_str).collect();
        // Never waits. It fails if the connection has ended already; then it goes in a moment.
        let _ = connection.try_send(Json(Presence::Online { users }));
        connection.join(TOLD);
    }

    fn go(&self, connection: &Connection<User<String>>) {
        let mut devices = self.lock();
        let user = connection.user_id();
        let Some(count) = devices.get_mut(user) else { return };
        *count -= 1;
        if *count == 0 {
            devices.remove(user);
            let _ = connection.server().to_all().group(TOLD).send(Json(Presence::Went { user }));
        }
    }

    /// Held for as long as messages are queued, which never waits.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("who-is-online: {}", in_one_line(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let users = MemoryUsers::new();
    let invites: Vec<_> = args.names.into_iter().map(|name| (users.issue(name.clone()), name)).collect();
    let params = ServerParams::local().endpoint(Endpoint::tcp(args.listen));
    let server = WebsocketServerAuth::<String>::new(params, users);
    let roster = server.with_state(Arc::new(Roster::default()));
    roster.on_connect(|roster, connection| async move { roster.come(&connection) });
    roster.on_disconnect(|roster, connection, _| async move { roster.go(&connection) });
    let stop = stop_request()?;
    server.start().await?;
    let addr = server.local_addr().ok_or("the server has stopped already")?;
    println!("listening on {addr}");
    for (token, name) in &invites {
        println!("{name}: ws://{addr}/?token={}", token.expose());
    }
    stop.await;
    println!("{}", server.stop().await);
    Ok(())
}
