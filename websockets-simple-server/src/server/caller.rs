//! Finds the connection of the client that sends an ordinary HTTP request.

use std::net::SocketAddr;

use http::{Extensions, HeaderMap, HeaderName, request::Parts};
use websockets_simple_core::{ErrorStage, EventError};

use super::Server;
use crate::{
    config::ClientId,
    connection::Connection,
    net::{LocalEndpoint, Peer},
    users::Identity,
};

impl<I: Identity> Server<I> {
    /// Finds the open connection of the client that sends an ordinary HTTP request, by the headers of
    /// [`identity_headers`](crate::ServerParams::identity_headers): `X-PODE-SIGNAL-CLIENT-ID` is required. If
    /// `X-PODE-SIGNAL-NAME` or `X-PODE-SIGNAL-GROUP` are present, the connection must be in that channel and those
    /// groups. With the feature `axum`, the extractor `Caller` gives the connection.
    ///
    /// An id with an invalid signature finds no connection, and raises an error of the stage `Signal`. Without
    /// [`id_signing`](crate::ServerParams::id_signing), a client that knows the id of another connection can
    /// impersonate its client.
    ///
    /// The address of the client, to which a strict signature is bound, is read from the extensions of the request as
    /// in [`upgrade`](Self::upgrade).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it resolves, the handlers of an error event may not have run.
    pub async fn caller(&self, request: &Parts) -> Option<Connection<I>> {
        let (shared, headers) = (&self.shared, &request.headers);
        let (params, names) = (&shared.params, &shared.params.identity_headers);
        let id = text(headers, &names.client_id)?;
        let peer_addr = peer_addr(&request.extensions);
        let id = match &params.id_signing {
            None => ClientId::new(id).ok()?,
            Some(signing) => {
                let peer = Peer::new(peer_addr, LocalEndpoint::Unknown);
                let client = peer.client_of(&params.trusted_proxies, headers);
                match signing.verify(id, client, text(headers, &http::header::USER_AGENT)) {
                    Ok(id) => id,
                    Err(wrong) => {
                        let error = EventError::new(wrong);
                        shared.subscriptions.raise_error(ErrorStage::Signal, error, peer_addr).await;
                        return None;
                    }
                }
            }
        };
        let connection = shared.registry.client(&id)?;
        let is_in_group =
            |group: &http::HeaderValue| group.to_str().is_ok_and(|group| connection.is_in(group));
        let is_there = headers.get(&names.name).is_none_or(|name| *name == *connection.channel())
            && headers.get_all(&names.group).iter().all(is_in_group);
        is_there.then_some(connection)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The peer's address, if the application's HTTP server has set it in the extensions of a request.
pub(crate) fn peer_addr(extensions: &Extensions) -> Option<SocketAddr> {
    let addr = extensions.get::<SocketAddr>().copied();
    #[cfg(feature = "axum")]
    let addr = addr.or_else(|| crate::http::peer_addr(extensions));
    addr
}
