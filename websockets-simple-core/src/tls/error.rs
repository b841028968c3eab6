//! Why a certificate or key cannot be used.

use std::{error::Error, io, path::PathBuf, sync::Arc};

use chrono::{DateTime, Utc};

/// Why a certificate, a key or a list cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate has expired.
    #[error("the certificate of {subject} expired on {at}")]
    Expired {
        /// The subject of the certificate.
        subject: String,
        /// When it expired.
        at: DateTime<Utc>,
    },
    /// The key belongs to another certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// The data is not a valid certificate.
    #[error("the certificate cannot be read")]
    MalformedCertificate,
    /// The PEM is damaged.
    #[error("the PEM of the {0} is damaged")]
    MalformedPem(&'static str),
    /// The PKCS#12 data is damaged, or of an unsupported kind.
    #[error("the PKCS#12 data cannot be read")]
    MalformedPkcs12(#[source] Arc<dyn Error + Send + Sync>),
    /// A required certificate, key or list is missing.
    #[error("there is no {0}")]
    Missing(&'static str),
    /// The certificate is not valid yet.
    #[error("the certificate of {subject} is not valid before {at}")]
    NotYetValid {
        /// The subject of the certificate.
        subject: String,
        /// When it becomes valid.
        at: DateTime<Utc>,
    },
    /// A file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: Arc<io::Error>,
    },
    /// rustls rejects the certificate or key for another reason.
    #[error("the certificate or key cannot be used")]
    Unusable(#[source] Arc<dyn Error + Send + Sync>),
    /// The password of the PKCS#12 data is wrong.
    #[error("the password of the PKCS#12 data is wrong")]
    WrongPassword,
}

impl TlsError {
    /// Wraps an error of rustls.
    #[doc(hidden)]
    #[must_use]
    pub fn unusable(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unusable(error.into().into())
    }
}
