//! TCP connections through a proxy.

use std::io;

#[cfg(fuzzing)]
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(fuzzing)]
use websockets_simple_core::Token;

#[cfg(fuzzing)]
use crate::config::{Credentials, Host};

use crate::{
    config::{CheckedParams, ProxyKind, ProxyServer},
    dial::tcp::{self, Fault},
    error::ProxyError,
};

mod http;
mod socks5;

/// A connection to the server. The proxy has answered, and nothing has come from the server.
pub(super) async fn connect(params: &CheckedParams, proxy: &ProxyServer) -> Result<TcpStream, ProxyError> {
    let connected = tcp::connect(params, &proxy.host.name, proxy.port).await;
    let mut stream = connected.map_err(|fault| match fault {
        Fault::Resolve(error) => ProxyError::Resolve(error.into()),
        Fault::Connect(error) => ProxyError::Connect(error.into()),
    })?;
    let credentials = proxy.credentials.as_ref();
    match proxy.kind {
        ProxyKind::Http => http::tunnel(&mut stream, &params.host, params.port(), credentials).await?,
        ProxyKind::Socks5 => socks5::tunnel(&mut stream, &params.host, params.port(), credentials).await?,
    }
    Ok(stream)
}

/// Reads what a proxy answers, with or without credentials.
#[cfg(fuzzing)]
pub(crate) async fn answered<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    kind: ProxyKind,
    with_credentials: bool,
) -> Result<(), ProxyError> {
    let host = Host::parse("server").map_err(|_| ProxyError::BadResponse("it has no name"))?;
    let credentials = Credentials { user: Token::new("user"), password: Token::new("password") };
    let credentials = Some(&credentials).filter(|_| with_credentials);
    match kind {
        ProxyKind::Http => http::tunnel(&mut stream, &host, 80, credentials).await,
        ProxyKind::Socks5 => socks5::tunnel(&mut stream, &host, 80, credentials).await,
    }
}

fn lost(error: io::Error) -> ProxyError {
    ProxyError::Lost(error.into())
}

#[cfg(test)]
mod tests;
