//! Certificates of clients: asked for, verified, and what they are good for.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{net::SocketAddr, time::Duration};

use rcgen::date_time_ymd;
use websockets_simple_client::{
    ClientParams, ConnectError, Message, TlsFailure, TlsVersions, WebsocketClient,
};
use websockets_simple_server::{
    AlternativeName, Anonymous, Authenticated, ClientCertificates, Credentials, ErrorStage, Event, Events,
    HandshakeRequest, Limits, Server, StartError, TlsHandshakeError, UserService, UserServiceError,
    WebsocketServer, WebsocketServerAuth,
};
use websockets_simple_tests::{
    authority::{Authority, Issued, secured},
    connected, next, opened,
    openssl::{self, SServer},
    started, text, within,
};

fn server(root: &Authority, clients: ClientCertificates) -> Server<Anonymous> {
    WebsocketServer::new(secured(root.server().client_certificates(clients)))
}

/// Why a client with these parameters does not get in; `None` if it does.
async fn refusal(params: ClientParams) -> Option<TlsFailure> {
    match WebsocketClient::new(params).unwrap().connect().await {
        Ok(_) => None,
        Err(ConnectError::Tls(failure)) => Some(failure),
        Err(other) => panic!("{other:?}"),
    }
}

/// Why the next TLS handshake fails, as the server tells it.
async fn tls_error(events: &mut Events<Event<Anonymous>>) -> TlsHandshakeError {
    next(events, |event| match event {
        Event::Error(event) => {
            assert_eq!(event.stage, ErrorStage::Tls);
            Some(event.error.downcast_ref::<TlsHandshakeError>().unwrap().clone())
        }
        _ => None,
    })
    .await
}

const BOTH: [TlsVersions; 2] = [TlsVersions::Tls12, TlsVersions::Tls13];

#[tokio::test]
async fn without_the_certificate_that_is_required_nobody_gets_in_and_the_client_knows_why() {
    let root = Authority::new();
    let server = server(&root, ClientCertificates::required().issued_by(root.pem()));
    let mut events = server.events();
    let addr = started(&server).await;
    for versions in BOTH {
        let params = root.trusted(addr.port()).tls_versions(versions);
        assert_eq!(refusal(params).await, Some(TlsFailure::ClientCertificateRequired), "{versions:?}");
        assert_eq!(tls_error(&mut events).await, TlsHandshakeError::ClientCertificateMissing);
    }
    assert_eq!(server.connection_count(), 0);
}

#[tokio::test]
async fn each_bad_certificate_of_a_client_is_refused_with_its_own_reason() {
    let (root, other) = (Authority::new(), Authority::new());
    let clients = ClientCertificates::required().issued_by(root.pem()).revoked(root.revocation_list(&[66]));
    let server = server(&root, clients);
    let mut events = server.events();
    let addr = started(&server).await;
    let refused = |why: &str| Some(TlsFailure::ClientCertificateRefused(why.to_owned()));
    for versions in BOTH {
        let params =
            |shown: &Issued| root.trusted(addr.port()).tls_versions(versions).identity(shown.identity());
        assert_eq!(refusal(params(&root.client("ronald", 7))).await, None, "{versions:?}");
        let unknown = refusal(params(&other.client("ronald", 7))).await;
        assert_eq!(unknown, refused("its issuer is not trusted by the server"), "{versions:?}");
        let told = TlsHandshakeError::ClientCertificate("its issuer is not trusted");
        assert_eq!(tls_error(&mut events).await, told);
        let revoked = refusal(params(&root.client("ronald", 66))).await;
        assert_eq!(revoked, refused("it was revoked"), "{versions:?}");
        assert_eq!(tls_error(&mut events).await, TlsHandshakeError::ClientCertificate("it was revoked"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_gets_in_with_a_certificate_and_not_without_or_with_an_expired_one() {
    let root = Authority::new();
    let tls = root.server().client_certificates(ClientCertificates::required().issued_by(root.pem()));
    // Whoever gets in says nothing and is hung up on for that.
    let limits = Limits::default().handshake(Duration::from_secs(1));
    let server = WebsocketServer::new(secured(tls).limits(limits));
    let addr = started(&server).await;
    let expired = root.issue(&["ronald"], |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    for flag in ["-tls1_2", "-tls1_3"] {
        let good = shown_by_openssl(addr, &root, &root.client("ronald", 7), flag).await;
        assert!(!good.contains("alert") && good.contains("Verification: OK"), "{good}");
        let expired = shown_by_openssl(addr, &root, &expired, flag).await;
        assert!(expired.contains("alert certificate expired"), "{expired}");
        let none = openssl::s_client(addr, &root.pem(), &[flag, "-ign_eof"]).await;
        assert!(none.contains("alert certificate required"), "{none}");
    }
}

/// With `-ign_eof` it stays until the server has said what it thinks, or hangs up for the silence.
async fn shown_by_openssl(addr: SocketAddr, root: &Authority, shown: &Issued, flag: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    std::fs::write(&chain, &shown.chain).unwrap();
    std::fs::write(&key, &shown.key).unwrap();
    let (chain, key) = (chain.to_str().unwrap(), key.to_str().unwrap());
    openssl::s_client(addr, &root.pem(), &[flag, "-cert", chain, "-key", key, "-ign_eof"]).await
}

#[tokio::test]
async fn a_server_of_another_library_that_wants_a_certificate_says_so_in_either_version() {
    let (root, other) = (Authority::new(), Authority::new());
    let issued = root.issue(&["localhost"], |_| ());
    for flag in ["-tls1_2", "-tls1_3"] {
        let server = SServer::start(&issued, &root.pem(), &[flag, "-Verify", "1", "-verify_return_error"]);
        let params = || root.trusted(server.port);
        assert_eq!(refusal(params()).await, Some(TlsFailure::ClientCertificateRequired), "{flag}");
        let unknown = refusal(params().identity(other.client("ronald", 7).identity())).await;
        let expected = "its issuer is not trusted by the server".to_owned();
        assert_eq!(unknown, Some(TlsFailure::ClientCertificateRefused(expected)), "{flag}");
    }
}

#[tokio::test]
async fn what_else_keeps_a_client_and_another_library_apart_is_named() {
    let root = Authority::new();
    let issued = root.issue(&["localhost"], |_| ());
    for (flags, expected) in [
        (&["-alpn", "h2"][..], TlsFailure::NoHttp),
        (&["-tls1_2", "-alpn", "h2"], TlsFailure::NoHttp),
        (&["-tls1_2", "-cipher", "AES128-SHA"], TlsFailure::Parameters),
        (&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], TlsFailure::Version),
    ] {
        let server = SServer::start(&issued, &root.pem(), flags);
        assert_eq!(refusal(root.trusted(server.port)).await, Some(expected), "{flags:?}");
    }
}

#[tokio::test]
async fn an_optional_certificate_is_known_where_it_was_shown() {
    let root = Authority::new();
    let server = server(&root, ClientCertificates::optional().issued_by(root.pem()));
    let mut events = server.events();
    let addr = started(&server).await;
    let _nobody = connected(root.trusted(addr.port())).await;
    assert!(opened(&mut events).await.peer_certificate().is_none());
    let shown = root.client("ronald.example", 0x1234);
    let _ronald = connected(root.trusted(addr.port()).identity(shown.identity())).await;
    let connection = opened(&mut events).await;
    let certificate = connection.peer_certificate().unwrap();
    assert_eq!(certificate.common_name(), Some("ronald.example"));
    assert_eq!(certificate.alternative_names(), [AlternativeName::Dns("ronald.example".to_owned())]);
    assert_eq!(certificate.serial(), "1234");
    assert!(certificate.subject().contains("CN=ronald.example"), "{}", certificate.subject());
    assert!(certificate.issuer().contains("an authority for tests"), "{}", certificate.issuer());
}

#[tokio::test]
async fn revocation_lists_and_authorities_are_read_again_on_reload_and_sessions_are_not_resumed() {
    let root = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("revoked.pem");
    std::fs::write(&list, root.revocation_list(&[1])).unwrap();
    let clients = ClientCertificates::required().issued_by(root.pem()).revoked_file(&list);
    let tls = root.server().client_certificates(clients);
    let server = WebsocketServer::new(secured(tls.clone()));
    let addr = started(&server).await;
    let params = root.trusted(addr.port()).identity(root.client("ronald", 7).identity());
    // One client for both, which would resume its session.
    let client = WebsocketClient::new(params).unwrap();
    client.connect().await.unwrap();
    within(client.disconnect()).await.unwrap();
    std::fs::write(&list, root.revocation_list(&[1, 7])).unwrap();
    tls.reload().unwrap();
    let refused = client.connect().await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "TLS failed: the server refused the client's certificate: it was revoked"
    );
}

#[tokio::test]
async fn asking_for_certificates_of_no_authority_is_an_error_of_the_start() {
    let root = Authority::new();
    for (clients, words) in [
        (ClientCertificates::required(), "there is no certificate authority for client certificates"),
        (ClientCertificates::required().issued_by("nothing"), "there is no certificate in the PEM"),
        (
            ClientCertificates::required().issued_by(root.pem()).revoked(root.pem()),
            "there is no revocation list in the PEM",
        ),
        (ClientCertificates::optional().issued_by_file("/nowhere/ca.pem"), "cannot read /nowhere/ca.pem"),
    ] {
        match server(&root, clients).start().await {
            Err(StartError::Tls { source, .. }) => assert_eq!(source.to_string(), words),
            other => panic!("{words}: {other:?}"),
        }
    }
}

/// Wants a certificate, and where it says `admin` also a token.
struct ByCertificate;

#[websockets_simple_server::async_trait]
impl UserService for ByCertificate {
    type Id = String;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<String>>, UserServiceError> {
        let Some(name) = credentials.certificate().and_then(|certificate| certificate.common_name()) else {
            return Ok(None);
        };
        let has_token = credentials.token().is_some_and(|token| token.expose() == "second-factor");
        Ok((name != "admin" || has_token).then(|| Authenticated::new(name.to_owned())))
    }
}

#[tokio::test]
async fn a_certificate_is_an_identity_alone_or_together_with_a_token() {
    let root = Authority::new();
    let tls = root.server().client_certificates(ClientCertificates::optional().issued_by(root.pem()));
    let server = WebsocketServerAuth::<String>::new(secured(tls).success_text("hello"), ByCertificate);
    let addr = started(&server).await;
    let as_whom = |name: &str| root.trusted(addr.port()).identity(root.client(name, 7).identity());
    let unauthorized = async |params: ClientParams| {
        let refused = WebsocketClient::new(params).unwrap().connect().await;
        assert!(matches!(refused, Err(ConnectError::Unauthorized { .. })), "{refused:?}");
    };
    unauthorized(root.trusted(addr.port())).await;
    unauthorized(root.trusted(addr.port()).token("second-factor")).await;
    unauthorized(as_whom("admin")).await;
    unauthorized(as_whom("admin").token("first-factor")).await;
    for (name, params) in [("ronald", as_whom("ronald")), ("admin", as_whom("admin").token("second-factor"))]
    {
        let client = WebsocketClient::new(params).unwrap();
        let mut heard = client.events();
        client.connect().await.unwrap();
        assert_eq!(text(&mut heard).await, "hello");
        let sent = server.to_user(&name.to_owned()).send(Message::text("for you"));
        assert_eq!(sent.unwrap().accepted, 1);
        assert_eq!(text(&mut heard).await, "for you");
        within(client.disconnect()).await.unwrap();
    }
}
