//! cargo run --release --bin jwt-server
//!
//! The chat for users with JSON Web Tokens. With `--jwks URL` the tokens come from an issuer; without it the server is
//! the issuer: it makes a secret and prints two tokens.
#![expect(clippy::print_stdout, reason = "a program with an output")]

use std::{error::Error, net::SocketAddr, process::ExitCode};

use chrono::Utc;
use clap::Parser;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use websockets_simple_examples::{
    chat::{self, Room},
    in_one_line, service, stop_request,
};
use websockets_simple_server::{Endpoint, Jwks, JwtKey, JwtUsers, WebsocketServerAuth};

/// The default audience of the tokens.
const AUDIENCE: &str = "chat";

/// The default issuer of the tokens.
const ISSUER: &str = "https://jwt-server.example";

/// A chat for users with JSON Web Tokens.
#[derive(Parser)]
struct Args {
    /// The address to listen on; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The https URL at which the issuer publishes its keys.
    #[arg(long, value_name = "URL")]
    jwks: Option<String>,
    /// The required value of the claim `iss`.
    #[arg(long, default_value = ISSUER)]
    issuer: String,
    /// The audience that the claim `aud` must contain.
    #[arg(long, default_value = AUDIENCE)]
    audience: String,
    /// The claim with the name of the user.
    #[arg(long, value_name = "CLAIM", default_value = "sub")]
    name: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jwt-server: {}", in_one_line(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let secret: [u8; 32] = rand::random();
    let users = JwtUsers::new(&args.issuer, &args.audience).id_claim(&args.name);
    let users = match &args.jwks {
        Some(url) => users.jwks(Jwks::new(url)?),
        None => users.key(JwtKey::hmac(secret)?),
    };
    let server = WebsocketServerAuth::<String>::new(chat::params(Endpoint::tcp(args.listen)), users);
    Room::open_to_users(&server);
    let stop = stop_request()?;
    server.start().await?;
    let addr = server.local_addr().ok_or("the server has stopped already")?;
    println!("listening on {addr}");
    if args.jwks.is_none() {
        println!("Tokens, valid for an hour:");
        for name in ["Ronald", "John"] {
            let claims = json!({
                args.name.as_str(): name,
                "aud": args.audience,
                "iss": args.issuer,
                "exp": Utc::now().timestamp() + 3600,
            });
            let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(&secret))?;
            println!("  {name}");
            println!("    cargo run --release --bin chat-client -- --url ws://{addr} --token={token}");
        }
    }
    println!("Ctrl-C stops the server.");
    stop.await;
    service::stop(&server).await;
    Ok(())
}
