//! A target as `ws doctor` takes it apart, which speaks to the server by itself.

use std::fs;

use websockets_simple_client::{
    ClientParams, Proxy, Token, TokenPlacement, Url, WebsocketClient, tls::TlsIdentity,
};

use crate::ws::{
    doctor::{Probe, ProxyChoice},
    exit::{Exit, Failure},
    target::{Target, given::Override},
};

impl Target {
    /// What is to be diagnosed. The token is fetched once.
    ///
    /// # Errors
    ///
    /// A [`Failure`]: a file cannot be read, there is no token, or an option has no meaning for a diagnosis.
    pub async fn probe(&self) -> Result<Probe, Failure> {
        if self.compress {
            let said = "`doctor` reads no compressed messages: leave --compress out";
            return Err(Failure::new(Exit::Usage, said));
        }
        let proxy = match self.proxy.as_deref() {
            None => None,
            Some("env") => {
                Proxy::from_env()?;
                Some(ProxyChoice::Environment)
            }
            Some(url) => {
                if url.starts_with("socks5") {
                    Proxy::socks5(url)?
                } else {
                    Proxy::http(url)?
                };
                Some(ProxyChoice::Url(Token::from(url)))
            }
        };
        let url = self.written_url();
        // A client refuses headers and subprotocols that cannot be sent. A wrong URL is for the first step to tell.
        if let Ok(parsed) = Url::parse(&url)
            && let Ok(mut params) = ClientParams::try_from(&parsed)
        {
            for header in &self.headers {
                params = params.header(header.name(), header.value());
            }
            for name in &self.subprotocols {
                params = params.subprotocol(name);
            }
            WebsocketClient::new(params)?;
        }
        let root = self.root.as_ref().map(|path| {
            fs::read(path).map_err(|error| Failure::local(format!("cannot read {}: {error}", path.display())))
        });
        let place = self.token_in.map_or(TokenPlacement::Header, TokenPlacement::from);
        let identity = self.cert.as_ref().zip(self.key.as_ref());
        Ok(Probe {
            url: Token::new(url),
            headers: self.headers.iter().map(|it| (it.name().to_owned(), it.value().into())).collect(),
            subprotocols: self.subprotocols.clone(),
            token: self.token.once(self.timeout).await?.map(|token| (token, place)),
            roots: root.transpose()?.into_iter().collect(),
            identity: identity.map(|(chain, key)| TlsIdentity::pem_files(chain, key)),
            insecure: self.insecure,
            is_dotnet: self.compat.is_some(),
            resolved: self.resolved.iter().map(Override::parts).collect(),
            proxy,
            #[cfg(unix)]
            unix: self.unix.clone(),
            #[cfg(not(unix))]
            unix: None,
            timeout: self.timeout,
        })
    }
}
