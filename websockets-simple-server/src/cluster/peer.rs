//! Another node, and how far this one has followed what it says of its connections.

use std::{collections::HashSet, hash::BuildHasher, time::Duration};

use tokio::time::Instant;

use crate::cluster::{NodeId, envelope::Opened, head::Snapshot, holders::Place, view::Named};

/// How long the parts of a snapshot may take until it is asked for again.
const ASKED_AGAIN: Duration = Duration::from_secs(2);

/// How often a node gets a snapshot, or asks for revocations.
const TOLD_AGAIN: Duration = Duration::from_secs(1);

/// How long changes may take that a beat has said to exist.
const ON_THEIR_WAY: Duration = Duration::from_millis(200);

/// Most bytes of changes that wait for a snapshot.
const MOST: usize = 64 * 1024 * 1024;

/// Most users, channels and members of a snapshot.
const MOST_NAMED: usize = 4 * 1024 * 1024;

/// How long two nodes of one name may be heard until it is taken for a mistake.
const BESIDE: Duration = Duration::from_secs(3);

/// Another node.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) place: Place,
    pub(crate) heard: Instant,
    /// Whether it was told that it is there.
    pub(crate) is_told: bool,
    /// What is known of its connections.
    version: Option<u64>,
    /// What there is to know, and since when that is known.
    announced: Option<(u64, Instant)>,
    /// When it was asked for a snapshot that has not come, or has sent a part of it.
    asked: Option<Instant>,
    /// The snapshot that is on its way.
    arriving: Arriving,
    /// Changes that do not follow what is known.
    later: Held,
    /// When it got a snapshot.
    given: Option<Instant>,
    asked_revocations: Option<Instant>,
    /// How many revocations it has said since it was asked for them.
    revocations: u64,
    /// For how long it heard everything when it said so last, and when that was.
    heard_all: Option<(u64, Instant)>,
    /// A node with the same name, and since when it is heard.
    beside: Option<(NodeId, Instant)>,
}

/// What has come of a snapshot. Each part is applied as it comes: it is so now, or what comes later says what has changed.
#[derive(Debug, Default)]
pub(crate) struct Arriving {
    version: u64,
    /// How many parts have come.
    parts: u32,
    /// Hashes of what it names. All else of the node is gone, unless it has the hash of something that is there.
    named: HashSet<u64>,
}

/// What to do with a part of a snapshot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arrived {
    /// It is of no use.
    Never,
    /// It is to be applied.
    Part,
    /// It is to be applied, and what the snapshot has not named is to be forgotten then.
    All,
}

/// Messages that wait, bounded in bytes.
#[derive(Debug, Default)]
struct Held {
    messages: Vec<Opened>,
    bytes: usize,
}

/// Whether changes follow what is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Followed {
    Next,
    Known,
    Gap,
}

impl Peer {
    pub(crate) fn new(place: Place, now: Instant) -> Self {
        Self {
            place,
            heard: now,
            is_told: false,
            version: None,
            announced: None,
            asked: None,
            arriving: Arriving::default(),
            later: Held::default(),
            given: None,
            asked_revocations: None,
            revocations: 0,
            heard_all: None,
            beside: None,
        }
    }

    /// It says for how many milliseconds it has heard everything. Answers for how long it may have heard nothing before
    /// that, if it has not said so yet.
    pub(crate) fn was_deaf_for(&mut self, heard_all: u64, now: Instant) -> Option<Duration> {
        match self.heard_all.replace((heard_all, now)) {
            Some((before, _)) if before <= heard_all => None,
            Some((_, at)) => Some(now.saturating_duration_since(at)),
            // It may have been here before, and have been given up.
            None => Some(Duration::MAX),
        }
    }

    /// A beat says up to which version there is something to know.
    pub(crate) fn announced(&mut self, version: u64, now: Instant) {
        if self.announced.is_none_or(|(known, _)| known < version) {
            self.announced = Some((version, now));
        }
    }

    /// Changes from one version to another have come.
    pub(crate) fn follows(&mut self, from: u64, to: u64) -> Followed {
        match self.version {
            Some(version) if version == from => {
                self.version = Some(to);
                Followed::Next
            }
            Some(version) if to <= version => Followed::Known,
            _ => Followed::Gap,
        }
    }

    /// Keeps changes that do not follow what is known, for after the snapshot.
    pub(crate) fn keep(&mut self, to: u64, opened: Opened, now: Instant) {
        self.announced(to, now);
        if !self.later.add(opened) {
            self.later = Held::default();
        }
    }

    /// A part of a snapshot has come.
    pub(crate) fn part(&mut self, snapshot: &Snapshot<'_>, now: Instant) -> Arrived {
        let Snapshot { version, part, is_last, ref changes } = *snapshot;
        if self.version.is_some_and(|known| known > version) {
            // Changes have come meanwhile.
            (self.arriving, self.asked) = (Arriving::default(), None);
            return Arrived::Never;
        }
        if part == 0 {
            self.arriving = Arriving { version, ..Arriving::default() };
        }
        let arriving = &mut self.arriving;
        let follows = (arriving.version, arriving.parts) == (version, part);
        if !follows || arriving.named.len() + changes.len() > MOST_NAMED {
            self.arriving = Arriving::default();
            return Arrived::Never;
        }
        arriving.parts += 1;
        for change in changes {
            arriving.named.insert(arriving.hash(Named::of(change)));
        }
        if is_last {
            return Arrived::All;
        }
        // A long one takes a while, as long as it comes.
        self.asked = self.asked.map(|_| now);
        Arrived::Part
    }

    /// All parts are applied. Answers what names everything that is there, and the changes that have come since.
    pub(crate) fn all_arrived(&mut self) -> (Arriving, Vec<Opened>) {
        let arriving = std::mem::take(&mut self.arriving);
        (self.asked, self.version) = (None, Some(arriving.version));
        (arriving, std::mem::take(&mut self.later).messages)
    }

    /// Whether it is to be asked for a snapshot.
    pub(crate) fn is_behind(&self, now: Instant) -> bool {
        let is_late =
            |since: Instant| self.version.is_none() || now.saturating_duration_since(since) >= ON_THEIR_WAY;
        !self.waits(now)
            && self.announced.is_some_and(|(version, since)| {
                self.version.is_none_or(|known| known < version) && is_late(since)
            })
    }

    /// Whether all is known that there was to know a moment ago.
    pub(crate) fn is_followed(&self, now: Instant) -> bool {
        self.version.is_some() && !self.waits(now) && !self.is_behind(now)
    }

    pub(crate) fn has_asked(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// Whether a snapshot of it is on its way.
    pub(crate) fn waits(&self, now: Instant) -> bool {
        self.asked.is_some_and(|at| now.saturating_duration_since(at) < ASKED_AGAIN)
    }

    /// Whether it gets a snapshot that it asks for. If so, it has got it.
    pub(crate) fn may_be_told(&mut self, now: Instant) -> bool {
        let may = self.given.is_none_or(|at| now.saturating_duration_since(at) >= TOLD_AGAIN);
        if may {
            self.given = Some(now);
        }
        may
    }

    /// Whether it may be asked for revocations. If so, it was.
    pub(crate) fn may_ask(&mut self, now: Instant) -> bool {
        let may = self.asked_revocations.is_none_or(|at| now.saturating_duration_since(at) >= TOLD_AGAIN);
        if may {
            (self.asked_revocations, self.revocations) = (Some(now), 0);
        }
        may
    }

    /// It has said so many revocations.
    pub(crate) fn has_said(&mut self, revocations: usize) {
        self.revocations += revocations as u64;
    }

    /// Whether all have come of the revocations that it says to have said.
    pub(crate) fn has_all_said(&self, said: u64) -> bool {
        self.revocations >= said
    }

    /// Whether it has lived for a while beside another node of its name, which was heard just now.
    pub(crate) fn is_beside(&mut self, other: NodeId, now: Instant) -> bool {
        match self.beside {
            Some((node, since)) if node == other => now.saturating_duration_since(since) >= BESIDE,
            _ => {
                self.beside = Some((other, now));
                false
            }
        }
    }
}

impl Arriving {
    fn hash(&self, named: Named<'_>) -> u64 {
        self.named.hasher().hash_one(named)
    }

    /// Whether it names something.
    pub(crate) fn names(&self, named: Named<'_>) -> bool {
        self.named.contains(&self.hash(named))
    }
}

impl Held {
    fn add(&mut self, opened: Opened) -> bool {
        self.bytes += opened.size();
        self.messages.push(opened);
        self.bytes <= MOST
    }
}
