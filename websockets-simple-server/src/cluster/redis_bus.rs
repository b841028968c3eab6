//! A bus over Redis or Valkey.

use std::fmt;
#[cfg(feature = "rustls")]
use std::path::PathBuf;

use async_trait::async_trait;
use secrecy::SecretString;

#[cfg(feature = "rustls")]
use crate::cluster::bus_tls::BusTls;
use crate::cluster::{
    bus::Bus,
    connecting::{Connecting, End, keep_connected},
    port::{BusInbox, BusLink},
    redis_bus::address::{Address, Parsed},
};

pub use address::RedisUrlError;

mod address;
mod connection;
mod dial;
mod flight;
#[cfg(feature = "rustls")]
mod tls;
mod watched;
mod wording;

/// A [`Bus`] over the PUBLISH and SUBSCRIBE of one Redis (6 or later) or Valkey server. Nothing is stored there.
///
/// It has one connection, which speaks RESP3, so that what is published and what is subscribed to take effect in the
/// order in which the server of this node asked for it. A connection that is idle is asked for a sign of life every
/// second. It is given up when the Redis server answers nothing for 2 s, closes it, or refuses a command, and made anew
/// after a pause of at most half a second. What was not answered by then may be lost, and so is what other nodes
/// published meanwhile.
///
/// A message has at most 8 MiB. Servers hang up on a node for which more than 32 MB wait, unless their
/// `client-output-buffer-limit pubsub` says otherwise: raise it where many large messages are sent at once. A user of
/// Redis needs the commands PUBLISH, SUBSCRIBE and UNSUBSCRIBE, and the channels of the subjects.
///
/// It does not follow Sentinel, and in a Redis Cluster it stays with the node that it was given, which is enough: nodes
/// pass on to each other what is published.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::RedisBus;
///
/// # fn main() -> Result<(), websockets_simple_server::RedisUrlError> {
/// let bus = RedisBus::new("redis://redis.internal:6379")?.user_and_password("chat", "secret").name("chat-1");
/// assert_eq!(format!("{bus:?}"), r#"RedisBus { address: redis.internal:6379, name: "chat-1", .. }"#);
/// # Ok(()) }
/// ```
pub struct RedisBus {
    address: Address,
    user: Option<String>,
    password: Option<SecretString>,
    name: String,
    #[cfg(feature = "rustls")]
    tls: BusTls,
}

impl RedisBus {
    /// A bus over the server of this URL: `redis://host:port`, `rediss://host:port` with TLS (and one of the features
    /// `tls` and `tls-ring`), `redis+unix:///path`; with `valkey` for `redis` it is the same. The port is 6379 if there
    /// is none. A user and a password may be in it, percent-encoded: `redis://user:password@host`,
    /// `redis+unix:///path?user=..&pass=..`.
    ///
    /// # Errors
    ///
    /// [`RedisUrlError`], which shows nothing of the URL.
    pub fn new(url: impl AsRef<str>) -> Result<Self, RedisUrlError> {
        let Parsed { address, user, password } = address::parse(url.as_ref())?;
        Ok(Self {
            address,
            user,
            password,
            name: "websockets-simple".to_owned(),
            #[cfg(feature = "rustls")]
            tls: BusTls::default(),
        })
    }

    /// The user and the password, in place of those of the URL. An empty user is the default user of Redis.
    #[must_use]
    pub fn user_and_password(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.user = Some(user.into()).filter(|user| !user.is_empty());
        self.password = Some(password.into().into());
        self
    }

    /// The name of the connection, as CLIENT LIST shows it: `websockets-simple` if none is given. Spaces and what is
    /// not ASCII become `-`.
    #[must_use]
    pub fn name(mut self, name: impl AsRef<str>) -> Self {
        let plain = |c: char| if c.is_ascii_graphic() { c } else { '-' };
        self.name = name.as_ref().chars().map(plain).collect();
        self
    }

    /// The PEM file of the certificates that the server's has to come from, in place of the trust store of the system.
    /// It is read at each attempt to connect.
    #[cfg(feature = "rustls")]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls", feature = "tls-ring"))))]
    #[must_use]
    pub fn tls_root_certificates(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.roots = Some(path.into());
        self
    }

    /// The PEM files of the certificate chain and the key by which the server knows this node. They are read at each
    /// attempt to connect.
    #[cfg(feature = "rustls")]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls", feature = "tls-ring"))))]
    #[must_use]
    pub fn client_certificate(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls.identity = Some(websockets_simple_core::tls::TlsIdentity::pem_files(chain, key));
        self
    }
}

#[async_trait]
impl Bus for RedisBus {
    async fn run(&self, link: BusLink) {
        keep_connected(self, link).await;
    }
}

#[async_trait]
impl Connecting for RedisBus {
    type Open = dial::Open;

    async fn dial(&self, inbox: BusInbox) -> Result<Self::Open, String> {
        dial::dial(self, inbox).await
    }

    async fn serve(&self, open: Self::Open, link: &mut BusLink) -> End {
        connection::run(open, link).await
    }
}

impl fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBus")
            .field("address", &format_args!("{}", self.address))
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_has_the_user_or_the_password() {
        let bus = RedisBus::new("redis://hidden-user:hidden-word@127.0.0.1").unwrap();
        assert_eq!(
            format!("{bus:?}"),
            r#"RedisBus { address: 127.0.0.1:6379, name: "websockets-simple", .. }"#
        );
        let bus = bus.user_and_password("hidden-too", "hidden-also").name("a node\n");
        let shown = format!("{bus:?}");
        assert!(!shown.contains("hidden") && shown.contains(r#""a-node-""#), "{shown}");
    }
}
