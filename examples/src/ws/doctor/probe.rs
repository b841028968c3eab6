//! What is diagnosed: a URL, and what a client would send there.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use url::{Host, Url, form_urlencoded};
use websockets_simple_client::{Token, TokenPlacement, tls::TlsIdentity};
use websockets_simple_core::{
    SUBPROTOCOL,
    handshake_words::{BEARER_PREFIX, WITH_CONTROLS},
};

use crate::ws::doctor::{
    finding::{Facts, Fault},
    secrets::{Secrets, in_a_path, without_query},
};

/// A URL, and all that decides how it is connected to.
#[derive(Debug)]
pub struct Probe {
    /// As it was typed.
    pub url: Token,
    /// Headers of the request. The values may be secrets.
    pub headers: Vec<(String, Token)>,
    /// The subprotocols to offer, the preferred one first.
    pub subprotocols: Vec<String>,
    /// The token, and where it goes.
    pub token: Option<(Token, TokenPlacement)>,
    /// Root certificates in PEM, which are trusted beside those of the machine.
    pub roots: Vec<Vec<u8>>,
    /// The certificate of the client.
    pub identity: Option<TlsIdentity>,
    /// Whether the way goes on with a certificate that is not trusted.
    pub insecure: bool,
    /// Whether the server is one of the .NET library, which may accept a subprotocol without saying so.
    pub is_dotnet: bool,
    /// Addresses of hosts that are not looked up.
    pub resolved: Vec<(String, u16, IpAddr)>,
    /// The proxy to go through.
    pub proxy: Option<ProxyChoice>,
    /// A Unix domain socket in place of TCP.
    pub unix: Option<PathBuf>,
    /// The time for each step.
    pub timeout: Duration,
}

/// Which proxy to go through.
#[derive(Debug)]
pub enum ProxyChoice {
    /// The one that the environment names, if any.
    Environment,
    /// This one. The URL may contain a password.
    Url(Token),
}

/// The parts of a URL that the steps need.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) secured: bool,
    pub(super) host: Host<String>,
    pub(super) port: u16,
    /// Path and query.
    pub(super) target: Token,
}

impl Probe {
    /// What must not be shown.
    pub(super) fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        if let Some((token, _)) = &self.token {
            secrets.hide(token.expose());
            secrets.hide(token.expose().trim_start_matches('/'));
        }
        for (name, value) in &self.headers {
            // What is not shown as a header is not shown when the server repeats it.
            if secrets.header(name, value.expose()).ends_with(": ***") {
                let value = value.expose();
                secrets.hide(value);
                secrets.hide(value.split_once(' ').map_or(value, |(_, credentials)| credentials));
            }
        }
        if let Ok(url) = Url::parse(self.url.expose()) {
            secrets.hide_query(&url);
        }
        secrets
    }

    /// The URL without what may be a secret.
    pub(super) fn shown_url(&self) -> String {
        without_query(self.url.expose())
    }

    /// Reads the URL.
    pub(super) fn address(&self, facts: &mut Facts) -> Result<(Address, String), Fault> {
        let example = "write it like wss://chat.example/room";
        let url = Url::parse(self.url.expose())
            .map_err(|error| Fault::new(format!("the URL is malformed: {error}"), example))?;
        let secured = match url.scheme() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            other => {
                let why = format!("the scheme `{other}` is not one of a WebSocket");
                return Err(Fault::new(why, "begin the URL with ws:// or wss://"));
            }
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Fault::new(
                "the URL contains a user name or a password, which a handshake cannot send",
                "use a token or a header",
            ));
        }
        if url.fragment().is_some() {
            return Err(Fault::new(
                "the URL contains a fragment (`#`), which a handshake cannot send (RFC 6455 section 3)",
                "leave it out, or write `%23` if it belongs to the path",
            ));
        }
        let host = url.host().ok_or_else(|| Fault::new("the URL has no host", example))?.to_owned();
        let port = url.port_or_known_default().unwrap_or(if secured { 443 } else { 80 });
        if port == 0 {
            return Err(Fault::new("port 0 cannot be connected to", "write the port of the server"));
        }
        let target = self.target(&url)?;
        facts.see("host", host.to_string());
        facts.see("port", port);
        facts.see("tls", secured);
        facts.see("target", without_query(target.expose()));
        Ok((Address { secured, host, port, target }, self.shown_url()))
    }

    /// Path and query, with the token if it belongs there.
    fn target(&self, url: &Url) -> Result<Token, Fault> {
        let (mut path, mut query) = (url.path().to_owned(), url.query().unwrap_or_default().to_owned());
        match &self.token {
            Some((token, TokenPlacement::Query)) => {
                query = form_urlencoded::Serializer::new(query).append_pair("token", token.expose()).finish();
            }
            Some((token, TokenPlacement::Path)) => {
                path = format!("/{}", in_a_path(token.expose().trim_start_matches('/')));
            }
            Some((token, TokenPlacement::Header))
                if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                return Err(Fault::new(
                    "the token has characters that a header cannot carry",
                    "check that it is the token, on one line and without blanks; or send it as `query` or `subprotocol`",
                ));
            }
            _ => {}
        }
        Ok(Token::new(match (query.is_empty(), path.contains('?')) {
            (true, _) => path,
            (false, false) => format!("{path}?{query}"),
            (false, true) => format!("{path}&{query}"),
        }))
    }

    /// The value of `Sec-WebSocket-Protocol`, element by element, as the client of this library writes it: each
    /// subprotocol with control messages first.
    pub(super) fn offers(&self) -> Vec<Token> {
        let mut offers = Vec::new();
        for name in &self.subprotocols {
            if !self.is_dotnet && name != SUBPROTOCOL {
                offers.push(format!("{WITH_CONTROLS}{name}"));
            }
            offers.push(name.clone());
        }
        if let Some((token, TokenPlacement::Subprotocol)) = &self.token {
            if offers.is_empty() {
                // The server has to choose one of the offers, and must not choose the token.
                offers.push(SUBPROTOCOL.to_owned());
            }
            offers.push(format!("{BEARER_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(token.expose())));
        }
        offers.into_iter().map(Token::new).collect()
    }
}

impl Address {
    /// Host and port as the header `Host` names them; the default port is left out (RFC 6455 section 4.1).
    pub(super) fn authority(&self) -> String {
        let usual = if self.secured { 443 } else { 80 };
        if self.port == usual { self.host.to_string() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Whether the host is this machine, by its usual names.
    pub(super) fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(ip) => ip.is_loopback(),
            Host::Ipv6(ip) => ip.is_loopback(),
        }
    }

    /// The host without brackets, as a certificate names it.
    pub(super) fn name(&self) -> String {
        match &self.host {
            Host::Ipv6(address) => address.to_string(),
            other => other.to_string(),
        }
    }
}
