use std::net::SocketAddr;

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::*;
use crate::RequestHead;

const SECRET: &[u8] = b"a secret of at least 32 random bytes";

fn signed(claims: &Value) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

fn in_an_hour() -> i64 {
    Utc::now().timestamp() + 3600
}

fn users<T: UserId + DeserializeOwned>() -> JwtUsers<T> {
    JwtUsers::new([JwtKey::from_secret(JwtAlgorithm::HS256, SECRET).unwrap()])
}

async fn ask<T: UserId + DeserializeOwned>(users: &JwtUsers<T>, token: &str) -> Option<Authenticated<T>> {
    let head = RequestHead::new("/", "", &http::HeaderMap::new());
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    let request = HandshakeRequest::new(&head, addr, addr);
    users.authenticate(&Credentials::of_token(token), &request).await.unwrap()
}

#[tokio::test]
async fn what_the_token_says_is_what_is_known_of_the_user() {
    let exp = in_an_hour();
    let token = signed(&json!({"sub": "ronald", "exp": exp, "jti": "t-1", "scope": "read say"}));
    let user = ask(&users::<String>(), &token).await.unwrap();
    assert_eq!((user.id().as_str(), user.credential_id()), ("ronald", Some("t-1")));
    assert_eq!(user.expiry().unwrap().timestamp(), exp);
    assert!(user.has_scope("read") && user.has_scope("say") && !user.has_scope("ban"));
    let token = signed(&json!({"sub": "ronald", "exp": 9_000_000_000_000_i64, "scp": ["read"]}));
    let user = ask(&users::<String>(), &token).await.unwrap();
    assert!(user.has_scope("read") && user.expiry() == Some(DateTime::<Utc>::MAX_UTC));
}

#[tokio::test]
async fn the_user_is_the_claim_that_was_chosen_of_the_type_that_was_chosen() {
    let token = |uid: Value| signed(&json!({"sub": "x", "uid": uid, "exp": in_an_hour()}));
    let users = users::<i64>().user_claim("uid");
    assert_eq!(*ask(&users, &token(json!(42))).await.unwrap().id(), 42);
    assert_eq!(*ask(&users, &token(json!("42"))).await.unwrap().id(), 42);
    for wrong in [json!("forty-two"), json!(4.2), json!(null), json!([42]), json!("")] {
        assert!(ask(&users, &token(wrong.clone())).await.is_none(), "{wrong}");
    }
    let without = signed(&json!({"sub": "x", "exp": in_an_hour()}));
    assert!(ask(&users, &without).await.is_none());
}

#[tokio::test]
async fn issuer_audience_and_times_have_to_be_right() {
    let users = users::<String>().issuer("us").audience("chat").leeway(Duration::ZERO);
    let now = Utc::now().timestamp();
    let good =
        json!({"sub": "ronald", "iss": "us", "aud": ["other", "chat"], "exp": now + 60, "nbf": now - 1});
    assert!(ask(&users, &signed(&good)).await.is_some());
    for (claim, wrong) in [
        ("iss", json!("them")),
        ("iss", json!(null)),
        ("aud", json!("other")),
        ("aud", json!(null)),
        ("exp", json!(now - 1)),
        ("exp", json!(null)),
        ("exp", json!("soon")),
        ("nbf", json!(now + 60)),
    ] {
        let mut bad = good.clone();
        bad[claim] = wrong.clone();
        assert!(ask(&users, &signed(&bad)).await.is_none(), "{claim}: {wrong}");
        if wrong.is_null() {
            bad.as_object_mut().unwrap().remove(claim);
            assert!(ask(&users, &signed(&bad)).await.is_none(), "without {claim}");
        }
    }
    let for_somebody = signed(&json!({"sub": "ronald", "aud": "somebody", "exp": now + 60}));
    assert!(ask(&self::users::<String>(), &for_somebody).await.is_none(), "not meant for us");
}

#[test]
fn a_key_is_of_the_kind_of_its_algorithm_and_no_secret_can_be_guessed() {
    use JwtAlgorithm::{ES256, EdDSA, HS256, RS256};
    assert_eq!(JwtKey::from_secret(HS256, b"short").unwrap_err(), JwtKeyError::Short);
    assert_eq!(JwtKey::from_secret(RS256, SECRET).unwrap_err(), JwtKeyError::Algorithm);
    assert_eq!(JwtKey::from_pem(HS256, SECRET).unwrap_err(), JwtKeyError::Algorithm);
    let pem = rcgen::KeyPair::generate().unwrap().public_key_pem();
    assert!(JwtKey::from_pem(ES256, pem.as_bytes()).is_ok());
    for other in [RS256, EdDSA] {
        assert_eq!(JwtKey::from_pem(other, pem.as_bytes()).unwrap_err(), JwtKeyError::Malformed, "{other:?}");
    }
    let key = JwtKey::from_secret(HS256, SECRET).unwrap().id("k1");
    assert_eq!(format!("{key:?}"), "JwtKey { id: Some(\"k1\"), algorithm: HS256, .. }");
}

#[tokio::test]
async fn a_token_is_held_against_the_key_that_it_names() {
    let key = |id: &str, secret: &[u8]| JwtKey::from_secret(JwtAlgorithm::HS256, secret).unwrap().id(id);
    let other = b"another secret of at least 32 bytes";
    let users = JwtUsers::<String>::new([key("a", other), key("b", SECRET)]);
    let token = |kid: Option<&str>| {
        let header = Header { kid: kid.map(str::to_owned), ..Header::default() };
        let claims = json!({"sub": "ronald", "exp": in_an_hour()});
        encode(&header, &claims, &EncodingKey::from_secret(SECRET)).unwrap()
    };
    assert!(ask(&users, &token(Some("b"))).await.is_some());
    assert!(ask(&users, &token(None)).await.is_some(), "any key may be meant");
    assert!(ask(&users, &token(Some("a"))).await.is_none());
    assert!(ask(&users, &token(Some("c"))).await.is_none());
}
