//! What a message between nodes looks like: version, node, lane, number and head in front of the payload, a MAC behind it.
//!
//! ```text
//! version u8 | node 16 | lane u16 | number u64 | length of the head u32 | head | payload | MAC 32, if there is a key
//! ```
//!
//! Numbers are big-endian. Version and node stay where they are in every version.

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
        let head = postcard::to_stdvec(head).unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEAD_AT + head.len() + payload.len() + MAC);
        bytes.push(VERSION);
        bytes.extend_from_slice(self.node.as_bytes());
        bytes.extend_from_slice(&lane.number().to_be_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&(head.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&head);
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
        if !self.keys.is_empty() {
            self.verify(&mut bytes)?;
        }
        if bytes.len() < HEAD_AT {
            return Err(InvalidMessage::Malformed);
        }
        let number = |at: usize, size: usize| {
            bytes[at..at + size].iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte))
        };
        let lane = Lane::heard(number(17, 2) as u16, self.node).ok_or(InvalidMessage::Malformed)?;
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
