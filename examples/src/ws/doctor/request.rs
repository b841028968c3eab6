//! The request for a WebSocket.

use base64::{Engine, prelude::BASE64_STANDARD};
use websockets_simple_client::{Token, TokenPlacement};

use crate::ws::doctor::{
    finding::Facts,
    probe::{Address, Probe},
    secrets::{Secrets, without_query},
};

/// A request, and what its answer has to fit.
#[derive(Debug)]
pub(super) struct Request {
    target: Token,
    headers: Vec<(String, Token)>,
    pub(super) key: String,
    /// The subprotocols that the server may choose.
    pub(super) offers: Vec<Token>,
}

impl Request {
    pub(super) fn new(probe: &Probe, address: &Address) -> Self {
        let key = BASE64_STANDARD.encode(rand::random::<[u8; 16]>());
        let offers = probe.offers();
        let mut headers = Vec::new();
        let mut add = |name: &str, value: &str| headers.push((name.to_owned(), Token::from(value)));
        let is_host = |name: &str| name.eq_ignore_ascii_case("host");
        match probe.headers.iter().rev().find(|(name, _)| is_host(name)) {
            Some((_, given)) => add("Host", given.expose()),
            None => add("Host", &address.authority()),
        }
        add("Connection", "Upgrade");
        add("Upgrade", "websocket");
        add("Sec-WebSocket-Version", "13");
        add("Sec-WebSocket-Key", &key);
        for (name, value) in probe.headers.iter().filter(|(name, _)| !is_host(name)) {
            add(name, value.expose());
        }
        if let Some((token, TokenPlacement::Header)) = &probe.token {
            add("Authorization", &format!("Bearer {}", token.expose()));
        }
        if !offers.is_empty() {
            let offers: Vec<_> = offers.iter().map(Token::expose).collect();
            add("Sec-WebSocket-Protocol", &offers.join(", "));
        }
        Self { target: address.target.clone(), headers, key, offers }
    }

    /// As it is sent.
    pub(super) fn bytes(&self) -> Token {
        let mut head = format!("GET {} HTTP/1.1\r\n", self.target.expose());
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {}\r\n", value.expose()));
        }
        head.push_str("\r\n");
        Token::new(head)
    }

    /// Notes each line, without secrets.
    pub(super) fn describe(&self, secrets: &Secrets, facts: &mut Facts) {
        facts.see("sent", format!("GET {} HTTP/1.1", without_query(self.target.expose())));
        for (name, value) in &self.headers {
            facts.see("sent", secrets.header(name, value.expose()));
        }
    }
}
