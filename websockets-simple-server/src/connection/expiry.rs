//! The expiry and renewal of credentials while their connection is open.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, Sleep};
use websockets_simple_core::{Control, EndCause, ErrorStage, Moment, Token, wall_clock};

use crate::{
    config::{Scope, ServerParams},
    connection::{Connection, ConnectionState},
    figures::RenewalResult,
    users::{AdmissionError, Credentials, Identity, result_of},
};

/// Refused tokens in a row after which the connection is closed.
const TRIES: u8 = 3;

/// Longest sleep before the wall clock is read again, as it may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// The expiry timer of one connection: asks the client for new credentials before they expire, and closes the
/// connection when they have expired.
#[derive(Debug)]
pub(crate) struct Expiry {
    at: DateTime<Utc>,
    asked: bool,
    alarm: Pin<Box<Sleep>>,
}

impl Expiry {
    /// A timer for credentials that expire at this time.
    pub(crate) fn new(at: DateTime<Utc>) -> Self {
        // The first poll reads the clock.
        Self { at, asked: false, alarm: Box::pin(tokio::time::sleep(Duration::ZERO)) }
    }

    /// Does what is due, and wakes the task for the next step.
    pub(crate) fn poll<I: Identity>(&mut self, connection: &ConnectionState<I>, cx: &mut Context<'_>) {
        let Some(at) = connection.origin.user.as_ref().and_then(|user| user.latest().expiry()) else {
            return;
        };
        if at != self.at {
            *self = Self::new(at);
        }
        let params = &connection.shared.params;
        while self.alarm.as_mut().poll(cx) == Poll::Ready(()) {
            let wait = (self.due(connection, params) - wall_clock()).to_std().unwrap_or_default();
            if wait.is_zero() {
                let grace = params.expiry_grace;
                if self.asked || !connection.core.send_control(&Control::Expiring { at, grace }) {
                    connection.core.outbox.close(EndCause::CredentialsExpired);
                    return;
                }
                self.asked = true;
                continue;
            }
            self.alarm.as_mut().reset(Instant::now() + wait.min(LONGEST_SLEEP));
        }
    }

    /// When the next step is due.
    fn due<I: Identity>(&self, connection: &ConnectionState<I>, params: &ServerParams) -> DateTime<Utc> {
        let moved = |by: Duration| TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
        let due = match (connection.core.has_controls(), self.asked) {
            (false, _) => Some(self.at),
            (true, false) => self.at.checked_sub_signed(moved(params.expiry_notice)),
            (true, true) => self.at.checked_add_signed(moved(params.expiry_grace)),
        };
        due.unwrap_or(self.at)
    }
}

/// Authenticates a client again with its new token, and sends it the result.
pub(crate) async fn renew<I: Identity>(connection: Connection<I>, token: Token) {
    let ConnectionState { shared, core, origin, .. } = &*connection.0;
    let (head, peer, user) = (&origin.head, &origin.peer, &origin.user);
    let Some(user) = user.as_ref().filter(|user| user.latest().expiry().is_some()) else {
        shared.totals.renewed(RenewalResult::Refused);
        core.send_control(&Control::Refused("these credentials do not expire".to_owned()));
        return;
    };
    let began = Instant::now();
    let credentials = Credentials {
        token: Some(token),
        #[cfg(feature = "rustls")]
        certificate: peer.certificate().cloned(),
    };
    let request = peer.handshake_request(head);
    let admitted = shared.admission.admit(&credentials, &request, &shared.params).await;
    if let Some(result) = result_of(&admitted) {
        shared.totals.authenticated(result, began.elapsed());
    }
    let refusal = match admitted {
        Ok(Some(renewed)) if renewed.id() == user.id() => {
            shared.totals.renewed(RenewalResult::Renewed);
            let at = renewed.expiry();
            user.renew(renewed, began);
            shared.revocable.set(&connection, connection.scope() == Scope::Global);
            // The credentials may have been revoked while the service was asked.
            if !shared.close_if_revoked(&connection) {
                core.send_control(&Control::Renewed { at });
            }
            return;
        }
        Ok(Some(_)) => {
            shared.totals.renewed(RenewalResult::OtherUser);
            core.outbox.close(EndCause::OtherUser);
            return;
        }
        Ok(None) | Err(AdmissionError::Unauthorized | AdmissionError::NoCredentials) => {
            shared.totals.renewed(RenewalResult::Refused);
            if user.refuse() >= TRIES {
                core.outbox.close(EndCause::TokensRefused);
                return;
            }
            "not authorized"
        }
        Err(AdmissionError::Failed(error)) => {
            shared.totals.renewed(RenewalResult::Failed);
            let raised = shared.subscriptions.dispatch_error_of(
                &connection,
                ErrorStage::UserService,
                error,
                Moment::now(),
            );
            if let Some(raised) = raised {
                raised.await;
            }
            "the server cannot tell now"
        }
    };
    core.send_control(&Control::Refused(refusal.to_owned()));
}
