//! `ws token`: makes and reads tokens.

use clap::{Args, Subcommand};

use crate::ws::exit::Failure;

mod jwt;
mod lifetime;
mod random;
mod show;

/// What to do with tokens.
#[derive(Args, Debug)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a random token. The first line is the token, the second its SHA-256, which is what a store keeps.
    New,
    /// Make a signed JSON Web Token, with a secret (HS256) or a private key (EdDSA, ES256, ES384 or RS256).
    Jwt(Box<jwt::JwtArgs>),
    /// Show a JSON Web Token from standard input. Its signature is not checked.
    Show,
}

/// Runs the command.
///
/// # Errors
///
/// A [`Failure`].
#[expect(clippy::unused_async, reason = "all commands are awaited")]
pub async fn run(args: TokenArgs) -> Result<(), Failure> {
    match args.command {
        Command::New => random::run(),
        Command::Jwt(args) => jwt::run(&args),
        Command::Show => show::run(),
    }
}
