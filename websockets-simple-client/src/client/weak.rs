//! A handle that does not keep its client.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use crate::client::{Handles, WebsocketClient};

/// A handle of a client that does not keep it: the client closes when its last [`WebsocketClient`] is dropped, however many
/// of these there are.
///
/// For handlers of the client itself: one that owned a [`WebsocketClient`] would keep the client, which keeps the handler,
/// for ever.
///
/// # Examples
///
/// ```no_run
/// use websockets_simple_client::{ClientParams, WebsocketClient};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = WebsocketClient::new(ClientParams::new("localhost", 8080))?;
/// let weak = client.downgrade();
/// client.on_message(move |_connection, message| {
///     let client = weak.upgrade();
///     async move {
///         if let Some(client) = client && message.as_text() == Some("enough") {
///             client.disconnect().await;
///         }
///     }
/// });
/// client.connect().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct WeakClient(Weak<Handles>);

impl WebsocketClient {
    /// A handle that does not keep the client.
    #[must_use]
    pub fn downgrade(&self) -> WeakClient {
        WeakClient(Arc::downgrade(&self.handles))
    }
}

impl WeakClient {
    /// The client, if it has a handle left.
    #[must_use]
    pub fn upgrade(&self) -> Option<WebsocketClient> {
        let handles = self.0.upgrade()?;
        Some(WebsocketClient { shared: Arc::clone(&handles.0), handles })
    }
}

impl fmt::Debug for WeakClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakClient")
    }
}
