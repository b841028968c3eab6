//! The response headers with the client's id, channel and groups.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The names of the response headers with the client's id, channel and groups.
#[derive(Clone, Debug)]
pub(crate) struct IdentityHeaders {
    pub(crate) client_id: HeaderName,
    pub(crate) name: HeaderName,
    pub(crate) group: HeaderName,
}

impl Default for IdentityHeaders {
    fn default() -> Self {
        Self {
            client_id: HeaderName::from_static("x-pode-signal-client-id"),
            name: HeaderName::from_static("x-pode-signal-name"),
            group: HeaderName::from_static("x-pode-signal-group"),
        }
    }
}

impl IdentityHeaders {
    /// `None` if the prefix is not valid in a header name.
    pub(crate) fn new(prefix: &str) -> Option<Self> {
        let name = |rest: &str| HeaderName::try_from(format!("{prefix}-{rest}")).ok();
        Some(Self { client_id: name("client-id")?, name: name("name")?, group: name("group")? })
    }

    /// Adds id, channel and groups; values that are not valid in a header are left out.
    pub(crate) fn add(&self, headers: &mut HeaderMap, id: &str, channel: &str, groups: &[Arc<str>]) {
        let mut add = |name: &HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.append(name.clone(), value);
            }
        };
        add(&self.client_id, id);
        add(&self.name, channel);
        for group in groups {
            add(&self.group, group);
        }
    }
}
