//! The name of a group, as a client may send it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of the longest name.
const LONGEST: usize = 128;

/// The name of a group that a client asks to join or leave: 1 to 128 bytes of text without control characters.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupName(Box<str>);

/// A text that is no valid group name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the name of a group has 1 to 128 bytes and no control characters")]
pub struct InvalidGroupName;

impl GroupName {
    /// A name, if the text is a valid one.
    ///
    /// # Errors
    ///
    /// [`InvalidGroupName`] if it is not.
    pub fn new(name: &str) -> Result<Self, InvalidGroupName> {
        if (1..=LONGEST).contains(&name.len()) && !name.contains(char::is_control) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidGroupName)
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for GroupName {
    type Error = InvalidGroupName;

    fn try_from(name: String) -> Result<Self, InvalidGroupName> {
        Self::new(&name)
    }
}

impl From<GroupName> for String {
    fn from(name: GroupName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_1_to_128_bytes_and_no_control_characters() {
        for name in ["a", " ", "grün/ßß \"quoted\" \\", &"x".repeat(128), &"ä".repeat(64)] {
            assert_eq!(GroupName::new(name).unwrap().as_str(), name);
            assert_eq!(GroupName::new(name).unwrap().to_string(), name);
        }
        for text in ["", "a\n", "\0", "\u{7f}", "\u{85}", &"x".repeat(129), &"ä".repeat(65)] {
            assert_eq!(GroupName::new(text), Err(InvalidGroupName), "{text:?}");
        }
    }
}
