//! Groups that clients join and leave by themselves, as a rule of the application allows.

use websockets_simple_core::{Control, GroupChange, GroupName};

use crate::{connection::Connection, users::Identity};

/// Whether the client of a connection may join or leave a group.
pub(crate) type GroupRule<I> = dyn Fn(&Connection<I>, &str) -> bool + Send + Sync;

/// Joins a group for a client, if the rule and the limit allow it. Returns what has changed.
pub(crate) fn join<I: Identity>(connection: &Connection<I>, group: GroupName) -> Option<GroupChange> {
    let mut joined = false;
    let answer = if !allows(connection, &group) {
        refusal(group.clone(), "not allowed here")
    } else if !has_room(connection, &group) {
        refusal(group.clone(), "too many groups")
    } else {
        joined = connection.join(group.as_str());
        if joined || connection.is_in(group.as_str()) {
            // Joined before the answer, so that a client with the answer misses no later message.
            Control::Joined(group.clone())
        } else {
            // A local connection is in no group.
            refusal(group.clone(), "not allowed here")
        }
    };
    connection.0.core.send_control(&answer);
    joined.then_some(GroupChange { group, joined: true })
}

/// Leaves a group for a client, if the rule allows it. Returns what has changed.
pub(crate) fn leave<I: Identity>(connection: &Connection<I>, group: GroupName) -> Option<GroupChange> {
    if !allows(connection, &group) {
        connection.0.core.send_control(&refusal(group, "not allowed here"));
        return None;
    }
    let left = connection.leave(group.as_str());
    connection.0.core.send_control(&Control::Left(group.clone()));
    left.then_some(GroupChange { group, joined: false })
}

fn allows<I: Identity>(connection: &Connection<I>, group: &GroupName) -> bool {
    connection.0.shared.group_rule.get().is_some_and(|rule| rule(connection, group.as_str()))
}

fn has_room<I: Identity>(connection: &Connection<I>, group: &GroupName) -> bool {
    let most = connection.0.shared.params.limits.groups_per_connection;
    connection.is_in(group.as_str()) || connection.0.groups().map_or(0, |groups| groups.len()) < most
}

fn refusal(group: GroupName, reason: &str) -> Control {
    Control::GroupRefused { group, reason: reason.to_owned() }
}
