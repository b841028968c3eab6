//! A certificate chain and its private key, and where they come from.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use chrono::Utc;
#[cfg(feature = "pkcs12")]
use secrecy::SecretString;
use secrecy::{ExposeSecret, SecretSlice};
use tokio_rustls::rustls::{
    self,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};

use crate::tls::{certificate::PeerCertificate, error::TlsError, pem};

/// The TLS identity of one end: a certificate chain that begins with its own certificate, and the private key.
///
/// It is read and checked when a server starts or a client is made, which is also when errors are reported. Cloning
/// shares it. `Debug` shows where it comes from and no secret.
///
/// # Examples
///
/// ```
/// # extern crate websockets_simple_core as websockets_simple_server;
/// use websockets_simple_server::tls::TlsIdentity;
///
/// let identity = TlsIdentity::pem_files("/etc/chat/chain.pem", "/etc/chat/key.pem");
/// ```
#[derive(Clone)]
pub struct TlsIdentity(Arc<Source>);

enum Source {
    Pem {
        chain: Vec<u8>,
        key: SecretSlice<u8>,
    },
    PemFiles {
        chain: PathBuf,
        key: PathBuf,
    },
    #[cfg(feature = "pkcs12")]
    Pkcs12 {
        archive: Vec<u8>,
        password: SecretString,
    },
    #[cfg(feature = "pkcs12")]
    Pkcs12File {
        path: PathBuf,
        password: SecretString,
    },
}

/// An identity that was read and checked.
#[derive(Debug)]
pub struct Loaded {
    /// The chain and the key, as rustls takes them.
    pub key: Arc<CertifiedKey>,
    /// The end's own certificate.
    pub certificate: PeerCertificate,
}

impl TlsIdentity {
    /// From PEM texts: the chain, and the key (PKCS#8, PKCS#1 or SEC 1, not encrypted). They may be the same text.
    #[must_use]
    pub fn pem(chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        Self::new(Source::Pem { chain: chain.into(), key: key.into().into() })
    }

    /// From PEM files, which are read again when the identity is reloaded.
    #[must_use]
    pub fn pem_files(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self::new(Source::PemFiles { chain: chain.into(), key: key.into() })
    }

    /// From the contents of a `.pfx` or `.p12` file (RFC 7292) and its password, which may be empty.
    #[cfg(feature = "pkcs12")]
    #[must_use]
    pub fn pkcs12(archive: impl Into<Vec<u8>>, password: impl Into<String>) -> Self {
        Self::new(Source::Pkcs12 { archive: archive.into(), password: password.into().into() })
    }

    /// From a `.pfx` or `.p12` file, which is read again when the identity is reloaded.
    #[cfg(feature = "pkcs12")]
    #[must_use]
    pub fn pkcs12_file(path: impl Into<PathBuf>, password: impl Into<String>) -> Self {
        Self::new(Source::Pkcs12File { path: path.into(), password: password.into().into() })
    }

    fn new(source: Source) -> Self {
        Self(Arc::new(source))
    }

    /// Reads it and checks that certificate and key belong together and that the certificate is valid now.
    ///
    /// # Errors
    ///
    /// [`TlsError`] says what is wrong.
    #[doc(hidden)]
    pub fn load(&self, provider: &CryptoProvider) -> Result<Loaded, TlsError> {
        let (chain, key) = self.read()?;
        let own = chain.first().ok_or(TlsError::Missing("certificate"))?;
        let certificate = PeerCertificate::new(own).ok_or(TlsError::MalformedCertificate)?;
        let now = Utc::now();
        let subject = || certificate.subject().to_owned();
        if now > certificate.not_after() {
            return Err(TlsError::Expired { subject: subject(), at: certificate.not_after() });
        }
        if now < certificate.not_before() {
            return Err(TlsError::NotYetValid { subject: subject(), at: certificate.not_before() });
        }
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => TlsError::KeyMismatch,
            error => TlsError::unusable(error),
        })?;
        Ok(Loaded { key: Arc::new(key), certificate })
    }

    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        match &*self.0 {
            Source::Pem { chain, key } => {
                Ok((pem::certificates(chain)?, pem::private_key(key.expose_secret())?))
            }
            Source::PemFiles { chain, key } => {
                let (chain, key) = (contents(chain)?, SecretSlice::from(contents(key)?));
                Ok((pem::certificates(&chain)?, pem::private_key(key.expose_secret())?))
            }
            #[cfg(feature = "pkcs12")]
            Source::Pkcs12 { archive, password } => super::pkcs12::read(archive, password.expose_secret()),
            #[cfg(feature = "pkcs12")]
            Source::Pkcs12File { path, password } => {
                super::pkcs12::read(&contents(path)?, password.expose_secret())
            }
        }
    }

    /// When the files were last modified, to detect changes; `None` for a file whose metadata cannot be read. Empty if
    /// there are no files.
    #[must_use]
    #[doc(hidden)]
    pub fn written(&self) -> Vec<Option<SystemTime>> {
        let files: &[&PathBuf] = match &*self.0 {
            Source::PemFiles { chain, key } => &[chain, key],
            #[cfg(feature = "pkcs12")]
            Source::Pkcs12File { path, .. } => &[path],
            _ => &[],
        };
        files.iter().map(|path| fs::metadata(path).and_then(|data| data.modified()).ok()).collect()
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source: source.into() })
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("TlsIdentity");
        match &*self.0 {
            Source::Pem { .. } => shown.field("source", &"PEM"),
            Source::PemFiles { chain, key } => shown.field("chain", chain).field("key", key),
            #[cfg(feature = "pkcs12")]
            Source::Pkcs12 { .. } => shown.field("source", &"PKCS#12"),
            #[cfg(feature = "pkcs12")]
            Source::Pkcs12File { path, .. } => shown.field("pkcs12", path),
        };
        shown.finish_non_exhaustive()
    }
}
