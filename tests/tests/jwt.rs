//! Users by JSON Web Tokens, against an issuer that publishes its keys.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use websockets_simple_server::{
    ConnectionEventKind, Disconnect, EndedBy, Event, Events, IssuerUrlError, Jwks, JwtKey, JwtUsers,
    ServerParams, User, WebsocketServer, WebsocketServerAuth,
};
use websockets_simple_tests::{
    authority::{Authority, secured},
    ended,
    issuer::{Answer, Issuer, SigningKey, base64url, message, now, published},
    next,
    raw::{RawPeer, status},
    started, within,
};

/// What a good token of user 7 claims.
fn claims() -> Value {
    json!({"iss": "https://issuer.example", "aud": "chat", "sub": "7", "exp": now() + 600})
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn users() -> JwtUsers<i64> {
    JwtUsers::new("https://issuer.example", "chat")
}

fn jwks(issuer: &Issuer) -> Jwks {
    Jwks::danger_without_tls(&issuer.url("/keys")).unwrap()
}

async fn server(users: JwtUsers<i64>) -> (WebsocketServerAuth<i64>, SocketAddr) {
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), users);
    let addr = started(&server).await;
    (server, addr)
}

/// The status that a token gets that fits no header.
async fn status_of_query(addr: SocketAddr, token: &str) -> u16 {
    let encoded = token.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let head = RawPeer::connect(addr).await.request(&format!("/?token={encoded}"), "").await;
    head.get(9..12).unwrap_or_else(|| panic!("no answer to {token:?}: {head}")).parse().unwrap()
}

#[tokio::test]
async fn a_good_token_opens_a_connection_of_its_user() {
    let key = SigningKey::ec("1");
    let issuer = Issuer::start(published(&[&key])).await;
    let (server, addr) = server(users().jwks(jwks(&issuer))).await;
    let mut events = server.events();
    let headers = format!("Authorization: Bearer {}\r\n", key.sign(&claims()));
    let _peer = RawPeer::open(addr, "/", &headers).await;
    let user = next(&mut events, |event| match &event {
        Event::Connection(inner) if matches!(inner.kind, ConnectionEventKind::Connected(_)) => {
            event.user_id().copied()
        }
        _ => None,
    });
    assert_eq!(user.await, 7);
    assert_eq!(issuer.asked()[0].line, "GET /keys");
}

#[tokio::test]
async fn bad_tokens_are_refused_with_401_whatever_is_bad_in_them() {
    let (rsa, ec, stranger) = (SigningKey::rsa("rsa"), SigningKey::ec("ec"), SigningKey::rsa("rsa"));
    let issuer = Issuer::start(published(&[&rsa, &ec])).await;
    let (_one, fetched) = server(users().jwks(jwks(&issuer))).await;
    let given = users()
        .key(JwtKey::rsa_pem(rsa.public_pem()).unwrap().id("rsa"))
        .key(JwtKey::ec_pem(ec.public_pem()).unwrap().id("ec"));
    let (_other, given) = server(given).await;

    let good = rsa.sign(&claims());
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let unsigned =
        |algorithm: &str| format!("{}.", message(&json!({"alg": algorithm, "kid": "rsa"}), &claims()));
    let text = |payload: &[u8]| format!("{header}.{}.{signature}", base64url(payload));
    let pem = rsa.public_pem();
    let modulus = rsa.jwk()["n"].as_str().unwrap().to_owned();
    let huge = rsa.sign(&with("padding", "x".repeat(8 * 1024)));
    assert!(huge.len() > 8 * 1024 && huge.len() < 16 * 1024, "no other limit is in its way");

    let table = [
        ("HS256 with the public key in PEM as the secret", rsa.confused(pem.as_bytes(), &claims())),
        (
            "HS256 with the public key without its last line feed",
            rsa.confused(pem.trim_end().as_bytes(), &claims()),
        ),
        ("HS256 with the modulus as the secret", rsa.confused(modulus.as_bytes(), &claims())),
        ("HS256 with an empty secret", rsa.confused(b"", &claims())),
        ("HS256 with the public EC key as the secret", ec.confused(ec.public_pem().as_bytes(), &claims())),
        ("alg none", unsigned("none")),
        ("alg NONE", unsigned("NONE")),
        ("alg RS256 without a signature", unsigned("RS256")),
        ("alg HS256 without a signature", unsigned("HS256")),
        ("alg none with a signature", rsa.sign_as(&json!({"alg": "none", "kid": "rsa"}), &claims())),
        ("alg ES256 on an RSA signature", rsa.sign_as(&json!({"alg": "ES256", "kid": "rsa"}), &claims())),
        ("alg PS256 on an RS256 signature", rsa.sign_as(&json!({"alg": "PS256", "kid": "rsa"}), &claims())),
        ("an unknown alg", rsa.sign_as(&json!({"alg": "RS1", "kid": "rsa"}), &claims())),
        ("no alg", rsa.sign_as(&json!({"kid": "rsa"}), &claims())),
        (
            "a critical extension",
            rsa.sign_as(&json!({"alg": "RS256", "kid": "rsa", "crit": ["exp"]}), &claims()),
        ),
        ("a key in its header", stranger.sign_as(&json!({"alg": "RS256", "jwk": stranger.jwk()}), &claims())),
        ("expired", rsa.sign(&with("exp", now() - 61))),
        ("expired in 1970", rsa.sign(&with("exp", 0))),
        ("not yet valid", rsa.sign(&with("nbf", now() + 120))),
        ("nbf is a text", rsa.sign(&with("nbf", "soon"))),
        ("another audience", rsa.sign(&with("aud", "mail"))),
        ("other audiences", rsa.sign(&with("aud", json!(["mail", "chat2"])))),
        ("no audience", rsa.sign(&without("aud"))),
        ("another issuer", rsa.sign(&with("iss", "https://issuer.example/"))),
        ("no issuer", rsa.sign(&without("iss"))),
        ("no exp", rsa.sign(&without("exp"))),
        ("exp is a text", rsa.sign(&with("exp", (now() + 600).to_string()))),
        ("exp beyond all calendars", rsa.sign(&with("exp", u64::MAX))),
        ("no user", rsa.sign(&without("sub"))),
        ("a user of another type", rsa.sign(&with("sub", "ronald"))),
        ("a user that is an object", rsa.sign(&with("sub", json!({"id": 7})))),
        ("the kid of another key", rsa.sign_as(&json!({"alg": "RS256", "kid": "ec"}), &claims())),
        ("an unknown kid", rsa.sign_as(&json!({"alg": "RS256", "kid": "nobody's"}), &claims())),
        ("a kid that is a number", rsa.sign_as(&json!({"alg": "RS256", "kid": 7}), &claims())),
        ("signed by a stranger", stranger.sign(&claims())),
        ("huge", huge),
        ("claims exchanged", text(claims().to_string().replace('7', "8").as_bytes())),
        ("claims that are no JSON", text(b"{")),
        ("claims that are no UTF-8", text(b"\xff\xfe")),
        ("claims that are a list", rsa.sign(&json!([1]))),
        ("no signature", format!("{header}.{payload}")),
        ("an empty signature", format!("{header}.{payload}.")),
        ("half a signature", format!("{header}.{payload}.{}", &signature[..100])),
        ("a padded signature", format!("{good}==")),
        ("an empty header", format!(".{payload}.{signature}")),
        ("an empty payload", format!("{header}..{signature}")),
        ("five parts", format!("{good}.{payload}.{signature}")),
        ("dots", "..".to_owned()),
        ("many dots", ".".repeat(8 * 1024)),
        ("a letter", "x".to_owned()),
        ("opaque", "dGhlIHNhbXBsZSBub25jZQ".to_owned()),
        ("a quoted token", format!("\"{good}\"")),
    ];
    for (addr, whence) in [(fetched, "fetched"), (given, "given")] {
        assert_eq!(status(addr, &good).await, 101, "{whence}");
        for (what, token) in &table {
            assert_eq!(status(addr, token).await, 401, "{what}, with keys that were {whence}");
        }
        for token in ["", "\0", "\u{feff}", " ", "é.é.é", "\r\n", &format!("{good}\n"), &format!("\0{good}")]
        {
            assert_eq!(status_of_query(addr, token).await, 401, "{token:?}, with keys that were {whence}");
        }
        assert_eq!(status(addr, &good).await, 101, "{whence}, and still there");
    }
    assert_eq!(issuer.requests(), 2, "for the first token, and for the unknown kid");
}

#[tokio::test]
async fn while_the_issuer_has_never_answered_clients_get_503_and_then_get_in() {
    let key = SigningKey::ec("1");
    let issuer = Issuer::start(Answer::Status(500)).await;
    let (_server, addr) = server(users().jwks(jwks(&issuer))).await;
    let token = key.sign(&claims());
    let head = RawPeer::connect(addr).await.request("/", &format!("Authorization: Bearer {token}\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("Retry-After"), "{head}");
    issuer.publishes(&[&key]);
    within(async { while status(addr, &token).await != 101 {} }).await;
}

#[tokio::test]
async fn answers_that_are_no_keys_are_a_503() {
    let key = SigningKey::ec("1");
    for answer in [
        Answer::Body(String::new()),
        Answer::Body("<html>".to_owned()),
        Answer::Body(r#"{"keys":[]}"#.to_owned()),
        Answer::Body(r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#.to_owned()),
        Answer::Endless,
        Answer::Hangup,
        Answer::Oversized,
        Answer::Redirect("/elsewhere"),
        Answer::Silence,
        Answer::Status(404),
        Answer::Status(204),
    ] {
        let issuer = Issuer::start(answer.clone()).await;
        // Long enough for the answers that are none at all to be read by then.
        let patience = if matches!(answer, Answer::Silence) { 100 } else { 4000 };
        let (_server, addr) =
            server(users().jwks(jwks(&issuer).timeout(Duration::from_millis(patience)))).await;
        assert_eq!(status(addr, &key.sign(&claims())).await, 503, "{answer:?}");
        assert_eq!(issuer.requests(), 1, "{answer:?}: no redirect is followed, nothing tried twice");
    }
}

#[tokio::test]
async fn an_issuer_that_is_not_there_is_a_503() {
    let issuer = Issuer::start(Answer::Silence).await;
    let keys = jwks(&issuer);
    drop(issuer);
    let (_server, addr) = server(users().jwks(keys)).await;
    assert_eq!(status(addr, &SigningKey::ec("1").sign(&claims())).await, 503);
}

#[tokio::test]
async fn an_issuer_whose_certificate_nobody_vouches_for_is_a_503() {
    let impostor = WebsocketServer::new(secured(Authority::new().server()));
    let url = format!("https://localhost:{}/keys", started(&impostor).await.port());
    let (server, addr) = server(users().jwks(Jwks::new(&url).unwrap())).await;
    let mut events = server.events();
    assert_eq!(status(addr, &SigningKey::ec("1").sign(&claims())).await, 503);
    let why = next(&mut events, |event| match event {
        Event::Error(event) => Some(chain(&event.error)),
        _ => None,
    });
    let why = why.await;
    assert!(why.contains("certificate"), "{why}");
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {}", chain(cause)))
}

async fn connecting(events: &mut Events<Event<User<i64>>>, clients: usize) {
    for _ in 0..clients {
        next(events, |event| match event {
            Event::Connection(event) => {
                matches!(event.kind, ConnectionEventKind::Connecting(_)).then_some(())
            }
            _ => None,
        })
        .await;
    }
}

#[tokio::test]
async fn twenty_handshakes_at_once_fetch_the_keys_once() {
    let key = SigningKey::ec("1");
    let issuer = Issuer::start(published(&[&key])).await;
    issuer.hold(true);
    let (server, addr) = server(users().jwks(jwks(&issuer))).await;
    let mut events = server.events();
    let token = Arc::new(key.sign(&claims()));
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let token = Arc::clone(&token);
        clients.spawn(async move { status(addr, &token).await });
    }
    connecting(&mut events, 20).await;
    issuer.hold(false);
    assert_eq!(within(clients.join_all()).await, [101; 20]);
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test]
async fn a_new_key_works_at_once_an_old_one_no_longer_and_unknown_ones_do_not_flood_the_issuer() {
    let (old, new, newer) = (SigningKey::ec("old"), SigningKey::rsa("new"), SigningKey::ec("newer"));
    let issuer = Issuer::start(published(&[&old])).await;
    let (_server, addr) = server(users().jwks(jwks(&issuer))).await;
    assert_eq!((status(addr, &old.sign(&claims())).await, issuer.requests()), (101, 1));
    issuer.publishes(&[&new]);
    assert_eq!((status(addr, &new.sign(&claims())).await, issuer.requests()), (101, 2));
    assert_eq!(status(addr, &old.sign(&claims())).await, 401, "the issuer has taken it back");
    issuer.publishes(&[&newer]);
    for _ in 0..20 {
        assert_eq!(status(addr, &newer.sign(&claims())).await, 401, "not within 30 s");
    }
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test]
async fn keys_that_were_fetched_stay_good_while_the_issuer_is_down() {
    let (known, unknown) = (SigningKey::ec("known"), SigningKey::ec("unknown"));
    let issuer = Issuer::start(published(&[&known])).await;
    let (_server, addr) = server(users().jwks(jwks(&issuer).refresh_after(Duration::ZERO))).await;
    assert_eq!(status(addr, &known.sign(&claims())).await, 101);
    issuer.answers(Answer::Status(500));
    assert_eq!(status(addr, &known.sign(&claims())).await, 101, "and is fetched anew behind it");
    within(async {
        while issuer.requests() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(status(addr, &known.sign(&claims())).await, 101);
    assert_eq!(status(addr, &unknown.sign(&claims())).await, 503, "nobody can tell");
}

#[tokio::test]
async fn a_connection_ends_when_its_token_expires() {
    let key = SigningKey::ec("1");
    let users = users().key(JwtKey::ec_pem(key.public_pem()).unwrap()).leeway(Duration::ZERO);
    let (server, addr) = server(users).await;
    let mut events = server.events();
    let token = key.sign(&with("exp", now() + 2));
    let mut peer = RawPeer::open(addr, "/", &format!("Authorization: Bearer {token}\r\n")).await;
    assert_eq!(peer.next().await.unwrap().close_code(), Some(4003));
    drop(peer);
    let Disconnect { by, .. } = ended(&mut events).await;
    assert_eq!(by, EndedBy::Expired);
}

#[test]
fn keys_are_not_fetched_without_tls_unless_told_so() {
    assert!(matches!(Jwks::new("http://127.0.0.1/keys"), Err(IssuerUrlError::NotHttps)));
    assert!(Jwks::new("https://127.0.0.1/keys").is_ok());
}
