//! The way through an HTTP proxy: its method CONNECT (RFC 9110 section 9.3.6).

use base64::{Engine, prelude::BASE64_STANDARD};
use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use websockets_simple_client::Token;

use crate::ws::doctor::{
    answer::{Answer, Peer},
    finding::{Facts, Fault},
    network::Stream,
    probe::{Address, Probe, ProxyChoice},
    secrets::Secrets,
};

/// A proxy that the connection goes through.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// Whether it speaks HTTP, without TLS.
    is_http: bool,
    authorization: Option<Token>,
}

impl Proxy {
    /// The proxy for an address, if there is one.
    pub(super) fn choose(probe: &Probe, address: &Address) -> Option<Self> {
        let matcher = match probe.proxy.as_ref()? {
            ProxyChoice::Environment => Matcher::from_env(),
            ProxyChoice::Url(url) => Matcher::builder().all(url.expose()).build(),
        };
        let host = address.authority();
        let ask = |scheme: &str| matcher.intercept(&format!("{scheme}://{host}/").parse::<Uri>().ok()?);
        // A proxy for HTTPS allows CONNECT, and one for HTTP perhaps not (RFC 6455 section 4.1).
        ask("https").or_else(|| ask("http").filter(|_| !address.secured)).and_then(|found| Self::of(&found))
    }

    fn of(found: &Intercept) -> Option<Self> {
        let uri = found.uri();
        let is_http = uri.scheme_str() == Some("http");
        let usual = if is_http { 80 } else { 1080 };
        let authorization = found.basic_auth().and_then(|value| value.to_str().ok()).map(Token::from);
        Some(Self {
            host: uri.host()?.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(usual),
            is_http,
            authorization,
        })
    }

    /// Hides user name and password.
    pub(super) fn hide(&self, secrets: &mut Secrets) {
        let Some(authorization) = &self.authorization else { return };
        let encoded = authorization.expose().trim_start_matches("Basic ");
        secrets.hide(encoded);
        let decoded = BASE64_STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some((_, password)) = decoded.as_deref().and_then(|both| both.split_once(':')) {
            secrets.hide(password);
        }
    }

    /// Asks the proxy for a connection to the server.
    pub(super) async fn tunnel<S: Stream>(
        &self,
        probe: &Probe,
        address: &Address,
        secrets: &Secrets,
        stream: &mut S,
        facts: &mut Facts,
    ) -> Result<String, Fault> {
        if !self.is_http {
            return Err(Fault::new(
                "only proxies of HTTP without TLS are diagnosed, and this is another one",
                "`ws connect` goes through SOCKS5 proxies too; for a diagnosis give an HTTP proxy",
            ));
        }
        let server = format!("{}:{}", address.host, address.port);
        let mut head = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n");
        facts.see("sent", format!("CONNECT {server} HTTP/1.1"));
        facts.see("sent", format!("Host: {server}"));
        if let Some(authorization) = &self.authorization {
            facts.see("sent", secrets.header("Proxy-Authorization", authorization.expose()));
            head.push_str(&format!("Proxy-Authorization: {}\r\n", authorization.expose()));
        }
        head.push_str("\r\n");
        let answer = Answer::to(&Token::new(head), stream, Peer::Proxy, probe.timeout, secrets).await?;
        answer.describe(secrets, facts);
        let said = answer.status_line();
        match answer.status {
            200..=299 if answer.rest.is_empty() => Ok(format!("the proxy connects to {server}")),
            200..=299 => Err(Fault::new(
                "something came through the proxy before anything was asked",
                "check the port: servers of WebSockets do not speak first",
            )),
            407 => Err(Fault::new(
                format!("the proxy wants other credentials ({said})"),
                "write them into the URL of the proxy: http://USER:PASSWORD@HOST:PORT",
            )),
            403 | 405 => Err(Fault::new(
                format!("the proxy does not allow connections to {server} ({said})"),
                "have the proxy allow CONNECT to this host and port; wss:// on port 443 is what most allow",
            )),
            500..=599 => Err(Fault::new(
                format!("the proxy cannot connect to {server} ({said})"),
                "check the host and port in the URL; the name is resolved by the proxy",
            )),
            _ => Err(Fault::new(
                format!("the proxy does not connect to {server} ({said})"),
                "check that this is an HTTP proxy, and look into its log",
            )),
        }
    }
}
