//! How `ws` ends: its exit codes, and what it says when a command fails.

use std::{fmt, process::ExitCode};

use websockets_simple_client::{ConnectError, OpenError, ParamsError};

use crate::{chat::wire::one_line, in_one_line};

/// The exit codes, as `ws --help` and the README list them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Exit {
    /// The command is done.
    Done = 0,
    /// The connection was lost, or closed by the other side with another code than 1000; a check failed.
    Failed = 1,
    /// The command line is not usable, or a line of the input.
    Usage = 2,
    /// No connection: name resolution, TCP, the proxy, TLS, or the time for all of it.
    Unreachable = 3,
    /// The server refused the handshake or a group, or its answer is no handshake.
    Refused = 4,
    /// Something is missing here: a file, a token, an address to listen on.
    Local = 5,
}

/// The exit codes as the help shows them.
pub const HELP: &str = "\
Exit codes:
  0  the command is done; the connection closed in order
  1  the connection was lost, or closed by the other side with a code other than 1000; a check failed
  2  the command line is not usable, or a line cannot be sent as what it was to be
  3  no connection: name resolution, TCP, the proxy, TLS, or the time for all of it
  4  the server refused the handshake or a group, or what it answered is no handshake
  5  something is missing here: a file, a token, an address to listen on

Messages go to standard output, everything else to standard error.";

/// Why a command failed: an exit code, and a line for standard error.
#[derive(Clone, Debug)]
pub struct Failure {
    exit: Exit,
    /// None if the command has said it already.
    said: Option<String>,
}

impl Exit {
    /// The exit code of a connect that failed.
    #[must_use]
    pub fn of(error: &ConnectError) -> Self {
        match error {
            ConnectError::BadResponse(_)
            | ConnectError::Redirected { .. }
            | ConnectError::Rejected { .. }
            | ConnectError::SubprotocolRejected
            | ConnectError::Unauthorized { .. } => Self::Refused,
            ConnectError::Params(_) => Self::Usage,
            ConnectError::NoAttempt(_) | ConnectError::TokenProvider(_) => Self::Local,
            ConnectError::Closed => Self::Failed,
            _ => Self::Unreachable,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Failure {
    /// A failure that is yet to be told.
    #[must_use]
    pub fn new(exit: Exit, said: impl Into<String>) -> Self {
        Self { exit, said: Some(said.into()) }
    }

    /// A failure that the command has told already.
    #[must_use]
    pub fn told(exit: Exit) -> Self {
        Self { exit, said: None }
    }

    /// Something that is missing here.
    #[must_use]
    pub fn local(said: impl Into<String>) -> Self {
        Self::new(Exit::Local, said)
    }

    /// Its exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Whether there is something left to say.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.said.is_none()
    }
}

impl fmt::Display for Failure {
    /// One line, in which no peer can put commands for the terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(self.said.as_deref().unwrap_or_default()))
    }
}

impl std::error::Error for Failure {}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::from(&error)
    }
}

impl From<&ConnectError> for Failure {
    fn from(error: &ConnectError) -> Self {
        let mut said = in_one_line(error);
        if let ConnectError::Rejected { body, .. } = error
            && !body.trim().is_empty()
        {
            said = format!("{said}: {}", body.trim());
        }
        Self::new(Exit::of(error), said)
    }
}

impl From<ParamsError> for Failure {
    fn from(error: ParamsError) -> Self {
        Self::new(Exit::Usage, in_one_line(&error))
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Connect(error) => error.into(),
            OpenError::Params(error) => error.into(),
            error => Self::new(Exit::Failed, in_one_line(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_every_exit_code() {
        let all = [Exit::Done, Exit::Failed, Exit::Usage, Exit::Unreachable, Exit::Refused, Exit::Local];
        let listed: Vec<_> = HELP.lines().filter_map(|line| line.strip_prefix("  ")).collect();
        assert_eq!(listed.len(), all.len());
        for (exit, line) in all.into_iter().zip(listed) {
            assert!(line.starts_with(&format!("{}  ", exit as u8)), "{line}");
        }
    }

    #[test]
    fn the_words_of_a_server_cannot_command_the_terminal() {
        let error = ConnectError::Rejected {
            status: 403,
            headers: Box::default(),
            body: "no\u{1b}[2J\nentry".to_owned(),
            retry_after: None,
        };
        let failure = Failure::from(error);
        assert_eq!(failure.exit(), Exit::Refused);
        assert_eq!(
            failure.to_string(),
            "the server refused the handshake with HTTP status 403: no [2J entry"
        );
    }
}
