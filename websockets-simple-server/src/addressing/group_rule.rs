//! The rule by which clients join and leave groups by themselves.

use websockets_simple_core::{Control, GroupName};

use crate::{connection::Connection, users::Identity};

/// What it takes to let a client into a group or out of it.
pub(crate) type GroupRule<I> = dyn Fn(&Connection<I>, &str) -> bool + Send + Sync;

/// Does what a client asks for, if the rule and the limit let it.
pub(crate) fn join<I: Identity>(connection: &Connection<I>, group: GroupName) {
    let answer = if !allows(connection, &group) {
        refusal(group, "not allowed here")
    } else if !has_room(connection, &group) {
        refusal(group, "too many groups")
    } else if connection.join(group.as_str()) || connection.is_in(group.as_str()) {
        // Before the answer, so that whoever has it gets everything from then on.
        Control::Joined(group)
    } else {
        // A local connection is in no group.
        refusal(group, "not allowed here")
    };
    connection.0.core.send_control(&answer);
}

/// Does what a client asks for, if the rule lets it.
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
    connection.is_in(group.as_str()) || connection.0.groups().len() < most
}

fn refusal(group: GroupName, reason: &str) -> Control {
    Control::GroupRefused { group, reason: reason.to_owned() }
}
