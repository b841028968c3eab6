//! From nothing to a connection that speaks RESP3.

use std::{io, pin::Pin, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, Value,
    aio::{MultiplexedConnection, SendError},
};
use secrecy::ExposeSecret;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

#[cfg(feature = "rustls")]
use crate::cluster::redis_bus::tls;
use crate::cluster::{
    port::BusInbox,
    redis_bus::{
        RedisBus,
        address::Address,
        flight::MOST_BATCHES,
        watched::{Seen, Watched},
        wording,
    },
};

/// How long it may take until a connection is ready.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// A connection that is ready.
pub(crate) struct Open {
    pub(super) connection: MultiplexedConnection,
    /// What moves it. Nothing happens on the connection unless this is polled.
    pub(super) driver: Pin<Box<dyn Future<Output = ()> + Send>>,
    pub(super) seen: Arc<Seen>,
    /// How it is called at the server.
    pub(super) name: String,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects. What comes on the connection goes to the inbox.
pub(super) async fn dial(bus: &RedisBus, inbox: BusInbox) -> Result<Open, String> {
    let opening = async {
        let (stream, seen) = Watched::new(connect(bus).await?);
        open(bus, stream, seen, inbox).await
    };
    let opened = match timeout(CONNECT_WITHIN, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(format!("it does not answer within {} s", CONNECT_WITHIN.as_secs())),
    };
    opened.map_err(|why| format!("no connection to {}: {why}", bus.address))
}

async fn connect(bus: &RedisBus) -> Result<Box<dyn Stream>, String> {
    let in_words = |error: io::Error| wording::io(&error);
    #[cfg(feature = "rustls")]
    if bus.tls.is_given() && !matches!(bus.address, Address::Tcp { tls: true, .. }) {
        return Err("there are certificates for TLS, which the URL does not ask for: rediss://".to_owned());
    }
    match &bus.address {
        Address::Tcp { host, port, .. } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(in_words)?;
            stream.set_nodelay(true).map_err(in_words)?;
            // What was sent on a connection that is given up is not to arrive behind what is sent on the next one. One
            // that is closed has its answers already.
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).map_err(in_words)?;
            #[cfg(feature = "rustls")]
            if let Address::Tcp { tls: true, .. } = bus.address {
                return Ok(Box::new(tls::secure(&bus.tls, host, stream).await?));
            }
            Ok(Box::new(stream))
        }
        #[cfg(unix)]
        Address::Unix(path) => {
            let stream = tokio::net::UnixStream::connect(path).await.map_err(in_words)?;
            Ok(Box::new(stream))
        }
        #[cfg(not(unix))]
        Address::Unix(_) => Err("this system has no Unix domain sockets".to_owned()),
    }
}

async fn open(
    bus: &RedisBus,
    stream: Watched<Box<dyn Stream>>,
    seen: Arc<Seen>,
    inbox: BusInbox,
) -> Result<Open, String> {
    let mut info = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_lib_name("websockets-simple", env!("CARGO_PKG_VERSION"));
    if let Some(password) = &bus.password {
        info = info.set_username(bus.user.as_deref().unwrap_or("default"));
        info = info.set_password(password.expose_secret());
    }
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        // No batch has to wait for a place, or the next one might pass it.
        .set_pipeline_buffer_size(MOST_BATCHES + 1)
        .set_push_sender(move |push| deliver(&inbox, push));
    match MultiplexedConnection::new_with_config(&info, stream, config).await {
        Ok((connection, driver)) => {
            Ok(Open { connection, driver: Box::pin(driver), seen, name: bus.name.clone() })
        }
        Err(error) => Err(match seen.fault() {
            Some(fault) => fault.to_owned(),
            None => wording::opening(&error),
        }),
    }
}

/// Straight from the driver to the inbox, which is bounded, as no queue of the crate is.
fn deliver(inbox: &BusInbox, push: PushInfo) -> Result<(), SendError> {
    if push.kind == PushKind::Message
        && let Some(Value::BulkString(message)) = push.data.into_iter().nth(1)
    {
        inbox.deliver(message.into());
    }
    Ok(())
}
