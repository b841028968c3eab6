//! The server that a command connects to: its URL, and the options that all such commands share.

use std::{fmt, fs, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use websockets_simple_client::{
    ClientParams, Compression, ParamsError, Proxy, TokenPlacement, Url, tls::TlsIdentity,
};

use crate::{
    compat::Compat,
    ws::{
        exit::Failure,
        target::{
            given::{Header, Override},
            token_source::TokenSource,
        },
    },
};

mod given;
mod probed;
mod token_source;

/// A server, and how to get to it. Everything but the URL is an option.
#[derive(Args)]
pub struct Target {
    /// The URL, such as wss://chat.example/room. Without a scheme it is ws.
    url: String,
    #[command(flatten)]
    token: TokenSource,
    /// Where the token goes.
    #[arg(long, value_enum, value_name = "PLACE", help_heading = CONNECTION)]
    token_in: Option<TokenIn>,
    /// Add a header to the request. May be given several times.
    #[arg(long = "header", short = 'H', value_name = "NAME:VALUE", help_heading = CONNECTION)]
    headers: Vec<Header>,
    /// Offer a subprotocol, the preferred one first. May be given several times.
    #[arg(long = "subprotocol", short = 's', value_name = "NAME", help_heading = CONNECTION)]
    subprotocols: Vec<String>,
    /// Offer compression of messages (permessage-deflate).
    #[arg(long, help_heading = CONNECTION)]
    compress: bool,
    /// Speak to a deployed server of the .NET library.
    #[arg(long, value_enum, help_heading = CONNECTION)]
    compat: Option<Compat>,
    /// Go through a proxy: http://HOST:PORT, socks5://HOST:PORT, or `env` for the one that the environment names.
    #[arg(long, value_name = "URL", help_heading = CONNECTION)]
    proxy: Option<String>,
    /// Also trust the root certificates in this PEM file.
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    root: Option<PathBuf>,
    /// Show the server this certificate: a PEM file with its chain.
    #[arg(long, value_name = "FILE", requires = "key", help_heading = CONNECTION)]
    cert: Option<PathBuf>,
    /// The private key of the certificate: a PEM file.
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = CONNECTION)]
    key: Option<PathBuf>,
    /// Accept any certificate of the server. For tests: anybody on the way can read and change everything.
    #[arg(long, help_heading = CONNECTION)]
    insecure: bool,
    /// Connect to this address instead of resolving the host. May be given several times.
    #[arg(long = "resolve", value_name = "HOST:PORT:ADDR", help_heading = CONNECTION)]
    resolved: Vec<Override>,
    /// Connect to a Unix domain socket; the URL keeps its meaning for the request.
    #[cfg(unix)]
    #[arg(long, value_name = "PATH", conflicts_with_all = ["proxy", "resolved"], help_heading = CONNECTION)]
    unix: Option<PathBuf>,
    /// Seconds for name resolution, TCP, TLS and handshake together.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10", help_heading = CONNECTION)]
    timeout: Duration,
}

const CONNECTION: &str = "Connection";

/// Where the token goes.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum TokenIn {
    /// The header `Authorization: Bearer TOKEN`, the default.
    Header,
    /// The query parameter `token`, which servers may log.
    Query,
    /// A subprotocol `bearer.BASE64URL(TOKEN)`, as browsers send it.
    Subprotocol,
    /// The whole path, as .NET v6 servers require.
    Path,
}

/// Reads seconds, which may have a fraction.
///
/// # Errors
///
/// When it is no such number.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "give a number of seconds, such as 2.5".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "give a number of seconds, not below zero".to_owned())
}

impl Target {
    /// The URL, with a scheme.
    ///
    /// # Errors
    ///
    /// A [`Failure`] with the exit code for usage.
    pub fn url(&self) -> Result<Url, Failure> {
        let url = self.written_url();
        url.parse().map_err(|_| ParamsError::Url("it is malformed").into())
    }

    /// The generation of .NET peers to adapt to.
    #[must_use]
    pub fn compat(&self) -> Option<Compat> {
        self.compat
    }

    /// The time that the server has.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether a subprotocol is offered.
    #[must_use]
    pub fn has_subprotocols(&self) -> bool {
        !self.subprotocols.is_empty()
    }

    /// The parameters for a client.
    ///
    /// # Errors
    ///
    /// A [`Failure`]: an option is not usable, or a file cannot be read.
    pub fn params(&self) -> Result<ClientParams, Failure> {
        let mut params = ClientParams::url(&self.written_url())?.connect_timeout(self.timeout);
        if let Some(compat) = self.compat {
            params = params.compatibility(compat.into());
        }
        for header in &self.headers {
            params = params.header(header.name(), header.value());
        }
        for name in &self.subprotocols {
            params = params.subprotocol(name);
        }
        if self.compress {
            params = params.compression(Compression::new());
        }
        if let Some(place) = self.token_in {
            params = params.token_placement(place.into());
        }
        params = self.token.put_into(params)?;
        params = self.on_its_way(params)?;
        self.secured(params)
    }

    fn written_url(&self) -> String {
        if self.url.contains("://") { self.url.clone() } else { format!("ws://{}", self.url) }
    }

    fn on_its_way(&self, mut params: ClientParams) -> Result<ClientParams, Failure> {
        params = match self.proxy.as_deref() {
            None => params,
            Some("env") => params.proxy(Proxy::from_env()?),
            Some(url) if url.starts_with("socks5") => params.proxy(Proxy::socks5(url)?),
            Some(url) => params.proxy(Proxy::http(url)?),
        };
        #[cfg(unix)]
        if let Some(path) = &self.unix {
            params = params.unix(path);
        }
        if self.resolved.is_empty() {
            return Ok(params);
        }
        let port = self.url()?.port_or_known_default().unwrap_or_default();
        Ok(Override::put_into(&self.resolved, port, params))
    }

    fn secured(&self, mut params: ClientParams) -> Result<ClientParams, Failure> {
        if let Some(path) = &self.root {
            let pem = fs::read(path)
                .map_err(|error| Failure::local(format!("cannot read {}: {error}", path.display())))?;
            params = params.root_pem(pem);
        }
        if let (Some(chain), Some(key)) = (&self.cert, &self.key) {
            params = params.identity(TlsIdentity::pem_files(chain, key));
        }
        if self.insecure {
            params = params.danger_accept_any_certificate();
        }
        Ok(params)
    }
}

impl fmt::Debug for Target {
    /// Leaves out what may be secret: the URL, headers, the proxy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("subprotocols", &self.subprotocols)
            .field("compat", &self.compat)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl From<TokenIn> for TokenPlacement {
    fn from(place: TokenIn) -> Self {
        match place {
            TokenIn::Header => Self::Header,
            TokenIn::Query => Self::Query,
            TokenIn::Subprotocol => Self::Subprotocol,
            TokenIn::Path => Self::Path,
        }
    }
}

#[cfg(test)]
mod tests;
