//! The rules that the answer to a handshake has to keep, each by its name (RFC 6455 sections 4.1 and 4.2.2).

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use websockets_simple_client::Token;
use websockets_simple_core::handshake_words::{BEARER_PREFIX, has_token};

use crate::ws::doctor::{
    answer::Answer,
    finding::{Facts, Fault},
    request::Request,
};

const IN_FRONT: &str =
    "a proxy in front of the server may have changed it: have it pass on Upgrade and Connection";

/// Checks all rules of the upgrade, and gives the first that is broken.
pub(super) fn check(answer: &Answer, request: &Request, facts: &mut Facts) -> Result<(), Fault> {
    let mut first = None;
    let mut rule = |rule: &'static str, ok: bool, fault: &dyn Fn() -> Fault| {
        facts.check("rule", rule, ok);
        if !ok && first.is_none() {
            first = Some(fault());
        }
    };
    rule("the status is 101", answer.status == 101, &|| {
        Fault::new(format!("the status is {} and not 101", answer.status), IN_FRONT)
    });
    rule("the version is HTTP/1.1", answer.version == 1, &|| {
        Fault::new(
            "the answer is HTTP/1.0, which knows no upgrades",
            "have the proxy in front speak HTTP/1.1",
        )
    });
    let upgrades: Vec<_> = answer.all("upgrade").collect();
    rule("Upgrade is `websocket`", has_token(upgrades.iter().copied(), "websocket"), &|| {
        Fault::new(shown("Upgrade", &upgrades, "it has to be `websocket`"), IN_FRONT)
    });
    let connections: Vec<_> = answer.all("connection").collect();
    rule("Connection contains `Upgrade`", has_token(connections.iter().copied(), "upgrade"), &|| {
        Fault::new(shown("Connection", &connections, "it has to contain `Upgrade`"), IN_FRONT)
    });
    let accepts: Vec<_> = answer.all("sec-websocket-accept").collect();
    let expected = derive_accept_key(request.key.as_bytes());
    let accepted = matches!(accepts[..], [accept] if accept.trim() == expected);
    rule("Sec-WebSocket-Accept fits Sec-WebSocket-Key", accepted, &|| {
        let fits = format!("`{expected}` fits the key that was sent");
        Fault::new(
            shown("Sec-WebSocket-Accept", &accepts, &fits),
            "the server has to answer the key of this very request (RFC 6455 section 4.2.2); a cache in front of it may \
             have answered with that of another one",
        )
    });
    let extensions: Vec<_> =
        answer.all("sec-websocket-extensions").filter(|it| !it.trim().is_empty()).collect();
    rule("Sec-WebSocket-Extensions has only what was offered: nothing", extensions.is_empty(), &|| {
        Fault::new(
            format!("the server chose an extension that was not offered: {}", extensions.join(", ")),
            "have the server choose only extensions that the client offers",
        )
    });
    first.map_or(Ok(()), Err)
}

/// The subprotocol that the server chose, as it stands in the header.
pub(super) fn subprotocol(
    answer: &Answer,
    request: &Request,
    may_be_missing: bool,
    facts: &mut Facts,
) -> Result<Option<String>, Fault> {
    let chosen: Vec<_> =
        answer.all("sec-websocket-protocol").map(str::trim).filter(|chosen| !chosen.is_empty()).collect();
    let may_be_chosen = |offer: &&Token| !offer.expose().starts_with(BEARER_PREFIX);
    let offers: Vec<_> = request.offers.iter().filter(may_be_chosen).map(Token::expose).collect();
    let is_one = chosen.len() <= 1 && chosen.iter().all(|chosen| !chosen.contains(','));
    facts.check("rule", "Sec-WebSocket-Protocol has at most one subprotocol", is_one);
    let is_offered = chosen.iter().all(|chosen| offers.contains(chosen));
    facts.check("rule", "Sec-WebSocket-Protocol is one of those offered", is_offered);
    if !is_one {
        return Err(Fault::new(
            format!("the server chose more than one subprotocol: {}", chosen.join(", ")),
            "have the server choose one (RFC 6455 section 4.2.2)",
        ));
    }
    if !is_offered {
        let offered = if offers.is_empty() { "none was".to_owned() } else { offers.join(", ") };
        return Err(Fault::new(
            format!(
                "the server chose the subprotocol {}, which was not offered ({offered})",
                chosen.join(", ")
            ),
            "offer it with `--subprotocol`, or have the server choose one of those offered",
        ));
    }
    if chosen.is_empty() && !offers.is_empty() && !may_be_missing {
        return Err(Fault::new(
            format!("the server chose none of the offered subprotocols: {}", offers.join(", ")),
            "check the spelling, and which subprotocols the server knows; clients of this library do not go on without",
        ));
    }
    Ok(chosen.first().map(|chosen| (*chosen).to_owned()))
}

fn shown(name: &str, values: &[&str], expected: &str) -> String {
    match values {
        [] => format!("the header {name} is missing: {expected}"),
        values => format!("the header {name} is `{}`: {expected}", values.join(", ")),
    }
}
