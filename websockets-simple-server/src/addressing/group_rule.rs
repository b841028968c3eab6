//! Groups that clients join and leave by themselves, as a rule of the application allows.

use websockets_simple_core::{Control, GroupName};

use crate::{connection::Connection, users::Identity};

/// Whether the client of a connection may join or leave a group.
pub(crate) type GroupRule<I> = dyn Fn(&Connection<I>, &str) -> bool + Send + Sync;

/// Joins a group for a client, if the rule and the limit allow it.
pub(crate) fn join<I: Identity>(connection: &Connection<I>, group: GroupName) {
    let answer = if !allows(connection, &group) {
        refusal(group, "not allowed here")
    } else if !has_room(connection, &group) {
        refusal(group, "too many groups")
    } else if connection.join(group.as_str()) || connection.is_in(group.as_str()) {
        // Joined before the answer, so that a client with the answer misses no later message.
        Control::Joined(group)
    } else {
        // A local connection is in no group.
        refusal(group, "not allowed here")
    };
    connection.0.core.send_control(&answer);
}

/// Leaves a group for a client, if the rule allows it.
pub(crate) fn leave<I: Identity>(connection: &Connection<I>, group: GroupName) {
    let answer = if allows(connection, &group) {
        connection.leave(group.as_str());
        Control::Left(group)
    } else {
        refusal(group, "not allowed here")
    };
    connection.0.core.send_control(&answer);
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
