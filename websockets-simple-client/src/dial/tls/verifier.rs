//! Verification of server certificates without roots: pinned certificates, or any certificate.

use std::sync::Arc;

use chrono::DateTime;
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use websockets_simple_core::tls::{PeerCertificate, TlsError};

/// Accepts only pinned certificates, or every certificate. The server must still prove that it has the private key.
#[derive(Debug)]
pub(super) struct Direct {
    /// `None` accepts every certificate.
    pinned: Option<Vec<(CertificateDer<'static>, PeerCertificate)>>,
    provider: Arc<CryptoProvider>,
}

impl Direct {
    pub(super) fn pinned(
        certificates: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let read = |der: CertificateDer<'static>| {
            let info = PeerCertificate::new(&der).ok_or(TlsError::MalformedCertificate)?;
            Ok((der, info))
        };
        let certificates = certificates.into_iter().map(read).collect::<Result<_, TlsError>>()?;
        Ok(Self { pinned: Some(certificates), provider: Arc::clone(provider) })
    }

    pub(super) fn anything(provider: &Arc<CryptoProvider>) -> Self {
        Self { pinned: None, provider: Arc::clone(provider) }
    }
}

impl ServerCertVerifier for Direct {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(pinned) = &self.pinned else { return Ok(ServerCertVerified::assertion()) };
        let pinned = pinned.iter().find(|(der, _)| der.as_ref() == end_entity.as_ref());
        let (_, info) = pinned.ok_or(CertificateError::ApplicationVerificationFailure)?;
        let now = i64::try_from(now.as_secs()).ok().and_then(|secs| DateTime::from_timestamp(secs, 0));
        let now = now.ok_or(Error::FailedToGetCurrentTime)?;
        if now > info.not_after() {
            return Err(CertificateError::Expired.into());
        }
        if now < info.not_before() {
            return Err(CertificateError::NotValidYet.into());
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
