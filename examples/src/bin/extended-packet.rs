//! cargo run --release --bin extended-packet
//!
//! A packet with additional fields, three ways to send and receive it, and a real connection between a client and a
//! server in this process. The JSON is that of the .NET library.
#![expect(clippy::print_stdout, reason = "a program with an output")]

use std::error::Error;

use serde::{Deserialize, Serialize};
use websockets_simple_client::{
    ClientEvent, ClientParams, ConnectionEventKind, DecodeError, DefaultPacket, Events, Json, Message,
    Packet, WebsocketClient,
    chrono::{DateTime, Utc},
    dotnet::{self, NumericEnum},
};
use websockets_simple_server::{Connection, Event, Handler, Identity, ServerParams, WebsocketServer};

/// The type of a packet: a number on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum PacketExtendedType {
    #[default]
    PacketType1,
    PacketType2,
}

impl NumericEnum for PacketExtendedType {
    const ALL: &'static [Self] = &[Self::PacketType1, Self::PacketType2];

    fn number(self) -> i64 {
        self as i64
    }
}

/// The default packet with additional fields, in the order in which .NET writes them. What a message lacks is the
/// default, as .NET reads it: with `serde(default)`, the packets of `SendToServerAsync(string)` are packets here, too.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "PascalCase")]
struct PacketExtended {
    data: String,
    #[serde(with = "dotnet::timestamp", skip_serializing_if = "Option::is_none")]
    timestamp: Option<DateTime<Utc>>,
    #[serde(with = "dotnet::numeric_enum")]
    packet_extended_type: PacketExtendedType,
    username: Option<String>,
    first_name: String,
    last_name: String,
}

impl Packet for PacketExtended {
    fn data(&self) -> &str {
        &self.data
    }

    fn timestamp(&self) -> Option<DateTime<Utc>> {
        self.timestamp
    }

    /// Any other text becomes a packet with fake names.
    fn from_text(text: &str) -> Self {
        Self {
            data: text.to_owned(),
            timestamp: Some(dotnet::timestamp::now()),
            packet_extended_type: PacketExtendedType::PacketType1,
            username: None,
            first_name: "FakeFirstName".to_owned(),
            last_name: "FakeLastName".to_owned(),
        }
    }
}

/// A packet of type 2: the common fields and a score.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PacketWithScore {
    #[serde(flatten)]
    common: PacketExtended,
    score: u32,
}

/// A polymorphic packet, decoded as in the .NET manual: first the common fields, then, by their type, the whole packet.
enum Polymorphic {
    Plain(PacketExtended),
    WithScore(PacketWithScore),
}

impl Polymorphic {
    fn decode(message: &Message) -> Result<Self, DecodeError> {
        let common = message.try_packet::<PacketExtended>()?;
        match common.packet_extended_type {
            PacketExtendedType::PacketType1 => Ok(Self::Plain(common)),
            PacketExtendedType::PacketType2 => message.json().map(Self::WithScore),
        }
    }
}

/// A polymorphic packet that is decoded in one step: the kind is a tag, and each kind has its own fields.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "Kind")]
enum Tagged {
    #[serde(rename_all = "PascalCase")]
    Greeting { first_name: String },
    #[serde(rename_all = "PascalCase")]
    Score { first_name: String, score: u32 },
}

/// Decodes every message in the way that its channel stands for, and answers in the same form.
struct Teacher;

impl<I: Identity> Handler<Event<I>> for Teacher {
    async fn handle(&self, event: Event<I>) {
        let Event::Message(event) = event else { return };
        let answered = match event.connection.channel() {
            "/fields" => by_field(&event.connection, &event.message).await,
            "/two-steps" => in_two_steps(&event.connection, &event.message).await,
            _ => by_tag(&event.connection, &event.message).await,
        };
        if let Err(error) = answered {
            eprintln!("extended-packet: {error}");
        }
    }
}

type Answered = Result<(), Box<dyn Error + Send + Sync>>;

async fn by_field<I: Identity>(connection: &Connection<I>, message: &Message) -> Answered {
    let mut packet = message.packet::<PacketExtended>()?;
    println!("  server reads  Data: {}", packet.data);
    println!("                PacketExtendedType: {:?}", packet.packet_extended_type);
    println!("                Username: {:?}", packet.username);
    println!("                FirstName: {}, LastName: {}", packet.first_name, packet.last_name);
    packet.data = format!("You said: {}", packet.data);
    packet.packet_extended_type = PacketExtendedType::PacketType2;
    packet.username = Some("server".to_owned());
    connection.send(&packet).await?;
    Ok(())
}

async fn in_two_steps<I: Identity>(connection: &Connection<I>, message: &Message) -> Answered {
    match Polymorphic::decode(message)? {
        Polymorphic::Plain(packet) => {
            println!("  server reads  a plain packet of {}: {}", packet.first_name, packet.data);
            let common = PacketExtended { packet_extended_type: PacketExtendedType::PacketType2, ..packet };
            connection.send(Json(&PacketWithScore { common, score: 7 })).await?;
        }
        Polymorphic::WithScore(PacketWithScore { common, score }) => {
            println!("  server reads  a packet of {} with the score {score}", common.first_name);
            let packet = PacketExtended { packet_extended_type: PacketExtendedType::PacketType1, ..common };
            connection.send(&packet).await?;
        }
    }
    Ok(())
}

async fn by_tag<I: Identity>(connection: &Connection<I>, message: &Message) -> Answered {
    let answer = match message.json::<Tagged>()? {
        Tagged::Greeting { first_name } => {
            println!("  server reads  a greeting of {first_name}");
            Tagged::Score { first_name, score: 7 }
        }
        Tagged::Score { first_name, score } => {
            println!("  server reads  the score {score} of {first_name}");
            Tagged::Greeting { first_name }
        }
    };
    connection.send(Json(&answer)).await?;
    Ok(())
}

/// A client that sends a message and waits for the answer.
struct Pupil {
    client: WebsocketClient,
    events: Events<ClientEvent>,
}

impl Pupil {
    async fn connect(port: u16, channel: &str) -> Result<Self, Box<dyn Error>> {
        let client = WebsocketClient::new(ClientParams::new("127.0.0.1", port).path(channel))?;
        let events = client.events();
        client.connect().await?;
        Ok(Self { client, events })
    }

    /// Sends a message and prints both the message and the answer.
    async fn ask(&mut self, message: Message) -> Result<Message, Box<dyn Error>> {
        println!("  client sends  {}", message.as_text().unwrap_or_default());
        self.client.send(message).await?;
        let answer = self.answer().await?;
        println!("  client reads  {}", answer.as_text().unwrap_or_default());
        Ok(answer)
    }

    async fn answer(&mut self) -> Result<Message, Box<dyn Error>> {
        loop {
            match self.events.recv().await.ok_or("the client is gone")? {
                ClientEvent::Message(event) => return Ok(event.message),
                ClientEvent::Connection(event) => {
                    if let ConnectionEventKind::Disconnected(_, end) = event.kind {
                        return Err(format!("the connection was {end}").into());
                    }
                }
                _ => {}
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = WebsocketServer::new(ServerParams::local());
    server.subscribe(Teacher);
    server.start().await?;
    let port = server.local_addr().ok_or("the server has stopped already")?.port();

    // The manual's example, field by field, with a fixed time so that the output is the same in every run.
    let packet = PacketExtended {
        data: "YourDataPayload".to_owned(),
        timestamp: Some("2022-03-05T19:42:01.6305503Z".parse()?),
        packet_extended_type: PacketExtendedType::PacketType1,
        username: None,
        first_name: "FakeFirstName".to_owned(),
        last_name: "FakeLastName".to_owned(),
    };

    println!("1. An extended packet, field by field");
    let mut pupil = Pupil::connect(port, "/fields").await?;
    let answer = pupil.ask(Message::from_json(&packet)?).await?.packet::<PacketExtended>()?;
    println!("                from {}", answer.username.unwrap_or_default());

    println!("2. A default packet gets the defaults of the fields that it lacks");
    let plain = DefaultPacket { data: "Hello".to_owned(), timestamp: packet.timestamp };
    pupil.ask(Message::from_json(&plain)?).await?;

    println!("3. Text that is no packet gets the fake names");
    println!("  client sends  just words");
    pupil.client.send_text("just words").await?;
    let answer = pupil.answer().await?.packet::<PacketExtended>()?;
    println!("  client reads  {} ({} {})", answer.data, answer.first_name, answer.last_name);

    println!("4. A polymorphic packet in two steps: the common fields, then the whole");
    let mut pupil = Pupil::connect(port, "/two-steps").await?;
    let answer = pupil.ask(Message::from_json(&packet)?).await?;
    if let Polymorphic::WithScore(packet) = Polymorphic::decode(&answer)? {
        println!("                the score is {}", packet.score);
    }
    pupil.ask(answer).await?;

    println!("5. A polymorphic packet in one step: a tagged enum");
    let mut pupil = Pupil::connect(port, "/tagged").await?;
    let answer =
        pupil.ask(Message::from_json(&Tagged::Greeting { first_name: "Ronald".to_owned() })?).await?;
    pupil.ask(answer).await?;

    server.stop().await;
    Ok(())
}
