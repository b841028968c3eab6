//! Whether, when and how often a client connects again.

use std::{fmt, sync::Arc, time::Duration};

use websockets_simple_core::{CloseCode, Disconnect, EndedBy, Next, ReconnectPolicy};

use crate::{
    config::{CheckedParams, token_provider::NotAuthorized},
    error::ConnectError,
};

/// Decides what follows a loss.
type Judge = Arc<dyn Fn(&Loss) -> Verdict + Send + Sync>;

/// Lets a client connect again by itself ([`ClientParams::reconnect`](crate::ClientParams::reconnect)).
///
/// The pause before an attempt is a random part of a time that begins at `base` and doubles up to `most`: clients that
/// were lost together do not come back together. It begins at `base` again only after a connection that was open for as
/// long as [`stable_after`](Self::stable_after). What a server asks for, such as `Retry-After`, comes on top.
///
/// | after | the client |
/// |---|---|
/// | a connect that is [worth another try](ConnectError::is_worth_retrying) | tries again; not before `Retry-After` and a random part of as much; after a failure of TLS not sooner than `most` |
/// | [`Unauthorized`](ConnectError::Unauthorized), with a [token provider](crate::ClientParams::token_provider) or a [hook](crate::ClientParams::before_attempt) | tries again once, with a token for [`TokenReason::Refused`](crate::params::TokenReason); after the second time in a row it gives up |
/// | any other connect that failed | gives up |
/// | an end that [may pass](Disconnect::should_reconnect) | tries again; after 1001, 1011, 1013, 1014 and 4001 some steps up the ladder |
/// | the same, after the server has said over [how long](crate::ClientConnection::closing_spread) its clients should come back | tries again, at random within that |
/// | 1000 of a server that does not speak the control messages of this library | tries again: such servers and proxies say so when they restart |
/// | [`ClientConnection::close`](crate::ClientConnection::close), or any other end | gives up |
///
/// [`judge`](Self::judge) changes that.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use websockets_simple_client::{ClientParams, Reconnect};
///
/// let reconnect = Reconnect::new().delays(Duration::from_millis(200), Duration::from_secs(10)).first(true);
/// let params = ClientParams::new("localhost", 8080).reconnect(reconnect);
/// # drop(params);
/// ```
#[derive(Clone, Default)]
pub struct Reconnect {
    pub(crate) policy: ReconnectPolicy,
    judge: Option<Judge>,
}

/// What a client has lost: a connect that has failed, or a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loss {
    /// What happened.
    pub cause: LossCause,
    /// How many attempts and short connections were lost in a row before this.
    pub attempt: u32,
}

/// What happened to a connect or a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LossCause {
    /// The connection has ended.
    Ended(Disconnect),
    /// The connect has failed.
    Refused(Arc<ConnectError>),
}

/// What follows a loss.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// What the table of [`Reconnect`] says.
    #[default]
    AsUsual,
    /// Another attempt, after a pause of the ladder.
    Again,
    /// Another attempt after exactly this time.
    AgainAfter(Duration),
    /// No other attempt.
    Stop,
}

/// What is known of the client when it has lost something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances {
    /// Whether another token can be asked for, or the hook may change the request.
    pub(crate) may_differ: bool,
    /// Whether the server has refused the token before, since it last took one.
    pub(crate) was_refused: bool,
    /// Whether the server speaks the control messages of this library.
    pub(crate) has_controls: bool,
    /// Over how long the server has asked its clients to come back.
    pub(crate) spread: Option<Duration>,
}

impl Reconnect {
    /// At random between 0 and 0.5 s, then up to 30 s, for ever, after the first connect has succeeded.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The longest pause before the first attempt, and the longest of all. Default: 0.5 s and 30 s. Neither may be zero.
    #[must_use]
    pub fn delays(mut self, base: Duration, most: Duration) -> Self {
        (self.policy.base, self.policy.most) = (base, most);
        self
    }

    /// How long a connection has to be open before the pauses begin at `base` again. Default: 10 s.
    #[must_use]
    pub fn stable_after(mut self, open_for: Duration) -> Self {
        self.policy.stable_after = open_for;
        self
    }

    /// Most attempts in a row, after which the client gives up. Default: no limit.
    #[must_use]
    pub fn attempts(mut self, most: u32) -> Self {
        self.policy.attempts = Some(most);
        self
    }

    /// For how long after a loss attempts are made. Default: for ever.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.policy.within = Some(time);
        self
    }

    /// Whether the first connect is tried again as well, so that a client may start before its server. Default: no,
    /// [`connect`](crate::WebsocketClient::connect) fails at once.
    #[must_use]
    pub fn first(mut self, too: bool) -> Self {
        self.policy.first = too;
        self
    }

    /// Decides about every loss instead of the table above, which is [`Verdict::AsUsual`]. A judge that panics is one that
    /// says that; the panic is an error event.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_client::{ConnectError, LossCause, Reconnect, Verdict};
    ///
    /// // This server says 404 while it is deployed.
    /// let reconnect = Reconnect::new().judge(|loss| match &loss.cause {
    ///     LossCause::Refused(error) if matches!(**error, ConnectError::Rejected { status: 404, .. }) => Verdict::Again,
    ///     _ => Verdict::AsUsual,
    /// });
    /// # drop(reconnect);
    /// ```
    #[must_use]
    pub fn judge(mut self, judge: impl Fn(&Loss) -> Verdict + Send + Sync + 'static) -> Self {
        self.judge = Some(Arc::new(judge));
        self
    }

    /// What the application says of a loss. May panic.
    pub(crate) fn verdict(&self, loss: &Loss) -> Verdict {
        self.judge.as_ref().map_or(Verdict::AsUsual, |judge| judge(loss))
    }

    /// What follows a loss.
    pub(crate) fn next(&self, loss: &Loss, verdict: Verdict, circumstances: Circumstances) -> Next {
        match verdict {
            Verdict::AsUsual => match &loss.cause {
                LossCause::Refused(error) => self.after_refusal(error, circumstances),
                LossCause::Ended(end) => after_end(end, circumstances),
            },
            Verdict::Again => Next::Again,
            Verdict::AgainAfter(pause) => Next::Exactly(pause),
            Verdict::Stop => Next::Stop,
        }
    }

    fn after_refusal(&self, error: &ConnectError, circumstances: Circumstances) -> Next {
        let again = match error {
            ConnectError::Unauthorized { .. } => circumstances.may_differ && !circumstances.was_refused,
            ConnectError::TokenProvider(source) => !source.is::<NotAuthorized>(),
            // The last connection has not let go yet.
            ConnectError::AlreadyConnected => true,
            error => error.is_worth_retrying(),
        };
        match error {
            _ if !again => Next::Stop,
            ConnectError::Tls(_) => Next::NotBefore(self.policy.most),
            error => error.retry_after().map_or(Next::Again, Next::NotBefore),
        }
    }
}

fn after_end(end: &Disconnect, circumstances: Circumstances) -> Next {
    let code = end.code.and_then(|code| CloseCode::new(code).ok());
    let again = match (end.by, code) {
        (EndedBy::Local, _) => false,
        (EndedBy::Peer, Some(CloseCode::NORMAL)) => !circumstances.has_controls,
        _ => end.should_reconnect(),
    };
    match (again, circumstances.spread) {
        (false, _) => Next::Stop,
        (true, Some(spread)) => Next::Spread(spread),
        (true, None) if matches!(end.code, Some(1001 | 1011 | 1013 | 1014 | 4001)) => Next::Later,
        (true, None) => Next::Again,
    }
}

impl fmt::Debug for Reconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnect")
            .field("policy", &self.policy)
            .field("judge", &self.judge.is_some())
            .finish()
    }
}

impl Loss {
    /// What a caller of `connect` is told.
    pub(crate) fn error(&self, params: &CheckedParams) -> ConnectError {
        match &self.cause {
            LossCause::Ended(end) => ConnectError::from_end(Some(end), params),
            LossCause::Refused(error) => (**error).clone(),
        }
    }

    /// As it is shown, without the words of the server, which may quote a token.
    pub(crate) fn in_a_log(&self) -> Self {
        let cause = match &self.cause {
            LossCause::Ended(end) if end.by == EndedBy::Peer => {
                LossCause::Ended(Disconnect::new(end.by, end.code, "", end.clean))
            }
            cause => cause.clone(),
        };
        Self { cause, attempt: self.attempt }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            LossCause::Ended(end) => write!(f, "the connection {end}"),
            LossCause::Refused(error) => write!(f, "cannot connect: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::NoAttempt,
        error::{ParamsError, ProxyError, TlsFailure},
    };

    const CIRCUMSTANCES: Circumstances =
        Circumstances { may_differ: false, was_refused: false, has_controls: true, spread: None };

    fn after(cause: LossCause, circumstances: Circumstances) -> Next {
        let loss = Loss { cause, attempt: 0 };
        let reconnect = Reconnect::new();
        reconnect.next(&loss, reconnect.verdict(&loss), circumstances)
    }

    fn refused(error: ConnectError) -> LossCause {
        LossCause::Refused(Arc::new(error))
    }

    fn rejected(status: u16, retry_after: Option<Duration>) -> LossCause {
        refused(ConnectError::Rejected { status, headers: Box::default(), body: String::new(), retry_after })
    }

    #[test]
    fn a_refusal_is_followed_by_what_the_server_and_the_error_say() {
        let ten = Duration::from_secs(10);
        for (cause, next) in [
            (refused(ConnectError::Timeout), Next::Again),
            (rejected(503, None), Next::Again),
            (rejected(503, Some(ten)), Next::NotBefore(ten)),
            (rejected(404, Some(ten)), Next::Stop),
            (refused(ConnectError::Tls(TlsFailure::Expired)), Next::NotBefore(Duration::from_secs(30))),
            (refused(ConnectError::SubprotocolRejected), Next::Stop),
            (refused(ConnectError::Proxy(ProxyError::Socks5(5))), Next::Again),
            (refused(ConnectError::Proxy(ProxyError::Unauthorized)), Next::Stop),
            (refused(ConnectError::NoAttempt(NoAttempt::new("signed out"))), Next::Stop),
            (refused(ConnectError::NoAttempt(NoAttempt::again("the signer is down"))), Next::Again),
            (refused(ConnectError::Params(ParamsError::ZeroPort)), Next::Stop),
            (refused(ConnectError::TokenProvider(Arc::new(ConnectError::Timeout))), Next::Again),
            (refused(ConnectError::TokenProvider(Arc::new(NotAuthorized))), Next::Stop),
        ] {
            assert_eq!(after(cause.clone(), CIRCUMSTANCES), next, "{cause:?}");
        }
    }

    #[test]
    fn a_refused_token_is_replaced_once() {
        let unauthorized = || refused(ConnectError::unauthorized(String::new()));
        for (may_differ, was_refused, next) in
            [(false, false, Next::Stop), (true, false, Next::Again), (true, true, Next::Stop)]
        {
            let circumstances = Circumstances { may_differ, was_refused, ..CIRCUMSTANCES };
            assert_eq!(after(unauthorized(), circumstances), next);
        }
    }

    #[test]
    fn an_end_is_followed_by_what_its_code_says_and_who_closed() {
        let end = |by, code| LossCause::Ended(Disconnect::new(by, code, "", true));
        for (by, code, next) in [
            (EndedBy::Transport, None, Next::Again),
            (EndedBy::Peer, None, Next::Again),
            (EndedBy::Peer, Some(1001), Next::Later),
            (EndedBy::Peer, Some(1012), Next::Again),
            (EndedBy::Peer, Some(1014), Next::Later),
            (EndedBy::Peer, Some(4001), Next::Later),
            (EndedBy::Peer, Some(4100), Next::Again),
            (EndedBy::Peer, Some(4500), Next::Stop),
            (EndedBy::Peer, Some(1008), Next::Stop),
            (EndedBy::Peer, Some(1000), Next::Stop),
            (EndedBy::Heartbeat, Some(4000), Next::Again),
            (EndedBy::Local, Some(1001), Next::Stop),
            (EndedBy::Limit, Some(1009), Next::Stop),
        ] {
            assert_eq!(after(end(by, code), CIRCUMSTANCES), next, "{by} {code:?}");
        }
        let foreign = Circumstances { has_controls: false, ..CIRCUMSTANCES };
        assert_eq!(after(end(EndedBy::Peer, Some(1000)), foreign), Next::Again);
        let ten = Duration::from_secs(10);
        let asked = Circumstances { spread: Some(ten), ..CIRCUMSTANCES };
        for (code, next) in [(1001, Next::Spread(ten)), (1012, Next::Spread(ten)), (1008, Next::Stop)] {
            assert_eq!(after(end(EndedBy::Peer, Some(code)), asked), next, "{code}");
        }
    }

    #[test]
    fn a_judge_has_the_last_word() {
        let loss = Loss { cause: rejected(404, None), attempt: 3 };
        let pause = Duration::from_secs(7);
        for (verdict, next) in [
            (Verdict::Again, Next::Again),
            (Verdict::AgainAfter(pause), Next::Exactly(pause)),
            (Verdict::Stop, Next::Stop),
            (Verdict::AsUsual, Next::Stop),
        ] {
            let reconnect = Reconnect::new().judge(move |loss| {
                assert_eq!(loss.attempt, 3);
                verdict
            });
            assert_eq!(reconnect.next(&loss, reconnect.verdict(&loss), CIRCUMSTANCES), next);
        }
    }
}
