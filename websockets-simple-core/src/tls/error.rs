//! Why a certificate or key cannot be used.

use std::{error::Error, io, path::PathBuf};

use chrono::{DateTime, Utc};

/// Why a certificate, a key or a list cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate has expired.
    #[error("the certificate of {subject} expired on {at}")]
    Expired {
        /// Whose it is.
        subject: String,
        /// When it expired.
        at: DateTime<Utc>,
    },
    /// The key is of another certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// What should be a certificate is none.
    #[error("the certificate cannot be read")]
    MalformedCertificate,
    /// The PEM is damaged.
    #[error("the PEM of the {0} is damaged")]
    MalformedPem(&'static str),
    /// The PKCS#12 data is damaged, or made in a way that is not known.
    #[error("the PKCS#12 data cannot be read")]
    MalformedPkcs12(#[source] Box<dyn Error + Send + Sync>),
    /// There is nothing of the kind.
    #[error("there is no {0}")]
    Missing(&'static str),
    /// The certificate is not valid yet.
    #[error("the certificate of {subject} is not valid before {at}")]
    NotYetValid {
        /// Whose it is.
        subject: String,
        /// From when on it is.
        at: DateTime<Utc>,
    },
    /// A file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// TLS refuses them for another reason.
    #[error("the certificate or key cannot be used")]
    Unusable(#[source] Box<dyn Error + Send + Sync>),
    /// The password of the PKCS#12 data is another one.
    #[error("the password of the PKCS#12 data is wrong")]
    WrongPassword,
}

impl TlsError {
    /// What rustls says.
    #[must_use]
    pub fn unusable(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unusable(error.into())
    }
}
