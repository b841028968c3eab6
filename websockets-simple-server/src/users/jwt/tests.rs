use chrono::TimeDelta;
use jsonwebtoken::{Algorithm, EncodingKey};
use proptest::prelude::*;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519,
    PKCS_RSA_SHA256, PKCS_RSA_SHA384, PublicKeyData,
};
use serde_json::{Value, json};

use super::*;

const SECRET: [u8; 64] = [7; 64];

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap()
}

/// The claims of a valid token; it expires at `at(100)`.
fn good() -> Value {
    json!({"iss": "issuer", "aud": "chat", "sub": "7", "exp": 1_000_100})
}

fn changed(change: &Value) -> Claims {
    let mut claims = good().as_object().unwrap().clone();
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.remove(name)),
            value => drop(claims.insert(name.clone(), value.clone())),
        }
    }
    claims
}

fn users() -> JwtUsers<i64> {
    JwtUsers::new("issuer", "chat")
}

fn encoded(part: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(part)
}

/// A token whose parts may be anything.
fn token(header: &str, payload: &str, key: &EncodingKey, algorithm: Algorithm) -> Token {
    let message = format!("{}.{}", encoded(header), encoded(payload));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    Token::new(format!("{message}.{signature}"))
}

fn verified(users: &JwtUsers<i64>, token: &Token) -> Result<Claims, Flaw> {
    let signed = Signed::parse(token)?;
    if signed.is_by_one_of(&users.keys) { signed.claims() } else { Err(Flaw::Signature) }
}

/// One key for each algorithm, with the key that signs for it.
fn keys() -> Vec<(&'static str, Algorithm, EncodingKey, JwtKey)> {
    let pair = |algorithm| KeyPair::generate_for(algorithm).unwrap();
    let (rsa, p256, p384, ed) = (
        pair(&PKCS_RSA_SHA256),
        pair(&PKCS_ECDSA_P256_SHA256),
        pair(&PKCS_ECDSA_P384_SHA384),
        pair(&PKCS_ED25519),
    );
    let of_rsa = || EncodingKey::from_rsa_pem(rsa.serialize_pem().as_bytes()).unwrap();
    let of_secret = || EncodingKey::from_secret(&SECRET);
    let of_ec = |pair: &KeyPair| EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
    let rsa_for = |one| JwtKey::rsa_pem(rsa.public_key_pem()).unwrap().algorithms([one]).unwrap();
    let secret_for = |one| JwtKey::hmac(SECRET).unwrap().algorithms([one]).unwrap();
    vec![
        ("HS256", Algorithm::HS256, of_secret(), JwtKey::hmac(SECRET).unwrap()),
        ("HS384", Algorithm::HS384, of_secret(), secret_for(JwtAlgorithm::Hs384)),
        ("HS512", Algorithm::HS512, of_secret(), secret_for(JwtAlgorithm::Hs512)),
        ("RS256", Algorithm::RS256, of_rsa(), JwtKey::rsa_pem(rsa.public_key_pem()).unwrap()),
        ("RS384", Algorithm::RS384, of_rsa(), rsa_for(JwtAlgorithm::Rs384)),
        ("RS512", Algorithm::RS512, of_rsa(), rsa_for(JwtAlgorithm::Rs512)),
        ("PS256", Algorithm::PS256, of_rsa(), rsa_for(JwtAlgorithm::Ps256)),
        ("PS384", Algorithm::PS384, of_rsa(), rsa_for(JwtAlgorithm::Ps384)),
        ("PS512", Algorithm::PS512, of_rsa(), rsa_for(JwtAlgorithm::Ps512)),
        ("ES256", Algorithm::ES256, of_ec(&p256), JwtKey::ec_pem(p256.public_key_pem()).unwrap()),
        ("ES384", Algorithm::ES384, of_ec(&p384), JwtKey::ec_pem(p384.public_key_pem()).unwrap()),
        (
            "EdDSA",
            Algorithm::EdDSA,
            EncodingKey::from_ed_pem(ed.serialize_pem().as_bytes()).unwrap(),
            JwtKey::ed25519_pem(ed.public_key_pem()).unwrap(),
        ),
    ]
}

#[test]
fn a_key_verifies_what_was_signed_with_it_by_its_algorithm_and_nothing_else() {
    let keys = keys();
    for (name, algorithm, signer, _) in &keys {
        let token = token(&json!({ "alg": name }).to_string(), &good().to_string(), signer, *algorithm);
        for (other, _, _, key) in &keys {
            let verified = verified(&users().key(key.clone()), &token);
            if name == other {
                assert_eq!(verified.map(Value::from), Ok(good()), "{name}");
            } else {
                assert_eq!(verified, Err(Flaw::Signature), "{name} with a key for {other}");
            }
        }
        let all = keys.iter().fold(users(), |users, (.., key)| users.key(key.clone()));
        assert!(verified(&all, &token).is_ok(), "{name} with all keys");
    }
}

#[test]
fn the_public_key_is_no_secret() {
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let users = users().key(JwtKey::rsa_pem(rsa.public_key_pem()).unwrap());
    for secret in [rsa.public_key_pem().into_bytes(), rsa.subject_public_key_info()] {
        let secret = EncodingKey::from_secret(&secret);
        for algorithm in ["HS256", "RS256"] {
            let header = json!({ "alg": algorithm }).to_string();
            let token = token(&header, &good().to_string(), &secret, Algorithm::HS256);
            assert_eq!(verified(&users, &token), Err(Flaw::Signature), "{algorithm}");
        }
    }
}

#[test]
fn a_token_that_names_a_key_is_verified_with_no_other() {
    let key = || JwtKey::hmac(SECRET).unwrap();
    let signer = EncodingKey::from_secret(&SECRET);
    let token = |header| token(header, &good().to_string(), &signer, Algorithm::HS256);
    let (unnamed, named) = (token(r#"{"alg":"HS256"}"#), token(r#"{"alg":"HS256","kid":"new"}"#));
    assert!(verified(&users().key(key().id("old")), &unnamed).is_ok());
    assert!(verified(&users().key(key()), &named).is_ok());
    assert!(verified(&users().key(key().id("new")), &named).is_ok());
    assert_eq!(verified(&users().key(key().id("old")), &named), Err(Flaw::Signature));
}

#[test]
fn what_is_no_proper_token_is_nobodys() {
    let users = users().key(JwtKey::hmac(SECRET).unwrap());
    let signer = EncodingKey::from_secret(&SECRET);
    let signed = |header: &str, payload: &str| token(header, payload, &signer, Algorithm::HS256);
    let good = good().to_string();
    let unsigned = |header: &str| Token::new(format!("{}.{}.", encoded(header), encoded(&good)));
    let long = json!({"iss": "issuer", "x": "x".repeat(LONGEST_TOKEN)}).to_string();
    for (token, flaw) in [
        (unsigned(r#"{"alg":"none"}"#), Flaw::Malformed),
        (unsigned(r#"{"alg":"None"}"#), Flaw::Malformed),
        (unsigned(r#"{"alg":"HS256"}"#), Flaw::Signature),
        (signed(r#"{"alg":"none"}"#, &good), Flaw::Malformed),
        (signed(r#"{"alg":"ES512"}"#, &good), Flaw::Malformed),
        (signed(r#"{"alg":["HS256"]}"#, &good), Flaw::Malformed),
        (signed(r#"{"alg":"none","alg":"HS256"}"#, &good), Flaw::Malformed),
        (signed("{}", &good), Flaw::Malformed),
        (signed("", &good), Flaw::Malformed),
        (signed(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, &good), Flaw::Critical),
        (signed(r#"{"alg":"HS256"}"#, "[]"), Flaw::Malformed),
        (signed(r#"{"alg":"HS256"}"#, "{"), Flaw::Malformed),
        (signed(r#"{"alg":"HS256"}"#, &"[".repeat(4000)), Flaw::Malformed),
        (signed(r#"{"alg":"HS256"}"#, &long), Flaw::TooLong),
        (Token::new(""), Flaw::Malformed),
        (Token::new(".."), Flaw::Malformed),
        (Token::new("."), Flaw::Malformed),
        (Token::new("opaque"), Flaw::Malformed),
        (Token::new("a.b.c.d"), Flaw::Malformed),
        (Token::new(format!("{}=", signed(r#"{"alg":"HS256"}"#, &good).expose())), Flaw::Malformed),
        (Token::new(format!(".{}", signed(r#"{"alg":"HS256"}"#, &good).expose())), Flaw::Malformed),
        (Token::new(".".repeat(LONGEST_TOKEN)), Flaw::Malformed),
        (Token::new("x".repeat(LONGEST_TOKEN + 1)), Flaw::TooLong),
    ] {
        assert_eq!(verified(&users, &token), Err(flaw), "{}", token.expose());
    }
}

#[test]
fn every_letter_of_a_token_counts() {
    let users = users().key(JwtKey::hmac(SECRET).unwrap());
    let good = token(
        r#"{"alg":"HS256"}"#,
        &good().to_string(),
        &EncodingKey::from_secret(&SECRET),
        Algorithm::HS256,
    );
    let good = good.expose();
    assert!(verified(&users, &Token::from(good)).is_ok());
    for (place, letter) in good.char_indices() {
        for other in ["A", "z", "_", ".", "é", ""].into_iter().filter(|other| *other != letter.to_string()) {
            let (before, after) = (&good[..place], &good[place + 1..]);
            let token = Token::new(format!("{before}{other}{after}"));
            assert!(verified(&users, &token).is_err(), "{other:?} at {place}");
        }
    }
}

proptest! {
    #[test]
    fn no_text_panics_or_is_a_users(text in r"\PC{0,40}|([A-Za-z0-9_-]{0,40}\.){2}[A-Za-z0-9_-]{0,40}") {
        let users = users().key(JwtKey::hmac(SECRET).unwrap());
        prop_assert!(verified(&users, &Token::new(text)).is_err());
    }

    #[test]
    fn no_header_or_payload_panics(header in r#"\{"alg":"HS256",\PC{0,40}\}|\PC{0,40}"#, payload in r"\PC{0,40}") {
        let users = users().key(JwtKey::hmac(SECRET).unwrap());
        let signer = EncodingKey::from_secret(&SECRET);
        if let Ok(claims) = verified(&users, &token(&header, &payload, &signer, Algorithm::HS256)) {
            prop_assert!(users.judge(&claims, at(0)).is_err());
        }
    }
}

#[test]
fn claims_have_to_be_right() {
    for (change, flaw) in [
        (json!({"iss": null}), Flaw::Issuer),
        (json!({"iss": "issuer "}), Flaw::Issuer),
        (json!({"iss": ["issuer"]}), Flaw::Issuer),
        (json!({"aud": null}), Flaw::Audience),
        (json!({"aud": "Chat"}), Flaw::Audience),
        (json!({"aud": []}), Flaw::Audience),
        (json!({"aud": ["mail", ["chat"]]}), Flaw::Audience),
        (json!({"aud": {"chat": true}}), Flaw::Audience),
        (json!({"exp": null}), Flaw::NoExpiry),
        (json!({"exp": "1000100"}), Flaw::NoExpiry),
        (json!({"exp": u64::MAX}), Flaw::NoExpiry),
        (json!({"exp": 1e300}), Flaw::NoExpiry),
        (json!({"exp": 0}), Flaw::Expired),
        (json!({"exp": -1}), Flaw::Expired),
        (json!({"nbf": 1_000_090}), Flaw::NotYet),
        (json!({"nbf": "0"}), Flaw::NotYet),
        (json!({"sub": null}), Flaw::NoUser),
        (json!({"sub": "ronald"}), Flaw::NoUser),
        (json!({"sub": [7]}), Flaw::NoUser),
    ] {
        let judged = users().judge(&changed(&change), at(0));
        assert_eq!(judged.unwrap_err(), flaw, "{change}");
    }
    for change in [json!({}), json!({"aud": ["mail", "chat"]}), json!({"sub": 7}), json!({"nbf": 0})] {
        assert_eq!(*users().judge(&changed(&change), at(0)).unwrap().id(), 7, "{change}");
    }
    let claims = changed(&json!({"aud": "mail"}));
    assert_eq!(*users().audience("mail").judge(&claims, at(0)).unwrap().id(), 7);
}

#[test]
fn clocks_may_differ_by_the_leeway_and_no_more() {
    let claims = changed(&json!({"nbf": 1_000_000}));
    let judged = |leeway: u64, now| {
        users().leeway(Duration::from_secs(leeway)).judge(&claims, now).map(|user| user.expiry())
    };
    for (leeway, begins, ends) in [(60, -60, 160), (0, 0, 100)] {
        assert_eq!(judged(leeway, at(begins)), Ok(Some(at(ends))), "the expiry has the leeway in it");
        assert_eq!(judged(leeway, at(begins) - TimeDelta::nanoseconds(1)), Err(Flaw::NotYet));
        assert_eq!(judged(leeway, at(ends) - TimeDelta::nanoseconds(1)), Ok(Some(at(ends))));
        assert_eq!(judged(leeway, at(ends)), Err(Flaw::Expired));
    }
    assert_eq!(users().judge(&claims, at(-60)).unwrap().expiry(), Some(at(160)), "60 s by default");
    assert!(judged(u64::MAX, at(0)).is_ok());
}

#[test]
fn scopes_and_the_name_of_the_token_are_taken_over() {
    let claims = changed(&json!({"scope": "read write", "jti": "token-1"}));
    let user = users().judge(&claims, at(0)).unwrap();
    assert!(user.has_scope("read") && user.has_scope("write") && !user.has_scope("admin"));
    assert_eq!(user.credential_id(), Some("token-1"));
}

#[test]
fn the_user_may_be_in_another_claim_and_have_any_type() {
    let claims = changed(&json!({"name": "ronald", "uuid": "00000000-0000-0000-0000-000000000007"}));
    let named = JwtUsers::<String>::new("issuer", "chat").id_claim("name");
    assert_eq!(named.judge(&claims, at(0)).unwrap().id(), "ronald");
    let numbered = JwtUsers::<u8>::new("issuer", "chat");
    assert_eq!(*numbered.judge(&claims, at(0)).unwrap().id(), 7);
    let text = JwtUsers::<String>::new("issuer", "chat");
    assert_eq!(text.judge(&claims, at(0)).unwrap().id(), "7");
    assert_eq!(numbered.id_claim("name").judge(&claims, at(0)).unwrap_err(), Flaw::NoUser);
}

#[test]
fn only_public_keys_of_the_right_kind_and_size_are_taken() {
    let pair = |algorithm| KeyPair::generate_for(algorithm).unwrap();
    let (rsa, p256, p521, ed) = (
        pair(&PKCS_RSA_SHA384),
        pair(&PKCS_ECDSA_P256_SHA256),
        pair(&PKCS_ECDSA_P521_SHA512),
        pair(&PKCS_ED25519),
    );
    let certificate = rcgen::CertificateParams::new([]).unwrap().self_signed(&rsa).unwrap().pem();
    let pem = Some(JwtKeyError::Pem);
    for (key, of_rsa, of_ec, of_ed) in [
        (rsa.public_key_pem(), None, pem, pem),
        (p256.public_key_pem(), pem, None, pem),
        (ed.public_key_pem(), pem, pem, None),
        (p521.public_key_pem(), pem, pem, pem),
        (rsa.serialize_pem(), pem, pem, pem),
        (p256.serialize_pem(), pem, pem, pem),
        (ed.serialize_pem(), pem, pem, pem),
        (certificate, pem, pem, pem),
        (WEAK_RSA.to_owned(), pem, pem, pem),
        (String::new(), pem, pem, pem),
        ("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----".to_owned(), pem, pem, pem),
    ] {
        assert_eq!(JwtKey::rsa_pem(&key).err(), of_rsa, "{key}");
        assert_eq!(JwtKey::ec_pem(&key).err(), of_ec, "{key}");
        assert_eq!(JwtKey::ed25519_pem(&key).err(), of_ed, "{key}");
    }
}

/// A key of 1024 bits.
const WEAK_RSA: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCamUWGEMQ2FDN8qS6fqp01n6NN
mqt9oXz9HVjARXMlPHSgoP4+TqRFoshlKPu4pCNkiwc5J4YNeAZlRRiowBg2zQTr
BEwR2c66RN6F/48mTFsNs+gMrjN9X1SUFH/BiombpgFraF1qg96DmgWcGBZ6M69W
rmq8uKdUEKNoUnwIDwIDAQAB
-----END PUBLIC KEY-----
";

#[test]
fn secrets_are_as_long_as_their_hash() {
    let short = |needed| Some(JwtKeyError::ShortSecret { needed });
    assert_eq!(JwtKey::hmac([7; 31]).err(), short(32));
    let key = JwtKey::hmac([7; 47]).unwrap();
    assert_eq!(key.clone().algorithms([JwtAlgorithm::Hs256, JwtAlgorithm::Hs384]).err(), short(48));
    assert_eq!(key.clone().algorithms([JwtAlgorithm::Hs512]).err(), short(64));
    assert_eq!(key.clone().algorithms([JwtAlgorithm::Rs256]).err(), Some(JwtKeyError::Algorithm));
    assert_eq!(key.algorithms([]).err(), Some(JwtKeyError::Algorithm));
}

#[tokio::test]
async fn neither_secrets_nor_tokens_are_shown() {
    let users = users().key(JwtKey::hmac(b"correct horse battery staple 123").unwrap());
    let shown = format!("{users:?}");
    assert!(shown.contains("Hs256") && !shown.contains("horse") && !shown.contains("99, 111"), "{shown}");
    let shown = format!("{:?}", verified(&users, &Token::new("secret-7")).unwrap_err());
    assert!(!shown.contains("secret-7"), "{shown}");
}
