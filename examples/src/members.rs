//! Invited users, who authenticate with the token of their invite or with a ticket.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, header::AUTHORIZATION};
use websockets_simple_server::{
    Authenticated, Credentials, HandshakeRequest, RequestHead, Revocations, Ticketed, Token, UserService,
    UserServiceError, async_trait,
};

/// Time to open a WebSocket with a ticket.
const TICKET_IS_GOOD_FOR: Duration = Duration::from_secs(10);

/// A user service that also accepts tickets, and issues them.
#[derive(Clone, Debug)]
pub struct Members(Ticketed<Arc<dyn UserService<Id = String>>>);

impl Members {
    /// Adds tickets to a user service.
    #[must_use]
    pub fn new(users: impl UserService<Id = String>) -> Self {
        Self(Ticketed::new(Arc::new(users), TICKET_IS_GOOD_FOR))
    }

    /// Issues a ticket for the token in `Authorization: Bearer TOKEN`; `None` if the token is missing or unknown.
    ///
    /// # Errors
    ///
    /// When the user service fails.
    ///
    /// # Cancel safety
    ///
    /// A ticket that was issued but not returned expires.
    pub async fn ticket(
        &self,
        headers: &HeaderMap,
        peer: SocketAddr,
    ) -> Result<Option<Token>, UserServiceError> {
        let shown = headers.get(AUTHORIZATION).and_then(|shown| shown.to_str().ok());
        let Some((scheme, token)) = shown.and_then(|shown| shown.split_once(' ')) else { return Ok(None) };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Ok(None);
        }
        let mut headers = headers.clone();
        headers.remove(AUTHORIZATION);
        let head = RequestHead::new("/ticket", "", &headers);
        let request = HandshakeRequest::new(&head, peer, peer);
        self.0.issue(&Credentials::of_token(token.trim()), &request).await
    }
}

#[async_trait]
impl UserService for Members {
    type Id = String;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<String>>, UserServiceError> {
        self.0.authenticate(credentials, request).await
    }

    fn revocations(&self) -> Option<Revocations<String>> {
        self.0.revocations()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use websockets_simple_server::MemoryUsers;

    use super::*;

    #[tokio::test]
    async fn a_ticket_is_for_whoever_shows_an_invite_and_is_good_once() {
        let users = MemoryUsers::new();
        let invite = users.issue("Ronald".to_owned());
        let members = Members::new(users);
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        for shown in ["", "Bearer", "Bearer guessed", &format!("Basic {}", invite.expose())] {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, shown.parse().unwrap())]);
            assert!(members.ticket(&headers, peer).await.unwrap().is_none(), "{shown}");
        }
        let shown = format!("bearer {}", invite.expose());
        let headers = HeaderMap::from_iter([(AUTHORIZATION, shown.parse().unwrap())]);
        let ticket = members.ticket(&headers, peer).await.unwrap().unwrap();

        let head = RequestHead::new("/", "", &HeaderMap::new());
        let request = HandshakeRequest::new(&head, peer, peer);
        let who = async |token: &Token| {
            let credentials = Credentials::of_token(token.clone());
            let user = members.authenticate(&credentials, &request).await.unwrap();
            user.map(|user| user.id().clone())
        };
        assert_eq!(who(&ticket).await.as_deref(), Some("Ronald"));
        assert_eq!(who(&ticket).await, None);
        assert_eq!(who(&invite).await.as_deref(), Some("Ronald"));
    }
}
