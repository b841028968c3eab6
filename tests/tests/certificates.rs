//! Certificates of servers: what is wrong with them, which one is shown, and how they are replaced.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{error::Error, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use rcgen::{CertificateParams, date_time_ymd};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};
use websockets_simple_client::{
    ConnectError, Message, ParamsError, TlsFailure, TlsIdentity, TlsVersions, WebsocketClient,
};
use websockets_simple_server::{
    Anonymous, Endpoint, ErrorStage, Event, PeerCertificate, Server, ServerTls, StartError, WebsocketServer,
};
use websockets_simple_tests::{
    authority::{Authority, Issued, secured},
    connected, message, next, opened,
    openssl::{self, Pfx},
    started, within,
};

/// What the start of a server with this certificate fails with.
async fn start_error(identity: TlsIdentity) -> String {
    let server = WebsocketServer::new(secured(ServerTls::new(identity)));
    match server.start().await {
        Err(error @ StartError::Tls { .. }) => error.source().unwrap().to_string(),
        other => panic!("{other:?}"),
    }
}

fn expired(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(2002, 1, 1);
}

fn early(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(3999, 1, 1);
    params.not_after = date_time_ymd(4000, 1, 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_an_error_of_the_start_in_words() {
    let root = Authority::new();
    let good = root.issue(&["localhost"], |_| ());
    let other = root.issue(&["localhost"], |_| ());
    let outside = |change: fn(&mut CertificateParams)| root.issue(&["localhost"], change).identity();
    for (identity, words) in [
        (outside(expired), "expired on 2002-01-01 00:00:00 UTC"),
        (outside(early), "is not valid before 3999-01-01 00:00:00 UTC"),
        (
            TlsIdentity::pem(good.chain.clone(), other.key),
            "the private key does not belong to the certificate",
        ),
        (TlsIdentity::pem("", good.key.clone()), "there is no certificate in the PEM"),
        (TlsIdentity::pem(good.chain.clone(), ""), "there is no unencrypted private key in the PEM"),
        (
            TlsIdentity::pem(good.chain.replace('M', "*"), good.key.clone()),
            "the PEM of the certificate is damaged",
        ),
        (TlsIdentity::pem_files("/nowhere/chain.pem", "/nowhere/key.pem"), "cannot read /nowhere/chain.pem"),
        (TlsIdentity::pkcs12(b"no archive", "password"), "the PKCS#12 data cannot be read"),
        (TlsIdentity::pkcs12_file("/nowhere/chat.pfx", "password"), "cannot read /nowhere/chat.pfx"),
    ] {
        let said = start_error(identity).await;
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[tokio::test]
async fn a_server_that_could_not_start_for_its_certificate_starts_when_that_is_mended() {
    let root = Authority::new();
    let folder = Files::new(&root.issue(&["localhost"], expired));
    let tls = ServerTls::new(folder.identity());
    let server = WebsocketServer::new(secured(tls));
    assert!(server.start().await.is_err());
    folder.write(&root.issue(&["localhost"], |_| ()));
    let addr = started(&server).await;
    connected(root.trusted(addr.port())).await;
}

/// A certificate and its key in files.
struct Files(tempfile::TempDir);

impl Files {
    fn new(issued: &Issued) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write(issued);
        files
    }

    fn write(&self, issued: &Issued) {
        std::fs::write(self.0.path().join("chain.pem"), &issued.chain).unwrap();
        std::fs::write(self.0.path().join("key.pem"), &issued.key).unwrap();
    }

    /// Writes them at a time of its own: two writes in a row may have the same, which a watcher cannot tell apart.
    fn write_later(&self, seconds: u64, issued: &Issued) {
        self.write(issued);
        for name in ["chain.pem", "key.pem"] {
            let file = std::fs::File::options().write(true).open(self.0.path().join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() + Duration::from_secs(seconds)).unwrap();
        }
    }

    fn identity(&self) -> TlsIdentity {
        TlsIdentity::pem_files(self.0.path().join("chain.pem"), self.0.path().join("key.pem"))
    }
}

/// The certificate that a client is shown that asks for this name.
async fn shown(addr: SocketAddr, root: &Authority, name: &str) -> PeerCertificate {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(addr).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap();
    PeerCertificate::new(&stream.get_ref().1.peer_certificates().unwrap()[0]).unwrap()
}

#[tokio::test]
async fn a_client_is_shown_the_certificate_of_the_name_it_asks_for() {
    let root = Authority::new();
    let issued = |names: &[&str]| root.issue(names, |_| ()).identity();
    let tls = ServerTls::new(issued(&["localhost", "127.0.0.1"]))
        .for_name("Chat.example", issued(&["chat.example"]))
        .for_name("*.rooms.example", issued(&["*.rooms.example"]));
    let server = WebsocketServer::new(secured(tls));
    let addr = started(&server).await;
    for (asked, expected) in [
        ("localhost", "localhost"),
        ("127.0.0.1", "localhost"),
        ("chat.example", "chat.example"),
        ("blue.rooms.example", "*.rooms.example"),
    ] {
        let certificate = shown(addr, &root, asked).await;
        let names = format!("{:?}", certificate.alternative_names());
        assert!(names.contains(&format!("\"{expected}\"")), "{asked}: {names}");
    }
}

#[tokio::test]
async fn a_chain_leads_to_a_root_that_the_client_trusts_in_pem_and_in_an_archive() {
    let root = Authority::new();
    let between = root.intermediate();
    let own = between.issue(&["localhost"], |_| ());
    let alone = ServerTls::new(own.identity());
    let (_server, addr) = echoing(alone).await;
    let refused = WebsocketClient::new(root.trusted(addr.port())).unwrap().connect().await;
    assert!(matches!(refused, Err(ConnectError::Tls(TlsFailure::UnknownIssuer))), "{refused:?}");

    let chained = TlsIdentity::pem(format!("{}{}", own.chain, between.pem()), own.key.as_str());
    // What openssl puts into an archive comes in any order.
    let archive = openssl::pfx(&own, &format!("{}{}", root.pem(), between.pem()), Pfx::Aes, "password");
    for identity in [chained, TlsIdentity::pkcs12(archive, "password")] {
        let (_server, addr) = echoing(ServerTls::new(identity)).await;
        connected(root.trusted(addr.port())).await;
    }
}

async fn echoing(tls: ServerTls) -> (Server<Anonymous>, SocketAddr) {
    let server = WebsocketServer::new(secured(tls));
    server.on(|event| async move {
        if let Event::Message(event) = event {
            let _ = event.connection.send(event.message).await;
        }
    });
    let addr = started(&server).await;
    (server, addr)
}

#[tokio::test]
async fn a_reload_changes_the_certificate_of_new_connections_and_drops_none() {
    let root = Authority::new();
    let folder = Files::new(&root.client("localhost", 1));
    let tls = ServerTls::new(folder.identity());
    let (_server, addr) = echoing(tls.clone()).await;
    let client = connected(root.trusted(addr.port())).await;
    let mut heard = client.events();
    assert_eq!(shown(addr, &root, "localhost").await.serial(), "01");
    folder.write(&root.client("localhost", 2));
    assert_eq!(shown(addr, &root, "localhost").await.serial(), "01", "nobody has asked for it");
    tls.reload().unwrap();
    assert_eq!(shown(addr, &root, "localhost").await.serial(), "02");
    client.send(Message::text("still here")).await.unwrap();
    assert_eq!(message(&mut heard).await, Message::text("still here"));

    std::fs::write(folder.0.path().join("key.pem"), root.client("localhost", 3).key).unwrap();
    let error = tls.reload().unwrap_err();
    assert_eq!(error.to_string(), "the private key does not belong to the certificate");
    assert_eq!(shown(addr, &root, "localhost").await.serial(), "02");
}

#[tokio::test]
async fn files_that_are_watched_are_reloaded_when_they_were_written_and_damage_is_told() {
    let root = Authority::new();
    let folder = Files::new(&root.client("localhost", 1));
    let tls = ServerTls::new(folder.identity()).watch_files(Duration::from_millis(20));
    let (server, addr) = echoing(tls).await;
    let mut events = server.events();
    folder.write(&root.client("localhost", 2));
    within(async {
        while shown(addr, &root, "localhost").await.serial() != "02" {
            tokio::task::yield_now().await;
        }
    })
    .await;
    folder.write(&Issued { chain: String::new(), key: String::new() });
    // A tick may see the chain of the old pair beside the key of the new one, which is an error of its own.
    let failure = next(&mut events, |event| match event {
        Event::Error(failure) if failure.error.to_string().starts_with("there is no") => Some(failure),
        _ => None,
    });
    assert_eq!(failure.await.stage, ErrorStage::Tls);
    assert_eq!(shown(addr, &root, "localhost").await.serial(), "02");
}

#[tokio::test]
async fn a_handler_that_panics_at_a_failed_reload_does_not_end_the_watch() {
    let root = Authority::new();
    let folder = Files::new(&root.client("localhost", 1));
    let tls = ServerTls::new(folder.identity()).watch_files(Duration::from_millis(10));
    let (server, addr) = echoing(tls).await;
    server.on(|event| {
        assert!(!matches!(&event, Event::Error(event) if event.stage == ErrorStage::Tls), "this handler");
        std::future::ready(())
    });
    let mut events = server.events();
    for serial in 2..4_u8 {
        folder.write_later(20 * u64::from(serial), &Issued { chain: String::new(), key: String::new() });
        let mut stages = Vec::new();
        next(&mut events, |event| {
            if let Event::Error(event) = event {
                stages.push(event.stage);
            }
            (stages.contains(&ErrorStage::Tls) && stages.contains(&ErrorStage::HandlerPanic)).then_some(())
        })
        .await;
        assert!(!stages.contains(&ErrorStage::Task), "no task had to be started again: {stages:?}");
        folder.write_later(20 * u64::from(serial) + 10, &root.client("localhost", serial.into()));
        within(async {
            while shown(addr, &root, "localhost").await.serial() != format!("{serial:02}") {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    within(server.stop()).await;
}

#[tokio::test]
async fn an_archive_that_openssl_made_serves_whichever_way_it_is_encrypted() {
    let root = Authority::new();
    for (kind, password) in [
        (Pfx::Aes, "correct horse"),
        (Pfx::Aes, ""),
        (Pfx::Aes, "Pässwörter ⚿ 密码"),
        (Pfx::TripleDes, "correct horse"),
        (Pfx::Legacy, "correct horse"),
        (Pfx::Legacy, "Pässwörter ⚿ 密码"),
    ] {
        let issued = root.issue(&["localhost"], |_| ());
        let archive = openssl::pfx(&issued, &root.pem(), kind, password);
        let tls = ServerTls::new(TlsIdentity::pkcs12(archive.clone(), password));
        let (_server, addr) = echoing(tls).await;
        connected(root.trusted(addr.port())).await;
        let wrong = start_error(TlsIdentity::pkcs12(archive, format!("{password}."))).await;
        assert_eq!(wrong, "the password of the PKCS#12 data is wrong", "{kind:?}");
    }
}

#[tokio::test]
async fn an_archive_in_a_file_is_read_again_on_reload() {
    let root = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.pfx");
    let write = |path: &Path, serial| {
        let archive = openssl::pfx(&root.client("localhost", serial), &root.pem(), Pfx::Aes, "password");
        std::fs::write(path, archive).unwrap();
    };
    write(&path, 1);
    let tls = ServerTls::new(TlsIdentity::pkcs12_file(&path, "password"));
    let (_server, addr) = echoing(tls.clone()).await;
    write(&path, 2);
    tls.reload().unwrap();
    assert_eq!(shown(addr, &root, "localhost").await.serial(), "02");
}

#[tokio::test]
async fn only_the_versions_that_were_chosen_are_spoken() {
    let root = Authority::new();
    for (server, client, expected) in [
        (TlsVersions::Tls12, TlsVersions::Both, Ok("TLSv1_2")),
        (TlsVersions::Tls13, TlsVersions::Both, Ok("TLSv1_3")),
        (TlsVersions::Both, TlsVersions::Tls12, Ok("TLSv1_2")),
        (TlsVersions::Tls12, TlsVersions::Tls13, Err(TlsFailure::Version)),
        (TlsVersions::Tls13, TlsVersions::Tls12, Err(TlsFailure::Version)),
    ] {
        let (_server, addr) = echoing(root.server().versions(server)).await;
        let client = WebsocketClient::new(root.trusted(addr.port()).tls_versions(client)).unwrap();
        let version = match client.connect().await {
            Ok(connection) => Ok(connection.tls().unwrap().version.clone()),
            Err(ConnectError::Tls(failure)) => Err(failure),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(version.as_deref(), expected.as_ref().map(|version| *version));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_agrees_on_versions_and_protocol_and_nothing_old_is_spoken() {
    let root = Authority::new();
    let (_server, addr) = echoing(root.server()).await;
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let said = openssl::s_client(addr, &root.pem(), &[flag, "-alpn", "h2,http/1.1"]).await;
        assert!(said.contains(&format!("New, {version}, Cipher is")), "{said}");
        assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
        assert!(said.contains("Verification: OK"), "{said}");
    }
    for flag in ["-tls1", "-tls1_1"] {
        // Without this level OpenSSL would not even offer them.
        let said = openssl::s_client(addr, &root.pem(), &[flag, "-cipher", "ALL:@SECLEVEL=0"]).await;
        assert!(said.contains("Cipher is (NONE)") && said.contains("SSL alert number"), "{said}");
    }
}

#[tokio::test]
async fn a_client_accepts_the_pinned_certificate_and_no_other_and_still_checks_name_and_time() {
    let root = Authority::new();
    let (first, second) = (root.issue(&["localhost"], |_| ()), root.issue(&["localhost"], |_| ()));
    let failure = |served: Issued, pinned: Issued, host: &'static str| async move {
        let (_server, addr) = echoing(ServerTls::new(served.identity())).await;
        let params = websockets_simple_client::ClientParams::new(host, addr.port()).secured(true);
        match WebsocketClient::new(params.pinned_pem(pinned.chain)).unwrap().connect().await {
            Ok(_) => None,
            Err(ConnectError::Tls(failure)) => Some(failure),
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(failure(first.clone(), first.clone(), "localhost").await, None);
    assert_eq!(failure(second, first.clone(), "localhost").await, Some(TlsFailure::NotPinned));
    assert_eq!(failure(first.clone(), first, "127.0.0.1").await, Some(TlsFailure::WrongName));
}

#[tokio::test]
async fn only_the_method_that_says_danger_accepts_any_certificate() {
    let (root, other) = (Authority::new(), Authority::new());
    let (_server, addr) =
        echoing(ServerTls::new(other.issue(&["elsewhere.example"], |_| ()).identity())).await;
    let client = WebsocketClient::new(root.trusted(addr.port())).unwrap();
    let refused = client.connect().await.unwrap_err();
    assert!(matches!(refused, ConnectError::Tls(TlsFailure::UnknownIssuer)), "{refused:?}");
    connected(root.trusted(addr.port()).danger_accept_any_certificate()).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_clients_own_certificate_is_an_error_of_its_parameters() {
    let root = Authority::new();
    let expired = root.issue(&["ronald"], expired).identity();
    let error = WebsocketClient::new(root.trusted(1).identity(expired)).unwrap_err();
    let ParamsError::Tls(text) = error else { panic!("{error:?}") };
    assert!(text.contains("expired on 2002"), "{text}");
    let missing = TlsIdentity::pem_files("/nowhere/chain.pem", "/nowhere/key.pem");
    let error = WebsocketClient::new(root.trusted(1).identity(missing)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "TLS cannot be set up: cannot read /nowhere/chain.pem: No such file or directory (os error 2)"
    );
}

#[tokio::test]
async fn a_plain_endpoint_beside_a_secured_one_stays_plain() {
    let root = Authority::new();
    let params = secured(root.server()).endpoint(Endpoint::tcp(([127, 0, 0, 1], 0).into()));
    let server = WebsocketServer::new(params);
    let mut events = server.events();
    server.start().await.unwrap();
    let addrs = server.local_addrs();
    connected(root.trusted(addrs[0].port())).await;
    assert!(opened(&mut events).await.peer_certificate().is_none());
    connected(websockets_simple_tests::params(addrs[1])).await;
}
