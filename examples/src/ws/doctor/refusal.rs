//! Answers other than 101, in words.

use crate::ws::doctor::{answer::Answer, finding::Fault, secrets::without_query};

/// Why there is no WebSocket. `is_authorized` is whether the request carried credentials.
pub(super) fn fault(answer: &Answer, is_authorized: bool) -> Fault {
    let status = answer.status;
    let reason = if answer.reason.is_empty() { String::new() } else { format!(" {}", answer.reason) };
    let said = format!("{status}{reason}");
    match status {
        200..=299 => Fault::new(
            format!("this is not a WebSocket: the server answered {said}, as for a page"),
            "check the path; if it is right, a proxy in front of the server may not pass on Upgrade and Connection",
        ),
        300..=399 => {
            let to = answer.all("location").next().map_or_else(|| "nowhere".to_owned(), without_query);
            Fault::new(
                format!(
                    "the server redirects to {to} ({said}); clients do not follow, as a token would go there"
                ),
                "connect to that URL, if it is the one that you want",
            )
        }
        401 | 407 if !is_authorized => Fault::new(
            format!("the server wants credentials ({said}), and none were sent"),
            "give a token with `--token-env NAME` or `--token-file FILE`, or a header with `--header`",
        ),
        401 | 407 => Fault::new(
            format!("the server does not accept the credentials ({said})"),
            "check that the token is whole, has not expired, is for this server, and goes where the server looks for \
             it (`--token-in`)",
        ),
        403 => Fault::new(
            format!("the server does not let this client in ({said})"),
            "check the rights of the user, and which origins (`--header Origin:URL`) and addresses the server allows",
        ),
        404 | 410 => Fault::new(
            format!("there is nothing at this path ({said})"),
            "check the path in the URL, and the routes of the server and of what is in front of it",
        ),
        400 => Fault::new(
            format!("the server does not understand the request ({said})"),
            "look at what it says; a proxy in front of it may not pass on the headers of the handshake, or the server \
             wants a subprotocol (`--subprotocol`)",
        ),
        426 => Fault::new(
            format!("the server wants another protocol or version ({said})"),
            "look at its headers Upgrade and Sec-WebSocket-Version; version 13 was offered, which is that of RFC 6455",
        ),
        429 => Fault::new(
            format!("the server refuses as there were too many requests ({said})"),
            "wait, as long as its header Retry-After says",
        ),
        502..=504 => Fault::new(
            format!("a proxy answers in place of the server ({said})"),
            "check that the server behind the proxy runs, and that the proxy reaches it",
        ),
        500..=599 => Fault::new(format!("the server has failed ({said})"), "look into the log of the server"),
        _ => Fault::new(
            format!("the server refused the handshake ({said})"),
            "look at what it says, and into its log",
        ),
    }
}
