//! The web page of the chat server, and its route for tickets.

use std::{fmt, net::SocketAddr};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER,
        WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    },
};
use http_body_util::Full;
use hyper::body::Incoming;
use websockets_simple_server::ServerParams;

use crate::members::Members;

const INDEX: &str = include_str!("../browser/index.html");

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Allows only scripts, styles and connections of the same origin; scripts may not turn strings into HTML.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// Answers the HTTP requests that are not WebSocket handshakes.
///
/// `GET` of `/` and of the files of the page, and `POST /ticket` with an invite in `Authorization: Bearer TOKEN`, which
/// is answered with a ticket. A browser opens its WebSocket with the ticket, so that the invite is never in a WebSocket
/// handshake, which more logs contain.
#[derive(Clone)]
pub struct Page {
    entry: Entry,
    members: Option<Members>,
}

/// What people sign in with.
#[derive(Clone, Copy, Debug)]
enum Entry {
    /// An invite, which is exchanged for a ticket.
    Invite,
    /// An invite, as the token of the WebSocket handshake.
    Token,
    /// A name.
    Name,
}

impl Page {
    /// The page for members, who sign in with an invite.
    #[must_use]
    pub fn for_members(members: Members) -> Self {
        Self::new(Entry::Invite, Some(members))
    }

    /// The page for members of a cluster, who also sign in with an invite. There are no tickets: a ticket is known to the
    /// node that has issued it, and the WebSocket may be opened at another one.
    #[must_use]
    pub fn for_members_of_cluster() -> Self {
        Self::new(Entry::Token, None)
    }

    /// The page for guests, who sign in with a name.
    #[must_use]
    pub fn for_guests() -> Self {
        Self::new(Entry::Name, None)
    }

    fn new(entry: Entry, members: Option<Members>) -> Self {
        Self { entry, members }
    }

    /// Adds this page to the parameters of a server, for all requests that are not WebSocket handshakes.
    #[must_use]
    pub fn behind(self, params: ServerParams) -> ServerParams {
        params.fallback(move |request: Request<Incoming>| {
            let page = self.clone();
            async move {
                // A Unix domain socket has no peer address.
                let peer = request.extensions().get::<SocketAddr>().copied();
                page.answer(&request, peer.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))).await
            }
        })
    }

    /// Answers one request. Its body is not read.
    ///
    /// # Cancel safety
    ///
    /// As [`Members::ticket`].
    pub async fn answer<B>(&self, request: &Request<B>, peer: SocketAddr) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if path == "/ticket"
            && let Some(members) = &self.members
        {
            return match *request.method() {
                Method::POST => ticket(members, request, peer).await,
                _ => only("POST"),
            };
        }
        let file = match path {
            "/" => file("text/html; charset=utf-8", self.index()),
            "/chat.css" => file("text/css; charset=utf-8", include_str!("../browser/chat.css")),
            "/chat.js" => file(JAVASCRIPT, include_str!("../browser/chat.js")),
            "/websockets-simple.js" => file(JAVASCRIPT, include_str!("../browser/websockets-simple.js")),
            "/groups.js" => file(JAVASCRIPT, include_str!("../browser/groups.js")),
            "/packet.js" => file(JAVASCRIPT, include_str!("../browser/packet.js")),
            "/reconnect.js" => file(JAVASCRIPT, include_str!("../browser/reconnect.js")),
            _ => return text(StatusCode::NOT_FOUND, "There is nothing here."),
        };
        match *request.method() {
            Method::GET | Method::HEAD => file,
            _ => only("GET, HEAD"),
        }
    }

    /// The HTML; the form asks members for an invite and guests for a name.
    fn index(&self) -> String {
        let entry = match self.entry {
            Entry::Invite => "invite",
            Entry::Token => "token",
            Entry::Name => "name",
        };
        INDEX.replace("data-entry=\"invite\"", &format!("data-entry=\"{entry}\""))
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("entry", &self.entry)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

async fn ticket<B>(members: &Members, request: &Request<B>, peer: SocketAddr) -> Response<Full<Bytes>> {
    match members.ticket(request.headers(), peer).await {
        Ok(Some(ticket)) => {
            let mut answer = text(StatusCode::OK, ticket.expose());
            answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            answer
        }
        Ok(None) => {
            with(text(StatusCode::UNAUTHORIZED, "This invite is not known."), WWW_AUTHENTICATE, "Bearer")
        }
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "no ticket was issued, as the user service failed"
            );
            with(text(StatusCode::SERVICE_UNAVAILABLE, "Try again."), RETRY_AFTER, "5")
        }
    }
}

/// A file of the page. Browsers revalidate it each time.
fn file(kind: &'static str, content: impl Into<Bytes>) -> Response<Full<Bytes>> {
    with(answer(StatusCode::OK, kind, content), CACHE_CONTROL, "no-cache")
}

fn only(methods: &'static str) -> Response<Full<Bytes>> {
    with(text(StatusCode::METHOD_NOT_ALLOWED, "That cannot be done here."), ALLOW, methods)
}

fn text(status: StatusCode, content: &str) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=utf-8", content.to_owned())
}

fn answer(status: StatusCode, kind: &'static str, content: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(content.into()));
    *answer.status_mut() = status;
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    headers.into_iter().fold(answer, |answer, (name, value)| with(answer, name, value))
}

fn with(mut answer: Response<Full<Bytes>>, name: HeaderName, value: &'static str) -> Response<Full<Bytes>> {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http_body_util::BodyExt;
    use websockets_simple_server::MemoryUsers;

    use super::*;

    async fn answered(
        page: &Page,
        method: &str,
        path: &str,
        token: Option<&str>,
    ) -> (u16, http::HeaderMap, String) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let (head, body) = page.answer(&request.body(()).unwrap(), peer).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), head.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn every_answer_forbids_scripts_of_others_and_guessing_of_types() {
        let page = Page::for_guests();
        let module = ["/websockets-simple.js", "/groups.js", "/packet.js", "/reconnect.js"];
        let others = ["/", "/chat.css", "/chat.js", "/ticket", "/../Cargo.toml"];
        for path in module.into_iter().chain(others) {
            let (status, headers, _) = answered(&page, "GET", path, None).await;
            let there = !["/ticket", "/../Cargo.toml"].contains(&path);
            assert_eq!(status, if there { 200 } else { 404 }, "{path}");
            assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'; "));
            assert_eq!(headers["x-content-type-options"], "nosniff");
            assert_eq!(headers["referrer-policy"], "no-referrer");
        }
    }

    #[tokio::test]
    async fn members_are_asked_for_an_invite_and_guests_for_a_name() {
        let members = Page::for_members(Members::new(MemoryUsers::new()));
        for (page, entry) in [
            (members, "data-entry=\"invite\""),
            (Page::for_members_of_cluster(), "data-entry=\"token\""),
            (Page::for_guests(), "data-entry=\"name\""),
        ] {
            let (_, headers, html) = answered(&page, "GET", "/", None).await;
            assert_eq!(headers["content-type"], "text/html; charset=utf-8");
            assert!(html.contains(entry), "{entry}");
        }
    }

    #[tokio::test]
    async fn a_ticket_is_posted_for_and_never_stored() {
        let users = MemoryUsers::new();
        let invite = users.issue("Ronald".to_owned());
        let page = Page::for_members(Members::new(users));
        let (status, headers, ticket) = answered(&page, "POST", "/ticket", Some(invite.expose())).await;
        assert_eq!((status, headers["cache-control"].to_str().unwrap()), (200, "no-store"));
        assert!(ticket.len() == 43 && ticket != invite.expose());
        for token in [None, Some("guessed")] {
            let (status, headers, _) = answered(&page, "POST", "/ticket", token).await;
            assert_eq!((status, headers["www-authenticate"].to_str().unwrap()), (401, "Bearer"));
        }
        let (status, headers, _) = answered(&page, "GET", "/ticket", Some(invite.expose())).await;
        assert_eq!((status, headers["allow"].to_str().unwrap()), (405, "POST"));
        let (status, headers, _) = answered(&page, "POST", "/", None).await;
        assert_eq!((status, headers["allow"].to_str().unwrap()), (405, "GET, HEAD"));
    }
}
