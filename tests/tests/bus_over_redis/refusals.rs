//! Servers that refuse, or are none; certificates.

use super::*;

pub(crate) async fn a_wrong_password_is_told_without_it(kind: BusServerKind) {
    let server = BusServer::start_with(kind, &["--requirepass", "right-word"]).await;
    let wrong = Node::run(bus(&server).user_and_password("hidden-user", "hidden-word"));
    let url = server.url().replace("//", "//:hidden-word@");
    let in_url = Node::run(RedisBus::new(url).unwrap());
    for node in [&wrong, &in_url] {
        let why = node.down_as("WRONGPASS").await;
        assert!(
            why.ends_with("the server refuses us: the user or the password is wrong (WRONGPASS)"),
            "{why}"
        );
        assert!(!why.contains("hidden"), "{why}");
    }
    let without = Node::run(bus(&server));
    let why = without.down_as("NOAUTH").await;
    assert!(why.ends_with("the server refuses us: it asks for a password (NOAUTH)"), "{why}");
    let right = Node::run(bus(&server).user_and_password("", "right-word"));
    right.up().await;
    right.settled().await;
}

pub(crate) async fn a_user_who_may_not_publish_is_told_of_it(kind: BusServerKind) {
    let users = "--user mute on >word &* +subscribe +unsubscribe \
                 --user fenced on >word &fenced.* +subscribe +unsubscribe +publish";
    let server = BusServer::start_with(kind, &users.split_whitespace().collect::<Vec<_>>()).await;
    let mute = Node::run(bus(&server).user_and_password("mute", "word"));
    mute.up().await;
    mute.publish("news", "hidden").unwrap();
    assert_eq!(mute.down().await, "the server refuses PUBLISH: the user has no permission for it (NOPERM)");
    // It may neither PING nor have a name, and does without.
    let fenced = Node::run(bus(&server).user_and_password("fenced", "word"));
    fenced.subscribe("fenced.news");
    fenced.up().await;
    sleep(Duration::from_millis(2_500)).await;
    fenced.publish("fenced.news", "here").unwrap();
    assert_eq!(fenced.message().await, "here");
    fenced.subscribe("news");
    assert_eq!(
        fenced.down().await,
        "the server refuses SUBSCRIBE: the user has no permission for it (NOPERM)"
    );
}

pub(crate) async fn a_server_without_resp3_is_told_of(kind: BusServerKind) {
    let server = BusServer::start_with(kind, &["--rename-command", "HELLO", "OLLEH"]).await;
    let node = Node::run(bus(&server).user_and_password("hidden-user", "hidden-word"));
    let why = node.down_as("RESP3").await;
    assert!(why.ends_with("the server does not speak RESP3: Redis 6 or later is needed, or Valkey"), "{why}");
    assert!(!why.contains("hidden"), "{why}");
}

#[tokio::test]
async fn what_is_not_a_redis_server_is_told_of() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    let node = Node::run(RedisBus::new(format!("redis://127.0.0.1:{port}")).unwrap());
    let why = node.down_as("protocol").await;
    assert!(why.ends_with("what the server says is not the protocol of Redis"), "{why}");
    serving.abort();
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_after_2_s_and_ends_nothing_later() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let begun = Instant::now();
    let node = Node::run(RedisBus::new(&url).unwrap());
    let why = node.down_as("answer").await;
    assert!(why.ends_with("it does not answer within 2 s"), "{why}");
    assert!((1_900..2_500).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    let node = Node::run(RedisBus::new(&url).unwrap());
    let early = timeout(Duration::from_millis(100), node.port.next_event()).await;
    assert!(early.is_err(), "{early:?}");
    let asked = Instant::now();
    node.close().await;
    assert!(asked.elapsed() < Duration::from_millis(200), "{:?}", asked.elapsed());
}

/// The valkey-server of PyPI is built without TLS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_shown_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let roots = file("roots.pem", &authority.pem());
    let others = file("others.pem", &stranger.pem());
    let of_server = authority.issue(&["localhost"], |_| {});
    let (chain, key) = (file("server.pem", &of_server.chain), file("server.key", &of_server.key));
    let of_node = authority.client("node", 7);
    let (of_node, its_key) = (file("node.pem", &of_node.chain), file("node.key", &of_node.key));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let tls = ["--tls-port", &port, "--tls-cert-file", &chain, "--tls-key-file", &key];
    let tls = [&tls[..], &["--tls-ca-cert-file", &roots, "--tls-auth-clients", "yes"]].concat();
    let server = BusServer::start_with(Redis7, &tls).await;
    let url = format!("rediss://localhost:{port}");
    let bus = || RedisBus::new(&url).unwrap();

    let a = Node::run(bus().tls_root_certificates(&roots).client_certificate(&of_node, &its_key));
    a.subscribe("news");
    a.up().await;
    a.settled().await;
    a.publish("news", vec![7; 3 * MIB]).unwrap();
    assert_eq!(a.message().await, vec![7; 3 * MIB]);

    let unknown = Node::run(bus().tls_root_certificates(&roots));
    unknown.down_as("certificate").await;
    let distrusted = Node::run(bus().tls_root_certificates(&others).client_certificate(&of_node, &its_key));
    let why = distrusted.down_as("certificate").await;
    assert!(why.contains("the certificate of the server is not accepted"), "{why}");
    // The files are read at each attempt.
    fs::write(&others, authority.pem()).unwrap();
    distrusted.up().await;
    // The system does not trust it either.
    let of_system = Node::run(bus().client_certificate(&of_node, &its_key));
    of_system.down_as("the certificate of the server is not accepted").await;
    let missing = Node::run(bus().tls_root_certificates("/missing.pem"));
    missing.down_as("cannot read /missing.pem: No such file").await;
    // What was meant to be encrypted is not sent as it is.
    let plain = Node::run(RedisBus::new(server.url()).unwrap().tls_root_certificates(&roots));
    plain.down_as("which the URL does not ask for: rediss://").await;
    let not_tls = Node::run(RedisBus::new(server.url().replace("redis", "rediss")).unwrap());
    let why = not_tls.down().await;
    assert!(why.starts_with("no connection to 127.0.0.1:"), "{why}");
}
