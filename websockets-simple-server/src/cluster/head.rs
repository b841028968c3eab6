//! What nodes say to each other, in front of the payload. New kinds and fields are only appended.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::cluster::NodeId;

/// What a message is about.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) enum Head<'a> {
    /// The payload is for connections.
    #[serde(borrow)]
    Send(Send<'a>),
    /// Connections are to be closed.
    #[serde(borrow)]
    Close(Close<'a>),
    /// A message of a node to itself: what was published before it has passed through the bus.
    Probe(u64),
    /// The node is there.
    #[serde(borrow)]
    Beat(Beat<'a>),
    /// The node stops.
    Bye,
    /// What has changed of who is connected to the node.
    #[serde(borrow)]
    Changed(Changed<'a>),
    /// Asks for `Snapshot`.
    WantSnapshot,
    /// Who is connected to the node, in parts.
    #[serde(borrow)]
    Snapshot(Snapshot<'a>),
    /// Credentials are revoked.
    #[serde(borrow)]
    Revoked(Vec<Revoked<'a>>),
    /// Asks a node for what was revoked at these nodes behind these numbers.
    WantRevocations(Vec<(NodeId, u64)>),
    /// All that was asked for by `WantRevocations` has been said.
    Revocations(Revocations),
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Send<'a> {
    pub(crate) is_text: bool,
    pub(crate) may_be_compressed: bool,
    #[serde(borrow)]
    pub(crate) to: Target<'a>,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Close<'a> {
    pub(crate) code: u16,
    pub(crate) reason: &'a str,
    #[serde(borrow)]
    pub(crate) to: Target<'a>,
}

/// An audience.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Target<'a> {
    /// Empty for all channels.
    #[serde(borrow)]
    pub(crate) channels: Vec<&'a str>,
    /// Narrows the channels; empty for all their connections.
    #[serde(borrow)]
    pub(crate) only: Vec<Who<'a>>,
    #[serde(borrow)]
    pub(crate) except: Vec<Who<'a>>,
}

/// A criterion for connections.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) enum Who<'a> {
    Channel(&'a str),
    Client(#[serde(borrow)] Cow<'a, str>),
    Group(&'a str),
    /// The JSON of the id.
    User(#[serde(borrow)] Cow<'a, str>),
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Beat<'a> {
    pub(crate) name: &'a str,
    /// Of what it has said of its connections.
    pub(crate) version: u64,
    /// How many credentials were revoked at it.
    pub(crate) revoked: u64,
    /// For how many milliseconds it has heard everything.
    pub(crate) hears_for: u64,
    /// The numbers of the last messages on lanes to several nodes that were in use lately.
    pub(crate) sent: Vec<(u16, u64)>,
    /// The same for lanes to one node.
    pub(crate) sent_to: Vec<(NodeId, u64)>,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Changed<'a> {
    /// Follows this version.
    pub(crate) from: u64,
    pub(crate) to: u64,
    #[serde(borrow)]
    pub(crate) changes: Vec<Change<'a>>,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Snapshot<'a> {
    pub(crate) version: u64,
    /// Counted from 0.
    pub(crate) part: u32,
    pub(crate) is_last: bool,
    #[serde(borrow)]
    pub(crate) changes: Vec<Change<'a>>,
}

/// What is so now of the connections of a node.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Change<'a> {
    /// A user, by the JSON of the id, has so many connections.
    User(&'a str, u32),
    /// A channel has so many connections.
    Channel(&'a str, u32),
    /// A channel has this client as a member, of this user if there are users.
    Member { channel: &'a str, client: Cow<'a, str>, user: Option<Cow<'a, str>> },
    /// It has it no more.
    NoMember { channel: &'a str, client: Cow<'a, str> },
}

/// A revocation, which stays with the number that it got where it was made.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Revoked<'a> {
    pub(crate) node: NodeId,
    pub(crate) number: u64,
    /// How many milliseconds ago.
    pub(crate) age: u64,
    pub(crate) is_user: bool,
    /// The JSON of the id of a user, or the id of a credential.
    pub(crate) what: Cow<'a, str>,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Revocations {
    /// How many were said: who has not heard as many has lost some, and asks again.
    pub(crate) said: u64,
    /// Whether some were forgotten that were asked for.
    pub(crate) has_gap: bool,
    /// For how many milliseconds the node has heard everything: it knows all that was revoked meanwhile.
    pub(crate) hears_for: u64,
    /// Up to where it knows each node.
    pub(crate) known: Vec<(NodeId, u64)>,
}
