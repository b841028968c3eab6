//! Somebody who chats, by the one address.
#![expect(clippy::print_stdout, reason = "for a program with an output")]

use websockets_simple_client::{
    ClientEvent, ClientParams, ClientState, Events, Json, Reconnect, States, Token, WebsocketClient,
};

use super::{Line, Outcome, within};
use crate::chat::ChatPacket;

/// Somebody who chats, and comes back when the connection is lost.
#[derive(Debug)]
pub struct Person {
    name: String,
    /// The node that the connection leads to.
    node: &'static str,
    client: WebsocketClient,
    states: States,
    events: Events<ClientEvent>,
}

impl Person {
    /// Connects by the line.
    ///
    /// # Errors
    ///
    /// When that fails.
    ///
    /// # Cancel safety
    ///
    /// The connection ends.
    pub async fn connect(name: &str, token: Token, line: &Line) -> Outcome<Self> {
        let params = ClientParams::new(line.address.ip().to_string(), line.address.port())
            .subprotocol("websockets-simple")
            .token(token)
            .reconnect(Reconnect::new());
        let client = WebsocketClient::new(params)?;
        let (events, mut states) = (client.events(), client.states());
        client.connect().await?;
        let node = connected(&mut states, line).await?;
        println!("{name} is at node {node}");
        let mut person = Self { name: name.to_owned(), node, client, states, events };
        person.next(|text| text == format!("Welcome {name}.")).await?;
        Ok(person)
    }

    /// Waits until this person is connected again. The connection was lost.
    ///
    /// # Errors
    ///
    /// When that takes too long.
    ///
    /// # Cancel safety
    ///
    /// States that were taken are not told again.
    pub async fn comes_back(&mut self, line: &Line) -> Outcome<()> {
        let back = async {
            while !matches!(self.states.recv().await, Some(ClientState::Waiting { .. }) | None) {}
            connected(&mut self.states, line).await
        };
        let node = within("a new connection", back).await?;
        println!("{} has lost node {}, and is at node {node}", self.name, self.node);
        self.node = node;
        let welcome = format!("Welcome {}.", self.name);
        self.next(|text| text == welcome).await?;
        // The client goes back into its rooms by itself.
        let entered = format!("{} entered ", self.name);
        self.next(|text| text.starts_with(&entered)).await.map(drop)
    }

    /// Waits for a line of the chat.
    ///
    /// # Errors
    ///
    /// When it does not come in time.
    ///
    /// # Cancel safety
    ///
    /// Lines that were heard are not heard again.
    pub async fn hears(&mut self, line: &str) -> Outcome<()> {
        self.next(|text| text == line).await?;
        println!("{} at node {} hears: {line}", self.name, self.node);
        Ok(())
    }

    async fn next(&mut self, is_it: impl Fn(&str) -> bool) -> Outcome<String> {
        let coming = async {
            loop {
                let event = self.events.recv().await.ok_or("the client is gone")?;
                if let Some(text) = event.message().and_then(|message| message.as_text())
                    && is_it(text)
                {
                    return Ok(text.to_owned());
                }
            }
        };
        within("a line", coming).await.map_err(|why| format!("{}: {why}", self.name).into())
    }

    /// Asks who is there, until the answer is as expected: nodes know of each other some milliseconds later.
    ///
    /// # Errors
    ///
    /// When it is not in time.
    ///
    /// # Cancel safety
    ///
    /// As [`hears`](Self::hears).
    pub async fn asks_who(&mut self, expected: &str) -> Outcome<()> {
        loop {
            self.client.send(Json(&ChatPacket::Who)).await?;
            let answer = self.next(|text| text.starts_with("Online: ")).await?;
            if answer == expected {
                println!("{} at node {} asks who is there. {answer}", self.name, self.node);
                return Ok(());
            }
        }
    }

    /// Sends a private message, which the sender gets as well.
    ///
    /// # Errors
    ///
    /// When that fails.
    ///
    /// # Cancel safety
    ///
    /// As that of `send`.
    pub async fn says_to(&mut self, to: &str, text: &str) -> Outcome<()> {
        let packet = ChatPacket::Private { from: None, to: to.to_owned(), text: text.to_owned() };
        self.client.send(Json(&packet)).await?;
        let own = format!("{} says to {to}: {text}", self.name);
        self.next(|heard| heard == own).await.map(drop)
    }

    /// Enters a room.
    ///
    /// # Errors
    ///
    /// When that fails.
    ///
    /// # Cancel safety
    ///
    /// As that of `join`.
    pub async fn enters(&mut self, room: &str) -> Outcome<()> {
        self.client.join(room).await?;
        let entered = format!("{} entered {room}.", self.name);
        self.next(|text| text == entered).await.map(drop)
    }

    /// Says something in a room.
    ///
    /// # Errors
    ///
    /// When that fails.
    ///
    /// # Cancel safety
    ///
    /// As that of `send`.
    pub async fn says_in(&mut self, room: &str, text: &str) -> Outcome<()> {
        let packet = ChatPacket::Tell { from: None, room: room.to_owned(), text: text.to_owned() };
        Ok(self.client.send(Json(&packet)).await.map(drop)?)
    }

    /// Leaves the chat.
    ///
    /// # Cancel safety
    ///
    /// The connection ends.
    pub async fn leave(&mut self) {
        self.client.disconnect().await;
    }
}

/// Waits for a connection, and says to which node it leads.
async fn connected(states: &mut States, line: &Line) -> Outcome<&'static str> {
    while let Some(state) = states.recv().await {
        if let ClientState::Open(connection) = state {
            let own = connection.local_addr().ok_or("it is a connection over TCP")?;
            return Ok(line.node_of(own).ok_or("the line does not know it")?);
        }
    }
    Err("the client is gone".into())
}
