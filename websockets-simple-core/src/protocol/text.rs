//! Text that is known to be UTF-8.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

use bytes::Bytes;
use tungstenite::Utf8Bytes;

use crate::protocol::buffer_pool::KeptText;

/// Text of a message: immutable, cheap to clone, dereferences to `str`.
#[derive(Clone)]
pub struct Text(Repr);

#[derive(Clone)]
enum Repr {
    Plain(Utf8Bytes),
    /// Large text that was checked while it came.
    Kept(Arc<KeptText>),
}

/// The bytes of large text.
struct KeptBytes(Arc<KeptText>);

impl AsRef<[u8]> for KeptBytes {
    fn as_ref(&self) -> &[u8] {
        self.0.as_str().as_bytes()
    }
}

impl Text {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Plain(text) => text.as_str(),
            Repr::Kept(text) => text.as_str(),
        }
    }

    pub(crate) fn from_utf8(bytes: &[u8]) -> Option<Self> {
        utf8(bytes).map(Self::from)
    }

    /// U+FFFD takes the place of what is not UTF-8.
    pub(crate) fn from_utf8_lossy(bytes: &[u8]) -> Self {
        Self::from_utf8(bytes).unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned().into())
    }

    /// Text whose memory is used again if it is large.
    pub(crate) fn of_memory(text: String) -> Self {
        match KeptText::new(text) {
            Ok(kept) => Self(Repr::Kept(Arc::new(kept))),
            Err(text) => text.into(),
        }
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        match self.0 {
            Repr::Plain(text) => text.into(),
            Repr::Kept(text) => Bytes::from_owner(KeptBytes(text)),
        }
    }
}

/// The text that bytes are, if they are UTF-8. Beyond short ones in a tenth of the time that std takes.
pub(crate) fn utf8(bytes: &[u8]) -> Option<&str> {
    const SHORT: usize = 128;
    if bytes.len() < SHORT { std::str::from_utf8(bytes).ok() } else { simdutf8::basic::from_utf8(bytes).ok() }
}

impl Default for Text {
    fn default() -> Self {
        Self(Repr::Plain(Utf8Bytes::default()))
    }
}

impl Eq for Text {}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Repr::Plain(text.into()))
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self(Repr::Plain(text.as_str().into()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Repr::Plain(text.into()))
    }
}

/// Text that shares the memory of the bytes, if they are UTF-8.
impl TryFrom<Bytes> for Text {
    type Error = std::str::Utf8Error;

    fn try_from(bytes: Bytes) -> Result<Self, Self::Error> {
        Utf8Bytes::try_from(bytes).map(|text| Self(Repr::Plain(text)))
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;
    use crate::protocol::{Message, buffer_pool::LARGE};

    #[test]
    fn text_in_kept_memory_is_as_any_other_and_as_large() {
        let text = "é".repeat(LARGE);
        let (plain, kept) = (Text::from(text.as_str()), Text::of_memory(text.clone()));
        assert!(matches!((&plain.0, &kept.0), (Repr::Plain(_), Repr::Kept(_))));
        assert!(matches!(Text::of_memory("small".to_owned()).0, Repr::Plain(_)));
        let hashes = RandomState::new();
        assert_eq!(hashes.hash_one(&plain), hashes.hash_one(&kept));
        assert!(plain == kept && plain <= kept && kept < Text::of_memory("ê".repeat(LARGE)));
        assert_eq!(kept.as_str().as_ptr(), kept.clone().as_str().as_ptr());
        let at = kept.as_str().as_ptr();
        let bytes = kept.into_bytes();
        assert_eq!((bytes.as_ptr(), &*bytes), (at, text.as_bytes()));
        assert_eq!((size_of::<Text>(), size_of::<Message>()), (size_of::<Bytes>(), size_of::<Bytes>() + 8));
    }
}
