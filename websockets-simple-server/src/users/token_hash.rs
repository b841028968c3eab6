//! New random tokens, and the hashes under which tokens are stored.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use websockets_simple_core::Token;

/// The SHA-256 of a token: what a store keeps instead of it.
pub(crate) type TokenHash = [u8; 32];

/// Hashes a token. Tokens are random, so that no salt is needed.
pub(crate) fn hash(token: &Token) -> TokenHash {
    Sha256::digest(token.expose()).into()
}

/// Makes a token of 256 random bits.
pub(crate) fn random_token() -> Token {
    Token::new(BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_token_is_a_word_of_43_characters_and_different_each_time() {
        let (one, other) = (random_token(), random_token());
        assert_eq!(one.expose().len(), 43);
        assert!(one.expose().bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
        assert_ne!(hash(&one), hash(&other));
    }

    #[test]
    fn the_hash_is_sha_256() {
        // FIPS 180-4, of the empty message.
        assert_eq!(hash(&Token::new(""))[..4], [0xe3, 0xb0, 0xc4, 0x42]);
    }
}
