//! The server's side of TLS.

use std::{fmt, sync::Arc};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

/// A certificate and its key, ready to serve TLS 1.2 and 1.3.
///
/// Cloning shares them. `Debug` shows neither.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
}

impl ServerTls {
    /// Takes a certificate chain, the server's own certificate first, and the private key of that (PKCS#8,
    /// PKCS#1 or SEC 1), both as PEM. They may be the same bytes.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when there is no certificate or key in them, or they do not belong together.
    pub fn from_pem(certificate_chain: &[u8], private_key: &[u8]) -> Result<Self, TlsError> {
        let (chain, key) = parse_pem(certificate_chain, private_key)?;
        // Never the process-wide provider: another crate may have installed another one.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => TlsError::KeyMismatch,
                error => TlsError::unusable(error),
            })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

/// The one place that knows which crate reads PEM.
fn parse_pem(
    certificate_chain: &[u8],
    private_key: &[u8],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain: Vec<_> = rustls_pemfile::certs(&mut &*certificate_chain)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::MalformedPem("certificate chain"))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = rustls_pemfile::private_key(&mut &*private_key)
        .map_err(|_| TlsError::MalformedPem("private key"))?
        .ok_or(TlsError::NoKey)?;
    Ok((chain, key))
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// Why a certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The key is of another certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// The PEM is damaged.
    #[error("the PEM of the {0} is damaged")]
    MalformedPem(&'static str),
    /// There is no `CERTIFICATE` section.
    #[error("there is no certificate in the PEM")]
    NoCertificate,
    /// There is no private key section. Encrypted keys cannot be read.
    #[error("there is no unencrypted private key in the PEM")]
    NoKey,
    /// TLS refuses them for another reason.
    #[error("the certificate or key cannot be used")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl TlsError {
    fn unusable(error: rustls::Error) -> Self {
        Self::Unusable(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_certificate_and_its_key_are_accepted() {
        let (cert, key) = pair();
        assert!(ServerTls::from_pem(cert.as_bytes(), key.as_bytes()).is_ok());
    }

    #[test]
    fn each_way_to_get_them_wrong_has_an_error_of_its_own() {
        let ((cert, key), (_, other_key)) = (pair(), pair());
        let error = |cert: &str, key: &str| ServerTls::from_pem(cert.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(matches!(error("", &key), TlsError::NoCertificate));
        assert!(matches!(error(&key, &key), TlsError::NoCertificate));
        assert!(matches!(error(&cert, ""), TlsError::NoKey));
        assert!(matches!(error(&cert, &other_key), TlsError::KeyMismatch));
        let damaged = cert.replace('M', "*");
        assert!(matches!(error(&damaged, &key), TlsError::MalformedPem(_)));
    }
}
