//! The TLS handshake with the server.

use std::{io, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{Error, pki_types::ServerName},
};
use websockets_simple_core::tls::wording;

use crate::cluster::bus_tls::BusTls;

/// Does the TLS handshake.
pub(super) async fn secure(
    tls: &BusTls,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, String> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| "no certificate can be for the host's name".to_owned())?;
    let connecting = TlsConnector::from(Arc::new(tls.config().await?)).connect(name, stream);
    connecting.await.map_err(|error| super::wording::io(&error))
}

/// An error of TLS in words, if it is one.
pub(super) fn fault(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(wording::fault(error, "the server"))
}
