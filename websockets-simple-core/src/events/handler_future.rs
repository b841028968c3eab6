//! What a handler still has to do for one event.

use std::{
    cell::Cell,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio_util::sync::ReusableBoxFuture;

use crate::events::spare;

/// What is left to do to deliver an event. When it is done, its memory serves the next event of the thread.
#[must_use = "the event is not delivered before this is done"]
pub struct HandlerFuture(Option<ReusableBoxFuture<'static, ()>>);

thread_local! {
    /// The memory of finished work of this thread.
    static SPARE: Cell<Option<ReusableBoxFuture<'static, ()>>> = const { Cell::new(None) };
}

pin_project! {
    /// Drops the work when it is done, and not when its memory is used again.
    struct Work<F> {
        #[pin]
        work: Option<F>,
    }
}

impl HandlerFuture {
    /// Boxes the work.
    pub fn new(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self::made_by(|| work)
    }

    /// Boxes the work that is made: in its place, which copies it once less.
    #[inline]
    pub(super) fn made_by<F: Future<Output = ()> + Send + 'static>(make: impl FnOnce() -> F) -> Self {
        let work = Work { work: Some(make()) };
        Self(Some(match spare::take(&SPARE) {
            Some(mut spare) => {
                spare.set(work);
                spare
            }
            None => ReusableBoxFuture::new(work),
        }))
    }
}

impl HandlerFuture {
    /// Nothing to do.
    pub(crate) const DONE: Self = Self(None);

    /// Whether nothing is left to do.
    pub(crate) fn is_done(&self) -> bool {
        self.0.is_none()
    }
}

impl Future for HandlerFuture {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(work) = &mut self.0 {
            ready!(work.poll(cx));
            spare::keep(&SPARE, self.0.take());
        }
        Poll::Ready(())
    }
}

impl<F: Future<Output = ()>> Future for Work<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if let Some(work) = this.work.as_mut().as_pin_mut() {
            ready!(work.poll(cx));
            this.work.set(None);
        }
        Poll::Ready(())
    }
}

impl fmt::Debug for HandlerFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, task::Waker};

    use super::*;

    fn poll(future: &mut HandlerFuture) -> Poll<()> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_finished_work_held_is_let_go_of_at_once_although_its_memory_is_kept() {
        let held = Arc::new(());
        let theirs = Arc::clone(&held);
        let mut future = HandlerFuture::new(std::future::poll_fn(move |_| {
            let _ = &theirs;
            Poll::Ready(())
        }));
        assert_eq!(Arc::strong_count(&held), 2);
        assert!(poll(&mut future).is_ready());
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(SPARE.take().is_some());
        assert!(poll(&mut future).is_ready(), "finished work stays finished");
    }

    #[test]
    fn work_of_another_size_and_work_inside_of_work_get_memory_of_their_own() {
        assert!(poll(&mut HandlerFuture::new(async {})).is_ready());
        let mut outer = HandlerFuture::new(async {
            let inside = [7_u8; 1000];
            HandlerFuture::new(async move { assert_eq!(inside, [7; 1000]) }).await;
            HandlerFuture::new(std::future::pending()).await;
        });
        assert!(poll(&mut outer).is_pending());
        assert!(poll(&mut HandlerFuture::new(async {})).is_ready());
        assert!(poll(&mut outer).is_pending());
    }
}
