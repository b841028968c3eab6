//! TLS with a server, and what is wrong with its certificate.

use std::{io, sync::Arc};

use tokio::time::timeout;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{self, AlertDescription, ClientConfig, client::Resumption, pki_types::ServerName},
};
use websockets_simple_core::tls::{ALPN, TlsError, TlsVersions, provider, wording};

use crate::{
    in_one_line,
    ws::doctor::{
        finding::{Facts, Fault},
        network::{Stream, seconds},
        probe::{Address, Probe},
        tls::{recorder::Recorder, roots::Roots},
    },
};

mod certificate;
mod recorder;
mod roots;

/// Does the TLS handshake. The certificate is looked at whether it is trusted or not; over a connection whose certificate
/// is not trusted nothing is sent, unless `--insecure` asks for that.
pub(super) async fn secure<S: Stream>(
    probe: &Probe,
    address: &Address,
    stream: S,
    facts: &mut Facts,
) -> Result<(TlsStream<S>, String), Fault> {
    let name = ServerName::try_from(address.name()).map_err(|_| {
        Fault::new(
            "the host is not a name that a certificate can be issued for",
            "connect with a host name or an address",
        )
    })?;
    let roots = Roots::new(&probe.roots).map_err(|error| unusable("the file of `--root`", &error))?;
    let no_roots = roots.is_empty();
    let recorder = Arc::new(Recorder::new(roots, probe.insecure));
    let config = config(probe, &recorder)?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name.clone(), stream);
    let tried = timeout(probe.timeout, handshake).await;
    if let Ok(Ok(stream)) = &tried {
        let (_, session) = stream.get_ref();
        facts.see("version", session.protocol_version().map_or_else(String::new, |it| format!("{it:?}")));
        facts.see(
            "cipher",
            session.negotiated_cipher_suite().map_or_else(String::new, |it| format!("{:?}", it.suite())),
        );
        let alpn = session.alpn_protocol().map(String::from_utf8_lossy);
        facts.see("alpn", alpn.map_or_else(|| "none chosen".to_owned(), std::borrow::Cow::into_owned));
    }
    let seen = recorder.seen();
    if !seen.chain.is_empty() {
        certificate::describe(&seen, &name, facts);
    }
    match tried {
        Err(_) => Err(Fault::new(
            format!("the server did not finish the TLS handshake within {}", seconds(probe.timeout)),
            "check that the port is one of TLS; a server without TLS may be waiting for more: try ws://",
        )),
        Ok(Err(error)) => Err(explain(&error, &seen, address, no_roots)),
        Ok(Ok(stream)) => {
            let version = match stream.get_ref().1.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
                _ => "TLS 1.3",
            };
            let trust = match seen.trusted_by {
                Some(roots) => format!("the certificate is trusted by {roots}"),
                None => "THE CERTIFICATE IS NOT TRUSTED, which `--insecure` allows".to_owned(),
            };
            Ok((stream, format!("{version}; {trust}")))
        }
    }
}

fn unusable(what: &str, error: &TlsError) -> Fault {
    let why = format!("{what} cannot be used: {}", in_one_line(error));
    Fault::new(why, "give a PEM file, which begins with -----BEGIN")
}

fn config(probe: &Probe, recorder: &Arc<Recorder>) -> Result<ClientConfig, Fault> {
    let provider = provider();
    let key = probe.identity.as_ref().map(|identity| identity.load(&provider)).transpose();
    let key = key.map_err(|error| unusable("the certificate of `--cert`", &error))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(TlsVersions::Both.supported())
        .map_err(|error| unusable("TLS", &TlsError::unusable(error)))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Recorder>::clone(recorder));
    let mut config = match key {
        Some(loaded) => {
            builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(loaded.key)))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Each certificate is looked at.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// An error of TLS inside an error of the stream.
pub(super) fn inner(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
}

/// What to do about an alert that is about the certificate of the client, which with TLS 1.3 comes after the handshake.
pub(super) fn about_client_certificate(error: &rustls::Error) -> Option<Fault> {
    let rustls::Error::AlertReceived(alert) = error else { return None };
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => Some(Fault::new(
            "the server requires a certificate of the client",
            "give one with `--cert FILE --key FILE`",
        )),
        AlertDescription::BadCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::UnsupportedCertificate => Some(Fault::new(
            format!("the server does not accept the certificate of the client: {}", wording::alert(*alert)),
            "give one that the server trusts with `--cert FILE --key FILE`",
        )),
        _ => None,
    }
}

fn explain(error: &io::Error, seen: &recorder::Seen, address: &Address, no_roots: bool) -> Fault {
    let Some(inner) = inner(error) else {
        return Fault::new(
            format!("the connection ended during the TLS handshake: {error}"),
            "check that the port is one of TLS, and what the log of the server says",
        );
    };
    if let Some(fault) = about_client_certificate(inner) {
        return fault;
    }
    match inner {
        rustls::Error::InvalidCertificate(why) => certificate::fault(why, seen, address, no_roots),
        rustls::Error::InvalidMessage(_) | rustls::Error::PeerSentOversizedRecord => Fault::new(
            "the server does not speak TLS on this port",
            "use ws:// if the server has no TLS, or the port on which it has",
        ),
        rustls::Error::NoApplicationProtocol
        | rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => Fault::new(
            "the server does not offer HTTP/1.1, with which WebSockets begin",
            "allow `http/1.1` beside `h2` in the ALPN of the server",
        ),
        rustls::Error::AlertReceived(AlertDescription::UnrecognisedName) => Fault::new(
            format!("the server has no certificate for {}", address.name()),
            "check the host in the URL, and the names that the server is configured for",
        ),
        other => Fault::new(
            wording::fault(other, "the server"),
            "check which versions and ciphers of TLS the server allows: 1.2 and 1.3 are offered",
        ),
    }
}
