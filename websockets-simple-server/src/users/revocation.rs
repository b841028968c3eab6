//! Revoked credentials.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    hash::Hash,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_core::Stream;
use tokio::{sync::Notify, time::Instant};

use crate::users::user_service::Authenticated;

/// Credentials or a user that a [`UserService`](crate::UserService) has revoked. Connections that were opened with them
/// are closed with [`CloseCode::REVOKED`](crate::CloseCode::REVOKED).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Revocation<T> {
    /// One credential, by the id that [`Authenticated::credential`] gave it.
    Credential(String),
    /// All credentials of a user.
    User(T),
}

/// A stream of revocations as they happen, whatever caused them. Its end means that there will be no more.
pub type Revocations<T> = Pin<Box<dyn Stream<Item = Revocation<T>> + Send>>;

impl<T: PartialEq> Revocation<T> {
    /// Whether this revokes the credentials of this user.
    pub(crate) fn concerns(&self, authenticated: &Authenticated<T>) -> bool {
        match self {
            Self::Credential(id) => authenticated.credential_id() == Some(id),
            Self::User(id) => authenticated.id() == id,
        }
    }
}

/// How long a user service may be asked by those that keep its answers: they remember revocations for so long.
pub(crate) const LONGEST_QUESTION: Duration = Duration::from_secs(60);

/// The latest revocations. They are needed because credentials that were valid when the user service was asked may be
/// revoked before their connection is registered.
#[derive(Debug)]
pub(crate) struct RecentRevocations<T> {
    latest: Mutex<Latest<T>>,
    /// How long an answer of the user service may take to become a connection.
    kept: Duration,
    /// Notified when the first one is added.
    added: Notify,
}

#[derive(Debug)]
struct Latest<T> {
    /// When each was last revoked.
    at: HashMap<Arc<Revocation<T>>, Instant>,
    /// All revocations, the oldest first.
    order: VecDeque<(Instant, Arc<Revocation<T>>)>,
}

impl<T: Clone + Eq + Hash> RecentRevocations<T> {
    pub(crate) fn new(kept: Duration) -> Self {
        let latest = Mutex::new(Latest { at: HashMap::new(), order: VecDeque::new() });
        Self { latest, kept, added: Notify::new() }
    }

    pub(crate) fn add(&self, revocation: &Revocation<T>) {
        let revocation = Arc::new(revocation.clone());
        self.forget(Instant::now());
        {
            let mut latest = self.lock();
            // Under the lock, so that the latest time is the last one.
            let now = Instant::now();
            latest.at.insert(Arc::clone(&revocation), now);
            latest.order.push_back((now, revocation));
        }
        self.added.notify_one();
    }

    /// Whether these credentials were revoked since then.
    pub(crate) fn concern(&self, authenticated: &Authenticated<T>, since: Instant) -> bool {
        self.forget(Instant::now());
        if self.lock().order.is_empty() {
            return false;
        }
        let credential = authenticated.credential_id().map(|id| Revocation::Credential(id.to_owned()));
        let of_user = Revocation::User(authenticated.id().clone());
        let latest = self.lock();
        let is_revoked = |revocation| latest.at.get(revocation).is_some_and(|at| *at >= since);
        is_revoked(&of_user) || credential.as_ref().is_some_and(is_revoked)
    }

    /// Forgets each revocation when its time is over, as long as this is polled.
    pub(crate) async fn forget_in_time(&self) -> Infallible {
        loop {
            let oldest = self.lock().order.front().map(|(at, _)| *at);
            match oldest.map(|at| at.checked_add(self.kept)) {
                Some(Some(until)) => {
                    tokio::time::sleep_until(until).await;
                    self.forget(Instant::now());
                }
                Some(None) => std::future::pending().await,
                None => self.added.notified().await,
            }
        }
    }

    fn forget(&self, now: Instant) {
        let mut forgotten = Vec::new();
        {
            let mut latest = self.lock();
            let Latest { at, order } = &mut *latest;
            while let Some((revoked_at, revocation)) =
                order.pop_front_if(|(at, _)| now.saturating_duration_since(*at) >= self.kept)
            {
                if at.get(&revocation) == Some(&revoked_at) {
                    forgotten.extend(at.remove_entry(&revocation).map(|(revocation, _)| revocation));
                }
                forgotten.push(revocation);
            }
            if order.len() < order.capacity() / 4 {
                at.shrink_to(at.len() * 2);
                order.shrink_to(order.len() * 2);
            }
        }
        // Outside of the lock, as ids of users are values of the application.
        drop(forgotten);
    }

    fn lock(&self) -> MutexGuard<'_, Latest<T>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_revoked_after_the_question_concerns_its_answer() {
        let recent = RecentRevocations::new(Duration::from_secs(15));
        let asked = Instant::now();
        let (seven, eight) = (Authenticated::new(7).credential("a"), Authenticated::new(8).credential("b"));
        recent.add(&Revocation::Credential("a".to_owned()));
        assert!(recent.concern(&seven, asked) && !recent.concern(&eight, asked));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!recent.concern(&seven, Instant::now()), "asked again after it was revoked");
        recent.add(&Revocation::User(8));
        assert!(recent.concern(&eight, asked));
        assert!(!recent.concern(&Authenticated::new(9), asked));
    }

    /// How many it holds, counted twice.
    fn held(recent: &RecentRevocations<i32>) -> (usize, usize) {
        let latest = recent.lock();
        (latest.at.len(), latest.order.len())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_any_question_is_forgotten_by_the_next_revocation_or_question() {
        let recent = RecentRevocations::new(Duration::from_secs(15));
        (0..100_000).for_each(|user| recent.add(&Revocation::User(user)));
        tokio::time::advance(Duration::from_secs(16)).await;
        recent.add(&Revocation::User(7));
        assert_eq!(held(&recent), (1, 1));
        tokio::time::advance(Duration::from_secs(16)).await;
        assert!(!recent.concern(&Authenticated::new(7), Instant::now()));
        assert_eq!(held(&recent), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_any_question_is_forgotten_in_time_without_either() {
        let recent = Arc::new(RecentRevocations::new(Duration::from_secs(15)));
        let forgetting = Arc::clone(&recent);
        let forgetting = tokio::spawn(async move { forgetting.forget_in_time().await });
        for user in 0..3 {
            recent.add(&Revocation::User(user));
            recent.add(&Revocation::User(7));
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        assert_eq!(held(&recent), (2, 2), "those of 20 s ago and before are forgotten");
        assert!(recent.concern(&Authenticated::new(7), Instant::now() - Duration::from_secs(10)));
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!(held(&recent), (0, 0));
        forgetting.abort();
    }
}
