//! Random tokens.

use std::fmt::Write;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::ws::{exit::Failure, output};

/// As the server makes them: 256 random bits.
pub(super) fn run() -> Result<(), Failure> {
    let token = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    output::line(&token)?;
    output::line(&format!("sha256 {}", hash(&token)))
}

/// The SHA-256 of a token in hexadecimal digits. Tokens are random, so no salt is needed.
fn hash(token: &str) -> String {
    Sha256::digest(token).iter().fold(String::new(), |mut digits, byte| {
        // Writing to a String does not fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_sha256sum() {
        // printf abc | sha256sum; FIPS 180-4 has it as an example.
        assert_eq!(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
