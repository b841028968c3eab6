//! What a server says to a crowd, as text.

use std::fmt;

/// Bytes of a broadcast, filled up with dots.
const SIZE: usize = 128;

/// What a server says to one of the crowd, or to all of it.
///
/// Broadcasts are numbered from 1, one after the other. A number is taken before the list of receivers, so whoever was told of
/// a smaller one gets it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Notice {
    /// To each connection, once it is open: the number of the last broadcast that had begun by then. All later ones are to come.
    Hello(u64),
    /// To all.
    Broadcast {
        /// Its number.
        number: u64,
        /// When it was sent, in the time of [`now`](super::now).
        at: u64,
        /// Whether none follows.
        is_last: bool,
    },
    /// The answer to [`BYE`]: the number of the last broadcast that had begun by then. All before that one have come.
    Bye(u64),
}

/// What a client says before it leaves.
pub const BYE: &str = "bye";

impl Notice {
    /// What a text says; `None` if it is none of these.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let word = words.next()?;
        let number = words.next()?.parse().ok()?;
        let notice = match word {
            "hello" => Self::Hello(number),
            "bye" => Self::Bye(number),
            "next" | "last" => {
                let at = words.next()?.parse().ok()?;
                let dots = words.next()?;
                if text.len() != SIZE || dots.bytes().any(|dot| dot != b'.') {
                    return None;
                }
                Self::Broadcast { number, at, is_last: word == "last" }
            }
            _ => return None,
        };
        words.next().is_none().then_some(notice)
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello(number) => write!(f, "hello {number}"),
            Self::Bye(number) => write!(f, "bye {number}"),
            Self::Broadcast { number, at, is_last } => {
                let text = format!("{} {number} {at} ", if *is_last { "last" } else { "next" });
                write!(f, "{text:.<SIZE$}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let broadcast = |number, is_last| Notice::Broadcast { number, at: u64::MAX, is_last };
        for notice in [Notice::Hello(0), Notice::Bye(7), broadcast(1, false), broadcast(u64::MAX, true)] {
            assert_eq!(Notice::read(&notice.to_string()), Some(notice));
        }
        assert_eq!(broadcast(1, false).to_string().len(), SIZE);
    }

    #[test]
    fn what_is_cut_or_changed_is_not_read() {
        let text = Notice::Broadcast { number: 1, at: 2, is_last: false }.to_string();
        for end in 0..text.len() {
            assert_eq!(Notice::read(&text[..end]), None, "{end}");
        }
        for wrong in [&*text.replacen('.', "x", 1), "hello", "hello x", "hello 1 2", "good 1", ""] {
            assert_eq!(Notice::read(wrong), None, "{wrong}");
        }
    }
}
