//! What a diagnosis must not show: tokens, and values of headers and queries that may be secrets.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::{Url, form_urlencoded};
use websockets_simple_client::Token;

/// What stands for a secret.
const HIDDEN: &str = "***";

/// Characters of a text of the server that are shown.
const LONGEST: usize = 300;

/// Values of queries that are shorter are too common to be looked for in texts.
const SHORTEST: usize = 6;

/// Bytes of the beginning of a secret that tell that it is one.
const TELLING: usize = 8;

/// Parts of the names of headers whose values may be secrets.
const SECRET_NAMES: [&str; 9] =
    ["auth", "cookie", "credential", "key", "passw", "secret", "session", "signature", "token"];

/// Headers of the handshake that have such a name without being secrets.
const PUBLIC_NAMES: [&str; 2] = ["sec-websocket-key", "www-authenticate"];

/// Characters that are percent-encoded in a path (RFC 3986 section 3.3). A token there may contain a query.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The secrets of a probe, in all forms in which they are sent.
#[derive(Default)]
pub struct Secrets(Vec<Token>);

impl Secrets {
    /// Hides this text from now on, also where it is encoded.
    pub(super) fn hide(&mut self, secret: &str) {
        if secret.is_empty() {
            return;
        }
        let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        // As browsers write it.
        let component = encoded.replace('+', "%20");
        self.0.extend([secret.to_owned(), encoded, component, in_a_path(secret)].map(Token::new));
        self.0.push(Token::new(BASE64_URL_SAFE_NO_PAD.encode(secret)));
        // The longest first, as one may contain another.
        self.0.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        self.0.dedup_by(|one, other| one.expose() == other.expose());
    }

    /// Hides the values of a query.
    pub(super) fn hide_query(&mut self, url: &Url) {
        for (_, value) in url.query_pairs().filter(|(_, value)| value.len() >= SHORTEST) {
            self.hide(&value);
        }
    }

    /// A text without secrets and without commands for a terminal. What is too long is cut.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for secret in &self.0 {
            clean = clean.replace(secret.expose(), HIDDEN);
        }
        clean = self.without_beginnings(&clean);
        let mut shown: String =
            clean.chars().map(|c| if is_visible(c) { c } else { ' ' }).take(LONGEST).collect();
        if clean.chars().nth(LONGEST).is_some() {
            shown.push('…');
        }
        shown
    }

    /// A text without beginnings of secrets: servers cut what they repeat. Of forms that begin alike, the one counts that goes
    /// on alike for longest.
    fn without_beginnings(&self, text: &str) -> String {
        let long: Vec<_> =
            self.0.iter().map(Token::expose).filter(|secret| secret.len() >= 2 * TELLING).collect();
        let same = |text: &str, secret: &str| {
            text.bytes().zip(secret.bytes()).take_while(|(one, other)| one == other).count()
        };
        let (mut clean, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(first) = rest.chars().next() {
            let longest = long.iter().map(|secret| same(rest, secret)).max().unwrap_or_default();
            let size = if longest >= TELLING {
                clean.push_str(HIDDEN);
                rest.floor_char_boundary(longest)
            } else {
                clean.push(first);
                first.len_utf8()
            };
            rest = &rest[size..];
        }
        clean
    }

    /// The beginning of a body. Where it was cut, what may be the first half of a secret is cut too.
    pub(super) fn body(&self, bytes: &[u8], was_cut: bool) -> String {
        let text = String::from_utf8_lossy(bytes);
        let mut text = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
        if was_cut {
            let half = |secret: &Token| {
                let secret = secret.expose();
                secret.char_indices().map(|(at, _)| at).rev().find(|at| text.ends_with(&secret[..*at]))
            };
            let longest = self.0.iter().filter_map(half).max().unwrap_or_default();
            text = &text[..text.len() - longest];
        }
        self.clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// One header, as it is shown.
    pub(super) fn header(&self, name: &str, value: &str) -> String {
        let lower = name.to_ascii_lowercase();
        if !PUBLIC_NAMES.contains(&&*lower) && SECRET_NAMES.iter().any(|part| lower.contains(part)) {
            return format!("{name}: {HIDDEN}");
        }
        let value = match &*lower {
            "location" => without_query(value),
            "sec-websocket-protocol" => without_bearer(value),
            _ => value.to_owned(),
        };
        self.clean(&format!("{name}: {value}"))
    }
}

/// A token as the client of this library writes it into a path.
pub(super) fn in_a_path(token: &str) -> String {
    utf8_percent_encode(token, PATH).to_string()
}

/// A URL or a target of a request whose query values are hidden.
pub(super) fn without_query(url: &str) -> String {
    let (url, fragment) = url.split_once('#').map_or((url, ""), |(url, _)| (url, "#***"));
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    // A user name and a password in front of the host.
    let end = rest.find('/').unwrap_or(rest.len());
    let rest = match rest[..end].rfind('@') {
        Some(at) if !scheme.is_empty() => format!("{HIDDEN}{}", &rest[at..]),
        _ => rest.to_owned(),
    };
    let shown = match rest.split_once('?') {
        None => rest,
        Some((path, query)) => {
            let hidden = |pair: &str| match pair.split_once('=') {
                Some((name, _)) => format!("{name}={HIDDEN}"),
                None => HIDDEN.to_owned(),
            };
            format!("{path}?{}", query.split('&').map(hidden).collect::<Vec<_>>().join("&"))
        }
    };
    let colon = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{colon}{shown}{fragment}")
}

fn without_bearer(offers: &str) -> String {
    let hidden = |offer: &str| {
        let offer = offer.trim();
        if offer.starts_with("bearer.") { format!("bearer.{HIDDEN}") } else { offer.to_owned() }
    };
    offers.split(',').map(hidden).collect::<Vec<_>>().join(", ")
}

/// Characters that turn the direction of writing can make a text look like another one.
fn is_visible(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("count", &self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        let mut secrets = Secrets::default();
        secrets.hide("to ken/+");
        secrets
    }

    #[test]
    fn a_secret_is_hidden_in_every_form_in_which_it_is_sent() {
        let secrets = secrets();
        for form in ["to ken/+", "to+ken%2F%2B", "to%20ken%2F%2B", "dG8ga2VuLys"] {
            assert_eq!(secrets.clean(&format!("a {form} b")), "a *** b");
        }
    }

    #[test]
    fn a_secret_that_was_cut_by_the_server_is_hidden() {
        let mut secrets = Secrets::default();
        secrets.hide("abcdefghijklmnöpqrst");
        for (text, shown) in [
            ("no abcdefghijklm! ", "no ***! "),
            ("no abcdefghijklmnö", "no ***"),
            ("no abcdefghijklmn\u{c4}", "no ***\u{c4}"),
            ("abcdefghijklmn%C3%B6pq", "***"),
            ("abcdefghabcdefgh", "******"),
            ("abcdefg", "abcdefg"),
            ("abcdefghijklmnöpqrst", "***"),
        ] {
            assert_eq!(secrets.clean(text), shown);
        }
    }

    #[test]
    fn the_first_half_of_a_secret_is_not_shown_where_a_text_was_cut() {
        assert_eq!(secrets().body(b"bad token: to ke", true), "bad token:");
        assert_eq!(secrets().body(b"bad token: to ke", false), "bad token: to ke");
    }

    #[test]
    fn headers_that_may_be_secrets_are_named_without_their_values() {
        for (name, value, shown) in [
            ("Authorization", "Bearer abc", "Authorization: ***"),
            ("X-Api-Key", "abc", "X-Api-Key: ***"),
            ("Set-Cookie", "a=b", "Set-Cookie: ***"),
            ("Sec-WebSocket-Key", "abc", "Sec-WebSocket-Key: abc"),
            ("Sec-WebSocket-Protocol", "chat, bearer.abc", "Sec-WebSocket-Protocol: chat, bearer.***"),
            ("Location", "https://a@b/c?d=e&f#g", "Location: https://***@b/c?d=***&***#***"),
            ("Server", "x\u{1b}[2Jy", "Server: x [2Jy"),
        ] {
            assert_eq!(Secrets::default().header(name, value), shown);
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(Secrets::default().clean(&"é".repeat(LONGEST + 1)).chars().count(), LONGEST + 1);
        assert!(Secrets::default().clean(&"é".repeat(LONGEST)).ends_with('é'));
    }
}
