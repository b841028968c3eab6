//! The same over TLS, with an authority of the test's own.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::*;
use crate::{ParamsError, TlsVersions};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A server with a certificate for 127.0.0.1.
    fn server(&self, change: impl FnOnce(&mut CertificateParams)) -> TlsAcceptor {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap().der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// Trusts this authority and nobody else.
    fn trusted(&self, params: ClientParams) -> ClientParams {
        params.secured(true).root_pem(self.0.pem()).only_given_roots()
    }
}

/// What comes of a dial to this server, and the protocol that was agreed on below.
async fn secured(
    server: TlsAcceptor,
    change: impl FnOnce(ClientParams) -> ClientParams,
) -> (Result<Dialed, ConnectError>, Option<Vec<u8>>) {
    let (listener, params) = listening().await;
    let serving = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = server.accept(stream).await.ok()?;
        let head = request(&mut stream).await;
        stream.write_all(filled_in(AGREED, &head).as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)
    };
    tokio::join!(dialed(change(params)), serving)
}

async fn failed(server: TlsAcceptor, change: impl FnOnce(ClientParams) -> ClientParams) -> String {
    match secured(server, change).await.0 {
        Err(ConnectError::Tls(text)) => text,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it connected"),
    }
}

fn refused(params: ClientParams) -> String {
    let plan = params.check().unwrap();
    match Dialer::new(&plan) {
        Err(ParamsError::Tls(text)) => text,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("accepted"),
    }
}

#[tokio::test]
async fn a_server_of_a_trusted_authority_is_connected_to() {
    let root = Authority::new("root");
    let (dialed, protocol) = secured(root.server(|_| ()), |params| root.trusted(params)).await;
    let facts = dialed.unwrap().facts.tls.unwrap();
    assert_eq!(facts.version, "TLSv1_3");
    assert!(facts.cipher.starts_with("TLS13_"), "{facts:?}");
    assert_eq!(protocol.unwrap(), b"http/1.1");
}

#[tokio::test]
async fn the_version_can_be_chosen() {
    let root = Authority::new("root");
    for (versions, version) in [(TlsVersions::Tls12, "TLSv1_2"), (TlsVersions::Tls13, "TLSv1_3")] {
        let (dialed, _) =
            secured(root.server(|_| ()), |params| root.trusted(params).tls_versions(versions)).await;
        assert_eq!(dialed.unwrap().facts.tls.unwrap().version, version);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_in_words() {
    let (root, other) = (Authority::new("root"), Authority::new("other"));
    let expired = root.server(|params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    assert_eq!(failed(expired, |params| root.trusted(params)).await, "the server's certificate has expired");
    let elsewhere =
        root.server(|params| *params = CertificateParams::new(vec!["elsewhere.example".to_owned()]).unwrap());
    assert_eq!(
        failed(elsewhere, |params| root.trusted(params)).await,
        "the server's certificate is for another name"
    );
    assert_eq!(
        failed(other.server(|_| ()), |params| root.trusted(params)).await,
        "the server's certificate was issued by nobody who is trusted here"
    );
}

#[tokio::test]
async fn a_given_root_counts_beside_those_of_the_system() {
    let (root, other) = (Authority::new("root"), Authority::new("other"));
    let beside = |params: ClientParams| params.secured(true).root_pem(root.0.pem());
    assert!(secured(root.server(|_| ()), beside).await.0.is_ok());
    assert_eq!(
        failed(other.server(|_| ()), beside).await,
        "the server's certificate was issued by nobody who is trusted here"
    );
}

#[tokio::test]
async fn a_server_without_tls_is_said_to_have_none() {
    let root = Authority::new("root");
    let (listener, params) = listening().await;
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    };
    match tokio::join!(dialed(root.trusted(params)), serving).0 {
        Err(ConnectError::Tls(text)) => assert_eq!(text, "the server does not speak TLS there"),
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test]
async fn a_tls_handshake_that_never_ends_meets_the_connect_timeout() {
    let root = Authority::new("root");
    let (_listener, params) = listening().await;
    let error = dialed(root.trusted(params).connect_timeout(Duration::from_millis(100))).await.err();
    assert!(matches!(error, Some(ConnectError::Timeout)), "{error:?}");
}

#[test]
fn roots_that_cannot_be_read_are_refused_before_any_socket_is_opened() {
    let params = || ClientParams::new("localhost", 1).secured(true);
    assert_eq!(refused(params().root_pem("nothing")), "there is no certificate in the PEM of a root");
    assert_eq!(refused(params().only_given_roots()), "only given roots are trusted, and none was given");
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(!refused(params().root_pem(damaged).only_given_roots()).is_empty());
}
