//! The tokens of the chat: issued, listed and revoked from the command line, while the server runs.

use std::{
    error::Error,
    io::{self, Write},
};

use chrono::{SubsecRound, TimeDelta, Utc};
use clap::Subcommand;
use websockets_simple_server::{SqlUsers, TokenInfo};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokensCommand {
    /// Issue a token to a user and print it; it cannot be shown again.
    Issue {
        /// The user.
        user: String,
        /// What it is for, such as "phone".
        #[arg(long, default_value = "")]
        label: String,
        /// Days until it expires. Without this it never expires.
        #[arg(long)]
        days: Option<u32>,
    },
    /// List all tokens with user, label and state, but not the tokens themselves.
    List,
    /// Revoke a token, or all tokens of a user. Connections that use one are closed within a second.
    Revoke {
        /// The number of the token, as `list` shows it.
        #[arg(required_unless_present = "user")]
        number: Option<String>,
        /// All tokens of this user.
        #[arg(long, conflicts_with = "number")]
        user: Option<String>,
    },
}

impl TokensCommand {
    /// Runs the command and writes the result to `out`.
    ///
    /// # Errors
    ///
    /// When the store fails, or there is no such token to revoke.
    pub async fn run(&self, users: &SqlUsers<String>, mut out: impl Write) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Issue { user, label, days } => {
                let mut issue = users.issue(user).label(label.clone());
                if let Some(days) = days {
                    issue = issue.expires_at(Utc::now() + TimeDelta::days((*days).into()));
                }
                let (token, info) = issue.await?;
                writeln!(out, "token {} of {user}:", info.credential)?;
                writeln!(out, "{}", token.expose())?;
            }
            Self::List => {
                for info in users.list().await? {
                    write_line(&mut out, &info)?;
                }
            }
            Self::Revoke { number: Some(number), .. } => {
                if !users.revoke(number).await? {
                    return Err(format!("there is no token {number} that could be revoked").into());
                }
                writeln!(out, "revoked token {number}")?;
            }
            Self::Revoke { number: None, user } => {
                let user = user.as_deref().unwrap_or_default();
                writeln!(out, "revoked {} tokens of {user}", users.revoke_user(&user.to_owned()).await?)?;
            }
        }
        Ok(())
    }
}

fn write_line(out: &mut impl Write, info: &TokenInfo<String>) -> io::Result<()> {
    let state = match (info.revoked_at, info.is_good_at(Utc::now())) {
        (Some(_), _) => "revoked",
        (None, true) => "good",
        (None, false) => "expired",
    };
    let used = info
        .last_used_at
        .map_or_else(|| "never used".to_owned(), |at| format!("used {}", at.trunc_subsecs(0)));
    let until = info.expires_at.map_or_else(String::new, |at| format!(", until {}", at.trunc_subsecs(0)));
    let label = if info.label.is_empty() { String::new() } else { format!(" ({})", info.label) };
    writeln!(out, "{} {}{label}: {state}{until}, {used}", info.credential, info.user)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(users: &SqlUsers<String>, command: TokensCommand) -> Result<String, String> {
        let mut out = Vec::new();
        command.run(users, &mut out).await.map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[tokio::test]
    async fn a_token_is_issued_listed_without_itself_and_revoked_once() {
        let users = SqlUsers::sqlite_in_memory().await.unwrap();
        let issue =
            TokensCommand::Issue { user: "Ronald".to_owned(), label: "phone".to_owned(), days: Some(7) };
        let issued = said(&users, issue).await.unwrap();
        let (first, token) = issued.trim_end().split_once('\n').unwrap();
        assert_eq!(first, "token 1 of Ronald:");
        let listed = said(&users, TokensCommand::List).await.unwrap();
        assert!(
            listed.starts_with("1 Ronald (phone): good, until 2") && listed.ends_with(", never used\n"),
            "{listed}"
        );
        assert!(!listed.contains(token));
        let revoke = || TokensCommand::Revoke { number: Some("1".to_owned()), user: None };
        assert_eq!(said(&users, revoke()).await.unwrap(), "revoked token 1\n");
        assert_eq!(said(&users, revoke()).await.unwrap_err(), "there is no token 1 that could be revoked");
        assert!(said(&users, TokensCommand::List).await.unwrap().contains("(phone): revoked"));
        let all = TokensCommand::Revoke { number: None, user: Some("Ronald".to_owned()) };
        assert_eq!(said(&users, all).await.unwrap(), "revoked 0 tokens of Ronald\n");
    }
}
