//! TLS to the server of a bus, with certificates that are read at each attempt.

use std::{fs, path::PathBuf, sync::Arc};

use rustls_platform_verifier::Verifier;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    sign::SingleCertAndKey,
};
use websockets_simple_core::tls::{TlsError, TlsIdentity, TlsVersions, certificates, provider, wording};

/// Whom we trust, and who we are.
#[derive(Clone, Debug, Default)]
pub(crate) struct BusTls {
    /// PEM, in place of the trust store of the system.
    pub(crate) roots: Option<PathBuf>,
    pub(crate) identity: Option<TlsIdentity>,
}

impl BusTls {
    /// Whether anything is set.
    pub(crate) fn is_given(&self) -> bool {
        self.roots.is_some() || self.identity.is_some()
    }

    /// What a handshake needs.
    pub(crate) async fn config(&self) -> Result<ClientConfig, String> {
        let settings = self.clone();
        // Reads files, and the trust store of the system.
        let config = tokio::task::spawn_blocking(move || settings.read());
        config.await.map_err(|error| error.to_string())?.map_err(|error| wording::in_full(&error))
    }

    /// The same for a server that is not to be trusted with TLS, and says so if it insists on it.
    #[cfg(feature = "nats")]
    pub(crate) fn of_nobody() -> Result<ClientConfig, String> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(TlsVersions::Both.supported())
            .map_err(|error| error.to_string())?;
        Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
    }

    fn read(&self) -> Result<ClientConfig, TlsError> {
        let provider = provider();
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(TlsVersions::Both.supported())
            .map_err(TlsError::unusable)?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(&provider)?);
        Ok(match &self.identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let key = identity.load(&provider)?.key;
                config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
            }
        })
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        let Some(path) = &self.roots else {
            let verifier = Verifier::new(Arc::clone(provider)).map_err(TlsError::unusable)?;
            return Ok(Arc::new(verifier));
        };
        let unreadable = |source| TlsError::Read { path: path.clone(), source: Arc::new(source) };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&fs::read(path).map_err(unreadable)?)? {
            roots.add(certificate).map_err(TlsError::unusable)?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        Ok(verifier.build().map_err(TlsError::unusable)?)
    }
}
