//! An audience at the other nodes of a cluster.

use std::sync::Arc;

use websockets_simple_core::{CloseCode, Encoding, Remote};

use crate::{
    addressing::audience::{Audience, Selector},
    cluster::internal::{Close, Head, Lane, Send, Target, Who},
    config::ClientId,
    run::{ClusterNode, Shared},
    users::Identity,
};

impl<I: Identity> Audience<I> {
    /// Sends to the selected connections of the other nodes.
    pub(super) fn send_there(&self, encoding: &Encoding) -> Remote {
        let (is_text, may_be_compressed) = (encoding.is_text(), encoding.may_be_compressed());
        self.publish(|to| Head::Send(Send { is_text, may_be_compressed, to }), encoding.payload())
    }

    /// Closes the selected connections of the other nodes.
    pub(super) fn close_there(&self, code: CloseCode, reason: &str) -> Remote {
        self.publish(|to| Head::Close(Close { code: code.get(), reason, to }), &[])
    }

    fn publish<'a>(&'a self, head: impl Fn(Target<'a>) -> Head<'a>, payload: &[u8]) -> Remote {
        if self.is_here {
            return Remote::Alone;
        }
        let Some(cluster) = self.shared.cluster.get() else { return Remote::Alone };
        let Some(target) = self.target(cluster) else { return Remote::Alone };
        let state = &cluster.state;
        if let [_, _, ..] = *self.channels {
            // A connection is in one channel, so nobody is in two of these messages.
            let mut lanes: Vec<(Lane, Vec<&'a str>)> = Vec::new();
            for channel in &target.channels {
                let lane = Lane::of_channel(channel);
                match lanes.iter_mut().find(|(of, _)| *of == lane) {
                    Some((_, channels)) => channels.push(channel),
                    None => lanes.push((lane, vec![channel])),
                }
            }
            let to = |channels| Target { channels, ..target.clone() };
            let sent =
                lanes.into_iter().map(|(lane, channels)| state.publish(lane, &head(to(channels)), payload));
            return sent.fold(Remote::Alone, worse);
        }
        let (lane, nodes) = match (&*target.channels, &*target.only) {
            ([channel], _) => (Lane::of_channel(channel), None),
            // Of who has connected just now nothing may be known yet.
            ([], [Who::User(user)]) => (Lane::All, state.directory().nodes_of(user)),
            _ => (Lane::All, None),
        };
        let head = head(target);
        match nodes {
            None => state.publish(lane, &head, payload),
            Some(nodes) => {
                let sent = nodes.into_iter().map(|node| state.publish(Lane::Node(node), &head, payload));
                sent.fold(Remote::Alone, worse)
            }
        }
    }

    /// What is said to the other nodes; `None` if nobody there is meant.
    fn target<'a>(&'a self, cluster: &ClusterNode<I>) -> Option<Target<'a>> {
        if let ([], [Selector::Client(id)]) = (&*self.channels, &*self.only)
            && self.shared.registry.client(id).is_some()
        {
            return None;
        }
        let who = |part: &'a Selector<I>| {
            Some(match part {
                Selector::Channel(channel) => Who::Channel(channel),
                Selector::Client(id) => Who::Client(id.to_string().into()),
                Selector::Connection(connection) => Who::Client(connection.id().to_string().into()),
                Selector::Group(group) => Who::Group(group),
                Selector::User(user) => Who::User(cluster.codec.write(user)?.into()),
            })
        };
        // An id that cannot be written selects and excludes nobody elsewhere.
        let only: Vec<_> = self.only.iter().filter_map(who).collect();
        if only.is_empty() && !self.only.is_empty() {
            return None;
        }
        let channels = self.channels.iter().map(|channel| &**channel).collect();
        Some(Target { channels, only, except: self.except.iter().filter_map(who).collect() })
    }

    /// The connections of this node that another one means; `None` if it is malformed.
    pub(crate) fn read(shared: &Arc<Shared<I>>, target: &Target<'_>) -> Option<Self> {
        let codec = &shared.cluster.get()?.codec;
        let selector = |who: &Who<'_>| {
            Some(match who {
                Who::Channel(channel) => Selector::Channel((*channel).into()),
                Who::Client(id) => Selector::Client(ClientId::new(id).ok()?),
                Who::Group(group) => Selector::Group((*group).into()),
                Who::User(json) => Selector::User(codec.read(json)?),
            })
        };
        let selectors = |all: &[Who<'_>]| all.iter().map(selector).collect::<Option<Vec<_>>>();
        Some(Self {
            shared: Arc::clone(shared),
            channels: target.channels.iter().map(|channel| (*channel).into()).collect(),
            only: selectors(&target.only)?,
            except: selectors(&target.except)?,
            is_here: true,
        })
    }
}

/// Of several messages with one meaning, what became of the worst.
fn worse(one: Remote, other: Remote) -> Remote {
    let rank = |remote| match remote {
        Remote::Alone => 0,
        Remote::Handed => 1,
        Remote::TooLarge => 2,
        Remote::Full => 3,
        _ => 4,
    };
    if rank(other) > rank(one) { other } else { one }
}
