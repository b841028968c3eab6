//! Dials over TLS.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::*;
use crate::{TlsFailure, TlsVersions, WebsocketClient, error::ParamsError};

/// A certificate authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A TLS server with a certificate for `name`.
    fn acceptor(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> TlsAcceptor {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(websockets_simple_core::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

fn as_it_is(_params: &mut CertificateParams) {}

/// Dials a TLS server that answers any request with a 101.
async fn dialed(
    acceptor: TlsAcceptor,
    adapt: impl FnOnce(ClientParams) -> ClientParams,
) -> Result<Dialed, ConnectError> {
    let (listener, params) = listener().await;
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.ok()?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
        let head = read_head(&mut stream).await;
        let answer = [switching(&accept_key(&head), "").as_bytes(), &text("welcome")].concat();
        stream.write_all(&answer).await.unwrap();
        Some(stream)
    };
    let (_stream, dialed) = tokio::join!(server, dial(adapt(params.secured(true))));
    dialed
}

/// The error text for a server that is not trusted.
async fn distrust(acceptor: TlsAcceptor, adapt: impl FnOnce(ClientParams) -> ClientParams) -> String {
    match dialed(acceptor, adapt).await.err().unwrap() {
        ConnectError::Tls(failure) => failure.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_with_a_given_root_is_trusted_and_the_facts_are_told() {
    let root = Authority::new();
    for (versions, version, cipher) in [
        (TlsVersions::Both, "TLSv1_3", "TLS13_"),
        (TlsVersions::Tls13, "TLSv1_3", "TLS13_"),
        (TlsVersions::Tls12, "TLSv1_2", "TLS_ECDHE_"),
    ] {
        let acceptor = root.acceptor("127.0.0.1", as_it_is);
        let adapt =
            |params: ClientParams| params.root_pem(root.0.pem()).only_given_roots().tls_versions(versions);
        let dialed = dialed(acceptor, adapt).await.ok().unwrap();
        let info = dialed.info.tls.unwrap();
        assert_eq!(info.version, version);
        assert!(info.cipher.starts_with(cipher), "{info:?}");
        let mut came = dialed.leftover;
        let mut rest = vec![0; text("welcome").len() - came.len()];
        let mut stream = dialed.stream;
        stream.read_exact(&mut rest).await.unwrap();
        came.append(&mut rest);
        assert_eq!(came, text("welcome"));
    }
}

#[tokio::test]
async fn a_given_root_is_trusted_beside_those_of_the_system() {
    let root = Authority::new();
    let acceptor = root.acceptor("127.0.0.1", as_it_is);
    assert!(dialed(acceptor, |params| params.root_pem(root.0.pem())).await.is_ok());
}

#[tokio::test]
async fn a_server_of_an_unknown_issuer_is_not_trusted() {
    let (root, other) = (Authority::new(), Authority::new());
    let expected = "the server's certificate was issued by an untrusted issuer";
    let acceptor = || other.acceptor("127.0.0.1", as_it_is);
    let given = |params: ClientParams| params.root_pem(root.0.pem()).only_given_roots();
    assert_eq!(distrust(acceptor(), given).await, expected);
    assert_eq!(distrust(acceptor(), |params| params.root_pem(root.0.pem())).await, expected);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_trusted() {
    let root = Authority::new();
    for name in ["127.0.0.2", "localhost"] {
        let given = |params: ClientParams| params.root_pem(root.0.pem()).only_given_roots();
        let said = distrust(root.acceptor(name, as_it_is), given).await;
        assert_eq!(said, "the server's certificate is for another host name");
    }
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_not_trusted() {
    let root = Authority::new();
    let given = || |params: ClientParams| params.root_pem(root.0.pem()).only_given_roots();
    let expired = root.acceptor("127.0.0.1", |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    assert_eq!(distrust(expired, given()).await, "the server's certificate has expired");
    let early = root.acceptor("127.0.0.1", |params| params.not_before = date_time_ymd(4000, 1, 1));
    assert_eq!(distrust(early, given()).await, "the server's certificate is not valid yet");
}

#[tokio::test]
async fn a_plain_server_behind_wss_does_not_speak_tls() {
    let root = Authority::new();
    let (listener, params) = listener().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Wait for the ClientHello; its first byte is enough.
        stream.read_u8().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        stream
    };
    let params = params.secured(true).root_pem(root.0.pem()).only_given_roots();
    let (_stream, dialed) = tokio::join!(server, dial(params));
    let error = dialed.err().unwrap();
    assert_eq!(error.to_string(), "TLS failed: the server does not speak TLS on this port");
}

#[tokio::test]
async fn a_server_that_hangs_up_on_the_greeting_is_a_failure_of_tls() {
    let root = Authority::new();
    let (listener, params) = listener().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        let mut greeting = vec![0; 64 * 1024];
        let _ = stream.try_read(&mut greeting);
    };
    let params = params.secured(true).root_pem(root.0.pem()).only_given_roots();
    let ((), dialed) = tokio::join!(server, dial(params));
    assert!(matches!(dialed, Err(ConnectError::Tls(TlsFailure::HungUp))));
}

#[tokio::test]
async fn a_tls_server_behind_ws_wants_wss() {
    let root = Authority::new();
    let acceptor = root.acceptor("127.0.0.1", as_it_is);
    let (listener, params) = listener().await;
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        assert!(acceptor.accept(stream).await.is_err(), "that was no ClientHello");
    };
    let ((), dialed) = tokio::join!(server, dial(params));
    let error = dialed.err().unwrap();
    assert_eq!(error.to_string(), "TLS failed: the server speaks TLS on this port: connect with wss");
}

#[tokio::test]
async fn a_server_that_speaks_http_2_alone_does_not_speak_http_1_1() {
    let root = Authority::new();
    let key = KeyPair::generate().unwrap();
    let issued =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &root.0).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(websockets_simple_core::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (listener, params) = listener().await;
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        assert!(TlsAcceptor::from(Arc::new(config)).accept(stream).await.is_err());
    };
    let params = params.secured(true).root_pem(root.0.pem()).only_given_roots();
    let ((), dialed) = tokio::join!(server, dial(params));
    assert!(matches!(dialed, Err(ConnectError::Tls(TlsFailure::NoHttp))));
}

#[tokio::test]
async fn a_silent_tls_server_hits_the_connect_timeout() {
    let root = Authority::new();
    let (listener, params) = listener().await;
    let params = params.secured(true).root_pem(root.0.pem()).only_given_roots();
    let client = WebsocketClient::new(params.connect_timeout(Duration::from_millis(100))).unwrap();
    assert!(matches!(client.connect().await, Err(ConnectError::Timeout)));
    drop(listener);
}

#[test]
fn damaged_or_missing_roots_are_an_error_of_the_parameters() {
    let root = Authority::new().0.pem();
    let error = |params: ClientParams| Dialer::new(&params.secured(true).check().unwrap()).err();
    let params = || ClientParams::new("localhost", 443);
    for only in [ClientParams::only_given_roots, |params| params] {
        let damaged = error(only(params().root_pem(root.replace('M', "*"))));
        assert!(matches!(damaged, Some(ParamsError::Tls(_))), "{damaged:?}");
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let damaged = error(only(params().root_pem(no_certificate)));
        assert!(matches!(damaged, Some(ParamsError::Tls(_))), "{damaged:?}");
        let none = error(only(params().root_pem("not PEM at all")));
        assert_eq!(none, Some(ParamsError::Tls("there is no certificate in the PEM".to_owned())));
        assert_eq!(error(only(params().root_pem(root.clone()))), None);
    }
    assert!(matches!(error(params().only_given_roots()), Some(ParamsError::Tls(_))));
}
