//! What the ends of a connection name to each other, so that neither says what the other does not understand.

/// Something that an end may understand or not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Capability {
    /// The server says over how long its clients should come back, before it closes: `closing`.
    Closing,
    /// The server answers when the client wants a sign of life: `probe` and `alive`.
    Probe,
}

/// All of them, by their names.
const KNOWN: [(Capability, &str); 2] = [(Capability::Closing, "closing"), (Capability::Probe, "probe")];

/// What one end understands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Capabilities(u8);

impl Capabilities {
    /// What this version understands.
    pub const ALL: Self = Self((1 << KNOWN.len()) - 1);

    /// Those of these names that are known. Others are of later versions.
    #[must_use]
    pub fn of_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let bit = |name| KNOWN.iter().position(|(_, known)| *known == name).map_or(0, |at| 1 << at);
        Self(names.into_iter().fold(0, |all, name| all | bit(name)))
    }

    /// Their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        KNOWN.into_iter().filter(move |(one, _)| self.has(*one)).map(|(_, name)| name)
    }

    /// Whether this is among them.
    #[must_use]
    pub fn has(self, capability: Capability) -> bool {
        KNOWN.iter().position(|(known, _)| *known == capability).is_some_and(|at| self.0 & 1 << at != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_are_kept_and_others_are_of_later_versions() {
        let none = Capabilities::default();
        assert!(KNOWN.iter().all(|(one, _)| Capabilities::ALL.has(*one) && !none.has(*one)));
        let some = Capabilities::of_names(["resume", "probe", "", "probe"]);
        assert_eq!(some.names().collect::<Vec<_>>(), ["probe"]);
        assert!(some.has(Capability::Probe) && !some.has(Capability::Closing));
        assert_eq!(Capabilities::of_names(Capabilities::ALL.names()), Capabilities::ALL);
    }
}
