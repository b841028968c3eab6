//! Revoked credentials.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_core::Stream;
use tokio::time::Instant;

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

/// The latest revocations. They are needed because credentials that were valid when the user service was asked may be
/// revoked before their connection is registered.
#[derive(Debug)]
pub(crate) struct RecentRevocations<T> {
    latest: Mutex<VecDeque<(Instant, Revocation<T>)>>,
    /// How long an answer of the user service may take to become a connection.
    kept: Duration,
}

impl<T: Clone + PartialEq> RecentRevocations<T> {
    pub(crate) fn new(kept: Duration) -> Self {
        Self { latest: Mutex::default(), kept }
    }

    pub(crate) fn add(&self, revocation: &Revocation<T>) {
        let now = Instant::now();
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        while latest.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > self.kept) {
            latest.pop_front();
        }
        latest.push_back((now, revocation.clone()));
    }

    /// Whether these credentials were revoked since then.
    pub(crate) fn concern(&self, authenticated: &Authenticated<T>, since: Instant) -> bool {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.iter().rev().take_while(|(at, _)| *at >= since).any(|(_, one)| one.concerns(authenticated))
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

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_any_question_is_forgotten() {
        let recent = RecentRevocations::new(Duration::from_secs(15));
        (0..100).for_each(|user| recent.add(&Revocation::User(user)));
        tokio::time::advance(Duration::from_secs(16)).await;
        recent.add(&Revocation::User(7));
        assert_eq!(recent.latest.lock().unwrap().len(), 1);
    }
}
