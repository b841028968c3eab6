//! TLS to the server, with certificates that are read at each attempt.

use std::{fs, io, path::PathBuf, sync::Arc};

use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, Error, RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier},
        crypto::CryptoProvider,
        pki_types::ServerName,
        sign::SingleCertAndKey,
    },
};
use websockets_simple_core::tls::{TlsError, TlsIdentity, TlsVersions, certificates, provider, wording};

/// Whom we trust, and who we are.
#[derive(Clone, Default)]
pub(super) struct Settings {
    pub(super) roots: Option<PathBuf>,
    pub(super) identity: Option<TlsIdentity>,
}

impl Settings {
    pub(super) fn is_given(&self) -> bool {
        self.roots.is_some() || self.identity.is_some()
    }

    /// Does the TLS handshake.
    pub(super) async fn secure(&self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| "no certificate can be for the host's name".to_owned())?;
        let settings = self.clone();
        // Reads files, and the trust store of the system.
        let config = tokio::task::spawn_blocking(move || settings.config());
        let config = config.await.map_err(|error| error.to_string())?.map_err(|error| in_full(&error))?;
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        connecting.await.map_err(|error| super::wording::io(&error))
    }

    fn config(&self) -> Result<ClientConfig, TlsError> {
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

/// An error of TLS in words, if it is one.
pub(super) fn fault(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(wording::fault(error, "the server"))
}

/// An error and its sources on one line.
fn in_full(error: &TlsError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
