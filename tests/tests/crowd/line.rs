//! The connection of a client: mostly of a cheap one, which is no client of this library, or of one that is.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};
use websockets_simple_client::{ClientEvent, ClientParams, ConnectionEventKind, Events, WebsocketClient};
use websockets_simple_tests::crowd::Notice;

/// Bytes of the buffer that a cheap client reads into. It grows for what is larger.
const READ_BUFFER: usize = 256;

/// How long a server may take to answer a Close.
const LONGEST: Duration = Duration::from_secs(60);

/// A connection of a client.
#[expect(clippy::large_enum_variant, reason = "nearly all are of the large one")]
pub(crate) enum Line {
    Cheap(WebSocketStream<TcpStream>),
    Sdk(Box<(WebsocketClient, Events<ClientEvent>)>),
}

impl Line {
    /// Connects from a source address.
    pub(crate) async fn connect(addr: SocketAddr, source: Ipv4Addr, is_sdk: bool) -> Result<Self, String> {
        if is_sdk {
            let params = ClientParams::new(addr.ip().to_string(), addr.port()).local_addr(IpAddr::V4(source));
            let client = WebsocketClient::new(params).map_err(|error| error.to_string())?;
            let events = client.events();
            client.connect().await.map_err(|error| format!("cannot connect: {error:?}"))?;
            return Ok(Self::Sdk(Box::new((client, events))));
        }
        let stream = connect_from(source, addr).await.map_err(|error| format!("no socket: {error}"))?;
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let opened = client_async_with_config(format!("ws://{addr}/"), stream, Some(config)).await;
        opened.map(|(stream, _)| Self::Cheap(stream)).map_err(|error| format!("no handshake: {error}"))
    }

    /// The next text of the server. Cancel safe.
    pub(crate) async fn hear(&mut self) -> Result<Notice, String> {
        let read =
            |text: &str| Notice::read(text).ok_or_else(|| format!("not a text of this server: {text}"));
        match self {
            Self::Cheap(stream) => loop {
                match stream.next().await {
                    Some(Ok(Message::Text(text))) => return read(&text),
                    Some(Ok(Message::Ping(_))) => {}
                    Some(Ok(other)) => return Err(format!("not a text: {other:?}")),
                    Some(Err(error)) => return Err(format!("lost: {error}")),
                    None => return Err("ended".into()),
                }
            },
            Self::Sdk(line) => loop {
                match line.1.recv().await {
                    Some(ClientEvent::Message(event)) => {
                        return read(event.message.as_text().ok_or("not a text")?);
                    }
                    Some(ClientEvent::Error(event)) => return Err(format!("{:?}", event.error)),
                    Some(ClientEvent::Connection(event)) => {
                        if let ConnectionEventKind::Disconnected(_, end) = event.kind {
                            return Err(format!("lost: {end:?}"));
                        }
                    }
                    Some(other) => return Err(format!("not a text: {other:?}")),
                    None => return Err("ended".into()),
                }
            },
        }
    }

    pub(crate) async fn say(&mut self, text: &str) -> Result<(), String> {
        match self {
            Self::Cheap(stream) => stream.send(Message::text(text)).await.map_err(|error| error.to_string()),
            Self::Sdk(line) => line.0.send_text(text).await.map(drop).map_err(|error| error.to_string()),
        }
    }

    /// Ends the connection, with a close handshake or without.
    pub(crate) async fn hang_up(self, is_polite: bool) -> Result<(), String> {
        if !is_polite {
            return Ok(());
        }
        match self {
            Self::Cheap(mut stream) => {
                stream.close(None).await.map_err(|error| format!("no Close: {error}"))?;
                // What else comes is of no interest any more.
                let ended = async { while let Some(Ok(_)) = stream.next().await {} };
                timeout(LONGEST, ended).await.map_err(|_| "no answer to a Close".to_owned())
            }
            Self::Sdk(line) => {
                line.0.disconnect().await;
                Ok(())
            }
        }
    }
}

async fn connect_from(source: Ipv4Addr, addr: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    socket.connect(addr).await
}
