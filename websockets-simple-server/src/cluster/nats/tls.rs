//! TLS to the server, with certificates that are read at each attempt.

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_nats::rustls::{
    ClientConfig, Error, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};
use rustls_platform_verifier::Verifier;

/// Whom we trust, and who we are.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    /// Whether there is to be TLS at all.
    pub(super) is_wanted: bool,
    pub(super) roots: Option<PathBuf>,
    /// A chain and its key.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

impl Settings {
    /// What a handshake needs. Where TLS is not wanted it trusts nobody: it is for a server that insists on it. The crate
    /// below would use the process-wide provider, and panic where there are two.
    pub(super) async fn config(&self) -> Result<ClientConfig, String> {
        let settings = self.clone();
        // Reads files, and the trust store of the system.
        let config = tokio::task::spawn_blocking(move || settings.read());
        config.await.map_err(|error| error.to_string())?
    }

    fn read(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?;
        if !self.is_wanted {
            return Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
        }
        let config = config.dangerous().with_custom_certificate_verifier(self.verifier(&provider)?);
        match &self.identity {
            None => Ok(config.with_no_client_auth()),
            Some((chain, key)) => {
                let chain = certificates(chain)?;
                let key = PrivateKeyDer::from_pem_reader(&mut open(key)?)
                    .map_err(|error| in_words(key, "private key", &error))?;
                config.with_client_auth_cert(chain, key).map_err(|error| unusable(&error))
            }
        }
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, String> {
        let Some(path) = &self.roots else {
            return Ok(Arc::new(Verifier::new(Arc::clone(provider)).map_err(|error| unusable(&error))?));
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        Ok(verifier.build().map_err(|error| format!("the certificates cannot be used: {error}"))?)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(open(path)?).collect();
    let certificates = certificates.map_err(|error| in_words(path, "certificate", &error))?;
    if certificates.is_empty() {
        Err(format!("there is no certificate in {}", path.display()))
    } else {
        Ok(certificates)
    }
}

fn open(path: &Path) -> Result<BufReader<File>, String> {
    File::open(path).map(BufReader::new).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

/// Never what is in the file, which may be a key.
fn in_words(path: &Path, what: &str, error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => unreadable(path, error),
        pem::Error::NoItemsFound => format!("there is no {what} in {}", path.display()),
        _ => format!("the PEM of the {what} in {} is damaged", path.display()),
    }
}

fn unusable(error: &Error) -> String {
    format!("the certificate or key cannot be used: {error}")
}
