//! What both ends need of TLS: identities, certificates, versions, and their errors.

use std::sync::Arc;

use tokio_rustls::rustls::{
    SupportedProtocolVersion,
    crypto::CryptoProvider,
    version::{TLS12, TLS13},
};

pub use certificate::{AlternativeName, PeerCertificate};
pub use error::TlsError;
pub use identity::{Loaded, TlsIdentity};
pub use pem::{certificates, revocation_lists};

mod certificate;
mod error;
mod identity;
mod pem;
#[cfg(feature = "pkcs12")]
mod pkcs12;
pub mod wording;

/// The ALPN protocol (RFC 7301): WebSockets begin as HTTP/1.1 (RFC 6455 section 4.1).
pub const ALPN: &[u8] = b"http/1.1";

/// Which versions of TLS are allowed. Versions before 1.2 are not supported.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TlsVersions {
    /// 1.2 and 1.3.
    #[default]
    Both,
    /// 1.2 alone.
    Tls12,
    /// 1.3 alone.
    Tls13,
}

impl TlsVersions {
    /// The versions as rustls takes them.
    #[must_use]
    pub fn supported(self) -> &'static [&'static SupportedProtocolVersion] {
        static NEWEST_FIRST: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        match self {
            Self::Both => &NEWEST_FIRST,
            Self::Tls12 => &NEWEST_FIRST[1..],
            Self::Tls13 => &NEWEST_FIRST[..1],
        }
    }
}

/// The cryptography provider: aws-lc-rs, or ring where that is not built in. Never the process-wide default, which any
/// crate may have replaced.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "tls")]
    let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(all(feature = "tls-ring", not(feature = "tls")))]
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    Arc::new(provider)
}

#[cfg(not(any(feature = "tls", feature = "tls-ring")))]
compile_error!("the feature `rustls` needs a provider: enable `tls` or `tls-ring` instead");
