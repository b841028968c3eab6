//! TLS of the server.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use tokio_rustls::rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use websockets_simple_core::tls::{ALPN, TlsError, TlsIdentity, TlsVersions, provider};

pub use client_auth::ClientCertificates;
pub use handshake_error::TlsHandshakeError;
pub(crate) use stream::TlsStream;

/// The ALPN protocol of HTTP/2 over TLS (RFC 9113 section 3.2).
#[cfg(feature = "http2")]
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";

/// The TLS configuration of an endpoint: its certificates, the TLS versions, and which client certificates it accepts.
///
/// Everything is read and checked when the server starts, and again by [`reload`](Self::reload). A clone is another
/// handle of the same configuration: keep one to reload what the server uses. `Debug` shows no secret.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use websockets_simple_server::{Endpoint, ServerTls, TlsIdentity, TlsVersions};
///
/// let identity = TlsIdentity::pem_files("/etc/chat/chain.pem", "/etc/chat/key.pem");
/// let tls = ServerTls::new(identity)
///     .versions(TlsVersions::Tls13)
///     .watch_files(Duration::from_secs(60));
/// let endpoint = Endpoint::all(443).tls(tls.clone());
/// // The files do not exist yet, so a reload fails.
/// assert!(tls.reload().is_err());
/// ```
#[derive(Clone)]
pub struct ServerTls {
    identity: TlsIdentity,
    named: Vec<(String, TlsIdentity)>,
    versions: TlsVersions,
    clients: Option<ClientCertificates>,
    watch: Option<Duration>,
    #[cfg(feature = "http2")]
    http2: bool,
    /// `None` until the first start.
    current: Arc<RwLock<Option<InUse>>>,
}

/// The configuration that new connections are accepted with.
struct InUse {
    config: Arc<ServerConfig>,
    /// When the files that it was read from were written.
    written: Vec<Option<SystemTime>>,
}

impl ServerTls {
    /// TLS 1.2 and 1.3 with this certificate, without client certificates.
    #[must_use]
    pub fn new(identity: TlsIdentity) -> Self {
        Self {
            identity,
            named: Vec::new(),
            versions: TlsVersions::Both,
            clients: None,
            watch: None,
            #[cfg(feature = "http2")]
            http2: false,
            current: Arc::default(),
        }
    }

    /// Takes a certificate chain, the server's own certificate first, and its private key, both as PEM. They may be the
    /// same bytes.
    #[must_use]
    pub fn from_pem(certificate_chain: impl Into<Vec<u8>>, private_key: impl Into<Vec<u8>>) -> Self {
        Self::new(TlsIdentity::pem(certificate_chain, private_key))
    }

    /// Sends another certificate to clients that ask for this host name (SNI, RFC 6066 section 3): `chat.example`, or
    /// `*.example` for all names one level below. A client that sends no name, or another one, gets the first
    /// certificate.
    #[must_use]
    pub fn for_name(mut self, name: impl Into<String>, identity: TlsIdentity) -> Self {
        self.named.push((name.into().to_ascii_lowercase(), identity));
        self
    }

    /// Which versions of TLS are supported. Default: 1.2 and 1.3.
    #[must_use]
    pub fn versions(mut self, versions: TlsVersions) -> Self {
        self.versions = versions;
        self
    }

    /// Asks clients for certificates. Default: off.
    #[must_use]
    pub fn client_certificates(mut self, clients: ClientCertificates) -> Self {
        self.clients = Some(clients);
        self
    }

    /// Checks the files of certificates, keys and revocation lists this often while the server runs, and reloads when
    /// one of them was written. A failed reload raises an error event of the stage
    /// [`ErrorStage::Tls`](crate::ErrorStage::Tls), and the old configuration stays in use. At least
    /// 10 ms. Default: off.
    #[must_use]
    pub fn watch_files(mut self, every: Duration) -> Self {
        self.watch = Some(every);
        self
    }

    /// Offers HTTP/2 beside HTTP/1.1 (ALPN `h2`, RFC 9113 section 3.2): a client may then open its WebSockets as streams
    /// of one connection (RFC 8441), and load pages of the [fallback](crate::ServerParams::fallback) over it. Each stream
    /// is a connection of the server, with its own place in the limits; an HTTP/2 connection without any ends at the
    /// handshake timeout ([`Limits::handshake`](crate::Limits::handshake)). Default: off.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{Endpoint, ServerTls, TlsIdentity};
    ///
    /// let identity = TlsIdentity::pem_files("/etc/chat/chain.pem", "/etc/chat/key.pem");
    /// let endpoint = Endpoint::all(443).tls(ServerTls::new(identity).http2());
    /// ```
    #[cfg(feature = "http2")]
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Reads everything again; new connections get the new certificates, open ones are not affected. TLS sessions that
    /// clients kept are not resumed, so a client has to send its certificate again, which may have been revoked. Blocks
    /// while it reads the files.
    ///
    /// # Errors
    ///
    /// [`TlsError`]; the old configuration stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        // Taken before the files are read: a file that is written meanwhile is then seen as newer.
        let written = self.written();
        let in_use = InUse { config: Arc::new(self.config()?), written };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(in_use);
        Ok(())
    }

    fn config(&self) -> Result<ServerConfig, TlsError> {
        let provider = provider();
        let first = self.identity.load(&provider)?.key;
        let mut named = HashMap::new();
        for (name, identity) in &self.named {
            named.insert(name.clone(), identity.load(&provider)?.key);
        }
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions.supported())
            .map_err(TlsError::unusable)?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(clients.verifier(provider)?),
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName { first, named }));
        config.alpn_protocols = self.alpn();
        Ok(config)
    }

    /// What is spoken over it, best first.
    fn alpn(&self) -> Vec<Vec<u8>> {
        #[cfg(feature = "http2")]
        if self.http2 {
            return vec![ALPN_HTTP2.to_vec(), ALPN.to_vec()];
        }
        vec![ALPN.to_vec()]
    }

    /// What a new connection is accepted with; `None` before the first start.
    pub(crate) fn in_use(&self) -> Option<Arc<ServerConfig>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(|in_use| Arc::clone(&in_use.config))
    }

    /// When the files that are in use were written.
    pub(crate) fn written_in_use(&self) -> Vec<Option<SystemTime>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(|in_use| in_use.written.clone()).unwrap_or_default()
    }

    /// The host names that have certificates of their own.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(|(name, _)| name.as_str())
    }

    /// How often to check the files.
    pub(crate) fn watch_interval(&self) -> Option<Duration> {
        self.watch
    }

    /// When the files were last written; `None` for a file that cannot be accessed.
    pub(crate) fn written(&self) -> Vec<Option<SystemTime>> {
        let identities = std::iter::once(&self.identity).chain(self.named.iter().map(|(_, named)| named));
        let clients = self.clients.iter().flat_map(ClientCertificates::written);
        identities.flat_map(TlsIdentity::written).chain(clients).collect()
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("identity", &self.identity)
            .field("named", &self.named)
            .field("versions", &self.versions)
            .field("clients", &self.clients)
            .finish_non_exhaustive()
    }
}

/// Certificates by the host name that a client asks for.
#[derive(Debug)]
struct ByName {
    first: Arc<CertifiedKey>,
    named: HashMap<String, Arc<CertifiedKey>>,
}

impl ByName {
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.named.get(&name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.named.get(&format!("*.{parent}"))
        })
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().and_then(|name| self.find(name));
        Some(Arc::clone(asked.unwrap_or(&self.first)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn identity(name: &str) -> TlsIdentity {
        let (chain, key) = made(name);
        TlsIdentity::pem(chain, key)
    }

    #[test]
    fn nothing_is_accepted_before_everything_is_read() {
        let tls = ServerTls::new(identity("localhost"));
        let endpoint = crate::config::Endpoint::all(0).tls(tls.clone());
        let accepts = || endpoint.server_tls().unwrap().in_use().is_some();
        assert!(!accepts());
        tls.reload().unwrap();
        assert!(accepts());
    }

    #[test]
    fn what_cannot_be_loaded_leaves_what_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
        let (first, second) = (made("localhost"), made("localhost"));
        std::fs::write(&chain, &first.0).unwrap();
        std::fs::write(&key, &first.1).unwrap();
        let tls = ServerTls::new(TlsIdentity::pem_files(&chain, &key));
        tls.reload().unwrap();
        let current = || Arc::as_ptr(&tls.current.read().unwrap().as_ref().unwrap().config);
        let before = current();
        std::fs::write(&chain, &second.0).unwrap();
        assert!(matches!(tls.reload(), Err(TlsError::KeyMismatch)));
        assert_eq!(current(), before);
        std::fs::write(&key, &second.1).unwrap();
        tls.reload().unwrap();
        assert_ne!(current(), before);
        assert_eq!(tls.written().len(), 2);
    }

    #[test]
    fn a_name_finds_its_certificate_whatever_its_case_and_a_star_is_one_level() {
        let tls = ServerTls::new(identity("first"))
            .for_name("Chat.example", identity("chat.example"))
            .for_name("*.rooms.example", identity("*.rooms.example"));
        let named: HashMap<_, _> = tls
            .named
            .iter()
            .map(|(name, identity)| (name.clone(), identity.load(&provider()).unwrap().key))
            .collect();
        let by_name = ByName { first: tls.identity.load(&provider()).unwrap().key, named };
        let found = |name: &str| by_name.find(name).map(Arc::as_ptr);
        let expected = |name: &str| Some(Arc::as_ptr(&by_name.named[name]));
        assert_eq!(found("CHAT.example"), expected("chat.example"));
        assert_eq!(found("chat.example."), expected("chat.example"));
        assert_eq!(found("blue.rooms.example"), expected("*.rooms.example"));
        for unknown in ["rooms.example", "a.blue.rooms.example", "example", ""] {
            assert_eq!(found(unknown), None, "{unknown}");
        }
    }
}

mod client_auth;
mod handshake_error;
mod stream;
