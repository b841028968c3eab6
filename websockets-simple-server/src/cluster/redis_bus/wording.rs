//! Why there is no connection, in words. What the server says is not repeated: it quotes commands, with the user, the
//! password and the messages in them.

use std::io;

use redis::{ErrorKind, RedisError, ServerError};

const NOT_REDIS: &str = "what the server says is not the protocol of Redis";
const TOO_OLD: &str = "the server does not speak RESP3: Redis 6 or later is needed, or Valkey";

/// An error of the network.
pub(super) fn io(error: &io::Error) -> String {
    #[cfg(feature = "rustls")]
    if let Some(fault) = super::tls::fault(error) {
        return fault;
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

/// Why the opening of a connection failed, the network being in order.
pub(super) fn opening(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::RESP3NotSupported => TOO_OLD.to_owned(),
        ErrorKind::Parse => NOT_REDIS.to_owned(),
        _ => match (error.code(), error.detail()) {
            (Some("NOPROTO"), _) => TOO_OLD.to_owned(),
            (Some("ERR"), Some(detail)) if detail.starts_with("unknown command") => TOO_OLD.to_owned(),
            (Some("ERR"), Some(detail)) if detail.starts_with("max number of clients") => {
                "the server has as many clients as it takes".to_owned()
            }
            (Some("DENIED"), _) => "the server is in protected mode (DENIED)".to_owned(),
            (Some(code), _) => format!("the server refuses us: {}", reason(code)),
            (None, _) => NOT_REDIS.to_owned(),
        },
    }
}

/// Why a command was refused.
pub(super) fn command(name: &str, error: &ServerError) -> String {
    format!("the server refuses {name}: {}", reason(error.code()))
}

/// Why a connection ended whose stream did not.
pub(super) fn unreadable() -> String {
    NOT_REDIS.to_owned()
}

fn reason(code: &str) -> String {
    let is_code = code.len() <= 32 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    match code {
        "WRONGPASS" => "the user or the password is wrong (WRONGPASS)".to_owned(),
        "NOAUTH" => "it asks for a password (NOAUTH)".to_owned(),
        "NOPERM" => "the user has no permission for it (NOPERM)".to_owned(),
        "LOADING" => "it is loading its data (LOADING)".to_owned(),
        code if is_code => code.to_owned(),
        _ => "an unknown error".to_owned(),
    }
}
