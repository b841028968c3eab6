//! JSON Web Tokens, signed here.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use chrono::{TimeDelta, Utc};
use clap::{Args, ValueEnum};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value};
use websockets_simple_server::{JwtAlgorithm, JwtKey};

use super::lifetime;
use crate::{
    in_one_line,
    ws::{
        exit::{Exit, Failure},
        output,
    },
};

/// What to sign, and by what.
#[derive(Args, Debug)]
pub(super) struct JwtArgs {
    /// Sign with the secret in this file; a line break at its end is no part of it.
    #[arg(long, value_name = "FILE", required_unless_present = "key_file", conflicts_with = "key_file")]
    secret_file: Option<PathBuf>,
    /// Sign with the private key in this PEM file (PKCS #8).
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The algorithm. By default HS256 for a secret, and what suits a key.
    #[arg(long, value_enum)]
    alg: Option<Alg>,
    /// The id of the key, for the header.
    #[arg(long, value_name = "ID")]
    kid: Option<String>,
    /// The user: the claim `sub`.
    #[arg(long, value_name = "USER")]
    sub: String,
    /// The claim `iss`.
    #[arg(long, value_name = "ISSUER")]
    iss: Option<String>,
    /// An audience for the claim `aud`. May be given several times.
    #[arg(long, value_name = "AUDIENCE")]
    aud: Vec<String>,
    /// How long the token is valid: 90s, 15m, 1h, 30d.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = lifetime::parse)]
    exp: TimeDelta,
    /// Another claim; a value that is no JSON is a text. May be given several times.
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<Claim>,
}

/// A claim and its value.
#[derive(Clone, Debug)]
struct Claim(String, Value);

/// The algorithm.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "UPPER")]
enum Alg {
    Hs256,
    Hs384,
    Hs512,
    #[value(name = "EdDSA")]
    EdDsa,
    Es256,
    Es384,
    Rs256,
    Ps256,
}

/// How a key is read, and the algorithm that it is for.
type Suitable = (Alg, fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>);

/// In the order in which they are tried.
const KEYS: [Suitable; 5] = [
    (Alg::EdDsa, EncodingKey::from_ed_pem),
    (Alg::Es256, EncodingKey::from_ec_pem),
    (Alg::Es384, EncodingKey::from_ec_pem),
    (Alg::Rs256, EncodingKey::from_rsa_pem),
    (Alg::Ps256, EncodingKey::from_rsa_pem),
];

impl FromStr for Claim {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        Ok(Self(name.to_owned(), value))
    }
}

pub(super) fn run(args: &JwtArgs) -> Result<(), Failure> {
    let claims = claims(args)?;
    output::line(&match (&args.secret_file, &args.key_file) {
        (Some(path), _) => by_secret(args, &read(path)?, &claims)?,
        (None, Some(path)) => by_key(args, &read(path)?, &claims)?,
        (None, None) => return Err(Failure::new(Exit::Usage, "give --secret-file or --key-file")),
    })
}

fn claims(args: &JwtArgs) -> Result<Map<String, Value>, Failure> {
    let now = Utc::now();
    let until =
        now.checked_add_signed(args.exp).ok_or_else(|| Failure::new(Exit::Usage, "--exp is too long"))?;
    let mut claims = Map::new();
    claims.insert("sub".to_owned(), args.sub.as_str().into());
    if let Some(iss) = &args.iss {
        claims.insert("iss".to_owned(), iss.as_str().into());
    }
    match &args.aud[..] {
        [] => {}
        [one] => drop(claims.insert("aud".to_owned(), one.as_str().into())),
        more => drop(claims.insert("aud".to_owned(), more.into())),
    }
    claims.insert("iat".to_owned(), now.timestamp().into());
    claims.insert("exp".to_owned(), until.timestamp().into());
    for Claim(name, value) in &args.claims {
        if claims.insert(name.clone(), value.clone()).is_some() {
            return Err(Failure::new(Exit::Usage, format!("the claim {name} is given twice")));
        }
    }
    Ok(claims)
}

fn by_secret(args: &JwtArgs, secret: &[u8], claims: &Map<String, Value>) -> Result<String, Failure> {
    let secret = secret.strip_suffix(b"\n").unwrap_or(secret);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    let (alg, served) = match args.alg.unwrap_or(Alg::Hs256) {
        Alg::Hs256 => (Algorithm::HS256, JwtAlgorithm::Hs256),
        Alg::Hs384 => (Algorithm::HS384, JwtAlgorithm::Hs384),
        Alg::Hs512 => (Algorithm::HS512, JwtAlgorithm::Hs512),
        _ => return Err(Failure::new(Exit::Usage, "a secret is for HS256, HS384 and HS512")),
    };
    // What no server would take is not made.
    JwtKey::hmac(secret)
        .and_then(|key| key.algorithms([served]))
        .map_err(|error| Failure::local(in_one_line(&error)))?;
    encode(&header(args, alg), claims, &EncodingKey::from_secret(secret))
        .map_err(|error| Failure::local(in_one_line(&error)))
}

fn by_key(args: &JwtArgs, pem: &[u8], claims: &Map<String, Value>) -> Result<String, Failure> {
    let mut suitable = KEYS.iter().filter(|(alg, _)| args.alg.is_none_or(|wanted| wanted == *alg));
    // A key of another curve is noticed when it signs.
    let signed = suitable.find_map(|(alg, key)| {
        let key = key(pem).ok()?;
        encode(&header(args, alg.library()), claims, &key).ok()
    });
    signed.ok_or_else(|| {
        let wanted = "an Ed25519, P-256, P-384 or RSA key that suits the algorithm";
        Failure::local(format!("the key file holds no PKCS #8 private key in PEM: {wanted} is needed"))
    })
}

fn header(args: &JwtArgs, alg: Algorithm) -> Header {
    Header { kid: args.kid.clone(), ..Header::new(alg) }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::local(format!("cannot read {}: {error}", path.display())))
}

impl Alg {
    fn library(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Hs384 => Algorithm::HS384,
            Self::Hs512 => Algorithm::HS512,
            Self::EdDsa => Algorithm::EdDSA,
            Self::Es256 => Algorithm::ES256,
            Self::Es384 => Algorithm::ES384,
            Self::Rs256 => Algorithm::RS256,
            Self::Ps256 => Algorithm::PS256,
        }
    }
}
