//! The stream of revocations, which reads the store while it is polled.

use std::{
    marker::PhantomData,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::{Context, Poll, ready},
    vec,
};

use async_trait::async_trait;
use futures_core::Stream;

use crate::users::sql::store::Store;
use crate::users::{revocation::Revocation, user_service::UserId};

/// A stored revocation: its number, and the id of the token.
pub(super) type Revoked = (i64, i64);

/// Waits for revocations in a store.
#[async_trait]
pub(super) trait Watch: Send {
    /// Returns the first revocations after that number, as soon as there are any.
    async fn next(&mut self, after: i64) -> Vec<Revoked>;
}

/// Reports each revocation after the number in `seen`, until the store is closed. Records its progress in `seen` for
/// the next stream: earlier revocations do not affect connections that are opened later.
pub(super) struct SqlRevocations<T> {
    watching: Option<Pin<Box<dyn Future<Output = Seen> + Send>>>,
    revoked: vec::IntoIter<Revoked>,
    seen: Arc<AtomicI64>,
    users: PhantomData<fn() -> T>,
}

/// The watch, to go on with, and the revocations that it returned; `None` once the store is closed.
type Seen = Option<(Watching, Vec<Revoked>)>;

struct Watching {
    store: Store,
    watch: Box<dyn Watch>,
    after: i64,
}

impl<T> SqlRevocations<T> {
    pub(super) fn new(store: &Store, seen: &Arc<AtomicI64>) -> Self {
        let watching =
            Watching { store: store.clone(), watch: store.watch(), after: seen.load(Ordering::Acquire) };
        Self {
            watching: Some(Box::pin(watching.next())),
            revoked: Vec::new().into_iter(),
            seen: Arc::clone(seen),
            users: PhantomData,
        }
    }
}

impl<T: UserId> Stream for SqlRevocations<T> {
    type Item = Revocation<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Revocation<T>>> {
        loop {
            if let Some((_, token)) = self.revoked.next() {
                return Poll::Ready(Some(Revocation::Credential(token.to_string())));
            }
            let Some(watching) = &mut self.watching else { return Poll::Ready(None) };
            self.watching = match ready!(watching.as_mut().poll(cx)) {
                Some((watching, revoked)) => {
                    self.seen.fetch_max(watching.after, Ordering::AcqRel);
                    self.revoked = revoked.into_iter();
                    Some(Box::pin(watching.next()))
                }
                None => None,
            };
        }
    }
}

impl Watching {
    async fn next(mut self) -> Seen {
        let revoked = self.store.while_open(self.watch.next(self.after)).await?;
        self.after = revoked.last().map_or(self.after, |(number, _)| *number);
        Some((self, revoked))
    }
}
