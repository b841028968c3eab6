//! A check of server certificates that remembers what it has seen.

use std::sync::{Mutex, PoisonError};

use tokio_rustls::rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use websockets_simple_core::tls::provider;

use crate::ws::doctor::tls::roots::Roots;

/// Checks a certificate as a client does. As it is kept, one that is refused can be looked at afterwards: that needs no
/// second connection, and none whose certificate is not checked.
#[derive(Debug)]
pub(super) struct Recorder {
    roots: Roots,
    /// Whether a certificate that is not trusted is accepted.
    insecure: bool,
    algorithms: WebPkiSupportedAlgorithms,
    seen: Mutex<Seen>,
}

/// What a server has shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Its certificate and those behind it, in DER.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// The roots that it is trusted by.
    pub(super) trusted_by: Option<&'static str>,
    /// Why it is not trusted.
    pub(super) fault: Option<Error>,
}

impl Recorder {
    pub(super) fn new(roots: Roots, insecure: bool) -> Self {
        let algorithms = provider().signature_verification_algorithms;
        Self { roots, insecure, algorithms, seen: Mutex::default() }
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.roots.verify(end_entity, intermediates, server_name, ocsp_response, now);
        let chain = std::iter::once(end_entity).chain(intermediates);
        let chain = chain.map(|certificate| certificate.clone().into_owned()).collect();
        let (trusted_by, fault) = (verified.as_ref().ok().copied(), verified.as_ref().err().cloned());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen { chain, trusted_by, fault };
        match verified {
            Err(error) if !self.insecure => Err(error),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
