//! Opens a WebSocket from parameters: a byte stream, TLS, handshake.

use std::{io, net::SocketAddr};

use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use websockets_simple_core::{Agreement, CatchPanic};

use crate::{config::CheckedParams, error::ConnectError};

use stream::{DialedStream, RawStream};

mod head;
#[cfg(feature = "proxy")]
pub(crate) mod proxy;
mod refusal;
mod request;
mod response;
mod route;
mod stream;
mod tcp;
mod verdict;

#[cfg(feature = "rustls")]
mod tls;

/// The addresses of a connection, and what client and server negotiated.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionInfo {
    pub(crate) local_addr: Option<SocketAddr>,
    pub(crate) peer_addr: Option<SocketAddr>,
    pub(crate) subprotocol: Option<String>,
    pub(crate) controls: bool,
    pub(crate) response_headers: http::HeaderMap,
    pub(crate) tls: Option<TlsInfo>,
}

/// The TLS version and cipher suite that a connection negotiated.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version, such as `TLSv1_3`.
    pub version: String,
    /// The cipher suite, such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
}

/// A WebSocket that has just been opened.
pub(crate) struct Dialed {
    pub(crate) stream: DialedStream,
    /// Bytes received after the response head.
    pub(crate) leftover: Vec<u8>,
    /// The compression that both ends agreed on.
    pub(crate) compression: Option<Agreement>,
    pub(crate) info: ConnectionInfo,
}

/// Opens the connections of a client; its TLS configuration is built once.
#[derive(Clone)]
pub(crate) struct Dialer {
    #[cfg(feature = "rustls")]
    connector: Option<tls::Connector>,
}

impl Dialer {
    /// Builds the TLS configuration if TLS is used.
    pub(crate) fn new(params: &CheckedParams) -> Result<Self, crate::error::ParamsError> {
        #[cfg(not(feature = "rustls"))]
        if params.secured() {
            return Err(crate::error::ParamsError::Tls("the feature `tls` is disabled".to_owned()));
        }
        Ok(Self {
            #[cfg(feature = "rustls")]
            connector: params.secured().then(|| tls::Connector::new(params.tls())).transpose()?,
        })
    }

    /// Opens a WebSocket.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the socket is closed.
    pub(crate) async fn dial(&self, params: &CheckedParams) -> Result<Dialed, ConnectError> {
        let opening = self.open(params);
        let dialed = if params.dialing().runs_user_code() {
            let opened = CatchPanic::new(Box::pin(opening)).await;
            opened.unwrap_or_else(|panicked| {
                let error = io::Error::other(panicked.of_code("code that opens the byte stream"));
                Err(ConnectError::Connect(error.into()))
            })
        } else {
            opening.await
        };
        #[cfg(feature = "rustls")]
        if let Some(connector) = &self.connector {
            return dialed.map_err(|error| connector.explain(error));
        }
        dialed
    }

    async fn open(&self, params: &CheckedParams) -> Result<Dialed, ConnectError> {
        let stream = route::open(params).await?;
        let (local_addr, peer_addr) =
            stream.addresses().map_err(|error| ConnectError::Connect(error.into()))?;
        let (mut stream, tls) = self.secure(params, stream).await?;
        let key = generate_key();
        let head = request::head(params, &key);
        stream.write_all(head.expose().as_bytes()).await.map_err(lost)?;
        stream.flush().await.map_err(lost)?;
        let answer = response::read(&mut stream, params, &derive_accept_key(key.as_bytes())).await?;
        if let Some(message) = verdict::refusal(&mut stream, params, &answer.headers, &answer.leftover).await
        {
            return Err(refusal::after_upgrade(answer.headers, message));
        }
        let info = ConnectionInfo {
            local_addr,
            peer_addr,
            subprotocol: answer.subprotocol,
            controls: answer.controls,
            response_headers: answer.headers,
            tls,
        };
        Ok(Dialed { stream, leftover: answer.leftover, compression: answer.compression, info })
    }

    #[cfg(feature = "rustls")]
    async fn secure(
        &self,
        params: &CheckedParams,
        stream: RawStream,
    ) -> Result<(DialedStream, Option<TlsInfo>), ConnectError> {
        let Some(connector) = &self.connector else { return Ok((stream.plain(), None)) };
        Ok(match stream {
            RawStream::Tcp(stream) => {
                let (stream, info) = connector.secure(params, stream).await?;
                (DialedStream::Tls(Box::new(stream)), Some(info))
            }
            RawStream::Other(stream) => {
                let (stream, info) = connector.secure(params, stream).await?;
                (DialedStream::OtherTls(Box::new(stream)), Some(info))
            }
        })
    }

    #[cfg(not(feature = "rustls"))]
    #[expect(clippy::unused_async, reason = "with the feature `rustls` it awaits")]
    async fn secure(
        &self,
        _params: &CheckedParams,
        stream: RawStream,
    ) -> Result<(DialedStream, Option<TlsInfo>), ConnectError> {
        Ok((stream.plain(), None))
    }
}

/// The error for a connection lost during the handshake. With TLS 1.3 a server's refusal of the client certificate
/// arrives only here.
pub(crate) fn lost(error: io::Error) -> ConnectError {
    #[cfg(feature = "rustls")]
    if error.get_ref().is_some_and(|inner| inner.is::<tokio_rustls::rustls::Error>()) {
        return tls::in_words(&error);
    }
    ConnectError::Lost(error.into())
}

#[cfg(test)]
mod tests;
