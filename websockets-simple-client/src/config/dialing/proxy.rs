//! Proxies between a client and its server.

use std::env;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;
use url::Url;
use websockets_simple_core::Token;

use crate::{
    config::host::{self, Host},
    error::ParamsError,
};

/// Longest user name and password, and longest name of a server, that SOCKS5 can carry, in bytes (RFC 1928 section 5,
/// RFC 1929 section 2).
const MOST_OF_SOCKS5: usize = 255;

/// A proxy through which a client connects ([`ClientParams::proxy`](crate::ClientParams::proxy)): by the method CONNECT
/// of HTTP (RFC 9110 section 9.3.6), or by SOCKS5 (RFC 1928). The proxy resolves the name of the server. With TLS it
/// sees that name and nothing that is sent.
///
/// # Examples
///
/// ```
/// use websockets_simple_client::{ClientParams, ParamsError, Proxy};
///
/// # fn main() -> Result<(), ParamsError> {
/// let proxy = Proxy::http("http://proxy.example:3128")?
///     .credentials("ronald", "correct horse")
///     .except(["localhost", "10.0.0.0/8", "internal.example"]);
/// let params = ClientParams::url("wss://chat.example/room")?.proxy(proxy);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Proxy {
    /// For connections without TLS.
    plain: Option<ProxyServer>,
    secured: Option<ProxyServer>,
    /// Instead of those in the URL.
    credentials: Option<Credentials>,
    /// Hosts that are connected to directly.
    except: Vec<String>,
}

/// The proxy that a connect goes through.
#[derive(Clone, Debug)]
pub(crate) struct ProxyServer {
    pub(crate) kind: ProxyKind,
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) credentials: Option<Credentials>,
}

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ProxyKind {
    Http,
    Socks5,
}

/// A user name, which may be a secret as well, and a password.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) user: Token,
    pub(crate) password: Token,
}

impl Proxy {
    /// An HTTP proxy: `http://HOST:PORT`, or `HOST:PORT`. The port is 80 if there is none.
    ///
    /// The URL may contain a user name and a password, percent-encoded: `http://USER:PASSWORD@HOST:PORT`.
    /// [`credentials`](Self::credentials) keeps them out of URLs, which end up in configurations and logs.
    ///
    /// # Errors
    ///
    /// [`ParamsError::Proxy`] if the URL is malformed or not of such a proxy. It does not quote the URL. Proxies that
    /// are themselves connected to by TLS (`https`) are not supported.
    pub fn http(url: &str) -> Result<Self, ParamsError> {
        Self::of_kind(url, ProxyKind::Http, "its scheme is not http")
    }

    /// A SOCKS5 proxy: `socks5://HOST:PORT`, `socks5h://HOST:PORT`, which means the same here, or `HOST:PORT`. The
    /// port is 1080 if there is none. A user name and a password may be in the URL, as with [`http`](Self::http).
    ///
    /// # Errors
    ///
    /// [`ParamsError::Proxy`] if the URL is malformed or not of such a proxy. It does not quote the URL.
    pub fn socks5(url: &str) -> Result<Self, ParamsError> {
        Self::of_kind(url, ProxyKind::Socks5, "its scheme is not socks5 or socks5h")
    }

    /// The proxies that the environment names. A client does not look there by itself.
    ///
    /// | connect | proxy: the first of these that is set and not empty |
    /// |---|---|
    /// | `wss` | `https_proxy`, `all_proxy` |
    /// | `ws` | `https_proxy`, `http_proxy`, `all_proxy` |
    ///
    /// A proxy for HTTPS allows CONNECT, and one for HTTP perhaps not, so it comes first for `ws` as well (RFC 6455
    /// section 4.1). If none is set, the client connects directly, as it does to the hosts in `no_proxy`, a list as
    /// that of [`except`](Self::except). Each name may be in upper case, too, but counts in lower case first.
    /// `HTTP_PROXY` in upper case is ignored where there is a `REQUEST_METHOD`: a CGI program gets it from its
    /// client.
    ///
    /// # Errors
    ///
    /// [`ParamsError::Proxy`] if a variable is not usable, which it names and does not quote: connecting directly
    /// instead might be what the proxy is to prevent.
    pub fn from_env() -> Result<Self, ParamsError> {
        Self::from_variables(|name| Some(env::var_os(name)?.to_string_lossy().into_owned()))
    }

    /// Shows the proxy a user name and a password, instead of any in the URL: as Basic authentication (RFC 7617), or
    /// those of SOCKS5 (RFC 1929), which are readable on the way to the proxy.
    #[must_use]
    pub fn credentials(mut self, user: impl Into<Token>, password: impl Into<Token>) -> Self {
        self.credentials = Some(Credentials { user: user.into(), password: password.into() });
        self
    }

    /// Connects to these hosts directly, as curl does with `no_proxy`:
    ///
    /// * `example.com` and `.example.com` are the domain and all below it,
    /// * `10.0.0.7`, `10.0.0.0/8`, `fe80::/10` are addresses and networks, and match hosts that are given as an
    ///   address,
    /// * `*` is every host.
    ///
    /// Ports and other patterns are not supported. `localhost` is a host as any other.
    #[must_use]
    pub fn except<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        for hosts in hosts {
            let hosts = hosts.into();
            let hosts = hosts.split(|c: char| c == ',' || c.is_whitespace());
            self.except.extend(hosts.filter(|host| !host.is_empty()).map(without_decoration));
        }
        self
    }

    fn of_kind(url: &str, kind: ProxyKind, other_kind: &'static str) -> Result<Self, ParamsError> {
        let what = "the URL of the proxy";
        let server = ProxyServer::parse(url, kind, what)?;
        if server.kind != kind {
            return Err(unusable(what, other_kind));
        }
        Ok(Self { plain: Some(server.clone()), secured: Some(server), credentials: None, except: Vec::new() })
    }

    fn from_variables(value: impl Fn(&str) -> Option<String>) -> Result<Self, ParamsError> {
        let value = |name: &str| value(name).filter(|value| !value.trim().is_empty());
        let find = |lower: &str| {
            let names = [lower.to_owned(), lower.to_ascii_uppercase()];
            names.into_iter().find_map(|name| {
                // The header `Proxy` of a request to a CGI program.
                let is_from_client = name == "HTTP_PROXY" && value("REQUEST_METHOD").is_some();
                Some((value(&name).filter(|_| !is_from_client)?, name))
            })
        };
        let first = |names: &[&str]| {
            names.iter().find_map(|name| find(name)).map(|(url, name)| {
                ProxyServer::parse(url.trim(), ProxyKind::Http, &format!("the environment variable {name}"))
            })
        };
        let proxy = Self {
            plain: first(&["https_proxy", "http_proxy", "all_proxy"]).transpose()?,
            secured: first(&["https_proxy", "all_proxy"]).transpose()?,
            credentials: None,
            except: Vec::new(),
        };
        Ok(proxy.except(find("no_proxy").map(|(hosts, _)| hosts)))
    }

    /// The proxy for a host, if it is not connected to directly.
    pub(crate) fn server(&self, host: &Host, secured: bool) -> Option<ProxyServer> {
        let server = if secured { &self.secured } else { &self.plain };
        let mut server = server.clone().filter(|_| !self.excepts(host))?;
        server.credentials = self.credentials.clone().or(server.credentials);
        Some(server)
    }

    fn excepts(&self, host: &Host) -> bool {
        if self.except.iter().any(|entry| entry == "*") {
            return true;
        }
        let uri = format!("http://{}/", host.shown.trim_end_matches('.'));
        let matcher = Matcher::builder().all("http://proxy").no(self.except.join(",")).build();
        uri.parse::<Uri>().is_ok_and(|uri| matcher.intercept(&uri).is_none())
    }

    /// Whether the protocols of its servers can carry the credentials, and the name of the host.
    pub(super) fn check(&self, host: &Host, secured: bool) -> Result<(), ParamsError> {
        for server in self.plain.iter().chain(&self.secured) {
            let Some(credentials) = self.credentials.as_ref().or(server.credentials.as_ref()) else {
                continue;
            };
            let (user, password) = (credentials.user.expose(), credentials.password.expose());
            match server.kind {
                ProxyKind::Http if user.contains(':') => {
                    return Err(unusable(
                        "the user name for the proxy",
                        "an HTTP proxy takes it up to a `:`",
                    ));
                }
                ProxyKind::Http if user.contains(char::is_control) || password.contains(char::is_control) => {
                    let why = "they contain control characters, which HTTP proxies do not take";
                    return Err(unusable("what is given as credentials for the proxy", why));
                }
                ProxyKind::Socks5 if user.is_empty() || user.len() > MOST_OF_SOCKS5 => {
                    return Err(unusable("the user name for the proxy", "SOCKS5 takes 1 to 255 bytes"));
                }
                ProxyKind::Socks5 if password.len() > MOST_OF_SOCKS5 => {
                    return Err(unusable("the password for the proxy", "SOCKS5 takes up to 255 bytes"));
                }
                ProxyKind::Http | ProxyKind::Socks5 => {}
            }
        }
        let is_too_long = host.certified.len() > MOST_OF_SOCKS5;
        if is_too_long && self.server(host, secured).is_some_and(|server| server.kind == ProxyKind::Socks5) {
            return Err(ParamsError::TooLarge { what: "length of the host", most: MOST_OF_SOCKS5 });
        }
        Ok(())
    }
}

impl ProxyServer {
    /// Reads a URL, in which `what` is wrong if it is. Without a scheme it is one of this kind.
    fn parse(url: &str, kind: ProxyKind, what: &str) -> Result<Self, ParamsError> {
        let wrong = |why| unusable(what, why);
        let scheme = match kind {
            _ if url.contains("://") => "",
            ProxyKind::Http => "http://",
            ProxyKind::Socks5 => "socks5://",
        };
        let url = format!("{scheme}{url}");
        let (url, zone) = host::without_zone(&url).map_or((url, None), |(url, zone)| (url, Some(zone)));
        let url = Url::parse(&url).map_err(|_| wrong("it is malformed"))?;
        let (kind, usual) = match url.scheme() {
            "http" => (ProxyKind::Http, 80),
            "socks5" | "socks5h" => (ProxyKind::Socks5, 1080),
            "https" => return Err(wrong("proxies that are connected to by TLS (https) are not supported")),
            _ => return Err(wrong("its scheme is not http, socks5 or socks5h")),
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it has more than a host and a port"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it has no host"))?;
        let host = match zone {
            Some(zone) => Host::parse(&format!("{}%{zone}", host.trim_matches(['[', ']']))),
            None => Host::parse(host),
        };
        let port = url.port().unwrap_or(usual);
        if port == 0 {
            return Err(wrong("its port is zero"));
        }
        let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
            Ok(text) => Ok(Token::new(text)),
            Err(_) => Err(wrong("its user name or password is not text")),
        };
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => {
                Some(Credentials { user: decoded(user)?, password: decoded(password.unwrap_or_default())? })
            }
        };
        Ok(Self { kind, host: host.map_err(|_| wrong("its host is malformed"))?, port, credentials })
    }
}

fn unusable(what: &str, why: &'static str) -> ParamsError {
    ParamsError::Proxy { what: what.to_owned(), why }
}

/// An entry of the list of exceptions as a host is compared with it: without the dot at the end and brackets, and names
/// beyond ASCII as they are resolved.
fn without_decoration(entry: &str) -> String {
    let entry = entry.trim_end_matches('.');
    let entry = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    if entry.is_ascii() {
        return entry.to_owned();
    }
    url::Host::parse(entry.trim_start_matches('.')).map_or_else(|_| entry.to_owned(), |host| host.to_string())
}

#[cfg(test)]
mod tests;
