//! Ended connections, by close code and by who ended them.

use std::fmt;

use serde::{Serialize, Serializer};
use websockets_simple_core::{Disconnect, EndedBy, figures::Label};

/// How many connections ended in one way.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CloseFigure {
    /// The code of the Close that decided the end.
    pub code: CloseKind,
    /// Who ended it.
    pub by: EndedBy,
    /// How many.
    pub count: u64,
}

/// A close code, of which there are few. Serialized as it is displayed.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum CloseKind {
    /// There was no Close, or none with a code.
    None,
    /// One of the table of [`CloseCode`](crate::events::CloseCode) that has a meaning there.
    Known(u16),
    /// One of 3000 to 4999 that applications choose.
    Application,
    /// One that nobody should send.
    Other,
}

impl CloseKind {
    pub(crate) fn of(end: &Disconnect) -> Self {
        match end.code {
            None => Self::None,
            Some(code @ (1000..=1003 | 1007..=1014 | 4000..=4005)) => Self::Known(code),
            Some(3000..=4999) => Self::Application,
            Some(_) => Self::Other,
        }
    }
}

impl CloseFigure {
    pub(super) fn labels(&self) -> Vec<Label> {
        vec![("code", self.code.to_string().into()), ("by", self.by.label().into())]
    }
}

impl fmt::Display for CloseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Known(code) => code.fmt(f),
            Self::Application => f.write_str("application"),
            Self::Other => f.write_str("other"),
        }
    }
}

impl Serialize for CloseKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn whatever_code_a_peer_sends_there_are_few_kinds() {
        let of = |code| CloseKind::of(&Disconnect::new(EndedBy::Peer, code, "", true)).to_string();
        assert_eq!([of(None), of(Some(1000)), of(Some(4001))], ["none", "1000", "4001"]);
        assert_eq!([of(Some(3000)), of(Some(4006)), of(Some(999))], ["application", "application", "other"]);
        let kinds: BTreeSet<_> = (0..=u16::MAX).map(|code| of(Some(code))).collect();
        assert_eq!(kinds.len(), 20);
    }
}
