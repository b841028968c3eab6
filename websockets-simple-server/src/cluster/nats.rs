//! A bus over NATS.

use std::{fmt, path::PathBuf};

use async_trait::async_trait;
use websockets_simple_core::tls::TlsIdentity;

use crate::cluster::{
    bus::Bus,
    bus_tls::BusTls,
    connecting::{Connecting, End, keep_connected},
    nats::{
        address::{Parsed, Server},
        credentials::Credentials,
    },
    port::{BusInbox, BusLink},
};

pub use address::NatsUrlError;

mod address;
mod connection;
mod credentials;
mod dial;
mod wording;

/// A [`Bus`] over core NATS, from nats-server 2.9 on. Nothing is stored there: JetStream is not used.
///
/// It has one connection, to any of the servers that it is given. It is given up when the server closes it, refuses
/// something, is about to shut down while there are others, or answers nothing for 6 s, and made anew after a pause of at
/// most half a second. What was sent in the last moments before may be lost, and so is what other nodes published
/// meanwhile. Nothing is sent again; but of a server that stood still for a while, what it had been sent before may come
/// behind what was published since.
///
/// A message has at most as many bytes as the `max_payload` of the server, 1 MiB if it is not configured. The user needs
/// the permission to publish to the subjects and to subscribe to them.
///
/// The feature `nats` brings the feature `tls`. The crate below (`async-nats`) logs each failed attempt to connect by `tracing`, as an error, in the target `async_nats`.
///
/// In a cluster of NATS servers it takes a moment until what a node subscribes to at one server is known to the others: only
/// the messages that come by the same server are sure to come from the first one on.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::NatsBus;
///
/// # fn main() -> Result<(), websockets_simple_server::NatsUrlError> {
/// let bus = NatsBus::new("nats://a.internal,nats://b.internal")?.user_and_password("chat", "secret").name("chat-1");
/// assert_eq!(format!("{bus:?}"), r#"NatsBus { servers: [nats://a.internal:4222, nats://b.internal:4222], name: "chat-1", .. }"#);
/// # Ok(()) }
/// ```
pub struct NatsBus {
    servers: Vec<Server>,
    credentials: Credentials,
    has_tls_url: bool,
    tls: BusTls,
    name: String,
}

impl NatsBus {
    /// A bus over the servers of these URLs, with commas between them: `nats://host:port`, or `tls://host:port` for TLS,
    /// to all of them if one of them says so. The port is 4222 if there is none. A user and a password may be in a URL,
    /// percent-encoded: `nats://user:password@host`; a name alone is a token: `nats://token@host`. They are for all
    /// servers.
    ///
    /// # Errors
    ///
    /// [`NatsUrlError`], which shows nothing of the URLs.
    pub fn new(urls: impl AsRef<str>) -> Result<Self, NatsUrlError> {
        let Parsed { servers, credentials, tls } = address::parse(urls.as_ref())?;
        Ok(Self {
            servers,
            credentials,
            has_tls_url: tls,
            tls: BusTls::default(),
            name: "websockets-simple".to_owned(),
        })
    }

    /// A user and a password, in place of all other credentials.
    #[must_use]
    pub fn user_and_password(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Credentials::User { user: user.into(), password: password.into().into() };
        self
    }

    /// A token, in place of all other credentials.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.credentials = Credentials::Token(token.into().into());
        self
    }

    /// The seed of an nkey, `SU..`, in place of all other credentials. It is not sent; it signs what the server asks.
    #[must_use]
    pub fn nkey(mut self, seed: impl Into<String>) -> Self {
        self.credentials = Credentials::Nkey(seed.into().into());
        self
    }

    /// A `.creds` file, which holds a JWT and the seed of its nkey, in place of all other credentials. It is read at each
    /// attempt to connect.
    #[must_use]
    pub fn credentials_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.credentials = Credentials::File(path.into());
        self
    }

    /// The PEM file of the certificates that the server's has to come from, in place of the trust store of the system. It
    /// is read at each attempt to connect, which is by TLS then.
    #[must_use]
    pub fn tls_root_certificates(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.roots = Some(path.into());
        self
    }

    /// The PEM files of the certificate chain and the key by which the server knows this node. They are read at each
    /// attempt to connect, which is by TLS then.
    #[must_use]
    pub fn client_certificate(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls.identity = Some(TlsIdentity::pem_files(chain, key));
        self
    }

    /// The name of the connection, as the monitoring of NATS shows it: `websockets-simple` if none is given.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

impl NatsBus {
    /// Whether the connection is to be by TLS.
    fn wants_tls(&self) -> bool {
        self.has_tls_url || self.tls.is_given()
    }
}

#[async_trait]
impl Bus for NatsBus {
    async fn run(&self, link: BusLink) {
        keep_connected(self, link).await;
    }
}

#[async_trait]
impl Connecting for NatsBus {
    type Open = dial::Open;

    async fn dial(&self, inbox: BusInbox) -> Result<Self::Open, String> {
        dial::dial(self, inbox).await
    }

    async fn serve(&self, open: Self::Open, link: &mut BusLink) -> End {
        connection::run(open, link).await
    }
}

impl fmt::Debug for NatsBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsBus")
            .field("servers", &self.servers)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_has_credentials() {
        let bus = NatsBus::new("nats://hidden-user:hidden-word@127.0.0.1").unwrap();
        let expected = r#"NatsBus { servers: [nats://127.0.0.1:4222], name: "websockets-simple", .. }"#;
        assert_eq!(format!("{bus:?}"), expected);
        for bus in [
            bus.user_and_password("hidden", "hidden"),
            NatsBus::new("nats://hidden@127.0.0.1").unwrap(),
            NatsBus::new("127.0.0.1").unwrap().token("hidden"),
            NatsBus::new("127.0.0.1").unwrap().nkey("hidden"),
        ] {
            assert_eq!(format!("{bus:?}"), expected);
        }
    }
}
