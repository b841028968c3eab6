//! Signed connection ids, which only the server can make.

use std::{fmt, net::IpAddr};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

use crate::config::client_id::ClientId;

/// Signs connection ids that are sent to clients, and verifies those that clients send back.
///
/// A signed id is `s:<id>.<signature>`. The signature is the HMAC-SHA256 (RFC 2104) of the id in padded standard
/// base64. The application always sees the id without its signature.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{IdSigning, ServerParams};
///
/// let signing = IdSigning::new("a secret of at least 32 random bytes").previous("the one before it").strict(true);
/// let params = ServerParams::new(8080).id_signing(signing);
/// ```
#[derive(Clone)]
pub struct IdSigning {
    secret: SecretSlice<u8>,
    previous: Vec<SecretSlice<u8>>,
    is_strict: bool,
}

/// The error for a signed client id with an invalid signature, or one that belongs to another client. It does not
/// quote the id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the signature of the client id is invalid")]
pub struct InvalidSignature;

impl IdSigning {
    /// Signs with this secret. Keep it confidential: with it, any connection can be impersonated.
    #[must_use]
    pub fn new(secret: impl AsRef<[u8]>) -> Self {
        Self { secret: secret.as_ref().to_vec().into(), previous: Vec::new(), is_strict: false }
    }

    /// Signs with a new random secret: ids signed before a restart, or by another server, are invalid.
    #[must_use]
    pub fn random() -> Self {
        tracing::warn!(
            "ids of connections are signed with a random secret, which does not outlive this process"
        );
        Self::new(rand::random::<[u8; 32]>())
    }

    /// Also accepts ids signed with this previous secret, for the time of a change of secrets.
    #[must_use]
    pub fn previous(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.previous.push(secret.as_ref().to_vec().into());
        self
    }

    /// Binds ids to the address of the client (behind a trusted proxy the real one) and its `User-Agent`, so that they
    /// are invalid for any other client. Default: off, as clients lose their id when their address changes.
    #[must_use]
    pub fn strict(mut self, is_strict: bool) -> Self {
        self.is_strict = is_strict;
        self
    }

    /// Signs an id: the id with its signature.
    #[must_use]
    pub fn sign(&self, id: &ClientId, client: Option<IpAddr>, user_agent: Option<&str>) -> String {
        let id = id.to_string();
        let signature = self.mac(&self.secret, &id, client, user_agent).finalize().into_bytes();
        format!("s:{id}.{}", BASE64_STANDARD.encode(signature))
    }

    /// Verifies a signed id, and answers the id without its signature. Signatures are compared in constant time.
    ///
    /// # Errors
    ///
    /// [`InvalidSignature`] if the signature is missing, malformed or wrong.
    pub fn verify(
        &self,
        signed: &str,
        client: Option<IpAddr>,
        user_agent: Option<&str>,
    ) -> Result<ClientId, InvalidSignature> {
        let (id, signature) =
            signed.strip_prefix("s:").and_then(|rest| rest.rsplit_once('.')).ok_or(InvalidSignature)?;
        let id = ClientId::new(id).map_err(|_| InvalidSignature)?;
        let signature = BASE64_STANDARD.decode(signature).map_err(|_| InvalidSignature)?;
        let text = id.to_string();
        let mut secrets = std::iter::once(&self.secret).chain(&self.previous);
        let is_right = secrets
            .any(|secret| self.mac(secret, &text, client, user_agent).verify_slice(&signature).is_ok());
        if is_right { Ok(id) } else { Err(InvalidSignature) }
    }

    /// Whether one of the secrets is empty.
    pub(super) fn has_empty_secret(&self) -> bool {
        std::iter::once(&self.secret).chain(&self.previous).any(|secret| secret.expose_secret().is_empty())
    }

    fn mac(
        &self,
        secret: &SecretSlice<u8>,
        id: &str,
        client: Option<IpAddr>,
        user_agent: Option<&str>,
    ) -> Hmac<Sha256> {
        let mut key = secret.expose_secret().to_vec();
        if self.is_strict {
            let agent = user_agent.unwrap_or_default();
            let client = client.map(|ip| ip.to_canonical().to_string()).unwrap_or_default();
            key.extend_from_slice(format!(";{agent};{client}").as_bytes());
        }
        // RFC 2104 section 2 allows a key of any length.
        let key = SecretSlice::from(key);
        let mac = Hmac::<Sha256>::new_from_slice(key.expose_secret());
        let mut mac = mac.unwrap_or_else(|_| unreachable!("HMAC accepts keys of any length"));
        mac.update(id.as_bytes());
        mac
    }
}

impl fmt::Debug for IdSigning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdSigning")
            .field("previous", &self.previous.len())
            .field("is_strict", &self.is_strict)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn id() -> ClientId {
        ClientId::new("5d12f974-7b1a-4524-ab93-6afbf42c4ffa").unwrap()
    }

    #[test]
    fn a_signed_id_is_what_other_implementations_make_of_it() {
        let (plain, strict) = (IdSigning::new("super-secret"), IdSigning::new("super-secret").strict(true));
        let signed = |signature| format!("s:5d12f974-7b1a-4524-ab93-6afbf42c4ffa.{signature}=");
        // Made with `hmac` and `hashlib` of Python.
        let vector = "8qHWZA7dMwgbAO0uW3pncXp8U6YpaOJBiaXpPFqdVlg";
        assert_eq!(plain.sign(&id(), HERE, None), signed(vector));
        assert_eq!(plain.sign(&id(), HERE, Some("Mozilla/5.0")), signed(vector));
        let vector = "y98lGm+nDi9KIF6pfJCNZeLmwGtmHqTrrUINHkFdujg";
        assert_eq!(strict.sign(&id(), HERE, Some("Mozilla/5.0")), signed(vector));
        assert_eq!(strict.sign(&id(), HERE, None), signed("gDCvQoC6yzoJ63nwI3kP+AX5R4KsHZJHqUzzu/1BXhw"));
    }

    #[test]
    fn ids_with_dots_and_colons_are_signed_and_read_back() {
        let signing = IdSigning::random();
        for text in ["a.b.c", "s:x.y", "7", "."] {
            let id = ClientId::new(text).unwrap();
            assert_eq!(signing.verify(&signing.sign(&id, HERE, None), HERE, None), Ok(id));
        }
    }

    #[test]
    fn a_strict_id_is_of_no_use_elsewhere_or_to_another_program() {
        let signing = IdSigning::new("super-secret").strict(true);
        let signed = signing.sign(&id(), HERE, Some("Mozilla/5.0"));
        assert_eq!(signing.verify(&signed, HERE, Some("Mozilla/5.0")), Ok(id()));
        let mapped = "::ffff:127.0.0.1".parse().ok();
        assert_eq!(signing.verify(&signed, mapped, Some("Mozilla/5.0")), Ok(id()));
        for elsewhere in ["127.0.0.2".parse().ok(), None] {
            assert_eq!(signing.verify(&signed, elsewhere, Some("Mozilla/5.0")), Err(InvalidSignature));
        }
        for agent in [None, Some("curl"), Some("")] {
            assert_eq!(signing.verify(&signed, HERE, agent), Err(InvalidSignature));
        }
        assert_eq!(IdSigning::new("super-secret").verify(&signed, HERE, None), Err(InvalidSignature));
    }

    #[test]
    fn what_an_old_secret_has_signed_is_good_as_long_as_it_is_given() {
        let old = IdSigning::new("old").sign(&id(), HERE, None);
        let new = IdSigning::new("new");
        assert_eq!(new.verify(&old, HERE, None), Err(InvalidSignature));
        let new = new.previous("older").previous("old");
        assert_eq!(new.verify(&old, HERE, None), Ok(id()));
        assert_ne!(new.sign(&id(), HERE, None), old);
    }

    #[test]
    fn nothing_else_is_taken_for_a_signed_id_and_no_secret_is_shown() {
        let signing = IdSigning::new("super-secret").previous("older-secret");
        let good = signing.sign(&id(), HERE, None);
        let unpadded = good.trim_end_matches('=');
        for wrong in [
            "",
            "s:",
            "s:.",
            ".",
            "s:a",
            "s:a.",
            &id().to_string(),
            &good[2..],
            unpadded,
            &format!("{good}="),
        ] {
            assert_eq!(signing.verify(wrong, HERE, None), Err(InvalidSignature), "{wrong}");
        }
        let shown = format!("{signing:?}");
        assert!(!shown.contains("super") && !shown.contains("older"), "{shown}");
    }

    proptest! {
        #[test]
        fn a_changed_byte_makes_it_wrong(place in 0_usize..82, other in any::<char>()) {
            let signing = IdSigning::new("super-secret");
            let mut signed = signing.sign(&id(), HERE, None).chars().collect::<Vec<_>>();
            let place = place % signed.len();
            prop_assume!(signed[place] != other);
            signed[place] = other;
            let changed = signed.into_iter().collect::<String>();
            prop_assert_eq!(signing.verify(&changed, HERE, None), Err(InvalidSignature));
        }
    }
}
