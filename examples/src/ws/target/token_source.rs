//! Where a token comes from: never from the command line, which others on the machine can read.

use std::{
    env::{self, VarError},
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use clap::Args;
use tokio::{process::Command, time::timeout};
use websockets_simple_client::{ClientParams, Token};

use crate::ws::exit::Failure;

/// A source of tokens.
#[derive(Args, Clone, Debug)]
#[group(multiple = false)]
pub(super) struct TokenSource {
    /// Read the token from the first line of this file, anew before each connect.
    #[arg(long, value_name = "FILE", help_heading = super::CONNECTION)]
    token_file: Option<PathBuf>,
    /// Read the token from this environment variable.
    #[arg(long, value_name = "NAME", help_heading = super::CONNECTION)]
    token_env: Option<String>,
    /// Read the token from the first line that this command prints. The shell runs it before each connect.
    #[arg(long, value_name = "COMMAND", help_heading = super::CONNECTION)]
    token_command: Option<String>,
}

impl TokenSource {
    /// The token, fetched now. A command that takes longer than this is killed.
    pub(super) async fn once(&self, patience: Duration) -> Result<Option<Token>, Failure> {
        if let Some(name) = &self.token_env {
            return from_env(name).map(Some);
        }
        let fetched = match (&self.token_file, &self.token_command) {
            (Some(path), _) => from_file(path),
            (None, Some(command)) => match timeout(patience, from_command(command)).await {
                Ok(fetched) => fetched,
                Err(_) => Err("the command for the token takes longer than `--timeout`".to_owned()),
            },
            (None, None) => return Ok(None),
        };
        fetched.map(Some).map_err(Failure::local)
    }

    /// Gives the client the token, or the way to get it.
    pub(super) fn put_into(&self, params: ClientParams) -> Result<ClientParams, Failure> {
        if let Some(name) = &self.token_env {
            return Ok(params.token(from_env(name)?));
        }
        if let Some(path) = &self.token_file {
            let path = path.clone();
            // A file that is missing from the beginning is a mistake; one that is missing later may come back.
            from_file(&path).map_err(Failure::local)?;
            return Ok(params.token_provider(move |_reason| {
                let read = from_file(&path).map_err(Box::<dyn Error + Send + Sync>::from);
                async move { read }
            }));
        }
        if let Some(command) = &self.token_command {
            let command = command.clone();
            return Ok(params.token_provider(move |_reason| {
                let command = command.clone();
                async move { Ok(from_command(&command).await?) }
            }));
        }
        Ok(params)
    }
}

fn from_env(name: &str) -> Result<Token, Failure> {
    let token = env::var(name).map_err(|error| {
        let why = match error {
            VarError::NotPresent => "is not set",
            VarError::NotUnicode(_) => "is no text",
        };
        Failure::local(format!("the environment variable {name} {why}"))
    })?;
    first_line(&token, name).map_err(Failure::local)
}

fn from_file(path: &Path) -> Result<Token, String> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    first_line(&text, &path.display().to_string())
}

async fn from_command(command: &str) -> Result<Token, String> {
    let Output { status, stdout, .. } =
        shell(command).await.map_err(|error| format!("the command for the token does not run: {error}"))?;
    if !status.success() {
        return Err(format!("the command for the token failed: {status}"));
    }
    first_line(&String::from_utf8_lossy(&stdout), "the output of the command for the token")
}

/// Runs a command. What it says on standard error is for the user, and it may ask at the terminal.
async fn shell(command: &str) -> io::Result<Output> {
    #[cfg(unix)]
    let (shell, flag) = ("sh", "-c");
    #[cfg(not(unix))]
    let (shell, flag) = ("cmd", "/C");
    let mut running = Command::new(shell);
    running.args([flag, command]).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    running.output().await
}

fn first_line(text: &str, origin: &str) -> Result<Token, String> {
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(Token::from(line)),
        _ => Err(format!("there is no token in the first line of {origin}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_gives_its_first_line_or_says_why_it_does_not() {
        assert_eq!(from_command("echo secret; echo more").await.unwrap().expose(), "secret");
        let failed = from_command("echo secret; exit 3").await.unwrap_err();
        assert!(failed.starts_with("the command for the token failed: "), "{failed}");
        assert!(!failed.contains("secret"));
        let nothing = from_command("echo").await.unwrap_err();
        assert_eq!(nothing, "there is no token in the first line of the output of the command for the token");
    }
}
