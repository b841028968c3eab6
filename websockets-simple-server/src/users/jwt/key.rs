//! Keys that verify tokens, each for certain algorithms.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, crypto::aws_lc::DEFAULT_PROVIDER};

#[cfg(feature = "jwks")]
mod published;

/// The signature algorithm of a token (RFC 7518 section 3.1, RFC 8037). `none` is not supported.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum JwtAlgorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// ECDSA with P-384 and SHA-384.
    Es384,
    /// HMAC with SHA-256, which takes a secret of at least 32 bytes.
    Hs256,
    /// HMAC with SHA-384, which takes a secret of at least 48 bytes.
    Hs384,
    /// HMAC with SHA-512, which takes a secret of at least 64 bytes.
    Hs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
}

impl JwtAlgorithm {
    /// The algorithm that the header of a token names.
    pub(super) fn of(algorithm: Algorithm) -> Option<Self> {
        Some(match algorithm {
            Algorithm::EdDSA => Self::EdDsa,
            Algorithm::ES256 => Self::Es256,
            Algorithm::ES384 => Self::Es384,
            Algorithm::HS256 => Self::Hs256,
            Algorithm::HS384 => Self::Hs384,
            Algorithm::HS512 => Self::Hs512,
            Algorithm::PS256 => Self::Ps256,
            Algorithm::PS384 => Self::Ps384,
            Algorithm::PS512 => Self::Ps512,
            Algorithm::RS256 => Self::Rs256,
            Algorithm::RS384 => Self::Rs384,
            Algorithm::RS512 => Self::Rs512,
            _ => return None,
        })
    }

    fn library(self) -> Algorithm {
        match self {
            Self::EdDsa => Algorithm::EdDSA,
            Self::Es256 => Algorithm::ES256,
            Self::Es384 => Algorithm::ES384,
            Self::Hs256 => Algorithm::HS256,
            Self::Hs384 => Algorithm::HS384,
            Self::Hs512 => Algorithm::HS512,
            Self::Ps256 => Algorithm::PS256,
            Self::Ps384 => Algorithm::PS384,
            Self::Ps512 => Algorithm::PS512,
            Self::Rs256 => Algorithm::RS256,
            Self::Rs384 => Algorithm::RS384,
            Self::Rs512 => Algorithm::RS512,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::EdDsa => Kind::Ed25519,
            Self::Es256 => Kind::P256,
            Self::Es384 => Kind::P384,
            Self::Hs256 | Self::Hs384 | Self::Hs512 => Kind::Secret,
            Self::Ps256 | Self::Ps384 | Self::Ps512 | Self::Rs256 | Self::Rs384 | Self::Rs512 => Kind::Rsa,
        }
    }

    /// Shortest secret, in bytes (RFC 7518 section 3.2).
    fn shortest_secret(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
            _ => 0,
        }
    }
}

/// The type of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Ed25519,
    P256,
    P384,
    Rsa,
    Secret,
}

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtKeyError {
    /// The algorithm is for another type of key, or no algorithm was given.
    #[error("no algorithm, or one that does not match the key type")]
    Algorithm,
    /// This is not a public key of that type in PEM, or its curve or size is not supported: RSA keys have 2048 to 8192
    /// bits, EC keys the curve P-256 or P-384.
    #[error("not a PEM public key of the expected type and of a supported size or curve")]
    Pem,
    /// The secret is shorter than the hash (RFC 7518 section 3.2), so it could be found by brute force.
    #[error("the secret is too short: {needed} bytes are needed")]
    ShortSecret {
        /// How many bytes are needed at least.
        needed: usize,
    },
}

/// A key that verifies tokens, with algorithms of its own type only: the header of a token can only choose among them.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{JwtAlgorithm, JwtKey};
///
/// # fn example() -> Result<(), websockets_simple_server::JwtKeyError> {
/// let key = JwtKey::hmac([7; 64])?.algorithms([JwtAlgorithm::Hs512])?.id("2026");
/// assert!(JwtKey::hmac("too short").is_err());
/// assert!(key.algorithms([JwtAlgorithm::Rs256]).is_err());
/// # Ok(()) }
/// # example().unwrap();
/// ```
#[derive(Clone)]
pub struct JwtKey {
    id: Option<String>,
    kind: Kind,
    algorithms: Vec<JwtAlgorithm>,
    key: DecodingKey,
}

impl JwtKey {
    /// A secret that is shared with the issuer, used with HS256. Everyone who knows it can make tokens.
    ///
    /// # Errors
    ///
    /// When it is shorter than 32 bytes.
    pub fn hmac(secret: impl AsRef<[u8]>) -> Result<Self, JwtKeyError> {
        let key = DecodingKey::from_secret(secret.as_ref());
        Self { id: None, kind: Kind::Secret, algorithms: Vec::new(), key }.algorithms([JwtAlgorithm::Hs256])
    }

    /// A public RSA key of 2048 to 8192 bits in PEM, used with RS256.
    ///
    /// # Errors
    ///
    /// When the PEM is not such a key.
    pub fn rsa_pem(pem: impl AsRef<[u8]>) -> Result<Self, JwtKeyError> {
        let key = public(pem.as_ref(), DecodingKey::from_rsa_pem)?;
        let der = key.try_get_as_bytes().map_err(|_| JwtKeyError::Pem)?;
        let (modulus, _) = (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(der)
            .map_err(|_| JwtKeyError::Pem)?;
        if !is_supported(&modulus) {
            return Err(JwtKeyError::Pem);
        }
        Ok(Self { id: None, kind: Kind::Rsa, algorithms: vec![JwtAlgorithm::Rs256], key })
    }

    /// A public EC key in PEM, used with ES256 or ES384 by its curve.
    ///
    /// # Errors
    ///
    /// When the PEM is not such a key, or the curve is another one.
    pub fn ec_pem(pem: impl AsRef<[u8]>) -> Result<Self, JwtKeyError> {
        let key = public(pem.as_ref(), DecodingKey::from_ec_pem)?;
        // One byte for "not compressed", then both coordinates.
        let (kind, algorithm) = match key.try_get_as_bytes().map(<[u8]>::len) {
            Ok(65) => (Kind::P256, JwtAlgorithm::Es256),
            Ok(97) => (Kind::P384, JwtAlgorithm::Es384),
            _ => return Err(JwtKeyError::Pem),
        };
        Ok(Self { id: None, kind, algorithms: vec![algorithm], key })
    }

    /// A public Ed25519 key in PEM, used with `EdDSA`.
    ///
    /// # Errors
    ///
    /// When the PEM is not such a key.
    pub fn ed25519_pem(pem: impl AsRef<[u8]>) -> Result<Self, JwtKeyError> {
        let key = public(pem.as_ref(), DecodingKey::from_ed_pem)?;
        if !matches!(key.try_get_as_bytes(), Ok(bytes) if bytes.len() == 32) {
            return Err(JwtKeyError::Pem);
        }
        Ok(Self { id: None, kind: Kind::Ed25519, algorithms: vec![JwtAlgorithm::EdDsa], key })
    }

    /// Sets the id of the key, as the issuer names it: tokens that name another key (`kid`) are not verified with it.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Which algorithms the key is used with, instead of the default of its constructor.
    ///
    /// # Errors
    ///
    /// When one is for another type of key, the secret is too short for it, or the list is empty.
    pub fn algorithms(
        mut self,
        algorithms: impl IntoIterator<Item = JwtAlgorithm>,
    ) -> Result<Self, JwtKeyError> {
        self.algorithms = algorithms.into_iter().collect();
        if self.algorithms.is_empty() || self.algorithms.iter().any(|one| one.kind() != self.kind) {
            return Err(JwtKeyError::Algorithm);
        }
        let needed = self.algorithms.iter().map(|one| one.shortest_secret()).max().unwrap_or_default();
        if self.key.try_get_as_bytes().is_ok_and(|bytes| bytes.len() < needed) {
            return Err(JwtKeyError::ShortSecret { needed });
        }
        Ok(self)
    }

    /// Whether a token with this key id, or without one, may be signed with this key.
    pub(super) fn is_called(&self, id: Option<&str>) -> bool {
        self.id.is_none() || id.is_none() || self.id.as_deref() == id
    }

    /// Whether this is the signature of the message, made with one of the key's own algorithms.
    pub(super) fn verifies(&self, algorithm: JwtAlgorithm, message: &[u8], signature: &Vec<u8>) -> bool {
        // Taken from the provider itself: the process-wide default belongs to the application.
        self.algorithms.contains(&algorithm)
            && (DEFAULT_PROVIDER.verifier_factory)(&algorithm.library(), &self.key)
                .is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
    }
}

/// Reads a public key in PEM. The library also takes private keys and certificates; here they are refused, as they are
/// given by mistake.
fn public(
    pem: &[u8],
    read: impl FnOnce(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>,
) -> Result<DecodingKey, JwtKeyError> {
    let text = std::str::from_utf8(pem).map_err(|_| JwtKeyError::Pem)?;
    let begins = |label: &str| text.contains(&format!("-----BEGIN {label}-----"));
    if !begins("PUBLIC KEY") && !begins("RSA PUBLIC KEY") {
        return Err(JwtKeyError::Pem);
    }
    read(pem).map_err(|_| JwtKeyError::Pem)
}

/// Whether RSA with this modulus is neither too weak nor too slow.
fn is_supported(modulus: &[u8]) -> bool {
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    (2048 / 8..=8192 / 8).contains(&(modulus.len() - zeros))
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKey")
            .field("id", &self.id)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}
