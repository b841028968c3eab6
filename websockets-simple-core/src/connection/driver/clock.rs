//! The deadlines of a connection: those of its heartbeat, and the one timer for the earliest of all.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::connection::heartbeat::Liveness;

/// How long the last error events may take, and then the Disconnected event, once the driver was told to drop its
/// handlers.
const LAST_WORD: Duration = Duration::from_secs(1);

pin_project! {
    /// The heartbeat and the timer, in one piece of memory: nearly every connection has both.
    pub(super) struct Clock {
        liveness: Liveness,
        #[pin]
        alarm: Option<Sleep>,
    }
}

impl Clock {
    pub(super) fn new(liveness: Liveness) -> Pin<Box<Self>> {
        Box::pin(Self { liveness, alarm: None })
    }

    pub(super) fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    pub(super) fn liveness_mut(self: Pin<&mut Self>) -> &mut Liveness {
        self.project().liveness
    }

    /// Whether the alarm is set, and not due.
    pub(super) fn waits(&self) -> bool {
        self.alarm.as_ref().is_some_and(|alarm| !alarm.is_elapsed())
    }

    pub(super) fn clear(self: Pin<&mut Self>) {
        self.project().alarm.set(None);
    }

    /// Sets the alarm for the next deadline, and has it wake this task if the last round had another waker. True if the
    /// deadline has passed already.
    pub(super) fn set(self: Pin<&mut Self>, next: Instant, new_waker: bool, cx: &mut Context<'_>) -> bool {
        let mut alarm = self.project().alarm;
        match alarm.as_mut().as_pin_mut() {
            // An alarm that is too early does no harm; resetting it for every message would cost time.
            Some(set) if !set.is_elapsed() && set.deadline() <= next => {
                if !new_waker {
                    return false;
                }
            }
            Some(set) => set.reset(next),
            None => alarm.set(Some(sleep_until(next))),
        }
        alarm.as_pin_mut().is_some_and(|alarm| alarm.poll(cx).is_ready())
    }

    /// Ready when the time for last events is over, which begins with the first call.
    pub(super) fn poll_last_word(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut alarm = self.project().alarm;
        if alarm.is_none() {
            alarm.set(Some(sleep(LAST_WORD)));
        }
        alarm.as_pin_mut().map_or(Poll::Pending, |alarm| alarm.poll(cx))
    }
}
