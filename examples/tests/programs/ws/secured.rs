//! TLS on both ends of the command line.

use websockets_simple_examples::authority::Authority;
use websockets_simple_server::{ClientCertificates, Endpoint, ServerParams, ServerTls, WebsocketServer};

use super::{piped, serve};

#[tokio::test]
async fn a_certificate_is_trusted_by_its_root_and_otherwise_refused() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours").unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("root.pem"), authority.pem()).unwrap();
    authority.issue(&["localhost"], 1).unwrap().write(folder.path(), "server").unwrap();
    let (cert, key) = (path("server.pem"), path("server-key.pem"));
    let (_server, address) = serve(&["--cert", &cert, "--key", &key]).await;
    let port = address.rsplit_once(':').unwrap().1;
    let url = format!("wss://localhost:{port}");

    let trusted = piped(&["connect", "--root", &path("root.pem"), &url], &["hello"]).await;
    assert_eq!((trusted.code, trusted.lines), (Some(0), vec!["hello".to_owned()]));
    assert!(trusted.stderr.lines().next().unwrap().ends_with(", TLSv1_3"), "{}", trusted.stderr);
    let insecure = piped(&["connect", "-q", "--insecure", &url], &["hello"]).await;
    assert_eq!((insecure.code, insecure.lines), (Some(0), vec!["hello".to_owned()]));

    let unknown = piped(&["connect", &url], &["hello"]).await;
    assert_eq!(unknown.code, Some(3));
    assert_eq!(
        unknown.stderr,
        "ws: TLS failed: the server's certificate was issued by an untrusted issuer\n"
    );
    let plain = piped(&["connect", &address], &["hello"]).await;
    assert_eq!(plain.code, Some(3));
    assert_eq!(plain.stderr, "ws: TLS failed: the server speaks TLS on this port: connect with wss\n");
    let other_name = piped(&["connect", "--root", &path("root.pem"), &format!("wss://{address}")], &[]).await;
    assert_eq!(other_name.code, Some(3));
    assert!(other_name.stderr.contains("another host name"), "{}", other_name.stderr);
}

#[tokio::test]
async fn a_certificate_of_ones_own_is_shown_to_a_server_that_asks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours").unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("root.pem"), authority.pem()).unwrap();
    authority.issue(&["ronald"], 7).unwrap().write(folder.path(), "ronald").unwrap();
    let tls = ServerTls::new(authority.issue(&["localhost"], 1).unwrap().identity())
        .client_certificates(ClientCertificates::required().issued_by(authority.pem()));
    let endpoint = Endpoint::tcp(([127, 0, 0, 1], 0).into()).tls(tls);
    let server = WebsocketServer::new(ServerParams::local().endpoint(endpoint));
    server.on_message(|connection, message| async move {
        let _ = connection.send(message).await;
    });
    server.start().await.unwrap();
    let url = format!("wss://localhost:{}", server.local_addr().unwrap().port());

    let (root, cert, key) = (path("root.pem"), path("ronald.pem"), path("ronald-key.pem"));
    let shown = ["connect", "--root", &root, "--cert", &cert, "--key", &key, &url];
    let ended = piped(&shown, &["hello"]).await;
    assert_eq!((ended.code, ended.lines), (Some(0), vec!["hello".to_owned()]), "{}", ended.stderr);
    let ended = piped(&["connect", "--root", &root, &url], &["hello"]).await;
    assert_eq!(ended.code, Some(3));
    assert_eq!(ended.stderr, "ws: TLS failed: the server requires a client certificate\n");
    let half = piped(&["connect", "--cert", &cert, &url], &["hello"]).await;
    assert_eq!(half.code, Some(2), "{}", half.stderr);
}
