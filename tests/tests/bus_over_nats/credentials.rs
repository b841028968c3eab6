//! By what a server of NATS knows a node, and what a node says when it does not.

use std::{fs, path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;
use websockets_simple_server::{NatsBus, Subject};
use websockets_simple_tests::{
    authority::{Authority, Issued},
    bus_server::{BusServer, BusServerKind},
};

use crate::{
    bus,
    node::{Node, config},
};

async fn configured(kind: BusServerKind, text: &str) -> (BusServer, tempfile::NamedTempFile) {
    let file = config(text);
    let server = BusServer::start_with(kind, &["-c", file.path().to_str().unwrap()]).await;
    (server, file)
}

/// It is refused for a reason that does not show the secret.
async fn refused(bus: NatsBus, reason: &str, secret: &str) {
    let shown = format!("{bus:?}");
    let node = Node::start(bus);
    let why = node.down().await;
    assert!(why.contains(reason), "{why}");
    assert!(!format!("{why} {shown}").contains(secret), "{why} {shown}");
    node.close().await;
}

#[tokio::test]
async fn a_user_with_a_password_is_let_in_once_the_server_knows_it() {
    for kind in BusServerKind::NATS {
        let (mut server, file) = configured(kind, "authorization { user: u, password: old-secret }").await;
        refused(bus(&server), "Authorization Violation", "secret").await;
        let in_url = server.url().replace("//", "//u:s%3Aecret@");
        refused(NatsBus::new(in_url).unwrap(), "Authorization Violation", "ecret").await;
        let node = Node::start(bus(&server).user_and_password("u", "s:ecret"));
        let why = node.down().await;
        assert!(why.contains("refuses the credentials") && !why.contains("ecret"), "{why}");
        fs::write(file.path(), "authorization { user: u, password: \"s:ecret\" }").unwrap();
        server.restart().await;
        node.up().await;
        node.barrier().await;
        Node::connected(NatsBus::new(server.url().replace("//", "//u:s%3Aecret@")).unwrap())
            .await
            .barrier()
            .await;
    }
}

#[tokio::test]
async fn a_token_is_enough_where_the_server_has_it() {
    for kind in BusServerKind::NATS {
        let (server, _file) = configured(kind, "authorization { token: secret }").await;
        refused(bus(&server).token("another-secret"), "Authorization Violation", "secret").await;
        Node::connected(bus(&server).token("secret")).await.barrier().await;
        Node::connected(NatsBus::new(server.url().replace("//", "//secret@")).unwrap()).await.barrier().await;
    }
}

#[tokio::test]
async fn an_nkey_signs_what_the_server_asks() {
    for kind in BusServerKind::NATS {
        let (key, other) = (KeyPair::new_user(), KeyPair::new_user());
        let users = format!("authorization {{ users: [ {{ nkey: {} }} ] }}", key.public_key());
        let (server, _file) = configured(kind, &users).await;
        let seed = other.seed().unwrap();
        refused(bus(&server).nkey(&seed), "Authorization Violation", &seed).await;
        refused(bus(&server).nkey("no-seed"), "credentials cannot be used", "no-seed").await;
        Node::connected(bus(&server).nkey(key.seed().unwrap())).await.barrier().await;
    }
}

#[tokio::test]
async fn a_credentials_file_is_read_at_each_attempt() {
    for kind in BusServerKind::NATS {
        let (operator, account, user) =
            (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
        let unlimited = json!({ "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
            "wildcards": true, "conn": -1, "leaf": -1 });
        let operator_jwt = jwt(&operator, &operator, &json!({ "type": "operator", "version": 2 }));
        let of_account = json!({ "type": "account", "version": 2, "limits": unlimited });
        let account_jwt = jwt(&operator, &account, &of_account);
        let of_user = json!({ "type": "user", "version": 2, "pub": {}, "sub": {},
            "subs": -1, "data": -1, "payload": -1 });
        let user_jwt = jwt(&account, &user, &of_user);
        let resolver = format!(
            "operator: {operator_jwt}\nresolver: MEMORY\nresolver_preload: {{ {}: {account_jwt} }}",
            account.public_key()
        );
        let (server, _file) = configured(kind, &resolver).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("user.creds");
        let node = Node::start(bus(&server).credentials_file(&path));
        let why = node.down().await;
        assert!(why.contains("cannot read") && why.contains("user.creds"), "{why}");
        let wrong = KeyPair::new_user().seed().unwrap();
        fs::write(&path, &wrong).unwrap();
        let why = node.down().await;
        assert!(why.contains("is not a credentials file") && !why.contains(&wrong), "{why}");
        let seed = user.seed().unwrap();
        let creds = format!(
            "-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        fs::write(&path, creds).unwrap();
        node.up().await;
        node.barrier().await;
    }
}

/// A JWT of NATS about a key, signed by another.
fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: &Value) -> String {
    let claims = json!({ "jti": "1", "iat": 1_700_000_000, "iss": issuer.public_key(), "name": "n",
        "sub": subject.public_key(), "nats": nats });
    let part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(&claims));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Files of certificates and keys.
struct Files(TempDir);

impl Files {
    fn put(&self, name: &str, contents: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn issued(&self, name: &str, issued: &Issued) -> [String; 2] {
        [self.put(&format!("{name}.pem"), &issued.chain), self.put(&format!("{name}-key.pem"), &issued.key)]
    }
}

#[tokio::test]
async fn both_ends_show_certificates_where_that_is_wanted() {
    let (authority, other) = (Authority::new(), Authority::new());
    let files = Files(tempfile::tempdir().unwrap());
    let root = files.put("root.pem", &authority.pem());
    let [server_chain, server_key] = files.issued("server", &authority.issue(&["localhost"], |_| ()));
    let [chain, key] = files.issued("client", &authority.client("node", 1));
    let tls = ["--tlsverify", "--tlscert", &server_chain, "--tlskey", &server_key, "--tlscacert", &root];
    for kind in BusServerKind::NATS {
        let server = BusServer::start_with(kind, &tls).await;
        let secure = || NatsBus::new(format!("tls://localhost:{}", server.port())).unwrap();
        // The first two say why as each of them sees it.
        refused(secure(), "TLS failed: the certificate of the server is not accepted", "node").await;
        let foreign = files.put("other.pem", &other.pem());
        refused(
            secure().tls_root_certificates(foreign),
            "TLS failed: the certificate of the server is not accepted",
            "node",
        )
        .await;
        refused(secure().tls_root_certificates(&root), "no connection", "node").await;
        refused(bus(&server), "the server wants TLS, which the URL does not ask for", "node").await;
        let missing = Path::new(&root).with_file_name("missing.pem");
        refused(secure().tls_root_certificates(&missing), "cannot read", "node").await;
        refused(secure().tls_root_certificates(&key), "there is no certificate in", "node").await;
        let node =
            Node::connected(secure().tls_root_certificates(&root).client_certificate(&chain, &key)).await;
        let subject = Subject::new("a");
        node.subscribe(&subject).await;
        node.port.publish(&subject, vec![3; 300_000].into()).unwrap();
        assert_eq!(node.message().await, vec![3; 300_000]);
        // Certificates are reason enough for TLS.
        let plain = NatsBus::new(format!("nats://localhost:{}", server.port())).unwrap();
        Node::connected(plain.tls_root_certificates(&root).client_certificate(&chain, &key))
            .await
            .barrier()
            .await;
    }
    let plain = BusServer::start(BusServerKind::Nats29).await;
    let wants = NatsBus::new(format!("tls://localhost:{}", plain.port())).unwrap();
    refused(wants.tls_root_certificates(&root), "TLS failed", "node").await;
}

#[tokio::test]
async fn what_the_user_may_not_do_is_said_as_the_reason() {
    let users = r#"authorization { users: [ { user: u, password: secret,
        permissions: { publish: ">", subscribe: "own.>" } } ] }"#;
    for kind in BusServerKind::NATS {
        let (server, _file) = configured(kind, users).await;
        let node = Node::connected(bus(&server).user_and_password("u", "secret")).await;
        node.barrier().await;
        node.port.subscribe(&Subject::new("secrets.of-others"));
        assert_eq!(&*node.down().await, "the server does not allow us to subscribe to secrets.of-others");
        node.port.unsubscribe(&Subject::new("secrets.of-others"));
        node.up().await;
    }
}

#[tokio::test]
async fn of_several_servers_one_that_is_there_is_enough() {
    let (mut one, mut two) =
        (BusServer::start(BusServerKind::Nats29).await, BusServer::start(BusServerKind::Nats215).await);
    let both = NatsBus::new(format!("{},{}", one.url(), two.url())).unwrap();
    let node = Node::connected(both).await;
    for _ in 0..2 {
        let (there, other) = match one.connections().await {
            1 => (&mut one, &mut two),
            _ => (&mut two, &mut one),
        };
        assert_eq!([there.connections().await, other.connections().await], [1, 0]);
        there.kill().await;
        let killed = std::time::Instant::now();
        node.down().await;
        node.up().await;
        assert!(killed.elapsed() < Duration::from_secs(1), "it took {:?}", killed.elapsed());
        node.barrier().await;
        there.restart().await;
    }
}
