//! Authentication by the tokens in the store.

use std::{fmt::Display, str::FromStr, time::Duration};

use async_trait::async_trait;
use chrono::TimeDelta;
use subtle::ConstantTimeEq;
use tokio::time::timeout;
use websockets_simple_core::wall_clock;

use super::SqlUsers;
use crate::users::{
    sql::{error::SqlUsersError, issue::storable, revocations::SqlRevocations, token_info::TokenInfo},
    token_hash::hash,
};
use crate::{
    net::HandshakeRequest,
    users::{
        revocation::Revocations,
        user_service::{Authenticated, Credentials, UserId, UserService, UserServiceError},
    },
};

#[async_trait]
impl<T: UserId + Display + FromStr> UserService for SqlUsers<T> {
    type Id = T;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<T>>, UserServiceError> {
        let Some(token) = credentials.token() else { return Ok(None) };
        let shown = hash(token);
        let found = self.store.find(&shown).await.map_err(SqlUsersError::store);
        let Some(row) = found.map_err(UserServiceError::new)? else { return Ok(None) };
        // A client cannot choose a token whose hash is close to a stored one, so the timing of the index lookup reveals
        // nothing; the final comparison takes constant time.
        let is_same = bool::from(row.2[..].ct_eq(&shown[..]));
        let id = row.0;
        let info = TokenInfo::<T>::from_row(row).map_err(UserServiceError::new)?;
        let now = storable(wall_clock());
        if !is_same || !info.is_good_at(now) {
            return Ok(None);
        }
        if info.last_used_at.is_none_or(|last| last < now - NOTED_EVERY) {
            // A failure to record the use does not refuse the client.
            match timeout(NOTING, self.store.note_use(id, now, now - NOTED_EVERY)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "cannot record the use of a token"),
                Err(_) => tracing::debug!("recording the use of a token timed out"),
            }
        }
        let user = Authenticated::new(info.user).credential(info.credential).scopes(info.scopes);
        Ok(Some(match info.expires_at {
            Some(at) => user.expires_at(at),
            None => user,
        }))
    }

    fn revocations(&self) -> Option<Revocations<T>> {
        Some(Box::pin(SqlRevocations::new(&self.store, &self.seen)))
    }
}

const NOTED_EVERY: TimeDelta = TimeDelta::minutes(1);
const NOTING: Duration = Duration::from_millis(500);
