//! Name resolution by the application.

use std::{io, net::SocketAddr};

use async_trait::async_trait;

/// Resolves host names instead of the system: over HTTPS, from a service registry, with a cache of its own.
///
/// A closure that gives a future is a resolver:
///
/// ```
/// use std::net::SocketAddr;
/// use websockets_simple_client::ClientParams;
///
/// let params = ClientParams::new("chat.internal", 8080).resolver(async |host: String, port: u16| {
///     println!("looking for {host}");
///     Ok(vec![SocketAddr::from(([10, 0, 0, 7], port)), SocketAddr::from(([10, 0, 0, 8], port))])
/// });
/// ```
#[async_trait]
pub trait Resolver: Send + Sync + 'static {
    /// Returns the addresses of a host, the preferred one first. They are tried in this order, with the families
    /// alternating, the next one 250 ms after the last (RFC 8305). In place of a port 0 the asked one is used.
    ///
    /// # Errors
    ///
    /// When the host cannot be resolved: the source of [`ConnectError::Resolve`](crate::ConnectError::Resolve), as is a
    /// result without an address. A resolver that panics fails the connect.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped at the connect timeout, or when the connect is given up.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

#[async_trait]
impl<F, Resolving> Resolver for F
where
    F: Fn(String, u16) -> Resolving + Send + Sync + 'static,
    Resolving: Future<Output = io::Result<Vec<SocketAddr>>> + Send,
{
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self(host.to_owned(), port).await
    }
}
