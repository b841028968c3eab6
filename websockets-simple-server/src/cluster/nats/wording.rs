//! Why there is no connection, in words. What the server says is not repeated as it is: whoever is there may send back what
//! we sent.

use std::{error::Error, io};

use async_nats::{ClientError, ConnectError, ConnectErrorKind, Event, ServerError, rustls};
use websockets_simple_core::tls::wording;

use crate::cluster::nats::dial::CONNECT_WITHIN;

/// What servers say, in lower case, and is no secret.
const KNOWN: [&str; 12] = [
    "account authentication expired",
    "authentication timeout",
    "maximum account active connections exceeded",
    "maximum connections exceeded",
    "maximum control line exceeded",
    "maximum payload violation",
    "maximum subscriptions exceeded",
    "secure connection - tls required",
    "slow consumer",
    "stale connection",
    "user authentication expired",
    "user authentication revoked",
];

/// Why an attempt to connect failed.
pub(super) fn connecting(error: &ConnectError, wants_tls: bool) -> String {
    let source = error.source();
    if let Some(fault) = source.and_then(of_tls) {
        return match wants_tls {
            true => format!("TLS failed: {fault}"),
            false => "the server wants TLS, which the URL does not ask for: tls://".to_owned(),
        };
    }
    match error.kind() {
        ConnectErrorKind::Dns => "the name of the server is not known".to_owned(),
        ConnectErrorKind::TimedOut => format!("it does not answer within {} s", CONNECT_WITHIN.as_secs()),
        ConnectErrorKind::AuthorizationViolation => server(&ServerError::AuthorizationViolation),
        ConnectErrorKind::Authentication => "the credentials cannot be used".to_owned(),
        ConnectErrorKind::Tls => "TLS failed".to_owned(),
        _ => match source {
            Some(source) => of_stream(source),
            None => "the connection failed".to_owned(),
        },
    }
}

fn of_stream(source: &(dyn Error + 'static)) -> String {
    if let Some(error) = source.downcast_ref::<ServerError>() {
        return server(error);
    }
    match source.downcast_ref::<io::Error>() {
        // What the crate could not read: it quotes it.
        Some(error) if [io::ErrorKind::InvalidInput, io::ErrorKind::Other].contains(&error.kind()) => {
            "what the server says is not the protocol of NATS".to_owned()
        }
        Some(error) => error.to_string(),
        None => "the server closed the connection, or does not speak the protocol of NATS".to_owned(),
    }
}

/// An error of TLS, which may be wrapped.
fn of_tls(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(wording::fault(error, "the server"));
    }
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => of_tls(inner),
        None => error.source().and_then(of_tls),
    }
}

/// Why a connection is at its end, if it is. Where there are other servers, one that is about to end is left.
pub(super) fn event(event: &Event, has_others: bool) -> Option<String> {
    match event {
        Event::Disconnected | Event::Closed => Some("the connection was lost".to_owned()),
        Event::LameDuckMode if has_others => Some("the server is about to shut down".to_owned()),
        Event::ServerError(error) => Some(server(error)),
        Event::ClientError(ClientError::MaxReconnects) => Some("the connection was lost".to_owned()),
        _ => None,
    }
}

fn server(error: &ServerError) -> String {
    let said = match error {
        ServerError::AuthorizationViolation => {
            return "the server refuses the credentials (Authorization Violation)".to_owned();
        }
        ServerError::SlowConsumer(_) => return "the server calls us a slow consumer".to_owned(),
        ServerError::Other(said) => said.to_ascii_lowercase(),
    };
    if let Some(what) = said.strip_prefix("permissions violation for ") {
        let verb = if what.starts_with("publish") { "publish to" } else { "subscribe to" };
        let subject = what.split('"').nth(1).filter(|subject| is_subject(subject));
        return format!("the server does not allow us to {verb} {}", subject.unwrap_or("a subject"));
    }
    match KNOWN.iter().find(|known| said == **known) {
        Some(known) => format!("the server reports: {known}"),
        None => "the server reports an error".to_owned(),
    }
}

fn is_subject(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.len() <= 200 && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        server(&ServerError::Other(text.to_owned()))
    }

    #[test]
    fn what_a_server_says_is_repeated_only_where_it_is_known() {
        assert_eq!(said("User Authentication Expired"), "the server reports: user authentication expired");
        assert_eq!(said("CONNECT {\"pass\":\"hidden\"}"), "the server reports an error");
        assert_eq!(
            said("Permissions Violation for Subscription to \"a.b-1\""),
            "the server does not allow us to subscribe to a.b-1"
        );
        assert_eq!(
            said("Permissions Violation for Publish to \"hidden\n\""),
            "the server does not allow us to publish to a subject"
        );
    }

    #[test]
    fn what_the_crate_quotes_is_not_repeated() {
        for error in [
            ConnectError::with_source(ConnectErrorKind::Io, "expected INFO, got hidden"),
            ConnectError::with_source(
                ConnectErrorKind::Io,
                io::Error::new(io::ErrorKind::InvalidInput, "hidden"),
            ),
            ConnectError::with_source(ConnectErrorKind::Io, io::Error::other("hidden")),
            ConnectError::with_source(ConnectErrorKind::Io, ServerError::Other("hidden".to_owned())),
            ConnectError::with_source(ConnectErrorKind::Authentication, "hidden"),
            ConnectError::with_source(ConnectErrorKind::Dns, "hidden"),
        ] {
            let why = connecting(&error, true);
            assert!(!why.contains("hidden") && !why.is_empty(), "{why}");
        }
    }

    #[test]
    fn a_server_that_is_about_to_end_is_left_for_another() {
        assert_eq!(event(&Event::LameDuckMode, false), None);
        assert!(event(&Event::LameDuckMode, true).is_some());
        assert_eq!(event(&Event::SlowConsumer(1), true), None);
        assert!(event(&Event::Disconnected, false).is_some());
    }
}
