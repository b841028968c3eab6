//! HTTP requests to a token issuer.

use std::{error::Error, sync::Arc, time::Duration};

use reqwest::{Client, RequestBuilder, Url, redirect::Policy};

/// Timeout for opening a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Why the URL of an issuer cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerUrlError {
    /// The HTTP client cannot be set up: the system has no root certificates.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] Arc<dyn Error + Send + Sync>),
    /// It is not a URL, is neither https nor http, has no host, or has a user name or a password.
    #[error("the issuer URL is invalid")]
    Malformed,
    /// It is not https, so an attacker on the way could insert keys or users.
    #[error("the issuer URL is not https")]
    NotHttps,
}

/// Why a request to an issuer failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[cfg(feature = "jwks")]
    #[error("the request was cancelled")]
    GivenUp,
    #[error("the response is invalid: {0}")]
    Malformed(&'static str),
    #[error("the response has the status {0}")]
    Status(u16),
    #[error("the request timed out")]
    TimedOut,
    #[error("the response is longer than {0} bytes")]
    TooLong(usize),
    #[error("the request failed")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
}

/// Whether requests to an issuer may be sent without TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Transport {
    Https,
    AlsoHttp,
}

/// An HTTP client for one URL of an issuer.
#[derive(Clone)]
pub(crate) struct Fetcher {
    client: Client,
    url: Url,
    /// Longest response, in bytes.
    longest: usize,
}

impl Fetcher {
    pub(crate) fn new(url: &str, transport: Transport, longest: usize) -> Result<Self, IssuerUrlError> {
        let url = Url::parse(url).map_err(|_| IssuerUrlError::Malformed)?;
        if !url.has_host() || !url.username().is_empty() || url.password().is_some() {
            return Err(IssuerUrlError::Malformed);
        }
        let builder = Client::builder().redirect(Policy::none()).connect_timeout(CONNECT).referer(false);
        let builder = match (url.scheme(), transport) {
            ("https", _) => builder.https_only(true),
            // A proxy could read the tokens.
            ("http", Transport::AlsoHttp) => builder.no_proxy(),
            ("http", Transport::Https) => return Err(IssuerUrlError::NotHttps),
            _ => return Err(IssuerUrlError::Malformed),
        };
        let client =
            builder.build().map_err(|error| IssuerUrlError::Client(Arc::new(error.without_url())))?;
        Ok(Self { client, url, longest })
    }

    pub(crate) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    #[cfg(feature = "jwks")]
    pub(crate) fn get(&self) -> RequestBuilder {
        self.client.get(self.url.clone())
    }

    #[cfg(feature = "introspection")]
    pub(crate) fn post(&self) -> RequestBuilder {
        self.client.post(self.url.clone())
    }

    /// Sends a request and reads the body of the response, which must have the status 200.
    pub(crate) async fn body(&self, request: RequestBuilder) -> Result<Vec<u8>, FetchError> {
        let unreachable = |error: reqwest::Error| FetchError::Unreachable(error.without_url().into());
        let mut response = request.send().await.map_err(unreachable)?;
        if response.status() != 200 {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(unreachable)? {
            if piece.len() > self.longest - body.len() {
                return Err(FetchError::TooLong(self.longest));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

/// Runs a request with a timeout.
pub(crate) async fn in_time<T>(
    time: Duration,
    request: impl Future<Output = Result<T, FetchError>>,
) -> Result<T, FetchError> {
    tokio::time::timeout(time, request).await.unwrap_or(Err(FetchError::TimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_is_used_unless_told_otherwise() {
        let said = |url, transport| Fetcher::new(url, transport, 1).map(|_| ());
        assert!(said("https://issuer.example/keys", Transport::Https).is_ok());
        assert!(said("http://issuer.example/keys", Transport::AlsoHttp).is_ok());
        let refused = said("http://issuer.example/keys", Transport::Https);
        assert!(matches!(refused, Err(IssuerUrlError::NotHttps)));
        for url in
            ["", "issuer.example", "ftp://issuer.example", "https://", "https://user:word@issuer.example/"]
        {
            let refused = said(url, Transport::AlsoHttp);
            assert!(matches!(refused, Err(IssuerUrlError::Malformed)), "{url}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_has_so_much_time() {
        let in_time = in_time(Duration::from_secs(5), std::future::pending::<Result<(), _>>());
        assert!(matches!(in_time.await, Err(FetchError::TimedOut)));
    }
}
