//! Credentials that are no longer good.

use std::pin::Pin;

use futures_core::Stream;

/// What a [`UserService`](crate::UserService) no longer answers for. Connections that were opened with it are
/// closed with [`CloseCode::REVOKED`](crate::CloseCode::REVOKED).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Revocation<T> {
    /// One credential, by the id that [`Authenticated::credential`](crate::Authenticated::credential) gave it.
    Credential(String),
    /// All credentials of a user.
    User(T),
}

/// Revocations as they happen, whoever made them. Its end says that there will be no more.
pub type Revocations<T> = Pin<Box<dyn Stream<Item = Revocation<T>> + Send>>;
