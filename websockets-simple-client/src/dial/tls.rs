//! The client's side of TLS.

use std::{io, sync::Arc};

use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, AlertDescription, CertificateError, ClientConfig, PeerIncompatible, RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier},
        crypto::CryptoProvider,
        pki_types::ServerName,
        sign::SingleCertAndKey,
    },
};
use websockets_simple_core::tls::{ALPN, TlsError, certificates, provider};

use crate::{
    config::{CheckedParams, TlsParams, Trust},
    dial::TlsInfo,
    error::{ConnectError, ParamsError, TlsFailure},
};

use verifier::Direct;

mod verifier;

/// Builds a connector for these parameters. Reads the system's trust store, so it is done once per client.
pub(crate) fn connector(params: &TlsParams) -> Result<TlsConnector, ParamsError> {
    Ok(TlsConnector::from(Arc::new(config(params).map_err(|error| ParamsError::Tls(in_full(&error)))?)))
}

fn config(params: &TlsParams) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(params.versions.supported())
        .map_err(TlsError::unusable)?
        .dangerous()
        .with_custom_certificate_verifier(verifier(params, &provider)?);
    let mut config = match &params.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = identity.load(&provider)?.key;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
        }
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
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

/// Does the TLS handshake on a TCP connection.
pub(crate) async fn secure(
    connector: &TlsConnector,
    params: &CheckedParams,
    stream: TcpStream,
) -> Result<(TlsStream<TcpStream>, TlsInfo), ConnectError> {
    let name = ServerName::try_from(params.host.name.clone())
        .map_err(|_| ConnectError::Tls(TlsFailure::HostName))?;
    let stream = connector.connect(name, stream).await.map_err(|error| in_words(&error))?;
    let (_, session) = stream.get_ref();
    let info = TlsInfo {
        version: session.protocol_version().map_or_else(String::new, |version| format!("{version:?}")),
        cipher: session
            .negotiated_cipher_suite()
            .map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
    };
    Ok((stream, info))
}

/// Maps an error of rustls to a [`TlsFailure`].
pub(crate) fn in_words(error: &io::Error) -> ConnectError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    ConnectError::Tls(match inner {
        Some(rustls::Error::InvalidCertificate(why)) => of_certificate(why),
        Some(rustls::Error::AlertReceived(alert)) => of_alert(*alert),
        Some(rustls::Error::InvalidMessage(_)) => TlsFailure::NotTls,
        Some(rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )) => TlsFailure::Version,
        Some(other) => TlsFailure::Other(other.to_string()),
        None => TlsFailure::Other(error.to_string()),
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
        other => TlsFailure::Other(format!("the server's certificate is invalid: {other}")),
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
        AlertDescription::ProtocolVersion => TlsFailure::Version,
        AlertDescription::UnrecognisedName => TlsFailure::WrongName,
        other => TlsFailure::Other(format!("the server sent the alert {other:?}")),
    }
}
