//! The client's side of TLS.

use std::{error::Error, io, sync::Arc};

use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, CertificateError, ClientConfig, RootCertStore, SupportedProtocolVersion,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
        version::{TLS12, TLS13},
    },
};

use crate::{
    dial::TlsFacts,
    error::{ConnectError, ParamsError},
    params::{Plan, TlsVersions},
};

/// A connector for these parameters. Reads the system's trust store, so it is made once per client.
pub(crate) fn connector(plan: &Plan) -> Result<TlsConnector, ParamsError> {
    let unusable = |error: &dyn Error| ParamsError::Tls(error.to_string());
    // Never the process-wide provider: another crate may have installed another one.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions: &[&SupportedProtocolVersion] = match plan.tls_versions() {
        TlsVersions::Both => &[&TLS13, &TLS12],
        TlsVersions::Tls12 => &[&TLS12],
        TlsVersions::Tls13 => &[&TLS13],
    };
    let mut given = Vec::new();
    for pem in plan.roots() {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = certificates.map_err(|error| unusable(&error))?;
        if certificates.is_empty() {
            return Err(ParamsError::Tls("there is no certificate in the PEM of a root".to_owned()));
        }
        given.extend(certificates);
    }
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| unusable(&error))?;
    let mut config = if plan.only_roots() {
        if given.is_empty() {
            return Err(ParamsError::Tls("only given roots are trusted, and none was given".to_owned()));
        }
        let mut roots = RootCertStore::empty();
        for certificate in given {
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
        builder.with_root_certificates(roots).with_no_client_auth()
    } else if given.is_empty() {
        builder.with_platform_verifier().map_err(|error| unusable(&error))?.with_no_client_auth()
    } else {
        let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(given, provider)
            .map_err(|error| unusable(&error))?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Secures a TCP connection to the host of the plan.
pub(crate) async fn secure(
    connector: &TlsConnector,
    plan: &Plan,
    stream: TcpStream,
) -> Result<(TlsStream<TcpStream>, TlsFacts), ConnectError> {
    let name = ServerName::try_from(plan.host.name.clone())
        .map_err(|_| ConnectError::Tls("the host cannot be the name of a certificate".to_owned()))?;
    let stream = connector.connect(name, stream).await.map_err(|error| in_words(&error))?;
    let (_, session) = stream.get_ref();
    let facts = TlsFacts {
        version: session.protocol_version().map_or_else(String::new, |version| format!("{version:?}")),
        cipher: session
            .negotiated_cipher_suite()
            .map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
    };
    Ok((stream, facts))
}

/// What a user can understand of it.
pub(crate) fn in_words(error: &io::Error) -> ConnectError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let text = match inner {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet".to_owned()
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the server's certificate was issued by nobody who is trusted here".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the server's certificate is for another name".to_owned()
            }
            CertificateError::Revoked => "the server's certificate was revoked".to_owned(),
            other => format!("the server's certificate is not acceptable: {other}"),
        },
        Some(rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired)) => {
            "the server wants a client certificate".to_owned()
        }
        Some(rustls::Error::AlertReceived(alert)) => format!("the server refused: {alert:?}"),
        Some(rustls::Error::InvalidMessage(_)) => "the server does not speak TLS there".to_owned(),
        Some(other) => other.to_string(),
        None => error.to_string(),
    };
    ConnectError::Tls(text)
}
