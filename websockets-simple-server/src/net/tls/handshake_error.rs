//! Why a TLS handshake with a client failed.

use std::io;

use tokio_rustls::rustls::{self, AlertDescription, CertificateError, PeerIncompatible};
use websockets_simple_core::tls::wording;

/// Why a TLS handshake with a client failed: what an error event of the stage
/// [`Tls`](websockets_simple_core::ErrorStage::Tls) downcasts to.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsHandshakeError {
    /// The client does not accept the server's certificate.
    #[error("the client does not accept the server's certificate: {0}")]
    CertificateRefused(&'static str),
    /// The client's certificate is not accepted.
    #[error("the client's certificate is not accepted: {0}")]
    ClientCertificate(&'static str),
    /// The client has no certificate, and one is required.
    #[error("the client has no certificate, and one is required")]
    ClientCertificateMissing,
    /// The client hung up during the handshake.
    #[error("the client hung up during the TLS handshake")]
    HungUp,
    /// The client does not offer HTTP/1.1, with which WebSockets begin.
    #[error("the client does not offer HTTP/1.1")]
    NoHttp,
    /// What the client sent is not TLS.
    #[error("the client does not speak TLS on this port")]
    NotTls,
    /// Any other failure.
    #[error("{0}")]
    Other(String),
    /// Client and server have no cipher suite, or no other parameter of TLS, in common.
    #[error("client and server have no TLS cipher suite or other parameters in common")]
    Parameters,
    /// Client and server have no TLS version in common.
    #[error("client and server have no TLS version in common")]
    Version,
}

impl TlsHandshakeError {
    /// The failure of a handshake.
    pub(crate) fn new(error: &io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::AlertReceived(alert)) => Self::of_alert(*alert),
            Some(rustls::Error::InvalidCertificate(fault)) => Self::of_certificate(fault),
            Some(rustls::Error::InvalidMessage(_) | rustls::Error::PeerSentOversizedRecord) => Self::NotTls,
            Some(rustls::Error::NoApplicationProtocol) => Self::NoHttp,
            Some(rustls::Error::NoCertificatesPresented) => Self::ClientCertificateMissing,
            Some(rustls::Error::PeerIncompatible(
                // A client that offers no signature algorithms knows versions before 1.2 alone.
                PeerIncompatible::SignatureAlgorithmsExtensionRequired
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled,
            )) => Self::Version,
            Some(rustls::Error::PeerIncompatible(_)) => Self::Parameters,
            Some(other) => Self::Other(wording::fault(other, "the client")),
            None => match error.kind() {
                BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Self::HungUp,
                _ => Self::Other(error.to_string()),
            },
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::UnknownCA => Self::CertificateRefused("its issuer is not trusted"),
            AlertDescription::CertificateExpired => Self::CertificateRefused("it has expired"),
            AlertDescription::CertificateRevoked => Self::CertificateRefused("it was revoked"),
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate => {
                Self::CertificateRefused("it is invalid, or for another name")
            }
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => Self::Parameters,
            AlertDescription::NoApplicationProtocol => Self::NoHttp,
            AlertDescription::ProtocolVersion => Self::Version,
            other => Self::Other(format!("the client sent the {}", wording::alert(other))),
        }
    }

    fn of_certificate(fault: &CertificateError) -> Self {
        Self::ClientCertificate(wording::certificate_fault(fault))
    }
}
