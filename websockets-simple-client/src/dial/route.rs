//! The way to the server: the byte stream under TLS and handshake.

use crate::{
    config::{CheckedParams, Target},
    dial::{stream::RawStream, tcp},
    error::ConnectError,
};

/// Opens a byte stream to the server.
pub(super) async fn open(params: &CheckedParams) -> Result<RawStream, ConnectError> {
    let dialing = params.dialing();
    if let Some(connector) = &dialing.connector {
        let target = Target::new(&params.host.name, params.port(), params.secured());
        let stream = connector.connect(&target).await;
        return stream.map(RawStream::Other).map_err(|error| ConnectError::Connect(error.into()));
    }
    #[cfg(unix)]
    if let Some(path) = &dialing.unix {
        let stream = tokio::net::UnixStream::connect(path).await;
        let stream = stream.map_err(|error| ConnectError::Connect(error.into()))?;
        return Ok(RawStream::Other(Box::new(stream)));
    }
    #[cfg(feature = "proxy")]
    if let Some(proxy) = dialing.proxy_to(&params.host, params.secured()) {
        let stream = super::proxy::connect(params, &proxy).await;
        return stream.map(RawStream::Tcp).map_err(ConnectError::Proxy);
    }
    Ok(RawStream::Tcp(tcp::connect(params, &params.host.name, params.port()).await?))
}
