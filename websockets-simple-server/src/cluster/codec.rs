//! Ids of users, as nodes say them to each other.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};
use websockets_simple_core::catch_panic;

use crate::users::{Anonymous, Identity, User, UserId};

/// How ids of users are written and read: as JSON, so that every serializable type will do. Function pointers, so that
/// only servers in clusters need such a type.
pub(crate) struct Codec<I: Identity> {
    write: fn(&I::Id) -> Option<String>,
    read: fn(&str) -> Option<I::Id>,
}

impl<I: Identity> Codec<I> {
    /// The JSON of an id. The type is the application's: what it panics at cannot be written.
    pub(crate) fn write(&self, id: &I::Id) -> Option<String> {
        catch_panic(|| (self.write)(id)).ok().flatten()
    }

    /// The id of this JSON, if it is one of this type.
    pub(crate) fn read(&self, json: &str) -> Option<I::Id> {
        catch_panic(|| (self.read)(json)).ok().flatten()
    }
}

impl Codec<Anonymous> {
    /// There are no users.
    pub(crate) fn none() -> Self {
        Self { write: |()| None, read: |_| None }
    }
}

impl<T: UserId + Serialize + DeserializeOwned> Codec<User<T>> {
    pub(crate) fn json() -> Self {
        Self { write: |id| serde_json::to_string(id).ok(), read: |json| serde_json::from_str(json).ok() }
    }
}

impl<I: Identity> fmt::Debug for Codec<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::*;

    #[test]
    fn ids_are_json_and_what_is_of_another_type_is_none() {
        let codec = Codec::<User<i64>>::json();
        assert_eq!(codec.write(&7).as_deref(), Some("7"));
        assert_eq!([codec.read("7"), codec.read("\"7\""), codec.read("")], [Some(7), None, None]);
    }

    /// Its code panics, as that of an application may.
    #[derive(Clone, Debug, Eq, Hash, PartialEq)]
    struct Fragile;

    impl Serialize for Fragile {
        fn serialize<S: Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
            panic!("written")
        }
    }

    impl<'de> Deserialize<'de> for Fragile {
        fn deserialize<D: Deserializer<'de>>(_deserializer: D) -> Result<Self, D::Error> {
            panic!("read")
        }
    }

    #[test]
    fn an_id_whose_code_panics_is_none() {
        let codec = Codec::<User<Fragile>>::json();
        assert_eq!((codec.write(&Fragile), codec.read("7")), (None, None));
    }
}
