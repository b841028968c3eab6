//! Another node, and how far this one has followed what it says of its connections.

use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::{
    NodeId,
    directory::Directory,
    envelope::Opened,
    head::{Change, Head},
    holders::Place,
};

/// How long the parts of a snapshot may take until it is asked for again.
const ASKED_AGAIN: Duration = Duration::from_secs(2);

/// How often a node gets a snapshot, or asks for revocations.
const TOLD_AGAIN: Duration = Duration::from_secs(1);

/// How long changes may take that a beat has said to exist.
const ON_THEIR_WAY: Duration = Duration::from_millis(200);

/// Most bytes of a snapshot, and of changes that wait for one.
const MOST: usize = 64 * 1024 * 1024;

/// How long two nodes of one name may be heard until it is taken for a mistake.
const BESIDE: Duration = Duration::from_secs(3);

/// Another node.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) place: Place,
    pub(crate) heard: Instant,
    /// What is known of its connections.
    version: Option<u64>,
    /// What there is to know, and since when that is known.
    announced: Option<(u64, Instant)>,
    /// When it was asked for a snapshot that has not come.
    asked: Option<Instant>,
    parts: Held,
    /// The version of `parts`.
    parts_of: u64,
    /// Changes that do not follow what is known.
    later: Held,
    told: Option<Instant>,
    asked_revocations: Option<Instant>,
    /// For how long it heard everything when it said so last, and when that was.
    heard_all: Option<(u64, Instant)>,
    /// A node with the same name, and since when it is heard.
    beside: Option<(NodeId, Instant)>,
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
            version: None,
            announced: None,
            asked: None,
            parts: Held::default(),
            parts_of: 0,
            later: Held::default(),
            told: None,
            asked_revocations: None,
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

    /// A part of a snapshot has come. Answers whether it was the last one.
    pub(crate) fn part(&mut self, version: u64, part: u32, is_last: bool, opened: Opened) -> bool {
        if part == 0 {
            (self.parts, self.parts_of) = (Held::default(), version);
        }
        let follows = self.parts_of == version && self.parts.messages.len() == part as usize;
        if !follows || !self.parts.add(opened) {
            self.parts = Held::default();
            return false;
        }
        is_last
    }

    /// Replaces what is known by the snapshot whose last part has come; `None` if it is malformed.
    pub(crate) fn replace(&mut self, directory: &mut Directory, now: Instant) -> Option<()> {
        let (parts, later) = (std::mem::take(&mut self.parts), std::mem::take(&mut self.later));
        self.asked = None;
        if self.version.is_some_and(|known| known > self.parts_of) {
            return Some(());
        }
        let mut changes: Vec<Change<'_>> = Vec::new();
        for part in &parts.messages {
            let Ok(Head::Snapshot(snapshot)) = part.head() else { return None };
            changes.extend(snapshot.changes);
        }
        directory.view.replace(self.place, &changes, now);
        self.version = Some(self.parts_of);
        for opened in &later.messages {
            let Ok(Head::Changed(changed)) = opened.head() else { return None };
            if self.follows(changed.from, changed.to) == Followed::Next {
                changed.changes.iter().for_each(|change| directory.view.apply(self.place, change, now));
            }
        }
        Some(())
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
        let may = self.told.is_none_or(|at| now.saturating_duration_since(at) >= TOLD_AGAIN);
        if may {
            self.told = Some(now);
        }
        may
    }

    /// Whether it may be asked for revocations. If so, it was.
    pub(crate) fn may_ask(&mut self, now: Instant) -> bool {
        let may = self.asked_revocations.is_none_or(|at| now.saturating_duration_since(at) >= TOLD_AGAIN);
        if may {
            self.asked_revocations = Some(now);
        }
        may
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

impl Held {
    fn add(&mut self, opened: Opened) -> bool {
        self.bytes += opened.size();
        self.messages.push(opened);
        self.bytes <= MOST
    }
}
