//! The verification of client certificates.

use std::{fmt, fs, path::PathBuf, sync::Arc, time::SystemTime};

use tokio_rustls::rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use websockets_simple_core::tls::{TlsError, certificates, revocation_lists};

/// Which client certificates a server accepts, and whether one is required.
///
/// A certificate that a client sends is always verified, also where it is optional: its chain, its validity, that it is
/// for clients, and with revocation lists that it is on none of them. It is then available on the connection
/// ([`Connection::peer_certificate`](crate::Connection::peer_certificate)) and in the
/// [`Credentials`](crate::Credentials) that a user service gets.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::ClientCertificates;
///
/// let clients = ClientCertificates::required()
///     .issued_by_file("/etc/chat/clients-ca.pem")
///     .revoked_file("/etc/chat/clients-crl.pem");
/// ```
#[derive(Clone)]
pub struct ClientCertificates {
    required: bool,
    roots: Vec<Pem>,
    lists: Vec<Pem>,
}

#[derive(Clone)]
enum Pem {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl ClientCertificates {
    /// Requires a certificate: a client without one is refused in the TLS handshake.
    #[must_use]
    pub fn required() -> Self {
        Self { required: true, roots: Vec::new(), lists: Vec::new() }
    }

    /// Makes the certificate optional.
    #[must_use]
    pub fn optional() -> Self {
        Self { required: false, ..Self::required() }
    }

    /// Accepts certificates that these authorities have issued: their certificates as PEM. At least one is required.
    #[must_use]
    pub fn issued_by(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(Pem::Bytes(pem.into()));
        self
    }

    /// As [`issued_by`](Self::issued_by), from a file.
    #[must_use]
    pub fn issued_by_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.roots.push(Pem::File(path.into()));
        self
    }

    /// Refuses certificates that are on these revocation lists (RFC 5280 section 5) in PEM. With one list, each
    /// authority that issues to clients needs one: a certificate whose authority has no list is refused.
    #[must_use]
    pub fn revoked(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.lists.push(Pem::Bytes(pem.into()));
        self
    }

    /// As [`revoked`](Self::revoked), from a file.
    #[must_use]
    pub fn revoked_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.lists.push(Pem::File(path.into()));
        self
    }

    pub(super) fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let mut roots = RootCertStore::empty();
        for pem in &self.roots {
            for certificate in certificates(&pem.contents()?)? {
                roots.add(certificate).map_err(TlsError::unusable)?;
            }
        }
        if roots.is_empty() {
            return Err(TlsError::Missing("certificate authority for client certificates"));
        }
        let mut lists = Vec::new();
        for pem in &self.lists {
            lists.extend(revocation_lists(&pem.contents()?)?);
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .with_crls(lists)
            .only_check_end_entity_revocation();
        if !self.required {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map_err(TlsError::unusable)
    }

    pub(super) fn written(&self) -> impl Iterator<Item = Option<SystemTime>> {
        self.roots.iter().chain(&self.lists).filter_map(|pem| match pem {
            Pem::Bytes(_) => None,
            Pem::File(path) => Some(fs::metadata(path).and_then(|data| data.modified()).ok()),
        })
    }
}

impl Pem {
    fn contents(&self) -> Result<Vec<u8>, TlsError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::File(path) => {
                fs::read(path).map_err(|source| TlsError::Read { path: path.clone(), source: source.into() })
            }
        }
    }
}

impl fmt::Debug for ClientCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificates")
            .field("required", &self.required)
            .field("roots", &self.roots.len())
            .field("revocation_lists", &self.lists.len())
            .finish()
    }
}
