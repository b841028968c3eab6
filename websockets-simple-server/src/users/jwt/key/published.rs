//! Keys as an issuer publishes them (RFC 7517).

use jsonwebtoken::{
    DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

use super::{JwtAlgorithm, JwtKey, Kind, is_supported};

impl JwtAlgorithm {
    /// All algorithms that sign with a private key.
    pub(in crate::users::jwt) const ASYMMETRIC: [Self; 9] = [
        Self::EdDsa,
        Self::Es256,
        Self::Es384,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
    ];
}

impl JwtKey {
    /// A key of a published set, for those of the allowed algorithms that match its type. `None` if it cannot verify
    /// signatures, or is not a public key: a published secret is refused.
    pub(in crate::users::jwt) fn of_jwk(jwk: &Value, allowed: &[JwtAlgorithm]) -> Option<Self> {
        let jwk = Jwk::deserialize(jwk).ok()?;
        if jwk.common.public_key_use.is_some_and(|purpose| purpose != PublicKeyUse::Signature)
            || jwk.common.key_operations.is_some_and(|all| !all.contains(&KeyOperations::Verify))
        {
            return None;
        }
        let (kind, key) = match &jwk.algorithm {
            AlgorithmParameters::EllipticCurve(ec) => {
                let key = DecodingKey::from_ec_components(&ec.x, &ec.y).ok()?;
                match (&ec.curve, key.try_get_as_bytes().ok()?.len()) {
                    (EllipticCurve::P256, 65) => (Kind::P256, key),
                    (EllipticCurve::P384, 97) => (Kind::P384, key),
                    _ => return None,
                }
            }
            AlgorithmParameters::OctetKeyPair(pair) => {
                let key = DecodingKey::from_ed_components(&pair.x).ok()?;
                match (&pair.curve, key.try_get_as_bytes().ok()?.len()) {
                    (EllipticCurve::Ed25519, 32) => (Kind::Ed25519, key),
                    _ => return None,
                }
            }
            AlgorithmParameters::RSA(rsa) => {
                let key = DecodingKey::from_rsa_components(&rsa.n, &rsa.e).ok()?;
                match key.kind() {
                    jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, .. } if is_supported(n) => {}
                    _ => return None,
                }
                (Kind::Rsa, key)
            }
            _ => return None,
        };
        let named = jwk.common.key_algorithm;
        let allowed = allowed.iter().copied().filter(|one| one.kind() == kind);
        let algorithms = allowed.filter(|one| named.is_none_or(|named| named == one.library().into()));
        let algorithms = algorithms.collect::<Vec<_>>();
        (!algorithms.is_empty()).then_some(Self { id: jwk.common.key_id, kind, algorithms, key })
    }
}
