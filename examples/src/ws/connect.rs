//! `ws connect`: talks to a server, on a terminal or through pipes.

use std::{fmt, str::FromStr, time::Duration};

use clap::Args;
use websockets_simple_client::{
    ClientParams, Heartbeat, HeartbeatMode, Message, OverflowPolicy, Reconnect, WebsocketClient,
};

use crate::ws::{
    connect::{said::Speech, session::Session, shown::View},
    exit::{Exit, Failure},
    target::{Target, seconds},
};

mod console;
mod fields;
mod hex;
mod said;
mod session;
mod shown;
mod typing;

/// The subprotocol that every server of this project has.
const OWN_SUBPROTOCOL: &str = "websockets-simple";

/// How long a message waits for a server that does not read.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to send, what to show, and when to end.
#[derive(Args)]
pub struct ConnectArgs {
    #[command(flatten)]
    target: Target,
    /// Send this first on every connection, as if it was typed. May be given several times.
    #[arg(long, value_name = "TEXT")]
    first: Vec<String>,
    /// Join this group. The server has to allow it. May be given several times.
    #[arg(long = "join", value_name = "GROUP")]
    groups: Vec<String>,
    /// Connect again when the connection is lost, as long as it may come back.
    #[arg(long)]
    reconnect: bool,
    /// Show JSON indented on a terminal, and on one line in a pipe.
    #[arg(long)]
    json: bool,
    /// Send packets of this project, and show the type and the fields of received ones.
    #[arg(long, conflicts_with = "json")]
    packets: bool,
    /// Send lines of hexadecimal digits as binary messages, and show the bytes of received ones.
    #[arg(long, conflicts_with = "packets")]
    binary: bool,
    /// How long to wait for answers when piped input has ended: seconds, or `forever`. By default until nothing has come
    /// for a second.
    #[arg(long, short = 'w', value_name = "SECONDS")]
    wait: Option<Wait>,
    /// Seconds between pings, whose round trip the prompt shows. 0 sends none.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "compat")]
    ping: Option<Duration>,
    /// Say nothing about the connection unless the command fails.
    #[arg(long, short = 'q')]
    quiet: bool,
}

/// How long to wait for answers.
#[derive(Clone, Copy, Debug)]
enum Wait {
    /// From the end of the input.
    For(Duration),
    /// Until the server closes the connection.
    Forever,
}

impl fmt::Debug for ConnectArgs {
    /// Leaves out what is sent first, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectArgs").field("target", &self.target).finish_non_exhaustive()
    }
}

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "forever" => Ok(Self::Forever),
            text => seconds(text).map(Self::For),
        }
    }
}

/// Connects, and talks until one of both sides ends it.
///
/// # Errors
///
/// A [`Failure`]: no connection, one that was lost, or one that the server did not close with 1000.
pub async fn run(args: ConnectArgs) -> Result<(), Failure> {
    let speech = match (args.binary, args.packets) {
        (true, _) => Speech::Binary,
        (false, true) => Speech::Packets,
        (false, false) => args.target.compat().map_or(Speech::Text, Speech::Compat),
    };
    let first: Vec<Message> = args
        .first
        .iter()
        .map(|text| speech.message(text))
        .collect::<Result<_, _>>()
        .map_err(|why| Failure::new(Exit::Usage, format!("--first cannot be sent: {why}")))?;
    let view =
        View { json: args.json, packets: args.packets, bytes: args.binary, compat: args.target.compat() };
    let client = WebsocketClient::new(params(&args)?)?;
    Session::new(&args, client, speech, first, view).run().await
}

fn params(args: &ConnectArgs) -> Result<ClientParams, Failure> {
    // Piped input can be faster than the network.
    let mut params = args.target.params()?.overflow(OverflowPolicy::Wait(PATIENCE));
    if args.target.compat().is_none() {
        let ping = args.ping.unwrap_or(Duration::from_secs(10));
        params = params.heartbeat(match ping {
            Duration::ZERO => Heartbeat::off(),
            ping => Heartbeat::new(ping, HeartbeatMode::Ping),
        });
    }
    if args.reconnect {
        params = params.reconnect(Reconnect::new());
    }
    // Groups are joined by control messages, which come with a subprotocol.
    if !args.groups.is_empty() && !args.target.has_subprotocols() {
        params = params.subprotocol(OWN_SUBPROTOCOL);
    }
    Ok(params)
}
