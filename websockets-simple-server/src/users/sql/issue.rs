//! The builder of a new token.

use std::{
    fmt::{self, Display},
    future::IntoFuture,
    pin::Pin,
    str::FromStr,
};

use chrono::{DateTime, SubsecRound, Utc};
use websockets_simple_core::{Token, wall_clock};

use super::SqlUsers;
use crate::users::user_service::UserId;
use crate::users::{
    sql::{error::SqlUsersError, token_info::TokenInfo},
    token_hash::{hash, random_token},
};

/// The builder of a new token, from [`SqlUsers::issue`]. Awaiting it issues the token.
#[derive(Clone)]
#[must_use = "awaiting it issues the token"]
pub struct IssueToken<T> {
    users: SqlUsers<T>,
    user: T,
    label: String,
    scopes: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
}

impl<T> IssueToken<T> {
    pub(super) fn new(users: SqlUsers<T>, user: T) -> Self {
        Self { users, user, label: String::new(), scopes: Vec::new(), expires_at: None }
    }

    /// Sets when the token expires. By default it is valid until it is revoked.
    pub fn expires_at(mut self, at: DateTime<Utc>) -> Self {
        self.expires_at = Some(at);
        self
    }

    /// Sets a text that says what the token is for, such as "phone". Empty by default.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Sets what the token allows, for [`Authenticated::has_scope`](crate::Authenticated::has_scope): words without
    /// white space. Empty by default.
    pub fn scopes(mut self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }
}

impl<T: UserId + Display + FromStr> IntoFuture for IssueToken<T> {
    type Output = Result<(Token, TokenInfo<T>), SqlUsersError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (token, new) = NewToken::random(&self.user, self.label, &self.scopes, self.expires_at)?;
            let issued = self.users.store.insert(std::slice::from_ref(&new), false).await;
            let id = issued.map_err(SqlUsersError::store)?[0];
            Ok((token, new.into_info(id, self.user)))
        })
    }
}

impl<T: fmt::Debug> fmt::Debug for IssueToken<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssueToken")
            .field("user", &self.user)
            .field("label", &self.label)
            .field("scopes", &self.scopes)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// A token that is not stored yet.
pub(super) struct NewToken {
    pub(super) user: String,
    pub(super) hash: [u8; 32],
    pub(super) label: String,
    pub(super) scopes: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) expires_at: Option<DateTime<Utc>>,
}

impl NewToken {
    pub(super) fn random(
        user: &impl Display,
        label: String,
        scopes: &[String],
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<(Token, Self), SqlUsersError> {
        if let Some(scope) = scopes.iter().find(|scope| !is_scope(scope)) {
            return Err(SqlUsersError::Scope(scope.clone()));
        }
        let token = random_token();
        let new = Self {
            user: user.to_string(),
            hash: hash(&token),
            label,
            scopes: scopes.join(" "),
            created_at: storable(wall_clock()),
            expires_at: expires_at.map(storable),
        };
        Ok((token, new))
    }

    pub(super) fn into_info<T>(self, id: i64, user: T) -> TokenInfo<T> {
        TokenInfo {
            credential: id.to_string(),
            user,
            label: self.label,
            scopes: words(&self.scopes),
            created_at: self.created_at,
            expires_at: self.expires_at,
            last_used_at: None,
            revoked_at: None,
        }
    }
}

/// Cuts a time to microseconds, as PostgreSQL keeps no more: so it is the same when it is read back.
pub(super) fn storable(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

pub(super) fn words(scopes: &str) -> Vec<String> {
    scopes.split_whitespace().map(str::to_owned).collect()
}

fn is_scope(scope: &str) -> bool {
    !scope.is_empty() && !scope.contains(|c: char| c.is_whitespace() || c.is_control())
}
