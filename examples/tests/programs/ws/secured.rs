//! TLS on both ends of the command line.

use websockets_simple_examples::authority::Authority;

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
