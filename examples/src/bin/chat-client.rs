//! cargo run --release --bin chat-client -- --url ws://127.0.0.1:8080 --token TOKEN
//!
//! A chat on the terminal: messages of others appear while you type. The server prints the token. `Bye` leaves,
//! `/who` lists the people, `/msg USER TEXT` is a private message; `/join ROOM`, `/leave ROOM`, `/rooms` and
//! `/tell ROOM TEXT` are for rooms. It connects again by itself, and says so.

use std::{error::Error, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use tokio::time::{Instant, sleep_until};
use websockets_simple_client::{
    ClientEvent, ClientParams, ClientState, ConnectError, Json, LossCause, Message, OverflowPolicy,
    Reconnect, Token, WebsocketClient,
};
use websockets_simple_examples::{
    chat::{ChatPacket, SUBPROTOCOL, room_name, wire::one_line},
    compat::Compat,
    in_one_line, terminal,
};

/// The line that leaves the chat.
const BYE: &str = "Bye";

/// How long the client waits, before it leaves, for messages that are still due.
const PARTING: Duration = Duration::from_secs(2);

/// A chat on the terminal. `Bye` leaves, `/who` lists the people, `/msg USER TEXT` is a private message; `/join ROOM`,
/// `/leave ROOM`, `/rooms` and `/tell ROOM TEXT` are for rooms.
#[derive(Parser)]
struct Args {
    /// The URL of the chat server, such as ws://127.0.0.1:8080.
    #[arg(long)]
    url: String,
    /// The token of an invite. Read from the environment variable CHAT_TOKEN when it is not given here.
    #[arg(long, allow_hyphen_values = true, value_parser = |token: &str| Ok::<_, std::convert::Infallible>(Token::from(token)))]
    token: Option<Token>,
    /// Your name, on a server that admits all clients.
    #[arg(long, conflicts_with = "token")]
    name: Option<String>,
    /// For wss: also trust the root certificates in this PEM file.
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// Speak to a deployed server of the .NET library: every line is sent as it is, in a packet (v6) or as text (v7).
    #[arg(long, value_enum)]
    compat: Option<Compat>,
}

#[tokio::main(worker_threads = 1)]
async fn main() -> ExitCode {
    let args = Args::parse();
    let compat = args.compat;
    let left = match params(args) {
        Ok(params) => chat(params, compat).await,
        Err(error) => Err(error),
    };
    match left {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let body = match error.downcast_ref() {
                Some(ConnectError::Rejected { body, .. }) if !body.is_empty() => {
                    format!(": {}", one_line(body))
                }
                _ => String::new(),
            };
            eprintln!("chat-client: {}{body}", one_line(&in_one_line(&*error)));
            ExitCode::FAILURE
        }
    }
}

fn params(args: Args) -> Result<ClientParams, Box<dyn Error>> {
    let params = ClientParams::url(&args.url)?;
    let mut params = match args.compat {
        Some(compat) => params.compatibility(compat.into()),
        None => params.subprotocol(SUBPROTOCOL),
    };
    params = params
        // Piped input can be faster than the network.
        .overflow(OverflowPolicy::Wait(Duration::from_secs(30)));
    if let Some(path) = args.root {
        let pem = std::fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        params = params.root_pem(pem);
    }
    if let Some(name) = args.name {
        return Ok(params.query("name", name));
    }
    if let Some(token) = args.token.or_else(|| std::env::var("CHAT_TOKEN").ok().map(Token::from)) {
        params = params.token(token);
    }
    Ok(params)
}

/// Chats until the user leaves, or the client gives up connecting again. True if it ended in order.
async fn chat(params: ClientParams, compat: Option<Compat>) -> Result<bool, Box<dyn Error>> {
    let client = WebsocketClient::new(params.reconnect(Reconnect::new()))?;
    let (mut events, mut states) = (client.events(), client.states());
    client.connect().await?;
    let (mut lines, mut screen) = terminal::open(|line| line.trim() == BYE);
    let mut parting: Option<Instant> = None;
    // Packets `who` without an answer.
    let mut questions = 0_usize;
    let mut connections = 0_usize;
    let over = loop {
        tokio::select! {
            // In this order: what was lost is told before what comes after it.
            biased;
            state = states.recv() => match state {
                Some(ClientState::Waiting { .. }) if parting.is_some() => break None,
                Some(ClientState::Waiting { pause, why, .. }) => {
                    questions = 0;
                    let why = match &why.cause {
                        LossCause::Refused(error) => format!("Not back yet: {}", in_one_line(&**error)),
                        _ => format!("Lost: {why}"),
                    };
                    screen.show(&one_line(&format!("{why}; again in {pause:.1?}.")))?;
                }
                Some(ClientState::GivenUp(why)) => break Some(why),
                Some(_) => {}
                None => break None,
            },
            event = events.recv() => match event {
                Some(ClientEvent::Message(event)) => {
                    if let Some(heard) = compat.and_then(|compat| compat.heard(&event.message)) {
                        screen.show(&one_line(&heard))?;
                        continue;
                    }
                    let packet = event.message.json::<ChatPacket>().ok();
                    if matches!(packet, Some(ChatPacket::Online { .. })) {
                        questions = questions.saturating_sub(1);
                        if questions == 0 && parting.is_some() {
                            break None;
                        }
                    }
                    screen.show(&line_of(packet, &event.message))?;
                }
                Some(event) if event.connected().is_some() => {
                    connections += 1;
                    if connections > 1 {
                        screen.show("Connected again.")?;
                    }
                }
                Some(_) => {}
                None => break None,
            },
            line = lines.next(), if parting.is_none() => {
                if let Some(compat) = compat {
                    let Some(line) = line else {
                        parting = Some(Instant::now());
                        break None;
                    };
                    if let Err(error) = client.send(compat.said(&line)?).await {
                        screen.show(&format!("Not sent: {}", in_one_line(&error)))?;
                    }
                    continue;
                }
                let packet = match line.as_deref().map(command) {
                    // Rooms are groups, which the client joins again by itself.
                    Some(Ok(ChatPacket::Enter { room })) => {
                        if let Err(error) = client.join(&room_name(&room).unwrap_or_default()).await {
                            screen.show(&one_line(&format!("Not entered: {error}")))?;
                        }
                        continue;
                    }
                    Some(Ok(ChatPacket::Exit { room })) => {
                        if let Err(error) = client.leave(&room_name(&room).unwrap_or_default()).await {
                            screen.show(&one_line(&format!("Not left: {error}")))?;
                        }
                        continue;
                    }
                    Some(Ok(packet)) => packet,
                    Some(Err(usage)) => {
                        screen.show(usage)?;
                        continue;
                    }
                    None => {
                        // The answer to a last `who` comes after all messages that are due until now.
                        parting = Some(Instant::now() + PARTING);
                        ChatPacket::Who
                    }
                };
                questions += usize::from(packet == ChatPacket::Who);
                match client.send(Json(&packet)).await {
                    Err(_) if parting.is_some() => break None,
                    Err(error) => screen.show(&format!("Not sent: {error}"))?,
                    Ok(_) => {}
                }
            }
            () = sleep_until(parting.unwrap_or_else(Instant::now)), if parting.is_some() => break None,
        }
    };
    client.disconnect().await;
    let Some(over) = over.filter(|_| parting.is_none()) else {
        screen.close("You left.")?;
        return Ok(true);
    };
    screen.close(&one_line(&match &over.cause {
        LossCause::Ended(end) => format!("The chat is over: {end}."),
        _ => format!("The chat is over: {over}."),
    }))?;
    // A server may end the chat in order, too: with 1000.
    Ok(matches!(&over.cause, LossCause::Ended(end) if end.clean && end.code == Some(1000)))
}

/// The packet for a typed line, or a usage hint.
fn command(line: &str) -> Result<ChatPacket, &'static str> {
    let line = line.trim();
    let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match first {
        "/who" => Ok(ChatPacket::Who),
        "/msg" => match rest.trim_start().split_once(char::is_whitespace) {
            Some((to, text)) => {
                Ok(ChatPacket::Private { from: None, to: to.to_owned(), text: text.trim_start().to_owned() })
            }
            None => Err("Write: /msg USER TEXT"),
        },
        "/join" | "/leave" if rest.trim().is_empty() => Err("Write: /join ROOM, or /leave ROOM"),
        "/join" => Ok(ChatPacket::Enter { room: rest.trim().to_owned() }),
        "/leave" => Ok(ChatPacket::Exit { room: rest.trim().to_owned() }),
        "/rooms" => Ok(ChatPacket::List),
        "/tell" => match rest.trim_start().split_once(char::is_whitespace) {
            Some((room, text)) => {
                Ok(ChatPacket::Tell { from: None, room: room.to_owned(), text: text.trim_start().to_owned() })
            }
            None => Err("Write: /tell ROOM TEXT"),
        },
        _ => Ok(ChatPacket::Say { from: None, text: line.to_owned() }),
    }
}

/// The line for a received message, without control characters, so that no peer can control the terminal.
fn line_of(packet: Option<ChatPacket>, message: &Message) -> String {
    match (packet, message) {
        (Some(packet), _) => one_line(&packet.to_string()),
        (None, Message::Text(text)) => one_line(text),
        (None, Message::Binary(bytes)) => format!("({} bytes)", bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_word_of_its_own() {
        let say = |text: &str| Ok(ChatPacket::Say { from: None, text: text.into() });
        assert_eq!(command(" /who "), Ok(ChatPacket::Who));
        assert_eq!(command("/whoever"), say("/whoever"));
        assert_eq!(command("hello /who"), say("hello /who"));
    }

    #[test]
    fn a_private_text_keeps_its_blanks() {
        let (to, text) = ("John".to_owned(), "two  words".to_owned());
        assert_eq!(command("/msg  John   two  words"), Ok(ChatPacket::Private { from: None, to, text }));
        assert!(command("/msg John").is_err());
        assert!(command("/msg").is_err());
    }

    #[test]
    fn rooms_are_joined_left_listed_and_told() {
        let room = || "rust".to_owned();
        assert_eq!(command("/join  rust "), Ok(ChatPacket::Enter { room: room() }));
        assert_eq!(command("/leave rust"), Ok(ChatPacket::Exit { room: room() }));
        assert_eq!(command("/rooms"), Ok(ChatPacket::List));
        let told = ChatPacket::Tell { from: None, room: room(), text: "two  words".to_owned() };
        assert_eq!(command("/tell rust  two  words"), Ok(told));
        for usage in ["/join", "/leave  ", "/tell rust", "/tell"] {
            assert!(command(usage).is_err(), "{usage}");
        }
    }

    #[test]
    fn what_arrives_cannot_command_the_terminal() {
        assert_eq!(line_of(None, &Message::text("\u{1b}[2Jhi\n")), " [2Jhi");
        assert_eq!(line_of(None, &Message::binary(&b"hi"[..])), "(2 bytes)");
        let says = ChatPacket::Say { from: Some("A\u{7}".into()), text: "b\nc".into() };
        assert_eq!(line_of(Some(says), &Message::text("")), "A  says: b c");
    }
}
