//! The one place where panics of user code are caught: of handlers, hooks and services, and of what their values do
//! when they are dropped.

use std::{
    any::Any,
    fmt,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use crate::events::EventError;

/// User code panicked. `Debug` leaves out what the panic said, as it may quote a secret.
pub struct Panicked(Option<String>);

/// Calls user code.
///
/// # Errors
///
/// [`Panicked`] if it panics.
pub fn catch_panic<T>(user_code: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(user_code)).map_err(Panicked::new)
}

/// A future of the user: its panics are caught, also those of its drop. It is dropped as soon as it is done.
pub struct CatchPanic<F>(Option<F>);

impl<F> CatchPanic<F> {
    /// Catches the panics of this future.
    #[must_use]
    pub fn new(future: F) -> Self {
        Self(Some(future))
    }
}

impl<F: Future + Unpin> Future for CatchPanic<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = &mut self.0;
        let polled =
            catch_panic(|| future.as_mut().map_or(Poll::Pending, |future| Pin::new(future).poll(cx)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(catch_panic(|| drop(future.take())).map(|()| output)),
            Err(panicked) => {
                let _ = catch_panic(|| drop(future.take()));
                Poll::Ready(Err(panicked))
            }
        }
    }
}

impl<F> Drop for CatchPanic<F> {
    fn drop(&mut self) {
        if catch_panic(|| drop(self.0.take())).is_err() {
            tracing::error!("a future of the application panicked when it was dropped");
        }
    }
}

impl Panicked {
    fn new(payload: Box<dyn Any + Send>) -> Self {
        let said = payload.downcast_ref::<&str>().map(|said| (*said).to_owned());
        let said = said.or_else(|| payload.downcast_ref::<String>().cloned());
        // The payload is a value of the user, too. That of a second panic is leaked: dropping it may cause a third.
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            let _leaked = ManuallyDrop::new(second);
        }
        Self(said)
    }

    /// Goes on with the panic, for those who catch it further up.
    pub(super) fn resume(self) -> ! {
        match self.0 {
            Some(said) => resume_unwind(Box::new(said)),
            None => resume_unwind(Box::new(())),
        }
    }

    /// The panic of a handler, for an error event: with what it said.
    #[must_use]
    pub fn of_handler(self) -> EventError {
        let said = self.0.as_deref().unwrap_or("no message");
        EventError::new(format!("a handler panicked: {said}"))
    }

    /// The panic of other user code, for an error event: without what it said, which may quote a secret.
    #[must_use]
    pub fn of_code(self, what: &str) -> EventError {
        EventError::new(format!("{what} panicked"))
    }
}

impl fmt::Debug for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Panicked")
    }
}

impl<F> fmt::Debug for CatchPanic<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CatchPanic").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{panic::panic_any, task::Waker};

    use super::*;

    struct PanicsOnDrop(&'static str);

    impl Drop for PanicsOnDrop {
        fn drop(&mut self) {
            panic!("dropped {}", self.0);
        }
    }

    fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn said<T: fmt::Debug>(result: Result<T, Panicked>) -> String {
        result.unwrap_err().of_handler().to_string()
    }

    #[test]
    fn what_a_handler_says_when_it_panics_is_told_and_what_other_code_says_is_not() {
        assert_eq!(said(catch_panic(|| panic!("one"))), "a handler panicked: one");
        assert_eq!(said(catch_panic(|| panic!("{}", 2))), "a handler panicked: 2");
        assert_eq!(said(catch_panic(|| panic_any(3))), "a handler panicked: no message");
        let panicked = catch_panic(|| panic!("a secret")).unwrap_err();
        assert_eq!(format!("{panicked:?}"), "Panicked");
        assert_eq!(panicked.of_code("the hook").to_string(), "the hook panicked");
    }

    #[test]
    fn a_payload_that_panics_when_it_is_dropped_goes_no_further() {
        assert_eq!(
            said(catch_panic(|| panic_any(PanicsOnDrop("payload")))),
            "a handler panicked: no message"
        );
    }

    #[test]
    fn a_future_is_caught_when_it_is_polled_when_it_is_done_and_when_it_is_given_up() {
        let mut fails = CatchPanic::new(Box::pin(async { panic!("polled") }));
        let Poll::Ready(failed) = poll(&mut fails) else { panic!("it is done") };
        assert_eq!(said::<()>(failed), "a handler panicked: polled");
        assert!(poll(&mut fails).is_pending(), "it is not polled again");
        let holding = PanicsOnDrop("at the end");
        let mut ends = CatchPanic::new(std::future::poll_fn(move |_| {
            let _ = &holding;
            Poll::Ready(())
        }));
        let Poll::Ready(failed) = poll(&mut ends) else { panic!("it is done") };
        assert_eq!(said(failed), "a handler panicked: dropped at the end");
        let holding = PanicsOnDrop("halfway");
        let mut waits = CatchPanic::new(std::future::poll_fn(move |_| {
            let _ = &holding;
            Poll::<()>::Pending
        }));
        assert!(poll(&mut waits).is_pending());
        drop(waits);
    }
}
