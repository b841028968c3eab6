//! Connections over streams that the application gives to the server.

use std::{any::Any, pin::pin, sync::Arc};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use websockets_simple_core::{EventError, Transport};

use crate::{
    connection::session::{Cut, SessionParts, conclude, in_time, serve},
    handshake::{HandshakeContext, NotOpened, Refusal, Unopened, handshake},
    run::{SessionGuard, SessionStage, SessionTask},
    users::Identity,
};

/// Why no connection opened over a stream of the application.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The server does not run, or stops. The peer was answered 503.
    #[error("the server does not run")]
    NotRunning,
    /// The request was refused.
    #[error("the handshake was refused: {reason}")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// The status and the text of the answer.
        reason: String,
    },
    /// The peer was upgraded to be told that it is not authorized, as
    /// [`UpgradeAndClose`](crate::UnauthorizedDelivery::UpgradeAndClose) has it.
    #[error("the peer is not authorized")]
    Unauthorized,
    /// The handshake took longer than [`Limits::handshake`](crate::Limits::handshake).
    #[error("the handshake took too long")]
    TimedOut,
    /// The stream ended, without a request for a WebSocket or before it was answered.
    #[error("the peer disconnected before the handshake was complete")]
    Lost,
    /// The stream failed.
    #[error("the stream failed in the handshake")]
    Failed(#[source] EventError),
}

impl ServeError {
    pub(crate) fn refused(refusal: &Refusal) -> Self {
        Self::Refused { status: refusal.status().as_u16(), reason: refusal.why().text }
    }

    fn of(ended: &Result<Unopened, Cut>) -> Self {
        match ended {
            Ok(Unopened { why, .. }) => match why {
                NotOpened::Refused(why, Some(status)) => {
                    Self::Refused { status: status.as_u16(), reason: why.text.clone() }
                }
                NotOpened::Unreadable(why, status) => {
                    Self::Refused { status: status.as_u16(), reason: why.text.clone() }
                }
                NotOpened::Failed(_, error) => Self::Failed(error.clone()),
                NotOpened::NoRequest | NotOpened::Refused(_, None) => Self::Lost,
            },
            Err(Cut::Late(_)) => Self::TimedOut,
            Err(Cut::Stopped) => Self::NotRunning,
        }
    }
}

/// Runs a connection over a stream, from its first byte to its last.
pub(crate) fn served<I, S>(
    context: HandshakeContext<I>,
    guard: SessionGuard<I>,
    stream: S,
    parts: SessionParts<I>,
) -> SessionTask<I>
where
    I: Identity,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    SessionTask::new(guard, Box::pin(open(context, stream, parts)))
}

async fn open<I, S>(
    mut context: HandshakeContext<I>,
    stream: S,
    mut parts: SessionParts<I>,
) -> Option<SessionStage<I>>
where
    I: Identity,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (timeout, stop) = (Arc::clone(&context.timeout), context.stop.clone());
    // In a block: the stream is let go of before the failure is told.
    let opened =
        { in_time(&timeout, &stop, pin!(handshake(stream, Bytes::new(), &mut context, transport))).await };
    let ended = match opened {
        Ok(Ok(opened)) => return Some(serve(context, opened, parts)),
        Ok(Err(unopened)) => Ok(unopened),
        Err(cut) => Err(cut),
    };
    parts.told.take().map(|told| told.send(Err(ServeError::of(&ended))));
    conclude(context, ended).await;
    None
}

/// A socket is used directly, as on endpoints of the server's own.
fn transport<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S) -> Transport {
    let mut stream = Some(stream);
    let socket = (&mut stream as &mut dyn Any).downcast_mut::<Option<TcpStream>>().and_then(Option::take);
    match (socket, stream) {
        (Some(socket), _) => {
            // A failure only causes delays.
            let _ = socket.set_nodelay(true);
            Transport::tcp(socket)
        }
        (None, Some(stream)) => Transport::shared(stream),
        (None, None) => Transport::shared(tokio::io::empty()),
    }
}
