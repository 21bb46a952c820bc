//! The `witness` file: term and vote, and how far the log had come, told a second time.
//!
//! A log whose records are damaged can be had back from other nodes. Its latest term and vote
//! cannot: nobody else knows them, and a node that forgot its vote could vote twice. So they are
//! kept apart from the log as well, before a record that carries them is written. And as the file
//! says which record was durable at that time, it tells a log whose end has vanished, which looks
//! just like a shorter log.
//!
//! Two sealed sectors, 4096 bytes apart, are written in turn, so that one is always whole:
//!
//! ```text
//! offset  size  what
//!      0     8  "RAFTWIT" and a zero
//!      8     8  turn: grows by one with each writing, and its parity says which sector it is
//!     16     8  the last record that was durable
//!     24     4  flags: bit 0, there is a vote; bit 1, the node recovers; the others are zero
//!     28     4  the segment that is being written, whose file is there
//!     32     8  current term
//!     40     8  vote, 0 without one
//!     48     8  starts of the node
//! ```
//!
//! Invariants:
//! 1. No write is acknowledged whose term, vote or recovery is not in the file.
//! 2. The record that it names was durable when it was written.
//! 3. It is written again whenever a segment begins, when that file is durable under its name: so
//!    no file can vanish unnoticed.

use std::io;

use raft_core::HardState;

use crate::disk::{Access, Disk, DiskFile};
use crate::error::IoError;
use crate::fields::{put_u32, put_u64, u32_at, u64_at};
use crate::record::{HARD_STATE_FLAGS, flags, hard_state_at, put_hard_state};
use crate::sector::{
    CONTENT_BYTES, Place, SECTOR_BYTES, Sector, SectorBytes, judge, offset_bytes, push_content,
    seal,
};

/// The file's name.
pub(crate) const FILE: &str = "witness";

const MAGIC: u64 = u64::from_le_bytes(*b"RAFTWIT\0");

/// Where the two sectors are. No segment has the number 0, so they are taken for no other's.
const PLACES: [Place; 2] = [Place::new(0, 0), Place::new(0, 8)];

/// What the file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Testimony {
    pub(crate) turn: u64,
    /// The last record that was durable.
    pub(crate) durable: u64,
    /// The segment that was being written.
    pub(crate) segment: u32,
    pub(crate) hard_state: HardState,
}

impl Testimony {
    fn encode(&self, log_id: u64) -> Vec<u8> {
        let mut content = [0; CONTENT_BYTES];
        put_u64(&mut content, 0, MAGIC);
        put_u64(&mut content, 8, self.turn);
        put_u64(&mut content, 16, self.durable);
        put_u32(&mut content, 24, flags(self.hard_state));
        put_u32(&mut content, 28, self.segment);
        put_hard_state(&mut content, 32, self.hard_state);
        let mut out = Vec::with_capacity(SECTOR_BYTES);
        push_content(&mut out, &content);
        seal(log_id, place_of(self.turn), 0, &mut out);
        out
    }

    /// What a good sector says; `None` if this version cannot have written it.
    fn decode(content: &[u8]) -> Option<Self> {
        let flags = u32_at(content, 24);
        let is_ours = u64_at(content, 0) == MAGIC && flags & !HARD_STATE_FLAGS == 0;
        is_ours.then(|| Self {
            turn: u64_at(content, 8),
            durable: u64_at(content, 16),
            segment: u32_at(content, 28),
            hard_state: hard_state_at(content, 32, flags),
        })
    }
}

fn place_of(turn: u64) -> Place {
    PLACES[usize::from(turn % 2 == 1)]
}

/// Reads the file; `None` if it is missing or damaged in either half, so that nothing can be said
/// for certain.
pub(crate) fn read<D: Disk>(disk: &D, log_id: u64) -> Result<Option<Testimony>, IoError> {
    let failed = |error| IoError::new("read", &disk.path(FILE), error);
    if !disk.list().map_err(failed)?.iter().any(|name| name == FILE) {
        return Ok(None);
    }
    let file = disk.open(FILE, Access::Read).map_err(failed)?;
    let needed_bytes = PLACES[1].offset_bytes() + SECTOR_BYTES as u64;
    if file.size_bytes().map_err(failed)? < needed_bytes {
        return Ok(None);
    }
    let mut latest = None;
    for place in PLACES {
        let mut bytes: SectorBytes = [0; SECTOR_BYTES];
        file.read_at(&mut bytes, place.offset_bytes()).map_err(failed)?;
        let said = match judge(log_id, 0, place, &bytes) {
            Sector::Good(good) => Testimony::decode(good.content),
            Sector::Unwritten | Sector::Bad(_) => None,
        };
        match said {
            Some(said) if place_of(said.turn) == place => {
                latest = latest.max_by_turn(said);
            }
            _ => return Ok(None),
        }
    }
    Ok(latest)
}

/// Whether there is a file that tells of more than a log that was just made, or of what nobody can
/// read: then there was a log, whatever else is missing.
pub(crate) fn tells_of_a_life<D: Disk>(disk: &D) -> io::Result<bool> {
    if !disk.list()?.iter().any(|name| name == FILE) {
        return Ok(false);
    }
    let file = disk.open(FILE, Access::Read)?;
    let size_bytes = file.size_bytes()?;
    for place in PLACES {
        let mut bytes: SectorBytes = [0; SECTOR_BYTES];
        let start = place.offset_bytes();
        if size_bytes < start + SECTOR_BYTES as u64 {
            continue;
        }
        file.read_at(&mut bytes, start)?;
        // The id of the log, with which it is sealed, is in the file that is missing.
        let (durable, flags) = (u64_at(&bytes, 16), u32_at(&bytes, 24));
        if durable != 0 || flags != 0 || hard_state_at(&bytes, 32, flags) != HardState::default() {
            return Ok(true);
        }
    }
    Ok(false)
}

trait Latest {
    fn max_by_turn(self, other: Testimony) -> Self;
}

impl Latest for Option<Testimony> {
    fn max_by_turn(self, other: Testimony) -> Self {
        Some(self.filter(|held| held.turn > other.turn).unwrap_or(other))
    }
}

/// Writes the file.
#[derive(Debug)]
pub(crate) struct Witness<F> {
    file: F,
    log_id: u64,
    path: String,
    said: Testimony,
}

impl<F: DiskFile> Witness<F> {
    /// Makes the file, in place of one that there may be, in both halves. The directory has to be
    /// synced after it.
    pub(crate) fn create<D: Disk<File = F>>(
        disk: &D,
        log_id: u64,
        first: Testimony,
    ) -> Result<Self, IoError> {
        let path = disk.path(FILE);
        let made = disk.create(FILE).map_err(|error| IoError::new("make", &path, error))?;
        let mut witness = Self { file: made, log_id, path, said: first };
        witness.say(first)?;
        witness.say(first)?;
        Ok(witness)
    }

    /// Opens the file, which says `said`, and makes that durable: a process that was killed may
    /// have written it and not synced it, and from here on this node relies on it.
    pub(crate) fn open<D: Disk<File = F>>(
        disk: &D,
        log_id: u64,
        said: Testimony,
    ) -> Result<Self, IoError> {
        let path = disk.path(FILE);
        let file = disk.open(FILE, Access::Write);
        let file = file.map_err(|error| IoError::new("open", &path, error))?;
        file.sync().map_err(|error| IoError::new("sync", &path, error))?;
        Ok(Self { file, log_id, path, said })
    }

    /// Whether the file has this hard state.
    pub(crate) fn knows(&self, hard_state: HardState) -> bool {
        self.said.hard_state == hard_state
    }

    /// Says this from now on, durably; the turn is counted here.
    pub(crate) fn say(&mut self, news: Testimony) -> Result<(), IoError> {
        let said = Testimony { turn: self.said.turn.wrapping_add(1), ..news };
        let offset_bytes = offset_bytes(place_of(said.turn).sector);
        let written = self.file.write_at(&said.encode(self.log_id), offset_bytes);
        written
            .and_then(|()| self.file.sync())
            .map_err(|error| IoError::new("write", &self.path, error))?;
        self.said = said;
        Ok(())
    }
}

/// What two accounts of the same node amount to: the later term, a vote if either has one, and a
/// recovery that either has not seen the end of.
pub(crate) fn latest(one: HardState, other: HardState) -> HardState {
    let (later, earlier) = if one.term >= other.term { (one, other) } else { (other, one) };
    let same_term = later.term == earlier.term;
    HardState {
        term: later.term,
        vote: later.vote.or(earlier.vote.filter(|_| same_term)),
        boots: one.boots.max(other.boots),
        recovering: one.recovering || other.recovering,
    }
}

#[cfg(test)]
mod tests {
    use raft_core::{NodeId, Term};

    use super::*;

    fn hard_state(term: u64, vote: Option<u64>, boots: u64) -> HardState {
        HardState { term: Term::new(term), vote: vote.map(NodeId::new), boots, recovering: false }
    }

    #[test]
    fn the_later_account_counts_and_no_vote_is_forgotten() {
        let (old, new) = (hard_state(3, Some(1), 4), hard_state(4, None, 3));
        assert_eq!(latest(old, new), hard_state(4, None, 4), "a vote of an earlier term is over");
        assert_eq!(latest(new, old), latest(old, new));
        let (voted, not_yet) = (hard_state(4, Some(2), 1), hard_state(4, None, 1));
        assert_eq!(latest(not_yet, voted), voted);
        let recovering = HardState { recovering: true, ..not_yet };
        assert!(latest(recovering, voted).recovering && latest(voted, recovering).recovering);
    }

    #[test]
    fn a_testimony_comes_back_as_it_was_written() {
        let hard_state = hard_state(4, Some(2), 9);
        let said = Testimony { turn: 7, durable: 12, segment: 3, hard_state };
        let bytes: SectorBytes = said.encode(5).try_into().expect("one sector");
        let Sector::Good(good) = judge(5, 0, PLACES[1], &bytes) else { panic!("it is good") };
        assert_eq!(Testimony::decode(good.content), Some(said));
    }
}
