//! The heartbeat of a server's connections, and its choice per request.

use websockets_simple_core::{Heartbeat, HeartbeatMode};

use crate::{
    config::{
        check::{LONGEST, SHORTEST},
        params::ServerParams,
        per_request::PerRequest,
    },
    net::HandshakeRequest,
};

impl ServerParams {
    /// Sets the heartbeat, which detects dead peers. Default: the text `ping` every 120 s; for connections through an
    /// HTTP server of the application ([`upgrade`](crate::Server::upgrade)) a ping frame every 120 s.
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Heartbeat) -> Self {
        self.heartbeat = heartbeat;
        self.heartbeat_is_default = false;
        self
    }

    /// Sets a function that chooses the heartbeat per request; `None` keeps that of [`heartbeat`](Self::heartbeat).
    /// Its interval is raised to 1 ms and lowered to ten years. A heartbeat that the
    /// [`UserService`](crate::UserService) sets for a user takes precedence. It is called before the
    /// handshake is answered, and must not block. If it panics, the client is refused with 500.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{Heartbeat, ServerParams};
    ///
    /// let params = ServerParams::new(8080)
    ///     .heartbeat_of(|request| (request.head().channel() == "/quiet").then(Heartbeat::off));
    /// ```
    #[must_use]
    pub fn heartbeat_of(
        mut self,
        choose: impl Fn(&HandshakeRequest<'_>) -> Option<Heartbeat> + Send + Sync + 'static,
    ) -> Self {
        self.heartbeat_of = Some(PerRequest::new(choose));
        self
    }

    pub(crate) fn heartbeat_for(&self, request: &HandshakeRequest<'_>) -> Option<Heartbeat> {
        self.heartbeat_of.as_ref().and_then(|choose| choose.ask(request))
    }

    /// A heartbeat that was chosen while the server runs, within the bounds that `start` checks.
    pub(crate) fn bounded_heartbeat(chosen: Heartbeat) -> Heartbeat {
        match chosen.mode() {
            HeartbeatMode::Off => chosen,
            mode => Heartbeat::new(chosen.interval().clamp(SHORTEST, LONGEST), mode),
        }
    }

    /// The heartbeat of connections through an HTTP server of the application.
    pub(crate) fn heartbeat_over_http(&self) -> Heartbeat {
        match self.heartbeat_is_default {
            true => Heartbeat::new(self.heartbeat.interval(), HeartbeatMode::Ping),
            false => self.heartbeat,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use websockets_simple_core::Compatibility;

    use super::*;

    #[test]
    fn a_chosen_interval_is_brought_within_the_bounds_of_those_that_are_checked() {
        let bounded = |interval| {
            let chosen = Heartbeat::new(interval, HeartbeatMode::Ping);
            ServerParams::bounded_heartbeat(chosen).interval()
        };
        assert_eq!(bounded(Duration::ZERO), SHORTEST);
        assert_eq!(bounded(Duration::MAX), LONGEST);
        assert_eq!(bounded(Duration::from_secs(30)), Duration::from_secs(30));
        assert_eq!(ServerParams::bounded_heartbeat(Heartbeat::off()), Heartbeat::off());
    }

    #[test]
    fn over_http_the_heartbeat_is_a_ping_frame_unless_another_was_chosen() {
        let usual = ServerParams::mounted();
        assert_eq!(
            usual.heartbeat_over_http(),
            Heartbeat::new(usual.heartbeat.interval(), HeartbeatMode::Ping)
        );
        let chosen = Heartbeat::new(Duration::from_secs(120), HeartbeatMode::Text);
        assert_eq!(ServerParams::mounted().heartbeat(chosen).heartbeat_over_http(), chosen);
        let v7 = ServerParams::mounted().compatibility(Compatibility::DotNetV7);
        assert_eq!(v7.heartbeat_over_http(), v7.heartbeat);
    }
}
