//! The stored data of a token.

use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::users::sql::{error::SqlUsersError, issue::words, store::Row};

/// The stored data of a token of [`SqlUsers`](crate::SqlUsers). The token itself is not stored.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TokenInfo<T> {
    /// The id of the token, to revoke it: the number of its row. The same as
    /// [`Authenticated::credential_id`](crate::Authenticated::credential_id). Never used for another token.
    pub credential: String,
    /// The user that it was issued to.
    pub user: T,
    /// A text that says what it is for.
    pub label: String,
    /// The scopes: what it allows.
    pub scopes: Vec<String>,
    /// When it was issued.
    pub created_at: DateTime<Utc>,
    /// When it expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used for a login, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl<T> TokenInfo<T> {
    /// Whether the token is valid at this time.
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
