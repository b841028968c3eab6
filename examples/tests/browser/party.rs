//! A chat server in this process, and those who come to it with a browser.

use std::net::{Ipv4Addr, SocketAddr};

use websockets_simple_examples::{
    chat::{self, Room},
    members::Members,
    page::Page,
};
use websockets_simple_server::{
    Authenticated, Credentials, Endpoint, HandshakeRequest, MemoryUsers, Revocations, Token, UserService,
    UserServiceError, WebsocketServerAuth, async_trait,
};

use crate::chromium::{Browser, Driver};

/// A chat whose invites are good for tickets, and for nothing else.
pub(crate) struct Party {
    pub(crate) server: WebsocketServerAuth<String>,
    pub(crate) users: MemoryUsers<String>,
    pub(crate) driver: Driver,
}

impl Party {
    pub(crate) async fn open() -> Self {
        let users = MemoryUsers::new();
        let members = Members::new(OnlyForTickets(users.clone()));
        let params = chat::params(anywhere()).same_origin();
        let params = Page::for_members(members.clone()).behind(params);
        let server = WebsocketServerAuth::<String>::new(params, members);
        Room::open_to_users(&server);
        server.start().await.unwrap();
        Self { server, users, driver: Driver::start().await }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.server.local_addr().expect("it listens"))
    }

    /// A new invite.
    pub(crate) fn invite(&self, name: &str) -> Token {
        self.users.issue(name.to_owned())
    }

    /// Somebody who was invited, in a browser of their own.
    pub(crate) async fn joins(&self, name: &str) -> Browser {
        let browser = self.driver.browser(name).await;
        browser.open(&self.url()).await;
        browser.enters("#entry", self.invite(name).expose()).await;
        browser.reads("#me", name).await;
        browser
    }

    /// Waits until so many are connected.
    pub(crate) async fn counts(&self, connections: usize) {
        let counted = async {
            while self.server.connection_count() != connections {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), counted).await.expect("in time");
    }
}

pub(crate) fn anywhere() -> Endpoint {
    Endpoint::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

/// Knows nobody who shows an invite in the handshake of a WebSocket, where the page must not put it.
struct OnlyForTickets(MemoryUsers<String>);

#[async_trait]
impl UserService for OnlyForTickets {
    type Id = String;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<String>>, UserServiceError> {
        if request.head().channel() != "/ticket" {
            return Ok(None);
        }
        self.0.authenticate(credentials, request).await
    }

    fn revocations(&self) -> Option<Revocations<String>> {
        self.0.revocations()
    }
}
