//! TCP connections through a proxy.

use std::io;

use tokio::net::TcpStream;

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

fn lost(error: io::Error) -> ProxyError {
    ProxyError::Lost(error.into())
}

#[cfg(test)]
mod tests;
