//! What a connection needs and another one may have: a place among those of its user, and its id. Who holds it is asked for
//! a sign of life, so that nobody who comes back is kept out by a connection of their own that is dead.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time::Instant};
use websockets_simple_core::{EndCause, LifeQuestion};

use crate::{
    addressing::{Placement, ReservedId, UserPermit},
    connection::Connection,
    handshake::{context::HandshakeContext, refusal::Refusal},
    users::{Authenticated, Identity},
};

/// How long a handshake waits for another one that has its id, which it is to take over.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a connection that was given up, or is ending, may take to free its place: its handlers finish first.
const LETTING_GO: Duration = Duration::from_secs(1);

/// What a connection to be opened has.
pub(super) struct Claim<I: Identity> {
    pub(super) user_permit: Option<UserPermit<I>>,
    pub(super) reserved: Option<ReservedId<I>>,
}

/// What others have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Taken {
    /// All places of the user.
    Places,
    Id,
}

/// Takes what is free. Without a placement, for a peer that is only told that it is not authorized, that is nothing.
pub(super) fn claim<I: Identity>(
    context: &HandshakeContext<I>,
    user: Option<&Authenticated<I::Id>>,
    wanted: Option<&Placement>,
) -> Result<Claim<I>, Taken> {
    let Some(wanted) = wanted else { return Ok(Claim { user_permit: None, reserved: None }) };
    let registry = &context.shared.registry;
    let user_permit = match user.map(Authenticated::id) {
        Some(user) => {
            let limit = context.shared.params.limits.connections_per_user;
            // The one that is replaced counts until it has ended.
            let limit = limit.saturating_add(usize::from(replaces_own(context, user, wanted)));
            Some(registry.user_permit(user, limit).ok_or(Taken::Places)?)
        }
        None => None,
    };
    let reserved = match &wanted.client_id {
        Some(id) => Some(registry.reserve(id, wanted.takes_over).ok_or(Taken::Id)?),
        None => None,
    };
    Ok(Claim { user_permit, reserved })
}

/// Whether the connection takes over the id of another one of its user.
fn replaces_own<I: Identity>(context: &HandshakeContext<I>, user: &I::Id, wanted: &Placement) -> bool {
    let id = wanted.client_id.as_ref().filter(|_| wanted.takes_over);
    let holder = id.and_then(|id| context.shared.registry.client(id));
    holder.is_some_and(|holder| belongs_to(&holder, user))
}

fn belongs_to<I: Identity>(connection: &Connection<I>, user: &I::Id) -> bool {
    connection.0.origin.user.as_ref().is_some_and(|of| of.id() == user)
}

/// Takes what is free once connections that give no sign of life have ended.
pub(super) async fn free<I: Identity>(
    context: &HandshakeContext<I>,
    user: Option<&Authenticated<I::Id>>,
    wanted: Option<&Placement>,
    taken: Taken,
) -> Result<Claim<I>, Refusal> {
    let params = &context.shared.params;
    let freeing = async {
        match freed(context, user, wanted, taken).await {
            // The place is free, but not the id, or the other way round.
            Err(other) if other != taken => freed(context, user, wanted, other).await,
            freed => freed,
        }
    };
    tokio::select! {
        biased;
        freed = freeing => freed.map_err(|taken| match taken {
            Taken::Places => Refusal::too_many_of_user(params),
            Taken::Id => Refusal::id_is_taken(),
        }),
        () = context.stop.begun() => Err(Refusal::stopping(params)),
    }
}

/// Asks those who hold what is taken, all at once, and gives up the oldest of those that have not answered in time. An
/// error if all have answered, or if something else is taken.
async fn freed<I: Identity>(
    context: &HandshakeContext<I>,
    user: Option<&Authenticated<I::Id>>,
    wanted: Option<&Placement>,
    taken: Taken,
) -> Result<Claim<I>, Taken> {
    let holders = holders(context, user, wanted, taken);
    let told = Arc::new(Notify::new());
    let mut asked: Vec<(&Connection<I>, LifeQuestion<'_>)> = Vec::new();
    for holder in &holders {
        asked.extend(holder.0.core.ask_for_life(&told).map(|question| (holder, question)));
    }
    // Another handshake has it, which will soon be a connection, or fail.
    let waits = holders.is_empty() && taken == Taken::Id && wanted.is_some_and(|wanted| wanted.takes_over);
    let first = asked.iter().map(|(_, question)| question.until()).min();
    let mut until = first.unwrap_or_else(|| Instant::now() + PATIENCE);
    let mut is_last = false;
    loop {
        let freed = context.shared.registry.freed();
        match claim(context, user, wanted) {
            Err(still) if still == taken => {}
            claimed => return claimed,
        }
        asked.retain(|(_, question)| !question.is_answered());
        if asked.is_empty() && !waits {
            return Err(taken);
        }
        let now = Instant::now();
        if now >= until {
            if is_last {
                return Err(taken);
            }
            (is_last, until) = (true, now + LETTING_GO);
            let lost = asked.iter().find(|(_, question)| now >= question.until() && question.is_unanswered());
            if let Some((lost, _)) = lost {
                tracing::debug!(id = %lost.id(), "no sign of life: another connection gets its place");
                lost.0.core.outbox.close(EndCause::PingUnanswered);
            }
        }
        tokio::select! {
            () = freed => {}
            () = told.notified() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}

/// The connections that have what is taken, the oldest first.
fn holders<I: Identity>(
    context: &HandshakeContext<I>,
    user: Option<&Authenticated<I::Id>>,
    wanted: Option<&Placement>,
    taken: Taken,
) -> Vec<Connection<I>> {
    let shared = &context.shared;
    let id = wanted.and_then(|wanted| wanted.client_id.as_ref());
    let mut holders: Vec<_> = match (taken, user, id) {
        (Taken::Places, Some(user), _) => {
            let mut holders: Vec<_> = shared.registry.user(user.id()).iter().cloned().collect();
            let local = shared.unlisted.all().into_iter();
            holders.extend(local.filter(|connection| belongs_to(connection, user.id())));
            holders
        }
        // What is found by the id is taken over as it is.
        (Taken::Id, _, Some(id)) if wanted.is_some_and(|wanted| wanted.takes_over) => {
            shared.unlisted.client(id).into_iter().collect()
        }
        (Taken::Id, _, Some(id)) => shared.holder(id).into_iter().collect(),
        _ => Vec::new(),
    };
    holders.sort_unstable_by_key(|connection| connection.0.serial);
    holders
}
