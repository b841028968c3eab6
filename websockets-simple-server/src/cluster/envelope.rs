//! What a message between nodes looks like: version, node, lane, number and head in front of the payload, a MAC behind it.
//!
//! ```text
//! version u8 | node 16 | lane u16 | number u64 | length of the head u32 | head | payload | MAC 32, if there is a key
//! ```
//!
//! Numbers are big-endian. The first bit of the lane is set if there is a MAC. Version and node stay where they are in every
//! version.

use std::fmt;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::{Digest, Sha256};

use crate::cluster::{NodeId, head::Head, lane::Lane};

/// The version of everything that is said on the bus but for the first 17 bytes of a message.
pub(crate) const VERSION: u8 = 1;

const NUMBER_AT: usize = 1 + 16 + 2;
const HEAD_AT: usize = NUMBER_AT + 8 + 4;
const MAC: usize = 32;

/// Room for a head that names a channel, or a user or two.
const USUAL_HEAD: usize = 96;

/// Beside the number of a lane: the message is signed.
const SIGNED: u16 = 0x8000;

/// Writes the messages of a node, and reads those of others.
pub(crate) struct Sealing {
    node: NodeId,
    /// The first one signs, all of them verify. Without one nothing is signed.
    keys: Vec<SecretSlice<u8>>,
}

/// A message without its number.
pub(crate) struct Draft {
    bytes: Vec<u8>,
    /// Of head and payload, if the message is signed.
    digest: Option<[u8; 32]>,
}

/// A message of another node.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) node: NodeId,
    pub(crate) lane: Lane,
    /// Of its lane; 0 if it is not numbered.
    pub(crate) number: u64,
    head: Bytes,
    pub(crate) payload: Bytes,
}

/// Why a message is not to be believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// It is not what nodes send to each other.
    #[error("it is malformed")]
    Malformed,
    /// It was not signed with the key of the cluster.
    #[error("it is not signed with the key of the cluster")]
    Signature,
}

/// What a message is before anything of it is believed.
#[derive(Debug)]
pub(crate) enum First {
    /// Of this node itself.
    Own(Opened),
    Of(Opened),
    /// It speaks another version.
    OtherVersion(NodeId, u8),
}

impl Sealing {
    pub(crate) fn new(node: NodeId, keys: Vec<SecretSlice<u8>>) -> Self {
        Self { node, keys }
    }

    /// A message that waits for its number, which is given under a lock.
    pub(crate) fn draft(&self, lane: Lane, head: &Head<'_>, payload: &[u8]) -> Draft {
        let bytes = self.begin(lane, USUAL_HEAD + payload.len());
        // A head is made of what can be written; an empty one would be refused.
        let bytes = postcard::to_extend(head, bytes).unwrap_or_else(|_| self.begin(lane, payload.len()));
        self.end(bytes, payload)
    }

    /// The same with a head that is written already.
    pub(crate) fn draft_of(&self, lane: Lane, head: &[u8], payload: &[u8]) -> Draft {
        let mut bytes = self.begin(lane, head.len() + payload.len());
        bytes.extend_from_slice(head);
        self.end(bytes, payload)
    }

    /// What is in front of a head, and room for so many bytes more.
    fn begin(&self, lane: Lane, room: usize) -> Vec<u8> {
        let mac = if self.keys.is_empty() { 0 } else { MAC };
        let mut bytes = Vec::with_capacity(HEAD_AT + room + mac);
        bytes.push(VERSION);
        bytes.extend_from_slice(self.node.as_bytes());
        let signed = if self.keys.is_empty() { 0 } else { SIGNED };
        bytes.extend_from_slice(&(lane.number() | signed).to_be_bytes());
        bytes.extend_from_slice(&[0; HEAD_AT - NUMBER_AT]);
        bytes
    }

    /// Behind a head.
    fn end(&self, mut bytes: Vec<u8>, payload: &[u8]) -> Draft {
        let head = (bytes.len() - HEAD_AT) as u32;
        bytes[HEAD_AT - 4..HEAD_AT].copy_from_slice(&head.to_be_bytes());
        bytes.extend_from_slice(payload);
        let digest = (!self.keys.is_empty()).then(|| Sha256::digest(&bytes[HEAD_AT..]).into());
        Draft { bytes, digest }
    }

    /// Numbers a message, and signs it if there is a key.
    pub(crate) fn seal(&self, draft: Draft, number: u64) -> Bytes {
        let Draft { mut bytes, digest } = draft;
        bytes[NUMBER_AT..NUMBER_AT + 8].copy_from_slice(&number.to_be_bytes());
        if let (Some(key), Some(digest)) = (self.keys.first(), digest) {
            let mac = mac(key, &bytes[..HEAD_AT], &digest).finalize().into_bytes();
            bytes.extend_from_slice(&mac);
        }
        bytes.into()
    }

    /// Reads a message.
    pub(crate) fn open(&self, mut bytes: Bytes) -> Result<First, InvalidMessage> {
        let version = *bytes.first().ok_or(InvalidMessage::Malformed)?;
        let node: [u8; 16] =
            bytes.get(1..17).and_then(|node| node.try_into().ok()).ok_or(InvalidMessage::Malformed)?;
        let node = NodeId::from_bytes(node);
        if version != VERSION {
            return Ok(First::OtherVersion(node, version));
        }
        if bytes.len() < HEAD_AT {
            return Err(InvalidMessage::Malformed);
        }
        // Without a key nothing is believed that has a signature: it is for a cluster which this node is not in.
        match (bytes[17] & 0x80 != 0, self.keys.is_empty()) {
            (true, false) => self.verify(&mut bytes)?,
            (false, true) => {}
            _ => return Err(InvalidMessage::Signature),
        }
        let number = |at: usize, size: usize| {
            bytes[at..at + size].iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte))
        };
        let lane = Lane::heard(number(17, 2) as u16 & !SIGNED, self.node).ok_or(InvalidMessage::Malformed)?;
        let (numbered, head) = (number(NUMBER_AT, 8), number(NUMBER_AT + 8, 4) as usize);
        let payload =
            HEAD_AT.checked_add(head).filter(|end| *end <= bytes.len()).ok_or(InvalidMessage::Malformed)?;
        let opened = Opened {
            node,
            lane,
            number: numbered,
            head: bytes.slice(HEAD_AT..payload),
            payload: bytes.slice(payload..),
        };
        Ok(if node == self.node { First::Own(opened) } else { First::Of(opened) })
    }

    /// Verifies the MAC, in constant time, and takes it off.
    fn verify(&self, bytes: &mut Bytes) -> Result<(), InvalidMessage> {
        let end =
            bytes.len().checked_sub(MAC).filter(|end| *end >= HEAD_AT).ok_or(InvalidMessage::Signature)?;
        let digest: [u8; 32] = Sha256::digest(&bytes[HEAD_AT..end]).into();
        let signed =
            |key: &SecretSlice<u8>| mac(key, &bytes[..HEAD_AT], &digest).verify_slice(&bytes[end..]).is_ok();
        if !self.keys.iter().any(signed) {
            return Err(InvalidMessage::Signature);
        }
        bytes.truncate(end);
        Ok(())
    }
}

fn mac(key: &SecretSlice<u8>, front: &[u8], digest: &[u8; 32]) -> Hmac<Sha256> {
    // RFC 2104 section 2 allows a key of any length.
    let mac = Hmac::<Sha256>::new_from_slice(key.expose_secret());
    let mut mac = mac.unwrap_or_else(|_| unreachable!("HMAC accepts keys of any length"));
    mac.update(front);
    mac.update(digest);
    mac
}

impl Opened {
    /// Bytes that it keeps.
    pub(crate) fn size(&self) -> usize {
        HEAD_AT + self.head.len() + self.payload.len()
    }

    /// What is said, before the payload.
    pub(crate) fn head(&self) -> Result<Head<'_>, InvalidMessage> {
        // What later releases append to a head is passed over.
        let (head, _) = postcard::take_from_bytes(&self.head).map_err(|_| InvalidMessage::Malformed)?;
        Ok(head)
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealing")
            .field("node", &self.node)
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::head::{Send, Target, Who};

    fn sealing(keys: &[&str]) -> Sealing {
        Sealing::new(NodeId::random(), keys.iter().map(|key| key.as_bytes().to_vec().into()).collect())
    }

    fn send(text: &str) -> Head<'_> {
        let to = Target {
            channels: vec!["/a"],
            only: vec![Who::User(text.into())],
            except: vec![Who::Group("red")],
        };
        Head::Send(Send { is_text: true, may_be_compressed: false, to })
    }

    fn sealed(sealing: &Sealing) -> Bytes {
        sealing.seal(sealing.draft(Lane::Channels(7), &send("\"ann\""), b"hello"), 42)
    }

    fn of(sealing: &Sealing, bytes: Bytes) -> Result<Opened, InvalidMessage> {
        match sealing.open(bytes)? {
            First::Of(opened) | First::Own(opened) => Ok(opened),
            First::OtherVersion(node, version) => panic!("version {version} of {node}"),
        }
    }

    const KEYS: [&str; 2] = ["the first key of 16 bytes", "another one, of the day before"];

    #[test]
    fn what_was_sealed_is_opened_with_all_that_was_said() {
        for keys in [&[][..], &KEYS[..1]] {
            let (one, other) = (sealing(keys), sealing(keys));
            let opened = of(&other, sealed(&one)).unwrap();
            assert_eq!((opened.node, opened.lane, opened.number), (one.node, Lane::Channels(7), 42));
            assert_eq!((opened.head().unwrap(), &*opened.payload), (send("\"ann\""), &b"hello"[..]));
            assert!(matches!(one.open(sealed(&one)), Ok(First::Own(_))), "its own is told apart");
        }
    }

    #[test]
    fn only_what_is_signed_with_a_key_of_the_cluster_is_believed() {
        let signature = Err(InvalidMessage::Signature);
        let by = |keys: &[&str], reader: &[&str]| of(&sealing(reader), sealed(&sealing(keys))).map(|_| ());
        assert_eq!(by(&KEYS[..1], &KEYS[..1]), Ok(()));
        assert_eq!(by(&[], &KEYS[..1]), signature, "it is not signed");
        assert_eq!(by(&KEYS[1..], &KEYS[..1]), signature);
        // A change of keys: both are known before the new one signs.
        assert_eq!(by(&KEYS[1..], &KEYS), Ok(()));
        assert_eq!(by(&KEYS, &KEYS[1..]), signature);
        assert_eq!(by(&KEYS[..1], &[]), signature, "it is of another cluster");
    }

    #[test]
    fn no_byte_of_a_signed_message_can_be_changed() {
        let (one, other) = (sealing(&KEYS[..1]), sealing(&KEYS[..1]));
        let message = sealed(&one);
        for at in 1..message.len() {
            let mut changed = message.to_vec();
            changed[at] ^= 1;
            assert_eq!(of(&other, changed.into()).map(|_| ()), Err(InvalidMessage::Signature), "byte {at}");
        }
        for length in 17..message.len() {
            let cut = message.slice(..length);
            let error = if length < HEAD_AT { InvalidMessage::Malformed } else { InvalidMessage::Signature };
            assert_eq!(of(&other, cut).map(|_| ()), Err(error), "{length} bytes");
        }
    }

    #[test]
    fn of_another_version_only_the_node_is_read() {
        let (one, other) = (sealing(&KEYS[..1]), sealing(&KEYS[..1]));
        for rest in [0, 1, 100] {
            let bytes = [&[2][..], one.node.as_bytes(), &vec![0xff; rest]].concat();
            let First::OtherVersion(node, 2) = other.open(bytes.into()).unwrap() else {
                panic!("it is version 2")
            };
            assert_eq!(node, one.node);
        }
    }

    #[test]
    fn what_a_later_release_appends_to_a_head_is_passed_over() {
        let (one, other) = (sealing(&[]), sealing(&[]));
        let mut bytes = sealed(&one).to_vec();
        let head = u32::from_be_bytes(bytes[NUMBER_AT + 8..HEAD_AT].try_into().unwrap());
        bytes[NUMBER_AT + 8..HEAD_AT].copy_from_slice(&(head + 3).to_be_bytes());
        bytes.splice(HEAD_AT + head as usize..HEAD_AT + head as usize, [1, 2, 3]);
        let opened = of(&other, bytes.into()).unwrap();
        assert_eq!((opened.head().unwrap(), &*opened.payload), (send("\"ann\""), &b"hello"[..]));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), is_ours in any::<bool>()) {
            let sealing = sealing(&[]);
            let mut bytes = bytes;
            if is_ours && bytes.len() > HEAD_AT {
                // So that more of it is looked at.
                bytes[0] = VERSION;
                bytes[17..19].copy_from_slice(&[0, 0]);
                bytes[NUMBER_AT + 8..NUMBER_AT + 11].copy_from_slice(&[0, 0, 0]);
            }
            let length = bytes.len();
            if let Ok(First::Of(opened)) = sealing.open(bytes.into()) {
                prop_assert!(opened.size() <= length);
                let _ = opened.head();
            }
        }
    }
}
