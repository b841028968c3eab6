//! What a JSON Web Token says, for those who trust it or not.

use std::io;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::lifetime;
use crate::{
    chat::wire::one_line,
    ws::{
        exit::{Exit, Failure},
        json, output,
    },
};

pub(super) fn run() -> Result<(), Failure> {
    let mut text = String::new();
    io::stdin()
        .read_line(&mut text)
        .map_err(|error| Failure::local(format!("cannot read standard input: {error}")))?;
    let shown = describe(&text, Utc::now())
        .map_err(|why| Failure::new(Exit::Failed, format!("this is no JSON Web Token: {why}")))?;
    eprintln!("ws: the signature is NOT checked; anybody can write such a token");
    // JSON escapes some of the characters that command a terminal.
    shown.lines().try_for_each(|line| output::line(&one_line(line)))
}

/// Header, claims and times of a token.
fn describe(text: &str, now: DateTime<Utc>) -> Result<String, &'static str> {
    let token = text.trim();
    let token = token.strip_prefix("Bearer ").unwrap_or(token);
    let parts: Vec<_> = token.split('.').collect();
    let &[header, claims, _signature] = &parts[..] else {
        return Err(match parts.len() {
            5 => "it has five parts, so it is encrypted",
            _ => "it has not the three parts of a signed one",
        });
    };
    let (header, _) = json_of(header)?;
    let (shown, claims) = json_of(claims)?;
    let mut shown = format!("header {header}\nclaims {shown}");
    for (claim, past, future) in [
        ("iat", "issued", "issued in the future"),
        ("nbf", "valid since", "not valid before"),
        ("exp", "EXPIRED", "expires"),
    ] {
        match claims.get(claim).map(|value| at(value, now, past, future)) {
            Some(line) => shown = format!("{shown}\n{line}"),
            None if claim == "exp" => shown.push_str("\nnever expires"),
            None => {}
        }
    }
    Ok(shown)
}

/// A part as it is shown, and as it is read.
fn json_of(part: &str) -> Result<(String, Value), &'static str> {
    const NONE: &str = "a part is no JSON object";
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| "a part is not base64url")?;
    let text = String::from_utf8(bytes).map_err(|_| NONE)?;
    match (json::indented(&text), serde_json::from_str(&text)) {
        (Some(shown), Ok(value @ Value::Object(_))) => Ok((shown, value)),
        _ => Err(NONE),
    }
}

/// A time (RFC 7519 section 2, NumericDate) in words.
fn at(value: &Value, now: DateTime<Utc>, past: &str, future: &str) -> String {
    // Fractions of a second do not matter in words.
    #[expect(clippy::cast_possible_truncation, reason = "what is too large has no date")]
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64));
    let Some(time) = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0)) else {
        return format!("{future} {value}, which is no time");
    };
    let words = lifetime::words(time - now);
    match time > now {
        true => format!("{future} {time}, in {words}"),
        false => format!("{past} {time}, {words} ago"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        let part = |json: &str| BASE64_URL_SAFE_NO_PAD.encode(json);
        format!("{}.{}.c2ln\n", part(r#"{"alg":"HS256","typ":"JWT"}"#), part(claims))
    }

    fn shown(claims: &str) -> String {
        describe(&token(claims), DateTime::from_timestamp(1_000_000, 0).unwrap()).unwrap()
    }

    #[test]
    fn times_are_told_in_words() {
        assert!(shown(r#"{"exp":1007300}"#).ends_with("\nexpires 1970-01-12 15:48:20 UTC, in 2 hours"));
        assert!(shown(r#"{"exp":999000.5}"#).ends_with("\nEXPIRED 1970-01-12 13:30:00 UTC, 16 minutes ago"));
        assert!(shown(r#"{"sub":"a"}"#).ends_with("\nnever expires"));
        assert!(shown(r#"{"exp":"soon"}"#).ends_with("\nexpires \"soon\", which is no time"));
        assert!(shown(r#"{"exp":1e300}"#).contains("which is no time"));
        assert!(
            shown(r#"{"nbf":1000060,"exp":1000090}"#)
                .contains("\nnot valid before 1970-01-12 13:47:40 UTC, in 1 minute\n")
        );
    }

    #[test]
    fn header_and_claims_are_shown_as_json() {
        let shown = shown("{\"sub\":\"Ronald\\u001b[2J\"}");
        assert!(
            shown.starts_with("header {\n  \"alg\": \"HS256\",\n  \"typ\": \"JWT\"\n}\nclaims {\n"),
            "{shown}"
        );
        assert!(shown.contains(r#""sub": "Ronald\u001b[2J""#), "{shown}");
    }

    #[test]
    fn what_is_no_token_is_said() {
        for (text, why) in [
            ("", "it has not the three parts of a signed one"),
            ("a.b.c.d.e", "it has five parts, so it is encrypted"),
            ("a.b!.c", "a part is not base64url"),
            ("YWI.YWI.c", "a part is no JSON object"),
        ] {
            assert_eq!(describe(text, Utc::now()), Err(why), "{text}");
        }
    }
}
