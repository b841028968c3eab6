use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;
use tokio::task::JoinSet;

use super::*;

/// A source with scripted answers, given in order after a delay.
#[derive(Default)]
struct Scripted {
    asked: AtomicUsize,
    answers: Mutex<VecDeque<Result<Vec<u8>, FetchError>>>,
    takes: Mutex<Duration>,
    was_dropped: AtomicBool,
}

impl Scripted {
    fn then(&self, answer: Result<Vec<u8>, FetchError>) {
        self.answers.lock().unwrap().push_back(answer);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Records when a read is dropped.
struct Waiting<'a>(&'a Scripted);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.was_dropped.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Source for Arc<Scripted> {
    async fn read(&self) -> Result<Vec<u8>, FetchError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(self);
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        self.answers.lock().unwrap().pop_front().expect("it is not asked more often")
    }

    fn host(&self) -> &str {
        "scripted"
    }
}

fn bytes(length: usize) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(vec![0x55; length])
}

fn ed25519(id: &str) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": bytes(32), "kid": id})
}

fn set(ids: &[&str]) -> Result<Vec<u8>, FetchError> {
    let keys = ids.iter().map(|id| ed25519(id)).collect::<Vec<_>>();
    Ok(json!({ "keys": keys }).to_string().into_bytes())
}

fn published() -> (Jwks, Arc<Scripted>) {
    let source = Arc::new(Scripted::default());
    (Jwks::of(Arc::clone(&source)), source)
}

/// Lets ready tasks run, without advancing the time.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Whether the set has a key with that id now, or why that is not known.
async fn has(jwks: &Jwks, id: &str) -> Result<bool, String> {
    let keys = jwks.keys(Some(id)).await.map_err(|error| error.to_string())?;
    Ok(keys.iter().any(|key| key.is_called(Some(id))))
}

fn down() -> Result<Vec<u8>, FetchError> {
    Err(FetchError::Status(500))
}

fn is_down<T>() -> Result<T, String> {
    Err("the response has the status 500".to_owned())
}

#[tokio::test(start_paused = true)]
async fn twenty_at_once_fetch_the_first_set_once() {
    let (jwks, source) = published();
    *source.takes.lock().unwrap() = secs(1);
    source.then(set(&["a"]));
    let jwks = Arc::new(jwks);
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let jwks = Arc::clone(&jwks);
        asking.spawn(async move { has(&jwks, "a").await });
    }
    assert!(asking.join_all().await.iter().all(|found| *found == Ok(true)));
    assert_eq!(source.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_first_set_nobody_can_tell_and_it_is_tried_again_after_a_second() {
    let (jwks, source) = published();
    let jwks = Arc::new(jwks);
    *source.takes.lock().unwrap() = Duration::from_millis(100);
    source.then(down());
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let jwks = Arc::clone(&jwks);
        asking.spawn(async move { has(&jwks, "a").await });
    }
    assert!(asking.join_all().await.iter().all(|found| *found == is_down()));
    tokio::time::advance(Duration::from_millis(899)).await;
    assert_eq!((has(&jwks, "a").await, source.asked()), (is_down(), 1));
    tokio::time::advance(Duration::from_millis(1)).await;
    source.then(set(&["a"]));
    assert_eq!((has(&jwks, "a").await, source.asked()), (Ok(true), 2));
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_does_not_answer_is_given_up() {
    let (jwks, source) = published();
    let jwks = jwks.timeout(secs(3));
    *source.takes.lock().unwrap() = secs(3600);
    let begun = Instant::now();
    assert_eq!(has(&jwks, "a").await, Err("the request timed out".to_owned()));
    assert_eq!(begun.elapsed(), secs(3));
}

#[tokio::test(start_paused = true)]
async fn an_old_set_is_used_while_it_is_fetched_anew() {
    let (jwks, source) = published();
    let jwks = jwks.refresh_after(secs(100));
    source.then(set(&["a"]));
    assert_eq!(has(&jwks, "a").await, Ok(true));
    tokio::time::advance(Duration::from_millis(99_999)).await;
    assert_eq!((has(&jwks, "a").await, source.asked()), (Ok(true), 1));
    *source.takes.lock().unwrap() = secs(2);
    source.then(set(&["b"]));
    tokio::time::advance(Duration::from_millis(1)).await;
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(has(&jwks, "a").await, Ok(true));
    }
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waits");
    settle().await;
    assert_eq!(source.asked(), 2);
    tokio::time::sleep(secs(2)).await;
    settle().await;
    assert_eq!((has(&jwks, "b").await, source.asked()), (Ok(true), 2));
}

#[tokio::test(start_paused = true)]
async fn once_fetched_keys_stay_good_when_the_issuer_is_down() {
    let (jwks, source) = published();
    let jwks = jwks.refresh_after(secs(100));
    source.then(set(&["a"]));
    assert_eq!(has(&jwks, "a").await, Ok(true));
    for (answer, asked) in [(down(), 2), (Ok(b"<html>".to_vec()), 3), (set(&[]), 4)] {
        tokio::time::advance(secs(100)).await;
        source.then(answer);
        assert_eq!(has(&jwks, "a").await, Ok(true));
        settle().await;
        assert_eq!(source.asked(), asked);
        tokio::time::advance(Duration::from_millis(29_999)).await;
        assert_eq!(has(&jwks, "a").await, Ok(true));
        settle().await;
        assert_eq!(source.asked(), asked, "not tried again within 30 s");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_has_the_set_fetched_at_most_once_in_30_seconds() {
    let (jwks, source) = published();
    source.then(set(&["a"]));
    assert_eq!(has(&jwks, "a").await, Ok(true));
    source.then(set(&["a", "b"]));
    assert_eq!((has(&jwks, "b").await, source.asked()), (Ok(true), 2), "a new key works at once");
    for _ in 0..20 {
        assert_eq!((has(&jwks, "c").await, source.asked()), (Ok(false), 2));
    }
    tokio::time::advance(Duration::from_millis(29_999)).await;
    assert_eq!((has(&jwks, "c").await, source.asked()), (Ok(false), 2));
    tokio::time::advance(Duration::from_millis(1)).await;
    source.then(set(&["a", "b"]));
    assert_eq!((has(&jwks, "d").await, source.asked()), (Ok(false), 3), "whatever its name is");
    tokio::time::advance(secs(30)).await;
    assert_eq!((has(&jwks, "a").await, source.asked()), (Ok(true), 3), "a known key has nothing fetched");
}

#[tokio::test(start_paused = true)]
async fn twenty_unknown_keys_at_once_are_one_fetch_and_known_ones_do_not_wait_for_it() {
    let (jwks, source) = published();
    source.then(set(&["a"]));
    assert_eq!(has(&jwks, "a").await, Ok(true));
    *source.takes.lock().unwrap() = secs(1);
    source.then(set(&["a", "b"]));
    let jwks = Arc::new(jwks);
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let jwks = Arc::clone(&jwks);
        asking.spawn(async move { has(&jwks, "b").await });
    }
    settle().await;
    let begun = Instant::now();
    assert_eq!((has(&jwks, "a").await, begun.elapsed()), (Ok(true), Duration::ZERO));
    assert!(asking.join_all().await.iter().all(|found| *found == Ok(true)));
    assert_eq!(source.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn whether_a_key_is_unknown_cannot_be_told_while_the_issuer_is_down() {
    let (jwks, source) = published();
    source.then(set(&["a"]));
    assert_eq!(has(&jwks, "a").await, Ok(true));
    source.then(down());
    assert_eq!((has(&jwks, "b").await, source.asked()), (is_down(), 2));
    assert_eq!((has(&jwks, "b").await, source.asked()), (is_down(), 2), "nor asked again at once");
    assert_eq!(has(&jwks, "a").await, Ok(true));
    tokio::time::advance(secs(30)).await;
    source.then(set(&["b"]));
    assert_eq!((has(&jwks, "b").await, source.asked()), (Ok(true), 3));
}

#[tokio::test(start_paused = true)]
async fn who_asks_first_may_leave_and_the_fetch_goes_on() {
    let (jwks, source) = published();
    *source.takes.lock().unwrap() = secs(2);
    source.then(set(&["a"]));
    let left = tokio::time::timeout(secs(1), has(&jwks, "a")).await;
    assert!(left.is_err());
    assert_eq!((has(&jwks, "a").await, source.asked()), (Ok(true), 1));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_does_not_outlive_the_set() {
    let (jwks, source) = published();
    *source.takes.lock().unwrap() = secs(3);
    assert!(tokio::time::timeout(secs(1), has(&jwks, "a")).await.is_err());
    assert!(!source.was_dropped.load(Ordering::SeqCst));
    drop(jwks);
    settle().await;
    assert!(source.was_dropped.load(Ordering::SeqCst));
}

#[test]
fn a_fetch_that_ended_with_its_runtime_is_begun_again() {
    let (jwks, source) = published();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    *source.takes.lock().unwrap() = secs(3600);
    runtime().block_on(async {
        assert!(tokio::time::timeout(Duration::from_millis(1), has(&jwks, "a")).await.is_err());
    });
    *source.takes.lock().unwrap() = Duration::ZERO;
    source.then(set(&["a"]));
    // Repeated until the pause after the failure is over.
    let found = runtime().block_on(async {
        loop {
            match has(&jwks, "a").await {
                Err(error) => assert_eq!(error, "the request was cancelled"),
                Ok(found) => break found,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(found);
    assert_eq!(source.asked(), 2);
}

#[test]
fn only_keys_that_verify_and_may_be_known_are_used() {
    let rsa = |bits: usize| json!({"kty": "RSA", "n": bytes(bits / 8), "e": "AQAB"});
    let ec = |curve: &str, length| json!({"kty": "EC", "crv": curve, "x": bytes(length), "y": bytes(length)});
    let with = |mut key: Value, name: &str, value: Value| {
        key[name] = value;
        key
    };
    let all = JwtAlgorithm::ASYMMETRIC;
    let usable = |key: &Value, allowed: &[JwtAlgorithm]| JwtKey::of_jwk(key, allowed).is_some();
    for key in [
        rsa(2048),
        rsa(8192),
        ec("P-256", 32),
        ec("P-384", 48),
        ed25519("a"),
        with(rsa(2048), "alg", json!("PS256")),
        with(rsa(2048), "use", json!("sig")),
        with(rsa(2048), "key_ops", json!(["verify"])),
        with(rsa(2048), "whatever", json!({"is": "new"})),
    ] {
        assert!(usable(&key, &all), "{key}");
    }
    for key in [
        json!({"kty": "oct", "k": bytes(64)}),
        json!({"kty": "oct", "k": bytes(64), "alg": "HS256"}),
        rsa(1024),
        rsa(16384),
        ec("P-256", 31),
        ec("P-256", 48),
        ec("P-521", 66),
        ec("secp256k1", 32),
        json!({"kty": "OKP", "crv": "X25519", "x": bytes(32)}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": bytes(31)}),
        with(rsa(2048), "n", json!("not base64!")),
        with(rsa(2048), "n", json!("")),
        with(rsa(2048), "alg", json!("HS256")),
        with(rsa(2048), "alg", json!("ES256")),
        with(rsa(2048), "alg", json!("RSA-OAEP")),
        with(rsa(2048), "alg", json!("new")),
        with(rsa(2048), "use", json!("enc")),
        with(rsa(2048), "key_ops", json!(["encrypt"])),
        json!({}),
        json!(null),
        json!([[[]]]),
    ] {
        assert!(!usable(&key, &all), "{key}");
    }
    assert!(!usable(&rsa(2048), &[JwtAlgorithm::Es256]), "not among those that are allowed");
    let secret = json!({"kty": "oct", "k": bytes(64)});
    assert!(!usable(&secret, &[JwtAlgorithm::Hs256]), "not even if it is allowed");
}

#[test]
fn keys_that_cannot_be_used_are_passed_over_and_no_more_than_64_are_taken() {
    let set =
        json!({"keys": [{"kty": "oct", "k": bytes(64)}, null, ed25519("a"), {"kty": "new"}]}).to_string();
    assert_eq!(read(set.as_bytes(), &JwtAlgorithm::ASYMMETRIC).unwrap().len(), 1);
    let many = json!({"keys": (0..1000).map(|n| ed25519(&n.to_string())).collect::<Vec<_>>()}).to_string();
    assert_eq!(read(many.as_bytes(), &JwtAlgorithm::ASYMMETRIC).unwrap().len(), 64);
    for set in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":""}]}"#] {
        let refused = read(set.as_bytes(), &JwtAlgorithm::ASYMMETRIC);
        assert!(matches!(refused, Err(FetchError::Malformed(_))), "{set}");
    }
}
