//! Tokens that are made, read, and shown to servers.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use sha2::{Digest, Sha256};
use websockets_simple_server::{JwtAlgorithm, JwtKey, JwtUsers};

use super::{greeted, greeting_users, piped, url_of};

const SECRET: &str = "a secret of at least 32 bytes, for HS256";

#[tokio::test]
async fn a_new_token_is_random_and_its_hash_is_that_of_the_store() {
    let made = piped(&["token", "new"], &[]).await;
    let [token, hash] = &made.lines[..] else { panic!("{:?}", made.lines) };
    assert_eq!((made.code, token.len()), (Some(0), 43));
    let digits: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(*hash, format!("sha256 {digits}"));
    assert_ne!(piped(&["token", "new"], &[]).await.lines[0], *token);
}

/// Makes a token, and shows it to a server that knows the key.
async fn is_let_in_by(key: JwtKey, source: [&str; 2], more: &[&str]) {
    let args = ["token", "jwt", "--sub", "Ronald", "--iss", "ours", "--aud", "chat", "--exp", "5m"];
    let made = piped(&[&args[..], &source, more].concat(), &[]).await;
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, &made.lines[0]).unwrap();

    let server = greeting_users(JwtUsers::new("ours", "chat").key(key));
    let url = url_of(&server).await;
    greeted(&piped(&["connect", "--token-file", file.to_str().unwrap(), &url], &[]).await);
}

#[tokio::test]
async fn a_signed_token_lets_its_user_in() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let secret = file("secret", &format!("{SECRET}\n"));
    is_let_in_by(JwtKey::hmac(SECRET).unwrap(), ["--secret-file", &secret], &[]).await;

    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let key = JwtKey::ed25519_pem(ed25519.public_key_pem()).unwrap();
    is_let_in_by(key, ["--key-file", &file("ed", &ed25519.serialize_pem())], &[]).await;
    let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let key = JwtKey::ec_pem(p256.public_key_pem()).unwrap();
    is_let_in_by(key, ["--key-file", &file("p256", &p256.serialize_pem())], &[]).await;
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let key = JwtKey::ec_pem(p384.public_key_pem()).unwrap();
    let key = key.algorithms([JwtAlgorithm::Es384]).unwrap();
    is_let_in_by(key, ["--key-file", &file("p384", &p384.serialize_pem())], &["--alg", "ES384"]).await;
}

#[tokio::test]
async fn a_token_is_shown_unchecked_with_its_claims_and_its_end_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let args =
        ["token", "jwt", "--secret-file", secret.to_str().unwrap(), "--sub", "Ronald", "--kid", "2026"];
    let claims = ["--exp", "2d", "--claim", "admin=true", "--claim", "color=red"];
    let made = piped(&[&args[..], &claims].concat(), &[]).await;
    let shown = piped(&["token", "show"], &[&made.lines[0]]).await;
    assert_eq!(shown.code, Some(0));
    assert_eq!(shown.stderr, "ws: the signature is NOT checked; anybody can write such a token\n");
    // The order of members is up to the writer of the token.
    let lines: Vec<_> = shown.lines.iter().map(|line| line.trim_end_matches(',')).collect();
    for member in [
        r#""alg": "HS256""#,
        r#""kid": "2026""#,
        r#""admin": true"#,
        r#""color": "red""#,
        r#""sub": "Ronald""#,
    ] {
        assert!(lines.contains(&format!("  {member}").as_str()), "{member}: {lines:?}");
    }
    let last = shown.lines.last().unwrap();
    assert!(last.starts_with("expires 20") && last.ends_with(" UTC, in 1 day"), "{last}");

    let none = piped(&["token", "show"], &["no token"]).await;
    assert_eq!((none.code, none.lines), (Some(1), vec![]));
    assert_eq!(none.stderr, "ws: this is no JSON Web Token: it has not the three parts of a signed one\n");
}

#[tokio::test]
async fn a_token_that_no_server_would_take_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let short = folder.path().join("short");
    std::fs::write(&short, "short").unwrap();
    let short = short.to_str().unwrap();
    for (args, code, said) in [
        (&["--secret-file", short][..], 5, "ws: the secret is too short: 32 bytes are needed\n"),
        (&["--key-file", short], 5, "ws: the key file holds no PKCS #8 private key in PEM"),
        (&["--secret-file", short, "--alg", "ES256"], 2, "ws: a secret is for HS256, HS384 and HS512\n"),
        (&["--secret-file", short, "--claim", "sub=x"], 2, "ws: the claim sub is given twice\n"),
        (&["--secret-file", short, "--exp", "soon"], 2, "write a time such as 90s, 15m, 1h or 30d"),
        (&["--secret-file", "no/such"], 5, "ws: cannot read no/such: "),
        (&[], 2, "--secret-file <FILE>"),
    ] {
        let ended = piped(&[&["token", "jwt", "--sub", "Ronald"], args].concat(), &[]).await;
        assert_eq!((ended.code, ended.lines), (Some(code), vec![]), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(said), "{args:?}: {}", ended.stderr);
    }
}
