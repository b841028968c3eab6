use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderMap;
use tokio::{sync::Notify, task::JoinSet};

use super::*;
use crate::{net::RequestHead, users::memory::MemoryUsers};

/// A service with a scripted answer. It counts how often it is asked, and can be held up.
#[derive(Default)]
struct Scripted {
    asked: AtomicUsize,
    says: Mutex<Says>,
    held: Option<Notify>,
    revocations: MemoryUsers<i64>,
}

#[derive(Clone, Copy, Default)]
enum Says {
    Fails,
    #[default]
    Nobody,
    Panics,
    User(i64, Option<DateTime<Utc>>),
}

impl Scripted {
    fn says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl UserService for Arc<Scripted> {
    type Id = i64;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<i64>>, UserServiceError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let says = *self.says.lock().unwrap();
        if let Some(held) = &self.held {
            held.notified().await;
        }
        let credential = credentials.token().map_or("none", |token| token.expose()).to_owned();
        match says {
            Says::Fails => Err(UserServiceError::new("down")),
            Says::Nobody => Ok(None),
            Says::Panics => panic!("over the token"),
            Says::User(id, expires_at) => Ok(Some({
                let user = Authenticated::new(id).credential(credential);
                match expires_at {
                    Some(at) => user.expires_at(at),
                    None => user,
                }
            })),
        }
    }

    fn revocations(&self) -> Option<Revocations<i64>> {
        self.revocations.revocations()
    }
}

async fn ask_with(
    cached: &Cached<Arc<Scripted>>,
    credentials: &Credentials,
) -> Result<Option<i64>, UserServiceError> {
    let head = RequestHead::new("/", "", &HeaderMap::new());
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    let answer = cached.authenticate(credentials, &HandshakeRequest::new(&head, addr, addr)).await;
    answer.map(|user| user.map(|user| *user.id()))
}

async fn ask(cached: &Cached<Arc<Scripted>>, token: &str) -> Result<Option<i64>, UserServiceError> {
    ask_with(cached, &Credentials::of_token(token)).await
}

fn cached() -> (Cached<Arc<Scripted>>, Arc<Scripted>) {
    let service = Arc::new(Scripted::default());
    (Cached::new(Arc::clone(&service)), service)
}

fn cause(error: &UserServiceError) -> String {
    std::error::Error::source(error).unwrap().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_user_is_remembered_for_as_long_as_configured_and_no_longer() {
    let (cached, service) = cached();
    let cached = cached.known_for(Duration::from_secs(30));
    service.says(Says::User(7, None));
    assert_eq!(ask(&cached, "token").await.unwrap(), Some(7));
    service.says(Says::User(8, None));
    tokio::time::advance(Duration::from_millis(29_999)).await;
    assert_eq!((ask(&cached, "token").await.unwrap(), service.asked()), (Some(7), 1));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!((ask(&cached, "token").await.unwrap(), service.asked()), (Some(8), 2));
    assert_eq!((ask(&cached, "token").await.unwrap(), service.asked()), (Some(8), 2), "and again");
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_be_remembered_for_ever() {
    let (cached, service) = cached();
    let cached = cached.known_for(Duration::MAX).unknown_for(Duration::MAX);
    assert_eq!(ask(&cached, "unknown").await.unwrap(), None);
    service.says(Says::User(7, Some(DateTime::<Utc>::MAX_UTC)));
    for _ in 0..2 {
        tokio::time::advance(Duration::from_secs(1_000_000_000)).await;
        assert_eq!(ask(&cached, "unknown").await.unwrap(), None);
        assert_eq!((ask(&cached, "token").await.unwrap(), service.asked()), (Some(7), 2));
    }
}

#[tokio::test(start_paused = true)]
async fn that_a_token_is_nobodys_is_remembered_for_a_shorter_time() {
    let (cached, service) = cached();
    assert_eq!(ask(&cached, "token").await.unwrap(), None);
    service.says(Says::User(7, None));
    assert_eq!((ask(&cached, "token").await.unwrap(), service.asked()), (None, 1));
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!((ask(&cached, "token").await.unwrap(), service.asked()), (Some(7), 2));
}

#[tokio::test(start_paused = true)]
async fn a_user_is_not_remembered_past_the_expiry() {
    let (cached, service) = cached();
    service.says(Says::User(7, Some(Utc::now() + TimeDelta::seconds(10))));
    assert_eq!(ask(&cached, "token").await.unwrap(), Some(7));
    tokio::time::advance(Duration::from_secs(9)).await;
    assert_eq!((ask(&cached, "token").await.unwrap(), service.asked()), (Some(7), 1));
    service.says(Says::Nobody);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!((ask(&cached, "token").await.unwrap(), service.asked()), (None, 2));
}

#[tokio::test]
async fn who_has_expired_by_the_wall_clock_is_asked_for_anew() {
    let (cached, service) = cached();
    service.says(Says::User(7, Some(Utc::now() - TimeDelta::seconds(1))));
    assert_eq!(ask(&cached, "token").await.unwrap(), Some(7), "as the service says");
    assert_eq!((ask(&cached, "token").await.unwrap(), service.asked()), (Some(7), 2));
}

#[tokio::test(start_paused = true)]
async fn when_the_wall_clock_is_set_past_the_expiry_the_answer_is_stale() {
    let (cached, _) = cached();
    let answer = |left| {
        let user = Authenticated::new(7).expires_at(Utc::now() + TimeDelta::seconds(left));
        let now = Instant::now();
        Answer { answer: Ok(Some(user)), asked_at: now, answered_at: now, kept: Duration::from_secs(60) }
    };
    assert!(!cached.is_stale(&answer(60)));
    assert!(cached.is_stale(&answer(-1)));
}

#[tokio::test]
async fn errors_are_not_remembered() {
    let (cached, service) = cached();
    service.says(Says::Fails);
    assert_eq!(cause(&ask(&cached, "token").await.unwrap_err()), "down");
    assert_eq!(cause(&ask(&cached, "token").await.unwrap_err()), "down");
    service.says(Says::User(7, None));
    assert_eq!((ask(&cached, "token").await.unwrap(), service.asked()), (Some(7), 3));
}

/// Lets `clients` clients ask at once; the service answers once all of them wait. Returns their answers, and how often
/// the service was asked.
async fn at_once(clients: usize, says: Says) -> (Vec<Result<Option<i64>, UserServiceError>>, usize) {
    let service = Arc::new(Scripted { held: Some(Notify::new()), ..Scripted::default() });
    service.says(says);
    let cached = Arc::new(Cached::new(Arc::clone(&service)));
    let mut asking = JoinSet::new();
    for _ in 0..clients {
        let cached = Arc::clone(&cached);
        asking.spawn(async move { ask(&cached, "token").await });
    }
    // Each client runs until it waits for the one answer, as the runtime has one thread.
    tokio::task::yield_now().await;
    service.held.as_ref().unwrap().notify_one();
    (asking.join_all().await, service.asked())
}

#[tokio::test]
async fn twenty_at_once_ask_once() {
    let (answers, asked) = at_once(20, Says::User(7, None)).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap() == Some(7)));
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn twenty_at_once_share_one_error_and_its_cause() {
    let (answers, asked) = at_once(20, Says::Fails).await;
    for answer in answers {
        let error = answer.unwrap_err();
        assert_eq!((error.to_string().as_str(), cause(&error).as_str()), ("the user service failed", "down"));
    }
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn who_asks_first_may_leave_without_harm_to_the_others() {
    let service = Arc::new(Scripted { held: Some(Notify::new()), ..Scripted::default() });
    service.says(Says::User(7, None));
    let cached = Arc::new(Cached::new(Arc::clone(&service)));
    let ask_in_task = || {
        let cached = Arc::clone(&cached);
        tokio::spawn(async move { ask(&cached, "token").await })
    };
    let first = ask_in_task();
    while service.asked() == 0 {
        tokio::task::yield_now().await;
    }
    let second = ask_in_task();
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    service.held.as_ref().unwrap().notify_one();
    assert_eq!(second.await.unwrap().unwrap(), Some(7));
    assert_eq!(service.asked(), 2, "the second has taken over");
}

#[tokio::test]
async fn a_panic_of_the_service_is_not_remembered() {
    let (cached, service) = cached();
    let cached = Arc::new(cached);
    service.says(Says::Panics);
    let panicking = Arc::clone(&cached);
    assert!(tokio::spawn(async move { ask(&panicking, "token").await }).await.unwrap_err().is_panic());
    service.says(Says::User(7, None));
    assert_eq!(ask(&cached, "token").await.unwrap(), Some(7));
}

async fn tell(revocations: &mut Revocations<i64>, service: &Scripted, user: i64) {
    service.revocations.revoke_user(&user);
    let told = poll_fn(|cx| revocations.as_mut().poll_next(cx)).await;
    assert_eq!(told, Some(Revocation::User(user)), "it is passed on");
}

#[tokio::test(start_paused = true)]
async fn what_is_revoked_is_asked_for_anew_and_nothing_else() {
    let (cached, service) = cached();
    let mut revocations = cached.revocations().unwrap();
    service.says(Says::User(7, None));
    ask(&cached, "of seven").await.unwrap();
    service.says(Says::User(8, None));
    ask(&cached, "of eight").await.unwrap();
    service.says(Says::Nobody);
    tokio::time::advance(Duration::from_secs(1)).await;
    tell(&mut revocations, &service, 7).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!((ask(&cached, "of seven").await.unwrap(), service.asked()), (None, 3));
    assert_eq!((ask(&cached, "of eight").await.unwrap(), service.asked()), (Some(8), 3));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_on_its_way_when_it_was_revoked_is_not_remembered() {
    let service = Arc::new(Scripted { held: Some(Notify::new()), ..Scripted::default() });
    service.says(Says::User(7, None));
    let cached = Arc::new(Cached::new(Arc::clone(&service)));
    let mut revocations = cached.revocations().unwrap();
    let asking = {
        let cached = Arc::clone(&cached);
        tokio::spawn(async move { ask(&cached, "token").await })
    };
    while service.asked() == 0 {
        tokio::task::yield_now().await;
    }
    tell(&mut revocations, &service, 7).await;
    service.held.as_ref().unwrap().notify_one();
    asking.await.unwrap().unwrap();
    service.says(Says::Nobody);
    service.held.as_ref().unwrap().notify_one();
    assert_eq!((ask(&cached, "token").await.unwrap(), service.asked()), (None, 2));
}

#[tokio::test]
async fn clients_without_a_token_are_not_remembered() {
    let (cached, service) = cached();
    service.says(Says::User(7, None));
    for asked in 1..=2 {
        assert_eq!(ask_with(&cached, &Credentials::default()).await.unwrap(), Some(7));
        assert_eq!(service.asked(), asked);
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn clients_with_a_certificate_are_not_remembered() {
    let (cached, service) = cached();
    service.says(Says::User(7, None));
    assert_eq!((ask(&cached, "token").await.unwrap(), service.asked()), (Some(7), 1));
    let signed = rcgen::generate_simple_self_signed(["seven".to_owned()]).unwrap();
    let certificate = crate::PeerCertificate::new(signed.cert.der()).unwrap();
    let credentials = Credentials::of_token("token").with_certificate(certificate);
    for asked in 2..=3 {
        assert_eq!((ask_with(&cached, &credentials).await.unwrap(), service.asked()), (Some(7), asked));
    }
}

#[tokio::test]
async fn the_number_of_answers_is_bounded() {
    let (cached, service) = cached();
    let cached = cached.entries(100);
    for token in 0..1000 {
        ask(&cached, &token.to_string()).await.unwrap();
    }
    cached.answers.run_pending_tasks().await;
    assert_eq!(service.asked(), 1000);
    assert!((1..=100).contains(&cached.answers.entry_count()), "{}", cached.answers.entry_count());
}
