//! The root certificates that a server's certificate is checked against.

use std::sync::Arc;

use rustls_platform_verifier::Verifier;
use tokio_rustls::rustls::{
    CertificateError, Error, RootCertStore,
    client::{
        WebPkiServerVerifier,
        danger::{ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use websockets_simple_core::tls::{TlsError, certificates, provider};

/// Those of a file, and those of this machine.
#[derive(Debug)]
pub(super) struct Roots {
    given: Option<Arc<WebPkiServerVerifier>>,
    /// None if the machine has none.
    machine: Option<Verifier>,
}

impl Roots {
    pub(super) fn new(pems: &[Vec<u8>]) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        for pem in pems {
            for certificate in certificates(pem)? {
                store.add(certificate).map_err(TlsError::unusable)?;
            }
        }
        let given = if store.is_empty() {
            None
        } else {
            let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider());
            Some(builder.build().map_err(TlsError::unusable)?)
        };
        Ok(Self { given, machine: Verifier::new(provider()).ok() })
    }

    /// Whether there is nothing to check against.
    pub(super) fn is_empty(&self) -> bool {
        self.given.is_none() && self.machine.is_none()
    }

    /// Which of them the certificate is trusted by.
    pub(super) fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<&'static str, Error> {
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let ask = |verifier: Option<&dyn ServerCertVerifier>| -> Result<ServerCertVerified, Error> {
            let Some(verifier) = verifier else { return Err(unknown.clone()) };
            verifier.verify_server_cert(end_entity, intermediates, name, ocsp, now)
        };
        let given = self.given.as_deref().map(|it| it as &dyn ServerCertVerifier);
        let Err(given) = ask(given) else { return Ok("the file of `--root`") };
        match ask(self.machine.as_ref().map(|it| it as &dyn ServerCertVerifier)) {
            Ok(_) => Ok("the roots of this machine"),
            // Who knows the issuer knows best what else is wrong.
            Err(machine) => Err(if given == unknown { machine } else { given }),
        }
    }
}
