//! The invited: by the token of their invite, or by a ticket that they got for it.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, header::AUTHORIZATION};
use websockets_simple_server::{
    Authenticated, Credentials, HandshakeRequest, RequestHead, Revocations, Tickets, Token, UserService,
    UserServiceError, async_trait,
};

/// Time to open a WebSocket with a ticket.
const TICKET_IS_GOOD_FOR: Duration = Duration::from_secs(10);

/// A user service that also knows tickets for the users of another.
///
/// Revoking a token ends the connections that were opened with its tickets as well, as these bear its name. That is
/// what `Chain` would not do, where the names of two services are never the same.
#[derive(Clone)]
pub struct Members {
    users: Arc<dyn UserService<Id = String>>,
    tickets: Tickets<String>,
}

impl Members {
    /// The users of a service.
    #[must_use]
    pub fn new(users: impl UserService<Id = String>) -> Self {
        Self { users: Arc::new(users), tickets: Tickets::new(TICKET_IS_GOOD_FOR) }
    }

    /// A ticket for whoever shows a token in `Authorization: Bearer TOKEN`; `None` for anybody else.
    ///
    /// # Errors
    ///
    /// When the other service cannot tell.
    ///
    /// # Cancel safety
    ///
    /// A ticket that nobody was given is forgotten when its time is over.
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
        let user = self.users.authenticate(&Credentials::of_token(token.trim()), &request).await?;
        Ok(user.map(|user| self.tickets.issue(user)))
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
        match credentials.token().and_then(|ticket| self.tickets.redeem(ticket)) {
            Some(user) => Ok(Some(user)),
            None => self.users.authenticate(credentials, request).await,
        }
    }

    fn revocations(&self) -> Option<Revocations<String>> {
        self.users.revocations()
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").field("tickets", &self.tickets).finish_non_exhaustive()
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
