//! A server as a node of a cluster: what the other nodes do to its connections, and the tasks for it.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use websockets_simple_core::{CloseCode, EndCause, Message, Text, Uncompressed};

use crate::{
    addressing::Audience,
    cluster::{
        ClusterEvent, ClusterParams, Codec, PresenceEvent, PresenceEventKind,
        internal::{
            Close, ClusterState, Local, NewRevocation, Next, Node, Opened, OwnConnection, Send, Told,
        },
    },
    connection::{Connection, Event},
    run::{
        shared::Shared,
        stop::Stop,
        supervisor::{Supervisor, TaskKind},
    },
    users::{Identity, Revocation},
};

/// How long the bus may take to send what is queued when the server stops.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// A server's part in a cluster.
#[derive(Debug)]
pub(crate) struct ClusterNode<I: Identity> {
    pub(crate) state: ClusterState,
    pub(crate) codec: Codec<I>,
}

impl<I: Identity> ClusterNode<I> {
    pub(crate) fn new(params: ClusterParams, codec: Codec<I>) -> Self {
        Self { state: ClusterState::new(params), codec }
    }
}

/// Starts the tasks of a node: its bus, what speaks and listens for it, and what raises its events.
pub(super) fn supervise<I: Identity>(
    tasks: &mut Supervisor<I>,
    shared: &Arc<Shared<I>>,
    sessions: &TaskTracker,
    stop: &Stop,
) {
    let Some(cluster) = shared.cluster.get() else { return };
    cluster.state.enter();
    let of = |task: TaskKind| (task, Arc::clone(shared));
    let (kind, bus) = of(TaskKind::Bus);
    tasks.supervise(kind, move || {
        let shared = Arc::clone(&bus);
        async move {
            if let Some(cluster) = shared.cluster.get() {
                cluster.state.run_bus().await;
            }
        }
    });
    let (kind, node) = of(TaskKind::Node);
    tasks.supervise(kind, move || {
        let shared = Arc::clone(&node);
        async move {
            if let Some(cluster) = shared.cluster.get() {
                Node::new(&cluster.state, &shared).run().await;
            }
        }
    });
    let (kind, events) = of(TaskKind::ClusterEvents);
    let (sessions, stop) = (sessions.clone(), stop.clone());
    tasks.supervise(kind, move || tell(Arc::clone(&events), sessions.clone(), stop.clone()));
}

/// Says good-bye to the other nodes, once all connections have ended.
pub(super) async fn leave<I: Identity>(shared: &Shared<I>) {
    if let Some(cluster) = shared.cluster.get() {
        let _ = tokio::time::timeout(LEAVE_TIMEOUT, cluster.state.leave()).await;
    }
}

/// Raises the events of the cluster, one after the other.
async fn tell<I: Identity>(shared: Arc<Shared<I>>, sessions: TaskTracker, stop: Stop) {
    let Some(ClusterNode { state, codec }) = shared.cluster.get() else { return };
    loop {
        // A million users may come at once, and be told to nobody.
        tokio::task::consume_budget().await;
        let event = match state.next_to_tell(Instant::now()) {
            Ok(Next::Cluster(kind)) => Event::Cluster(ClusterEvent::new(kind)),
            Ok(Next::User(told)) => {
                let (kind, user) = match &told {
                    Told::Joined(user) => (PresenceEventKind::Joined, user),
                    Told::Left(user) => (PresenceEventKind::Left, user),
                };
                // Another node may have users of another type.
                let Some(user) = codec.read(user) else { continue };
                Event::Presence(PresenceEvent::new(user, kind))
            }
            Err(at) => {
                let at = at.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
                let _ = tokio::time::timeout_at(at, state.to_tell.notified()).await;
                continue;
            }
        };
        if shared.subscriptions.is_empty() {
            continue;
        }
        let (subscriptions, stop) = (Arc::clone(&shared.subscriptions), stop.clone());
        // In a task that the stop waits for, as for all handlers, though this one ends with the run.
        let raising = sessions.spawn(async move {
            stop.run_until_aborted(pin!(subscriptions.raise(event))).await;
        });
        let _ = raising.await;
    }
}

impl<I: Identity> Shared<I> {
    /// Tells the other nodes that a connection can be looked up here.
    pub(crate) fn tell_opened(&self, connection: &Connection<I>) {
        self.tell_of(connection, true, ClusterState::opened);
    }

    /// Tells the other nodes that it cannot any more. `has_id` is whether it was the one that is found by its id.
    pub(crate) fn tell_ended(&self, connection: &Connection<I>, has_id: bool) {
        self.tell_of(connection, has_id, ClusterState::ended);
    }

    fn tell_of(
        &self,
        connection: &Connection<I>,
        has_id: bool,
        tell: impl FnOnce(&ClusterState, OwnConnection<'_>),
    ) {
        let Some(ClusterNode { state, codec }) = self.cluster.get() else { return };
        let channel = connection.channel();
        let user = connection.0.origin.user.as_ref().and_then(|user| codec.write(user.id()));
        let listed = (has_id && state.params.lists(channel)).then(|| connection.id().to_string());
        tell(state, OwnConnection { channel, user: user.as_deref(), listed: listed.as_deref() });
    }

    /// Tells the other nodes what was revoked here.
    pub(crate) fn tell_revoked(&self, revocation: &Revocation<I::Id>) {
        let Some(ClusterNode { state, codec }) = self.cluster.get() else { return };
        match revocation {
            Revocation::Credential(id) => state.revoked(false, id),
            Revocation::User(id) => {
                if let Some(json) = codec.write(id) {
                    state.revoked(true, &json);
                }
            }
        }
    }
}

impl<I: Identity> Local for Arc<Shared<I>> {
    fn send(&self, send: &Send<'_>, opened: &Opened) -> bool {
        let Some(audience) = Audience::read(self, &send.to) else { return false };
        let Some(message) = message(send.is_text, &opened.payload) else { return false };
        // It was encoded at the node that sent it.
        let _ = match send.may_be_compressed {
            true => audience.send_here(message),
            false => audience.send_here(Uncompressed(message)),
        };
        true
    }

    fn close(&self, close: &Close<'_>) -> bool {
        let Some(audience) = Audience::read(self, &close.to) else { return false };
        let Ok(code) = CloseCode::try_from(close.code) else { return false };
        audience.close_here(code, close.reason);
        true
    }

    fn revoke(&self, revocation: &NewRevocation) -> bool {
        let NewRevocation { at, is_user, what } = revocation;
        let revocation = match is_user {
            false => Revocation::Credential((**what).to_owned()),
            true => match self.cluster.get().and_then(|cluster| cluster.codec.read(what)) {
                Some(id) => Revocation::User(id),
                None => return false,
            },
        };
        let closed = self.revoke_before(&revocation, *at);
        tracing::debug!(closed, "credentials revoked at another node");
        true
    }

    fn close_users(&self, before: Instant) -> usize {
        let (open, local) = (self.registry.all(), self.unlisted.all());
        let concerned = |connection: &&Connection<I>| {
            connection.0.origin.user.as_ref().is_some_and(|user| user.asked() <= before)
        };
        let close =
            |connection: &&Connection<I>| connection.0.core.outbox.close(EndCause::RevocationsUnknown);
        open.iter().chain(&local).filter(concerned).filter(close).count()
    }
}

fn message(is_text: bool, payload: &Bytes) -> Option<Message> {
    Some(match is_text {
        true => Message::Text(Text::try_from(payload.clone()).ok()?),
        false => Message::Binary(payload.clone()),
    })
}
