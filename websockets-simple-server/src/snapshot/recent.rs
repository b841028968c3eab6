//! What has happened lately, of which a little is kept.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use serde::Serialize;
use websockets_simple_core::{ErrorEvent, catch_panic};

use crate::{connection::Connection, figures::RefusalReason, users::Identity};

/// Refused handshakes that are kept, and errors.
const KEPT: usize = 50;

/// Samples that are kept: those of an hour.
const SAMPLES: usize = 360;

/// Most bytes of the text of an error.
const TEXT: usize = 300;

/// A refused handshake.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecentRefusal {
    /// When it was refused.
    pub at: DateTime<Utc>,
    /// Why.
    pub reason: RefusalReason,
    /// The address of the client, if known.
    pub client: Option<IpAddr>,
}

/// An error, as its event says.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecentError {
    /// When it happened.
    pub at: DateTime<Utc>,
    /// Where it happened, as an [`ErrorStage`](crate::events::ErrorStage) is displayed.
    pub stage: String,
    /// What it says, cut after 300 bytes.
    pub error: String,
    /// The address of the client, if known.
    pub client: Option<IpAddr>,
    /// The id of the connection, if there was one.
    pub connection: Option<String>,
}

/// How much there was at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Sample {
    /// When.
    pub at: DateTime<Utc>,
    /// Open connections.
    pub open: usize,
    /// Handshakes that had become a connection until then.
    pub opened: u64,
    /// Handshakes that had been refused until then.
    pub refused: u64,
}

/// What has happened lately.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    refusals: Last<RecentRefusal, KEPT>,
    errors: Last<RecentError, KEPT>,
    samples: Last<Sample, SAMPLES>,
}

impl Recent {
    pub(crate) fn refused(&self, reason: RefusalReason, client: Option<IpAddr>) {
        self.refusals.add(RecentRefusal { at: Utc::now(), reason, client });
    }

    pub(crate) fn failed<I: Identity>(&self, event: &ErrorEvent<Connection<I>>) {
        // It may be an error of the application, whose code this is.
        let said = catch_panic(|| event.error.to_string());
        let mut error = said.unwrap_or_else(|_| "an error that panics when it is displayed".to_owned());
        error.truncate(error.floor_char_boundary(TEXT));
        let connection = event.connection.as_ref();
        let client = connection.and_then(Connection::client_addr);
        self.errors.add(RecentError {
            at: event.timestamp,
            stage: event.stage.to_string(),
            error,
            client: client.or_else(|| event.peer_addr.map(|peer| peer.ip().to_canonical())),
            connection: connection.map(|connection| connection.id().to_string()),
        });
    }

    pub(crate) fn sampled(&self, sample: Sample) {
        self.samples.add(sample);
    }

    /// The latest first.
    pub(crate) fn refusals(&self) -> Vec<RecentRefusal> {
        self.refusals.all().into_iter().rev().collect()
    }

    /// The latest first.
    pub(crate) fn errors(&self) -> Vec<RecentError> {
        self.errors.all().into_iter().rev().collect()
    }

    /// The earliest first.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.samples.all()
    }
}

/// The last values of many.
#[derive(Debug)]
struct Last<T, const N: usize>(Mutex<VecDeque<T>>);

impl<T: Clone, const N: usize> Last<T, N> {
    fn add(&self, value: T) {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if values.len() == N {
            values.pop_front();
        }
        values.push_back(value);
    }

    fn all(&self) -> Vec<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl<T, const N: usize> Default for Last<T, N> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use websockets_simple_core::{ErrorStage, EventError, Moment};

    use super::*;
    use crate::users::Anonymous;

    #[test]
    fn of_many_the_last_are_kept() {
        let last = Last::<_, 3>::default();
        (1..=5).for_each(|value| last.add(value));
        assert_eq!(last.all(), [3, 4, 5]);
    }

    #[test]
    fn an_error_that_cannot_be_displayed_is_kept_all_the_same() {
        #[derive(Debug)]
        struct Speechless;

        impl fmt::Display for Speechless {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("no words")
            }
        }

        impl std::error::Error for Speechless {}

        let recent = Recent::default();
        let at = Moment::now().utc;
        let event = ErrorEvent::new(ErrorStage::UserService, EventError::new(Speechless), None, None, at);
        recent.failed::<Anonymous>(&event);
        assert_eq!(recent.errors()[0].error, "an error that panics when it is displayed");
    }

    #[test]
    fn a_long_error_is_cut_between_two_characters() {
        let recent = Recent::default();
        let error = EventError::new("é".repeat(TEXT));
        let at = Moment::now().utc;
        recent.failed::<Anonymous>(&ErrorEvent::new(ErrorStage::EventStream, error, None, None, at));
        let [error] = &*recent.errors() else { panic!("one has happened") };
        assert_eq!((error.stage.as_str(), error.error.as_str()), ("event stream", &*"é".repeat(TEXT / 2)));
    }
}
