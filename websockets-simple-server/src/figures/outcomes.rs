//! What figures are told apart by.

use websockets_simple_core::{Disconnect, EndCause, EndedBy};

use crate::figures::labels::labelled;

labelled! {
    /// Why a handshake was refused.
    RefusalReason {
        /// Too many connections in total: 503, or no answer if too many others are being refused.
        Full = "full",
        /// Too many connections of the address: 429, or no answer as above.
        FullAddress = "full_address",
        /// Too many connections of the user: 429.
        FullUser = "full_user",
        /// The peer has gone before the answer.
        HungUp = "hung_up",
        /// Another connection has the id: 409.
        IdTaken = "id_taken",
        /// The request breaks a rule of HTTP or RFC 6455, or is too large.
        Malformed = "malformed",
        /// It is a request for something else than a WebSocket of version 13.
        NoWebsocket = "no_websocket",
        /// The origin is not allowed: 403.
        Origin = "origin",
        /// A function of the application panicked: 500.
        Panic = "panic",
        /// The server does not run: 503.
        AtRest = "at_rest",
        /// The server stops: 503.
        Stopping = "stopping",
        /// The client offers no subprotocol of the server: 400.
        Subprotocol = "subprotocol",
        /// The handshake took too long.
        TooSlow = "too_slow",
        /// The HTTP server of the application does not let go of the stream: 500.
        NoStream = "no_stream",
        /// The client is not authorized: 401, or a WebSocket that is closed at once.
        Unauthorized = "unauthorized",
        /// The user service has failed: 503.
        UserService = "user_service",
    }
}

labelled! {
    /// What a user service has answered.
    AuthenticationResult {
        /// It is a user.
        Authenticated = "authenticated",
        /// It is none.
        Unauthorized = "unauthorized",
        /// It cannot tell, or not in time.
        Failed = "failed",
    }
}

labelled! {
    /// How it was noticed that a peer gives no sign of life.
    HeartbeatVerdict {
        /// Nothing came since a ping was sent.
        PingUnanswered = "ping_unanswered",
        /// Its own pings have stopped.
        PingsStopped = "pings_stopped",
    }
}

labelled! {
    /// What came of a new token for an open connection.
    RenewalResult {
        /// The connection stays open for longer.
        Renewed = "renewed",
        /// The token is not accepted, or not needed.
        Refused = "refused",
        /// The token is of another user: the connection is closed.
        OtherUser = "other_user",
        /// The user service cannot tell.
        Failed = "failed",
    }
}

impl HeartbeatVerdict {
    /// That of an end, if the heartbeat has decided it.
    pub(crate) fn of(end: &Disconnect) -> Option<Self> {
        // The reason is our own: nobody else ends a connection in the name of the heartbeat.
        let has_stopped = end.reason == EndCause::PingsStopped.reason();
        let verdict = if has_stopped { Self::PingsStopped } else { Self::PingUnanswered };
        (end.by == EndedBy::Heartbeat).then_some(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ends_of_the_heartbeat_have_a_verdict() {
        let by = |by, cause: EndCause| {
            HeartbeatVerdict::of(&Disconnect::new(by, Some(4000), cause.reason(), false))
        };
        let heartbeat = EndedBy::Heartbeat;
        assert_eq!(by(heartbeat, EndCause::PingUnanswered), Some(HeartbeatVerdict::PingUnanswered));
        assert_eq!(by(heartbeat, EndCause::PingsStopped), Some(HeartbeatVerdict::PingsStopped));
        // A peer may give any reason.
        assert_eq!(by(EndedBy::Peer, EndCause::PingsStopped), None);
    }
}
