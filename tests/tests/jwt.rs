//! JSON Web Tokens against a whole server: every bad one is refused, and the keys come from where they are published.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{net::SocketAddr, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::Utc;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};
use websockets_simple_server::{Jwks, JwtAlgorithm, JwtKey, JwtUsers, ServerParams, WebsocketServerAuth};
use websockets_simple_tests::{issuer::Issuer, opened, raw::RawPeer, started, within};

/// A key pair of an issuer.
struct Signer(KeyPair);

impl Signer {
    fn new() -> Self {
        Self(KeyPair::generate().unwrap())
    }

    fn encoding(&self) -> EncodingKey {
        EncodingKey::from_ec_pem(self.0.serialize_pem().as_bytes()).unwrap()
    }

    fn public_pem(&self) -> String {
        self.0.public_key_pem()
    }

    fn token(&self, kid: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &self.encoding()).unwrap()
    }

    /// As it is published.
    fn jwk(&self, kid: &str) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.encoding(), Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(kid.to_owned());
        serde_json::to_value(jwk).unwrap()
    }
}

fn set(keys: &[Value]) -> Vec<u8> {
    serde_json::to_vec(&json!({ "keys": keys })).unwrap()
}

fn claims() -> Value {
    let now = Utc::now().timestamp();
    json!({"sub": "ronald", "iss": "https://login.example", "aud": "chat", "exp": now + 3600, "nbf": now - 10})
}

fn with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[claim] = value;
    claims
}

async fn serve(users: JwtUsers<String>) -> (WebsocketServerAuth<String>, SocketAddr) {
    let users = users.issuer("https://login.example").audience("chat");
    let server = WebsocketServerAuth::<String>::new(ServerParams::local(), users);
    let addr = started(&server).await;
    (server, addr)
}

/// The status that a handshake with this token gets.
async fn status(addr: SocketAddr, token: &str) -> String {
    let mut peer = RawPeer::connect(addr).await;
    let head = peer.request("/", &format!("Authorization: Bearer {token}\r\n")).await;
    head.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn unsigned(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

#[tokio::test]
async fn every_bad_token_is_refused_with_401_and_the_good_one_is_not() {
    let (signer, stranger) = (Signer::new(), Signer::new());
    let key = JwtKey::from_pem(JwtAlgorithm::ES256, signer.public_pem().as_bytes()).unwrap().id("k1");
    let (server, addr) = serve(JwtUsers::new([key])).await;
    let mut events = server.events();
    let now = Utc::now().timestamp();
    let good = signer.token(Some("k1"), &claims());
    assert_eq!(status(addr, &good).await, "101");
    assert_eq!(opened(&mut events).await.user_id(), "ronald");

    // What is public about the key, taken for a secret that both know.
    let confused = |secret: &[u8]| {
        let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS256) };
        encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap()
    };
    let [head, body, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("{good}") };
    let mut forged = claims();
    forged["sub"] = json!("admin");
    let forged = BASE64_URL_SAFE_NO_PAD.encode(forged.to_string());
    for (what, token) in [
        ("HS256 with the PEM of the public key", confused(signer.public_pem().as_bytes())),
        ("HS256 with the bytes of the public key", confused(signer.0.der_bytes())),
        ("alg none", unsigned(&json!({"alg": "none"}), &claims(), "")),
        ("alg none with a signature", unsigned(&json!({"alg": "none"}), &claims(), signature)),
        ("alg None", unsigned(&json!({"alg": "None", "typ": "JWT"}), &claims(), "")),
        ("an algorithm that nobody knows", unsigned(&json!({"alg": "XS1"}), &claims(), signature)),
        ("no algorithm", unsigned(&json!({"typ": "JWT"}), &claims(), signature)),
        ("another algorithm of the same kind", unsigned(&json!({"alg": "ES384"}), &claims(), signature)),
        ("a key of somebody else", stranger.token(Some("k1"), &claims())),
        ("a key that is not known", signer.token(Some("k2"), &claims())),
        ("claims that were changed", format!("{head}.{forged}.{signature}")),
        ("a signature that was cut", format!("{head}.{body}.{}", &signature[..20])),
        ("no signature", format!("{head}.{body}.")),
        ("two parts", format!("{head}.{body}")),
        ("four parts", format!("{good}.{signature}")),
        ("expired", signer.token(Some("k1"), &with("exp", json!(now - 3600)))),
        ("without expiry", signer.token(Some("k1"), &with("exp", Value::Null))),
        ("not yet valid", signer.token(Some("k1"), &with("nbf", json!(now + 3600)))),
        ("another audience", signer.token(Some("k1"), &with("aud", json!("mail")))),
        ("without audience", signer.token(Some("k1"), &with("aud", Value::Null))),
        ("another issuer", signer.token(Some("k1"), &with("iss", json!("https://evil.example")))),
        ("without user", signer.token(Some("k1"), &with("sub", Value::Null))),
        ("a user of another kind", signer.token(Some("k1"), &with("sub", json!({"name": "ronald"})))),
        ("no base64", "a.b!.c".to_owned()),
        ("dots", "..".to_owned()),
        ("no token at all", "guest".to_owned()),
        ("a huge one", format!("{head}.{}.{signature}", "A".repeat(9000))),
        ("deep JSON", unsigned(&json!({"alg": "ES256", "x": nested(100)}), &claims(), signature)),
    ] {
        assert_eq!(status(addr, &token).await, "401", "{what}");
    }
    assert_eq!(status(addr, &good).await, "101", "and nothing broke");
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

#[tokio::test]
async fn keys_are_fetched_once_for_many_and_not_at_all_for_what_is_no_token() {
    let signer = Signer::new();
    let issuer = Issuer::start(set(&[signer.jwk("k1")])).await;
    let (_server, addr) = serve(JwtUsers::with_jwks(Jwks::danger_without_tls(issuer.url()).unwrap())).await;
    assert_eq!(status(addr, "guest").await, "401");
    assert_eq!(issuer.asked(), 0);
    let held = issuer.hold().await;
    let token = signer.token(Some("k1"), &claims());
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let token = token.clone();
        asking.spawn(async move { status(addr, &token).await });
    }
    while issuer.asked() == 0 {
        tokio::task::yield_now().await;
    }
    drop(held);
    assert_eq!(asking.join_all().await, vec!["101"; 20]);
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn an_unknown_key_has_the_keys_fetched_again_but_not_for_everybody_who_invents_one() {
    let (first, second) = (Signer::new(), Signer::new());
    let issuer = Issuer::start(set(&[first.jwk("k1")])).await;
    let (_server, addr) = serve(JwtUsers::with_jwks(Jwks::danger_without_tls(issuer.url()).unwrap())).await;
    assert_eq!(status(addr, &first.token(Some("k1"), &claims())).await, "101");
    issuer.answer(200, set(&[first.jwk("k1"), second.jwk("k2")]));
    // Fetched a moment ago: neither the new key nor invented ones have it done again.
    for kid in ["k2", "invented", "another"] {
        assert_eq!(status(addr, &second.token(Some(kid), &claims())).await, "401", "{kid}");
    }
    assert_eq!(issuer.asked(), 1);
    assert_eq!(status(addr, &first.token(Some("k1"), &claims())).await, "101");
    later(31).await;
    assert_eq!(status(addr, &second.token(Some("k2"), &claims())).await, "101");
    assert_eq!(status(addr, &second.token(Some("invented"), &claims())).await, "401");
    assert_eq!(issuer.asked(), 2);
}

/// Lets time pass for those who look at the clock, while nothing is on its way.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn old_keys_stay_in_use_while_new_ones_are_fetched_and_when_there_are_none() {
    let (first, second) = (Signer::new(), Signer::new());
    let issuer = Issuer::start(set(&[first.jwk("k1")])).await;
    let (_server, addr) = serve(JwtUsers::with_jwks(Jwks::danger_without_tls(issuer.url()).unwrap())).await;
    let token = first.token(Some("k1"), &claims());
    assert_eq!(status(addr, &token).await, "101");
    later(601).await;
    issuer.answer(500, "");
    let held = issuer.hold().await;
    assert_eq!(status(addr, &token).await, "101", "while they are fetched");
    while issuer.asked() < 2 {
        tokio::task::yield_now().await;
    }
    drop(held);
    assert_eq!(status(addr, &token).await, "101", "although they could not be");
    later(31).await;
    issuer.answer(200, set(&[second.jwk("k2")]));
    assert_eq!(status(addr, &token).await, "101", "the last time");
    within(async {
        while status(addr, &second.token(Some("k2"), &claims())).await != "101" {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(status(addr, &token).await, "401", "the key was withdrawn");
}

#[tokio::test]
async fn an_issuer_that_gives_no_keys_is_503_and_never_an_open_door() {
    let signer = Signer::new();
    let token = signer.token(Some("k1"), &claims());
    for (code, body) in [
        (500, Vec::new()),
        (404, set(&[signer.jwk("k1")])),
        (302, set(&[signer.jwk("k1")])),
        (200, b"no JSON".to_vec()),
        (200, b"{\"keys\":7}".to_vec()),
        (200, [set(&[signer.jwk("k1")]), vec![b' '; 300_000]].concat()),
    ] {
        let issuer = Issuer::start("").await;
        issuer.answer(code, body);
        let (_server, addr) =
            serve(JwtUsers::with_jwks(Jwks::danger_without_tls(issuer.url()).unwrap())).await;
        assert_eq!(status(addr, &token).await, "503", "{code}");
    }
    let nobody = Jwks::danger_without_tls("http://127.0.0.1:1/keys").unwrap();
    let (_server, addr) = serve(JwtUsers::with_jwks(nobody)).await;
    assert_eq!(status(addr, &token).await, "503");
}
