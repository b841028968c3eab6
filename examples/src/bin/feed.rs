//! cargo run --release --bin feed -- --url ws://127.0.0.1:8080
//!
//! A daemon that follows a feed of prices and outlives its server: it connects again by itself, may be started first, and
//! says what it has missed. `--serve 127.0.0.1:8080` is such a server.
#![expect(clippy::print_stdout, reason = "a program with an output")]

use std::{error::Error, net::SocketAddr, process::ExitCode, time::Duration};

use clap::Parser;
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};
use websockets_simple_client::{
    ClientEvent, ClientParams, ClientState, ConnectionEventKind, Reconnect, WebsocketClient, chrono::Utc,
};
use websockets_simple_examples::{in_one_line, stop_request};
use websockets_simple_server::{Endpoint, Json, ServerParams, WebsocketServer};

/// Milliseconds from one price to the next.
const PACE: u64 = 100;

/// A feed of prices, or who follows it.
#[derive(Parser)]
struct Args {
    /// The URL of the feed.
    #[arg(long, default_value = "ws://127.0.0.1:8080")]
    url: String,
    /// Be the feed, at this address; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", conflicts_with = "url")]
    serve: Option<SocketAddr>,
}

/// A price. Its number goes on while the feed is down, so that whoever follows it knows what is missing.
#[derive(Deserialize, Serialize)]
struct Price {
    number: u64,
    cents: u64,
}

#[tokio::main(worker_threads = 1)]
async fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.serve {
        Some(addr) => serve(addr).await,
        None => follow(&args.url).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("feed: {}", in_one_line(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn follow(url: &str) -> Result<(), Box<dyn Error>> {
    let stop = stop_request()?;
    // A price is soon worthless, so the pauses stay short.
    let reconnect = Reconnect::new().first(true).delays(Duration::from_millis(100), Duration::from_secs(2));
    let client = WebsocketClient::new(ClientParams::url(url)?.reconnect(reconnect))?;
    let (mut events, mut states) = (client.events(), client.states());
    let (mut received, mut missed, mut last) = (0, 0, None);
    let mut is_first = true;
    client.start();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(state) = states.recv() => match state {
                ClientState::Waiting { pause, why, .. } => println!("{why}; again in {pause:.1?}"),
                ClientState::GivenUp(why) => return Err(why.to_string().into()),
                _ => {}
            },
            Some(event) = events.recv() => match event {
                ClientEvent::Connection(event) => {
                    if let ConnectionEventKind::Connected(connection) = event.kind {
                        if let Some(server) = connection.peer_addr() {
                            println!("connected to {server}");
                        }
                        is_first = true;
                    }
                }
                ClientEvent::Message(event) => {
                    let price: Price = event.message.json()?;
                    let gap = last.map_or(0, |last: u64| price.number.saturating_sub(last + 1));
                    if gap > 0 {
                        println!("missed {gap} prices before {}", price.number);
                    }
                    if std::mem::take(&mut is_first) {
                        println!("from price {} on", price.number);
                    }
                    (received, missed, last) = (received + 1, missed + gap, Some(price.number));
                }
                _ => {}
            },
        }
    }
    client.disconnect().await;
    println!("{received} prices received, {missed} missed");
    Ok(())
}

async fn serve(addr: SocketAddr) -> Result<(), Box<dyn Error>> {
    let stop = stop_request()?;
    let server = WebsocketServer::new(ServerParams::local().endpoint(Endpoint::tcp(addr)));
    server.start().await?;
    println!("listening on {}", server.local_addr().ok_or("the server has stopped already")?);
    let mut ticks = interval(Duration::from_millis(PACE / 2));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut last = 0;
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            _ = ticks.tick() => {
                let number = u64::try_from(Utc::now().timestamp_millis())? / PACE;
                if std::mem::replace(&mut last, number) != number {
                    server.broadcast(Json(Price { number, cents: 10_000 + number % 100 }))?;
                }
            }
        }
    }
    println!("{}", server.stop().await);
    Ok(())
}
