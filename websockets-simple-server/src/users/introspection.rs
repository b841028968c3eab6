//! A user service that asks the issuer about each token.

use std::{borrow::Cow, fmt, marker::PhantomData, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use http::header::{ACCEPT, CONTENT_TYPE};
use reqwest::RequestBuilder;
use serde::de::DeserializeOwned;
use serde_json::Value;
use websockets_simple_core::{Token, wall_clock};

use crate::{
    net::HandshakeRequest,
    users::{
        cached::Cached,
        claims::{self, Claims, LONGEST_TOKEN},
        fetch::{FetchError, Fetcher, IssuerUrlError, Transport, in_time},
        user_service::{Authenticated, Credentials, UserId, UserService, UserServiceError},
    },
};

/// Longest response, in bytes.
const LONGEST: usize = 64 * 1024;

/// How this server authenticates itself to the issuer (RFC 7662 section 2.1).
#[derive(Clone, Debug)]
pub struct ClientAuthentication(Proof);

#[derive(Clone, Debug)]
enum Proof {
    Basic { id: String, secret: Token },
    Bearer(Token),
}

impl ClientAuthentication {
    /// Authenticates with the id and the secret of an OAuth client (RFC 6749 section 2.3.1).
    #[must_use]
    pub fn basic(id: impl Into<String>, secret: impl Into<Token>) -> Self {
        Self(Proof::Basic { id: id.into(), secret: secret.into() })
    }

    /// Authenticates with a bearer token of this server.
    #[must_use]
    pub fn bearer(token: impl Into<Token>) -> Self {
        Self(Proof::Bearer(token.into()))
    }

    fn add_to(&self, request: RequestBuilder) -> RequestBuilder {
        /// Encoded, as the id and the secret may contain colons.
        fn encoded(text: &str) -> String {
            form_urlencoded::byte_serialize(text.as_bytes()).collect()
        }

        match &self.0 {
            Proof::Basic { id, secret } => request.basic_auth(encoded(id), Some(encoded(secret.expose()))),
            Proof::Bearer(token) => request.bearer_auth(token.expose()),
        }
    }
}

/// A user service that asks the issuer about each token: OAuth 2.0 token introspection (RFC 7662).
///
/// A token is valid if the issuer says that it is active. The response has the user id in `sub`, else in `username`, or
/// in the claim [`id_claim`](Self::id_claim); the scopes of the token in `scope`; its expiry in `exp`; and its id in
/// `jti`. Tokens of more than 8 KiB are refused, and the issuer is not asked.
///
/// Answers are cached as by [`Cached`]: users for at most [`known_for`](Self::known_for) and never past `exp`, unknown
/// tokens for [`unknown_for`](Self::unknown_for). Any number of clients that send the same token cause one request. If
/// the issuer does not respond in time, with another status than 200, or with a body that is invalid by RFC 7662,
/// clients get 503 and may try again. Responses may have 64 KiB; redirects are not followed.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{ClientAuthentication, IntrospectedUsers, ServerParams, WebsocketServerAuth};
///
/// # fn example() -> Result<(), websockets_simple_server::IssuerUrlError> {
/// let chat = ClientAuthentication::basic("chat", "the secret of the chat");
/// let users = IntrospectedUsers::new("https://issuer.example/introspect", chat)?.audience("chat");
/// let server = WebsocketServerAuth::<i64>::new(ServerParams::new(8080), users);
/// # Ok(()) }
/// # example().unwrap();
/// ```
pub struct IntrospectedUsers<T: UserId + DeserializeOwned>(Cached<Issuer<T>>);

impl<T: UserId + DeserializeOwned> IntrospectedUsers<T> {
    /// Asks the issuer at an https URL.
    ///
    /// # Errors
    ///
    /// When it is not an https URL, or the system has no root certificates.
    pub fn new(url: &str, authentication: ClientAuthentication) -> Result<Self, IssuerUrlError> {
        Ok(Self::of(Fetcher::new(url, Transport::Https, LONGEST)?, authentication))
    }

    /// Asks the issuer at a URL that may be plain http. An attacker on the way can then read the tokens and impersonate
    /// any user: only for an issuer on the same machine, or for tests.
    ///
    /// # Errors
    ///
    /// When it is neither an http nor an https URL, or the system has no root certificates.
    pub fn danger_without_tls(
        url: &str,
        authentication: ClientAuthentication,
    ) -> Result<Self, IssuerUrlError> {
        Ok(Self::of(Fetcher::new(url, Transport::AlsoHttp, LONGEST)?, authentication))
    }

    fn of(fetcher: Fetcher, authentication: ClientAuthentication) -> Self {
        Self(Cached::new(Issuer {
            fetcher,
            authentication,
            id_claim: None,
            audiences: Vec::new(),
            timeout: Duration::from_secs(4),
            id: PhantomData,
        }))
    }

    /// Which claim of the response is the id of the user, instead of `sub` and `username`.
    #[must_use]
    pub fn id_claim(self, claim: impl Into<String>) -> Self {
        Self(self.0.with_service(|issuer| issuer.id_claim = Some(claim.into())))
    }

    /// Accepts only tokens for this audience (`aud`), or for one of several if this is called again. Without it, a
    /// token that was issued for another service is accepted here, too, unless the issuer decides by the client that
    /// asks.
    #[must_use]
    pub fn audience(self, audience: impl Into<String>) -> Self {
        Self(self.0.with_service(|issuer| issuer.audiences.push(audience.into())))
    }

    /// How long a request may take, 4 seconds by default. Keep it below the authentication deadline
    /// ([`Limits`](crate::Limits)), which is 5 seconds.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self(self.0.with_service(|issuer| issuer.timeout = timeout))
    }

    /// How long a user is cached at most, 60 seconds by default: a token that the issuer has revoked works for so long.
    #[must_use]
    pub fn known_for(self, at_most: Duration) -> Self {
        Self(self.0.known_for(at_most))
    }

    /// How long an unknown token is cached, 5 seconds by default.
    #[must_use]
    pub fn unknown_for(self, at_most: Duration) -> Self {
        Self(self.0.unknown_for(at_most))
    }

    /// How many answers are cached at most, 10,000 by default.
    #[must_use]
    pub fn entries(self, at_most: u64) -> Self {
        Self(self.0.entries(at_most))
    }
}

#[async_trait]
impl<T: UserId + DeserializeOwned> UserService for IntrospectedUsers<T> {
    type Id = T;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<T>>, UserServiceError> {
        match credentials.token() {
            // Without the certificate: the issuer is not asked about it, and only a bare token is cached.
            Some(token) if token.expose().len() <= LONGEST_TOKEN => {
                self.0.authenticate(&Credentials::of_token(token.clone()), request).await
            }
            _ => Ok(None),
        }
    }
}

impl<T: UserId + DeserializeOwned> fmt::Debug for IntrospectedUsers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IntrospectedUsers").field(&self.0).finish()
    }
}

/// The issuer, without a cache.
struct Issuer<T> {
    fetcher: Fetcher,
    authentication: ClientAuthentication,
    id_claim: Option<String>,
    audiences: Vec<String>,
    timeout: Duration,
    id: PhantomData<fn() -> T>,
}

impl<T: UserId + DeserializeOwned> Issuer<T> {
    async fn answer(&self, token: &Token) -> Result<Vec<u8>, FetchError> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("token", token.expose())
            .append_pair("token_type_hint", "access_token")
            .finish();
        let request = self.authentication.add_to(self.fetcher.post());
        let request = request.header(ACCEPT, "application/json");
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        in_time(self.timeout, self.fetcher.body(request)).await
    }

    /// The user that the response names, if the token is valid at that time.
    fn judge(&self, answer: &[u8], now: DateTime<Utc>) -> Result<Option<Authenticated<T>>, FetchError> {
        // The error of serde is dropped, as it may quote the response.
        let claims = serde_json::from_slice::<Claims>(answer);
        let claims = claims.map_err(|_| FetchError::Malformed("not a JSON object"))?;
        match claims.get("active") {
            Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => return Ok(None),
            _ => return Err(FetchError::Malformed("`active` is missing or not a boolean")),
        }
        let time = |claim: &Value| {
            claims::time(claim).ok_or(FetchError::Malformed("`exp` is not a time in seconds"))
        };
        let expiry = claims.get("exp").filter(|claim| !claim.is_null()).map(time).transpose()?;
        if expiry.is_some_and(|at| at <= now) {
            return Ok(None);
        }
        let is_ours = claims.get("aud").is_some_and(|audience| claims::is_one_of(audience, &self.audiences));
        if !self.audiences.is_empty() && !is_ours {
            tracing::debug!("token refused: it is for another audience");
            return Ok(None);
        }
        let id_claim = self
            .id_claim
            .as_deref()
            .map(Cow::Borrowed)
            .unwrap_or_else(|| if claims.contains_key("sub") { "sub".into() } else { "username".into() });
        let Some(user) = claims::user(&claims, &id_claim) else {
            tracing::debug!("active token refused: the user id claim is missing or has the wrong type");
            return Ok(None);
        };
        Ok(Some(match expiry {
            Some(at) => user.expires_at(at),
            None => user,
        }))
    }
}

#[async_trait]
impl<T: UserId + DeserializeOwned> UserService for Issuer<T> {
    type Id = T;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<T>>, UserServiceError> {
        let Some(token) = credentials.token() else { return Ok(None) };
        let answer = self.answer(token).await.and_then(|answer| self.judge(&answer, wall_clock()));
        answer.map_err(UserServiceError::new)
    }
}

impl<T> fmt::Debug for Issuer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("host", &self.fetcher.host())
            .field("id_claim", &self.id_claim)
            .field("audiences", &self.audiences)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer() -> Issuer<i64> {
        Issuer {
            fetcher: Fetcher::new("https://issuer.example/introspect", Transport::Https, LONGEST).unwrap(),
            authentication: ClientAuthentication::basic("chat", "secret-7"),
            id_claim: None,
            audiences: Vec::new(),
            timeout: Duration::from_secs(4),
            id: PhantomData,
        }
    }

    fn judged(issuer: &Issuer<i64>, answer: &str) -> Result<Option<Authenticated<i64>>, FetchError> {
        issuer.judge(answer.as_bytes(), DateTime::from_timestamp(1_000_000, 0).unwrap())
    }

    fn user(issuer: &Issuer<i64>, answer: &str) -> Option<i64> {
        judged(issuer, answer).unwrap().map(|user| *user.id())
    }

    #[test]
    fn an_active_token_is_of_the_subject_else_of_the_username() {
        let issuer = issuer();
        assert_eq!(user(&issuer, r#"{"active":true,"sub":"7","username":"8"}"#), Some(7));
        assert_eq!(user(&issuer, r#"{"active":true,"username":8}"#), Some(8));
        assert_eq!(user(&issuer, r#"{"active":true,"sub":"ronald","username":"8"}"#), None);
        assert_eq!(user(&issuer, r#"{"active":true}"#), None);
        let issuer = Issuer { id_claim: Some("uid".to_owned()), ..issuer };
        assert_eq!(user(&issuer, r#"{"active":true,"sub":"7","uid":9}"#), Some(9));
        assert_eq!(user(&issuer, r#"{"active":true,"sub":"7"}"#), None);
    }

    #[test]
    fn an_answer_tells_expiry_scopes_and_the_name_of_the_token() {
        let answer = r#"{"active":true,"sub":7,"exp":1000001,"scope":"read write","jti":"token-1"}"#;
        let user = judged(&issuer(), answer).unwrap().unwrap();
        assert_eq!(user.expiry(), DateTime::from_timestamp(1_000_001, 0));
        assert!(user.has_scope("read") && user.has_scope("write"));
        assert_eq!(user.credential_id(), Some("token-1"));
    }

    #[test]
    fn inactive_and_expired_tokens_are_nobodys() {
        for answer in
            [r#"{"active":false}"#, r#"{"active":false,"sub":7}"#, r#"{"active":true,"sub":7,"exp":1000000}"#]
        {
            assert_eq!(user(&issuer(), answer), None, "{answer}");
        }
        assert_eq!(user(&issuer(), r#"{"active":true,"sub":7,"exp":null}"#), Some(7));
    }

    #[test]
    fn tokens_for_others_are_nobodys_if_there_is_an_audience() {
        let issuer = Issuer { audiences: vec!["chat".to_owned()], ..issuer() };
        assert_eq!(user(&issuer, r#"{"active":true,"sub":7,"aud":["mail","chat"]}"#), Some(7));
        assert_eq!(user(&issuer, r#"{"active":true,"sub":7,"aud":"mail"}"#), None);
        assert_eq!(user(&issuer, r#"{"active":true,"sub":7}"#), None);
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_an_error_and_not_a_nobody() {
        for answer in [
            "",
            "[]",
            "null",
            "active",
            "{}",
            r#"{"active":"true","sub":7}"#,
            r#"{"active":1,"sub":7}"#,
            r#"{"active":null}"#,
            r#"{"active":true,"sub":7,"exp":"soon"}"#,
            r#"{"active":true,"sub":7"#,
        ] {
            assert!(matches!(judged(&issuer(), answer), Err(FetchError::Malformed(_))), "{answer}");
        }
    }

    #[test]
    fn the_secret_of_the_client_is_not_shown() {
        let authentication = ClientAuthentication::basic("chat", "secret-7");
        let users = IntrospectedUsers::<i64>::new("https://issuer.example/secret-7", authentication.clone());
        for shown in [
            format!("{authentication:?}"),
            format!("{:?}", ClientAuthentication::bearer("secret-7")),
            format!("{:?}", users.unwrap()),
        ] {
            assert!(!shown.contains("secret-7"), "{shown}");
        }
    }
}
