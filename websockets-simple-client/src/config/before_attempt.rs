//! What the application changes before each attempt to connect.

use std::{error::Error, fmt, pin::Pin, sync::Arc};

use url::form_urlencoded;
use websockets_simple_core::{CatchPanic, Token};

use crate::{
    config::{CheckedParams, ClientParams, Loss},
    error::ConnectError,
};

type Asked = Pin<Box<dyn Future<Output = Result<ClientParams, NoAttempt>> + Send>>;

/// The hook of [`ClientParams::before_attempt`].
#[derive(Clone)]
pub(crate) struct BeforeAttempt(Arc<dyn Fn(AttemptInfo, ClientParams) -> Asked + Send + Sync>);

/// The attempt that is about to be made.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AttemptInfo {
    /// How many attempts and short connections were lost in a row before this: 0 at first, and for a client that does not
    /// [reconnect](ClientParams::reconnect).
    pub attempt: u32,
    /// What a client that reconnects has lost before, if it has since the application asked for a connection.
    pub loss: Option<Arc<Loss>>,
}

/// Why no attempt is made. A client that [reconnects](ClientParams::reconnect) then gives up, unless it is to ask
/// [`again`](Self::again).
///
/// The reason is part of the [`ConnectError`] and may end up in logs: keep secrets out of it.
#[derive(Clone, Debug)]
pub struct NoAttempt {
    reason: Arc<dyn Error + Send + Sync>,
    again: bool,
}

impl NoAttempt {
    /// No attempt, and none later.
    #[must_use]
    pub fn new(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { reason: reason.into().into(), again: false }
    }

    /// No attempt at the moment: the hook is asked again after a pause, as after an attempt that has failed.
    #[must_use]
    pub fn again(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { again: true, ..Self::new(reason) }
    }

    /// Whether the hook is to be asked again.
    #[must_use]
    pub fn is_again(&self) -> bool {
        self.again
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.reason
    }
}

impl fmt::Display for NoAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl Error for NoAttempt {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.reason.source()
    }
}

impl ClientParams {
    /// Calls a hook before each attempt to connect, with these parameters, and connects with those that it returns: for a
    /// URL that is signed for a minute, a header with the time, another host after a loss.
    ///
    /// The hook may change what is dialled and what the request says: host, port, [`secured`](Self::secured), path, query,
    /// headers, subprotocols, token and its placement. Everything else is the client's for its whole life, certificates
    /// and timeouts too: changes of it have no effect. A [token provider](Self::token_provider) is asked after the hook,
    /// and its token takes the place of one of the hook.
    ///
    /// What is returned is checked as [`WebsocketClient::new`](crate::WebsocketClient::new) checks:
    /// [`ConnectError::Params`] is final. So is [`NoAttempt`], unless it says
    /// [`again`](NoAttempt::again), as a hook that panics does. The time of the hook is part of the
    /// [connect timeout](Self::connect_timeout); then it is dropped. What the hook adds is
    /// told nowhere: events name the path of the client's own parameters, and where the server quotes a path, a header value
    /// or a value of the query that the hook has added, `***` takes its place, as with a token.
    ///
    /// With a hook, a client that [reconnects](Self::reconnect) tries once more after a 401, as one with a token provider.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_client::{ClientParams, NoAttempt, Reconnect};
    ///
    /// # async fn sign(path: &str) -> Result<String, std::io::Error> { Ok(path.to_owned()) }
    /// let params = ClientParams::new("localhost", 8080)
    ///     .reconnect(Reconnect::new())
    ///     .before_attempt(async |attempt, params| {
    ///         if attempt.attempt > 100 {
    ///             return Err(NoAttempt::new("a hundred attempts are enough"));
    ///         }
    ///         // The signer may be down for a while.
    ///         let signature = sign("/feed").await.map_err(NoAttempt::again)?;
    ///         Ok(params.query("signature", signature))
    ///     });
    /// # drop(params);
    /// ```
    #[must_use]
    pub fn before_attempt<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(AttemptInfo, Self) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Self, NoAttempt>> + Send + 'static,
    {
        self.before_attempt = Some(BeforeAttempt(Arc::new(move |info, params| Box::pin(hook(info, params)))));
        self
    }

    /// These parameters, with what another set of them says of the dial and the request.
    fn dialled_as(mut self, other: Self) -> Self {
        let own = self.values();
        self.hidden =
            other.values().into_iter().filter(|value| !own.contains(value)).map(Token::new).collect();
        self.host = other.host;
        self.port = other.port;
        self.secured = other.secured;
        self.path = other.path;
        self.query = other.query;
        self.headers = other.headers;
        self.subprotocols = other.subprotocols;
        self.token = other.token;
        self.token_placement = other.token_placement;
        self
    }

    /// What of the request may be secret, beside the token.
    fn values(&self) -> Vec<String> {
        let query = form_urlencoded::parse(self.query.as_bytes()).map(|(_, value)| value.into_owned());
        let headers = self.headers.iter().map(|(_, value)| value.trim().to_owned());
        query.chain(headers).chain([self.path.clone()]).collect()
    }
}

impl CheckedParams {
    /// Whether a hook may change these parameters.
    pub(crate) fn has_hook(&self) -> bool {
        self.params.before_attempt.is_some()
    }

    /// The parameters of this attempt.
    pub(crate) async fn for_attempt(self: &Arc<Self>, info: AttemptInfo) -> Result<Arc<Self>, ConnectError> {
        let Some(BeforeAttempt(hook)) = self.params.before_attempt.clone() else {
            return Ok(Arc::clone(self));
        };
        let params = self.params.clone();
        let asked = CatchPanic::new(Box::pin(async move { hook(info, params).await })).await;
        let changed = asked
            .unwrap_or_else(|panicked| Err(NoAttempt::again(panicked.of_code("the hook before attempts"))));
        let changed = changed.map_err(ConnectError::NoAttempt)?;
        let checked = self.params.clone().dialled_as(changed).check();
        Ok(Arc::new(checked.map_err(ConnectError::Params)?))
    }
}

impl fmt::Debug for BeforeAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BeforeAttempt")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{config::Reconnect, error::ParamsError};

    async fn changed(
        change: fn(ClientParams) -> Result<ClientParams, NoAttempt>,
    ) -> Result<Arc<CheckedParams>, ConnectError> {
        let params =
            ClientParams::new("localhost", 8080).query("a", "1").connect_timeout(Duration::from_secs(7));
        let params = params.before_attempt(move |_, params| std::future::ready(change(params)));
        Arc::new(params.check().unwrap()).for_attempt(AttemptInfo::default()).await
    }

    #[tokio::test]
    async fn what_is_dialled_and_asked_for_may_change_and_nothing_else() {
        let params = changed(|params| {
            let other =
                ClientParams::new("other.example", 81).secured(true).path("/b").reconnect(Reconnect::new());
            let other = other.connect_timeout(Duration::from_secs(1)).message_size(1).subprotocol("json");
            drop(params);
            Ok(other.header("x-signature", "s").token("secret").query("b", "2"))
        });
        let params = params.await.unwrap();
        assert_eq!((params.host.name.as_str(), params.port(), params.secured()), ("other.example", 81, true));
        assert_eq!(params.target.expose(), "/b?b=2");
        assert_eq!(params.authorization.as_ref().unwrap().expose(), "Bearer secret");
        assert_eq!((params.headers.len(), params.offers.expose()), (1, "websockets-simple+json, json"));
        assert_eq!((params.connect_timeout(), params.message_size()), (Duration::from_secs(7), 16 << 20));
        assert!(params.reconnect().is_none() && params.has_hook());
    }

    #[tokio::test]
    async fn what_is_returned_is_added_to_or_replaced_and_checked() {
        let params = changed(|params| Ok(params.query("b", "2"))).await.unwrap();
        assert_eq!(params.target.expose(), "/?a=1&b=2");
        let error = changed(|params| Ok(params.header("upgrade", "x"))).await.err().unwrap();
        let ConnectError::Params(why) = &error else { panic!("{error:?}") };
        assert_eq!(*why, ParamsError::HeaderReserved("upgrade".to_owned()));
        assert!(!error.is_worth_retrying());
    }

    #[tokio::test]
    async fn no_attempt_is_final_unless_it_says_again_as_a_panic_does() {
        for (change, said, again) in [
            ((|_| Err(NoAttempt::new("signed out"))) as fn(_) -> _, "no attempt: signed out", false),
            (|_| Err(NoAttempt::again("it is down")), "no attempt: it is down", true),
            (|_| panic!("a secret"), "no attempt: the hook before attempts panicked", true),
        ] {
            let error = changed(change).await.err().unwrap();
            assert_eq!((error.to_string().as_str(), error.is_worth_retrying()), (said, again));
            let ConnectError::NoAttempt(why) = error else { panic!("{error:?}") };
            assert!(said.ends_with(&why.reason().to_string()) && why.source().is_none());
        }
    }
}
