//! Compression of a server's messages, and with which clients.

use websockets_simple_core::Compression;

use crate::{
    config::{params::ServerParams, per_request::PerRequest},
    net::HandshakeRequest,
};

impl ServerParams {
    /// Agrees on compression (permessage-deflate, RFC 7692) with clients that offer it. A message is compressed each on
    /// its own, and a broadcast once for all of its receivers. Limits of size and rate count what a received message is
    /// once it is decompressed. Safari 15.0 to 15.3, which cannot read it, is not answered, nor is a client whose messages are received in
    /// [parts](crate::MessageParts). Default: no compression.
    ///
    /// A proxy that passes the header `Sec-WebSocket-Extensions` on, and then cannot forward compressed frames, has to
    /// remove it. Where messages hold secrets and texts of others together, see
    /// [`Uncompressed`](crate::Uncompressed).
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{Compression, ServerParams};
    ///
    /// let params = ServerParams::new(8080).compression(Compression::new().threshold(512));
    /// ```
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Sets a function that is asked about each client that offers compression, where there is a
    /// [`compression`](Self::compression): false declines it. It is called before the handshake is answered, and must
    /// not block. If it panics, the client is refused with 500. Default: all are agreed with.
    ///
    /// # Examples
    ///
    /// A page that cannot read compressed messages has no other way to say so than its URL:
    ///
    /// ```
    /// use websockets_simple_server::{Compression, ServerParams};
    ///
    /// let params = ServerParams::new(8080)
    ///     .compression(Compression::new())
    ///     .compression_if(|request| request.head().query("plain").is_none());
    /// ```
    #[must_use]
    pub fn compression_if(
        mut self,
        agree: impl Fn(&HandshakeRequest<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.compression_if = Some(PerRequest::new(agree));
        self
    }

    /// The compression to agree on with a client that offers one.
    pub(crate) fn compression_for(&self, request: &HandshakeRequest<'_>) -> Option<Compression> {
        let agrees = || self.compression_if.as_ref().is_none_or(|agree| agree.ask(request));
        self.compression.filter(|_| !is_broken_safari(request.head().header("user-agent")) && agrees())
    }
}

/// Whether this is Safari 15.0 to 15.3, or another browser on iOS 15.0 to 15.3: it offers compression, and cannot
/// decompress messages that refer to none before them.
fn is_broken_safari(user_agent: Option<&str>) -> bool {
    let Some(agent) = user_agent.filter(|agent| agent.contains(" Safari/")) else { return false };
    let minor = |begin: &str| {
        let (_, version) = agent.split_once(begin)?;
        version.split(|character: char| !character.is_ascii_digit()).next()?.parse::<u32>().ok()
    };
    let on_ios = || minor(" OS 15_").filter(|_| agent.contains(" like Mac OS X"));
    minor(" Version/15.").or_else(on_ios).is_some_and(|minor| minor <= 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_safaris_that_cannot_decompress_are_known_by_their_user_agent() {
        const MAC: &str =
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)";
        const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 15_2_1 like Mac OS X) AppleWebKit/605.1.15";
        for (agent, broken) in [
            (format!("{MAC} Version/15.0 Safari/605.1.15"), true),
            (format!("{MAC} Version/15.3 Safari/605.1.15"), true),
            (format!("{MAC} Version/15.3.1 Safari/605.1.15"), true),
            (format!("{MAC} Version/15.4 Safari/605.1.15"), false),
            (format!("{MAC} Version/15.10 Safari/605.1.15"), false),
            (format!("{MAC} Version/14.1.2 Safari/605.1.15"), false),
            (format!("{MAC} Version/16.1 Safari/605.1.15"), false),
            (format!("{MAC} Chrome/120.0.0.0 Safari/537.36"), false),
            (format!("{MAC} Version/15.0"), false),
            (format!("{PHONE} (KHTML, like Gecko) Version/15.2 Mobile/15E148 Safari/604.1"), true),
            (format!("{PHONE} (KHTML, like Gecko) CriOS/98.0.4758.85 Mobile/15E148 Safari/604.1"), true),
            (PHONE.replace("15_2_1", "15_4") + " CriOS/98.0 Mobile/15E148 Safari/604.1", false),
            (PHONE.replace("15_2_1", "16_0") + " CriOS/98.0 Mobile/15E148 Safari/604.1", false),
            (String::new(), false),
        ] {
            assert_eq!(is_broken_safari(Some(&agent)), broken, "{agent}");
        }
        assert!(!is_broken_safari(None));
    }
}
