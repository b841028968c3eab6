//! What is known of a token.

use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::users::sql::{error::SqlUsersError, issue::words, store::Row};

/// A token of [`SqlUsers`](crate::SqlUsers), without the token: that is known only to whom it was issued to.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TokenInfo<T> {
    /// Names the token, to revoke it: the number of its row. The same as
    /// [`Authenticated::credential_id`](crate::Authenticated::credential_id). Never given to another token.
    pub credential: String,
    /// Whose it is.
    pub user: T,
    /// What it is for, in words.
    pub label: String,
    /// What it allows.
    pub scopes: Vec<String>,
    /// When it was issued.
    pub created_at: DateTime<Utc>,
    /// When it is no longer good.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last shown and found good, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl<T> TokenInfo<T> {
    /// Whether the token lets somebody in at this time.
    #[must_use]
    pub fn is_good_at(&self, time: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| time < end)
    }
}

impl<T: FromStr> TokenInfo<T> {
    pub(super) fn from_row(row: Row) -> Result<Self, SqlUsersError> {
        let (id, user, _, scopes, label, created_at, expires_at, last_used_at, revoked_at) = row;
        Ok(Self {
            credential: id.to_string(),
            user: user.parse().map_err(|_| SqlUsersError::Id(user))?,
            label,
            scopes: words(&scopes),
            created_at,
            expires_at,
            last_used_at,
            revoked_at,
        })
    }
}
