//! The client's side of TLS.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustls_platform_verifier::Verifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, AlertDescription, CertificateError, ClientConfig, PeerIncompatible, PeerMisbehaved,
        RootCertStore, SignatureScheme,
        client::{ResolvesClientCert, WebPkiServerVerifier, danger::ServerCertVerifier},
        crypto::CryptoProvider,
        pki_types::ServerName,
        sign::CertifiedKey,
    },
};
use websockets_simple_core::tls::{ALPN, TlsError, certificates, provider, wording};

use crate::{
    config::{CheckedParams, TlsParams, Trust},
    dial::TlsInfo,
    error::{ConnectError, ParamsError, TlsFailure},
};

use verifier::Direct;

mod verifier;

/// Does TLS handshakes with these parameters, one at a time.
#[derive(Clone)]
pub(crate) struct Connector {
    connector: TlsConnector,
    /// The same for all connections, as sessions are resumed only then.
    certificate: Arc<ClientCertificate>,
}

impl Connector {
    /// Reads the system's trust store, so it is made once per client.
    pub(crate) fn new(params: &TlsParams) -> Result<Self, ParamsError> {
        Self::build(params).map_err(|error| ParamsError::Tls(wording::in_full(&error)))
    }

    fn build(params: &TlsParams) -> Result<Self, TlsError> {
        let provider = provider();
        let key = params.identity.as_ref().map(|identity| identity.load(&provider)).transpose()?;
        let key = key.map(|loaded| loaded.key);
        let certificate = Arc::new(ClientCertificate { key, asked: AtomicBool::new(false) });
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(params.versions.supported())
            .map_err(TlsError::unusable)?
            .dangerous()
            .with_custom_certificate_verifier(verifier(params, &provider)?)
            .with_client_cert_resolver(Arc::<ClientCertificate>::clone(&certificate));
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), certificate })
    }

    /// Does the TLS handshake on a stream.
    pub(crate) async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        params: &CheckedParams,
        stream: S,
    ) -> Result<(TlsStream<S>, TlsInfo), ConnectError> {
        let name = ServerName::try_from(params.host.certified.clone())
            .map_err(|_| ConnectError::Tls(TlsFailure::HostName))?;
        self.certificate.asked.store(false, Ordering::Relaxed);
        let stream = self.connector.connect(name, stream).await.map_err(|error| in_words(&error))?;
        let (_, session) = stream.get_ref();
        let info = TlsInfo {
            version: session.protocol_version().map_or_else(String::new, |version| format!("{version:?}")),
            cipher: session
                .negotiated_cipher_suite()
                .map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
        };
        Ok((stream, info))
    }

    /// What an error is about if the server asked for a certificate that the client does not have. Only TLS 1.3 has an
    /// alert for that; before, and in many servers still, it is one of those for bad certificates or parameters.
    pub(crate) fn explain(&self, error: ConnectError) -> ConnectError {
        let was_asked = self.certificate.key.is_none() && self.certificate.asked.load(Ordering::Relaxed);
        match error {
            ConnectError::Tls(TlsFailure::ClientCertificateRefused(_) | TlsFailure::Parameters)
                if was_asked =>
            {
                ConnectError::Tls(TlsFailure::ClientCertificateRequired)
            }
            other => other,
        }
    }
}

fn verifier(
    params: &TlsParams,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let read = |pems: &[Vec<u8>]| {
        let read: Result<Vec<_>, _> = pems.iter().map(|pem| certificates(pem)).collect();
        read.map(|certificates| certificates.into_iter().flatten().collect::<Vec<_>>())
    };
    if params.trust == Trust::Anything {
        return Ok(Arc::new(Direct::anything(provider)));
    }
    let pinned = read(&params.pinned)?;
    if !pinned.is_empty() {
        return Ok(Arc::new(Direct::pinned(pinned, provider)?));
    }
    let given = read(&params.roots)?;
    if params.trust == Trust::Platform {
        let verifier = Verifier::new_with_extra_roots(given, Arc::clone(provider));
        return Ok(Arc::new(verifier.map_err(TlsError::unusable)?));
    }
    let mut roots = RootCertStore::empty();
    for certificate in given {
        roots.add(certificate).map_err(TlsError::unusable)?;
    }
    if roots.is_empty() {
        return Err(TlsError::Missing("root certificate, although only given roots are trusted"));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    Ok(verifier.map_err(TlsError::unusable)?)
}

/// Maps an error of rustls to a [`TlsFailure`].
pub(crate) fn in_words(error: &io::Error) -> ConnectError {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    ConnectError::Tls(match inner {
        Some(rustls::Error::InvalidCertificate(why)) => of_certificate(why),
        Some(rustls::Error::AlertReceived(alert)) => of_alert(*alert),
        Some(rustls::Error::InvalidMessage(_) | rustls::Error::PeerSentOversizedRecord) => TlsFailure::NotTls,
        Some(rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )) => TlsFailure::Version,
        Some(rustls::Error::PeerIncompatible(_)) => TlsFailure::Parameters,
        Some(rustls::Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol)) => {
            TlsFailure::NoHttp
        }
        Some(other) => TlsFailure::Other(wording::fault(other, "the server")),
        None => match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => TlsFailure::HungUp,
            _ => TlsFailure::Other(error.to_string()),
        },
    })
}

fn of_certificate(why: &CertificateError) -> TlsFailure {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFailure::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TlsFailure::NotYetValid
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsFailure::UnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsFailure::WrongName
        }
        CertificateError::Revoked => TlsFailure::Revoked,
        CertificateError::ApplicationVerificationFailure => TlsFailure::NotPinned,
        other => TlsFailure::Other(format!(
            "the server's certificate is invalid: {}",
            wording::certificate_fault(other)
        )),
    }
}

/// Maps an alert (RFC 8446 section 6.2) of the server.
fn of_alert(alert: AlertDescription) -> TlsFailure {
    let refused = |why: &str| TlsFailure::ClientCertificateRefused(why.to_owned());
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            TlsFailure::ClientCertificateRequired
        }
        AlertDescription::CertificateExpired => refused("it has expired"),
        AlertDescription::CertificateRevoked => refused("it was revoked"),
        AlertDescription::UnknownCA => refused("its issuer is not trusted by the server"),
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => refused("it is invalid or unsupported"),
        AlertDescription::DecryptError => refused("a signature is invalid"),
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => TlsFailure::Parameters,
        AlertDescription::NoApplicationProtocol => TlsFailure::NoHttp,
        AlertDescription::ProtocolVersion => TlsFailure::Version,
        AlertDescription::UnrecognisedName => TlsFailure::WrongName,
        other => TlsFailure::Other(format!("the server sent the {}", wording::alert(other))),
    }
}

/// The client's certificate, if it has one, and whether the server asked for it.
#[derive(Debug)]
struct ClientCertificate {
    key: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl ResolvesClientCert for ClientCertificate {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}
