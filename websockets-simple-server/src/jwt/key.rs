//! A key that signs tokens, and the one algorithm that it is used with.

use std::fmt;

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, crypto::aws_lc};

/// Bytes of the shortest secret: as many as the hash has (RFC 7518 section 3.2).
const SHORTEST: usize = 32;

/// How a token is signed (RFC 7518 section 3.1, RFC 8037).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are those of the RFCs")]
pub enum JwtAlgorithm {
    EdDSA,
    ES256,
    ES384,
    HS256,
    HS384,
    HS512,
    PS256,
    PS384,
    PS512,
    RS256,
    RS384,
    RS512,
}

/// A key that signs tokens. `Debug` shows its name and algorithm.
#[derive(Clone)]
pub struct JwtKey {
    pub(super) id: Option<String>,
    pub(super) algorithm: JwtAlgorithm,
    pub(super) key: DecodingKey,
}

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtKeyError {
    /// The algorithm is not one of this kind of key.
    #[error("the algorithm is for another kind of key")]
    Algorithm,
    /// The key cannot be read, or is for another algorithm.
    #[error("the key cannot be read, or is for another algorithm")]
    Malformed,
    /// The secret is shorter than 32 bytes, and could be guessed.
    #[error("the secret is shorter than 32 bytes")]
    Short,
}

impl JwtKey {
    /// A secret that the issuer shares with us, for HS256, HS384 or HS512.
    ///
    /// # Errors
    ///
    /// [`JwtKeyError`].
    pub fn from_secret(algorithm: JwtAlgorithm, secret: &[u8]) -> Result<Self, JwtKeyError> {
        if Algorithm::from(algorithm).family() != AlgorithmFamily::Hmac {
            return Err(JwtKeyError::Algorithm);
        }
        if secret.len() < SHORTEST {
            return Err(JwtKeyError::Short);
        }
        Ok(Self::new(algorithm, DecodingKey::from_secret(secret)))
    }

    /// The public key of an issuer in PEM, for any other algorithm.
    ///
    /// # Errors
    ///
    /// [`JwtKeyError`].
    pub fn from_pem(algorithm: JwtAlgorithm, pem: &[u8]) -> Result<Self, JwtKeyError> {
        let key = match Algorithm::from(algorithm).family() {
            AlgorithmFamily::Hmac => return Err(JwtKeyError::Algorithm),
            AlgorithmFamily::Rsa => DecodingKey::from_rsa_pem(pem),
            AlgorithmFamily::Ec => DecodingKey::from_ec_pem(pem),
            AlgorithmFamily::Ed => DecodingKey::from_ed_pem(pem),
        };
        Ok(Self::new(algorithm, key.map_err(|_| JwtKeyError::Malformed)?))
    }

    pub(super) fn new(algorithm: JwtAlgorithm, key: DecodingKey) -> Self {
        // Another crate may have enabled another provider too, and there would be none then. That one was installed
        // already is as good.
        let _ = aws_lc::DEFAULT_PROVIDER.install_default();
        Self { id: None, algorithm, key }
    }

    /// Names the key: tokens that name another (`kid`) are not held against it.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Whether a token that names this key, or none, may be signed by it.
    pub(super) fn may_be(&self, kid: Option<&str>) -> bool {
        match (&self.id, kid) {
            (Some(id), Some(kid)) => id == kid,
            _ => true,
        }
    }
}

impl From<JwtAlgorithm> for Algorithm {
    fn from(algorithm: JwtAlgorithm) -> Self {
        match algorithm {
            JwtAlgorithm::EdDSA => Self::EdDSA,
            JwtAlgorithm::ES256 => Self::ES256,
            JwtAlgorithm::ES384 => Self::ES384,
            JwtAlgorithm::HS256 => Self::HS256,
            JwtAlgorithm::HS384 => Self::HS384,
            JwtAlgorithm::HS512 => Self::HS512,
            JwtAlgorithm::PS256 => Self::PS256,
            JwtAlgorithm::PS384 => Self::PS384,
            JwtAlgorithm::PS512 => Self::PS512,
            JwtAlgorithm::RS256 => Self::RS256,
            JwtAlgorithm::RS384 => Self::RS384,
            JwtAlgorithm::RS512 => Self::RS512,
        }
    }
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKey")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
