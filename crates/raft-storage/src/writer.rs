//! [`Writer`]: puts batches at the end of the log.
//!
//! There is one only while the log is sound: a damaged log, or one that failed, has nothing that
//! could write.

use std::io;

use raft_core::{Entry, Position, Write};

use crate::disk::{Disk, DiskFile};
use crate::error::{IoError, WriteError};
use crate::index::LogIndex;
use crate::meta::Identity;
use crate::record::Draft;
use crate::room::{Room, is_full};
use crate::sector::{Place, SECTOR_BYTES, offset_bytes};
use crate::segment::{SegmentHeader, file_name};
use crate::spare::Ready;
use crate::spares::Spares;
use crate::tip::Tip;
use crate::witness::{Testimony, Witness};

/// A buffer larger than this is given back after use: 4 MiB.
const KEPT_BUFFER_BYTES: usize = 4 << 20;

/// Puts batches at the end of the log.
///
/// Invariants, while no call is under way:
/// 1. Everything up to `tip` is synced, and `durable` is its number.
/// 2. From sector `next` on, the segment is as it was made: all zeros.
/// 3. The witness knows the hard state of `tip`.
#[derive(Debug)]
pub(crate) struct Writer<D: Disk> {
    pub(crate) disk: D,
    pub(crate) identity: Identity,
    pub(crate) tip: Tip,
    /// The number of the last record that is synced.
    pub(crate) durable: u64,
    pub(crate) witness: Witness<D::File>,
    pub(crate) segment: Ready<D::File>,
    /// Where the next batch goes; 0 if the segment has not been begun.
    pub(crate) next: u32,
    pub(crate) spares: Spares<D>,
    /// Whole sectors that wait to be written at `next`.
    pub(crate) batch: Vec<u8>,
}

impl<D: Disk> Writer<D> {
    /// Makes all of `writes` durable, in order, and takes note of them in `index`.
    pub(crate) fn append(
        &mut self,
        index: &mut LogIndex,
        writes: &[Write],
    ) -> Result<(), WriteError> {
        for (written, write) in writes.iter().enumerate() {
            let staged = self.stage(index, write);
            staged.map_err(|error| match error {
                // Those before it were flushed to make room for it.
                WriteError::NoSpace { error, .. } => WriteError::NoSpace { written, error },
                error => error,
            })?;
        }
        self.flush()
    }

    /// How much more there is room for. The reserve itself counts as what is left.
    pub(crate) fn room(&self) -> Room {
        if !self.spares.is_short() {
            return Room::Ample;
        }
        let rest = self.segment.sectors.saturating_sub(self.next);
        let left = rest.saturating_add(self.spares.sectors());
        if left > self.spares.reserve_sectors() / 2 { Room::Low } else { Room::Scarce }
    }

    /// Adds one record to the batch; where it does not fit the segment, the batch is flushed and
    /// the next segment begun.
    fn stage(&mut self, index: &mut LogIndex, write: &Write) -> Result<(), WriteError> {
        let prev = position_before(index, write)?;
        let mut draft = Draft::new(write, prev)?;
        let sectors = u32::try_from(draft.header.sectors()).unwrap_or(u32::MAX);
        self.make_room(sectors)?;
        if self.batch_end() == 0 {
            self.begin_segment(index);
        }
        draft.header.sequence = self.tip.sequence.saturating_add(1);
        draft.header.durable = self.durable;
        draft.header.previous = self.tip.seal;
        self.tip.check(&draft.header).map_err(|rule| WriteError::Malformed { rule })?;
        let place = Place::new(self.segment.number, self.batch_end());
        let seal = draft.encode(self.identity.log, place, &mut self.batch);
        self.tip = self.tip.after(&draft.header, seal);
        if write.reset.is_some() {
            index.reset(prev);
        }
        if !write.entries.is_empty() {
            index.extend(prev, write.entries.iter().map(|entry| entry.at.term), place);
        }
        Ok(())
    }

    /// The sector behind the batch.
    fn batch_end(&self) -> u32 {
        let staged = u32::try_from(self.batch.len() / SECTOR_BYTES).unwrap_or(u32::MAX);
        self.next.saturating_add(staged)
    }

    fn begin_segment(&mut self, index: &mut LogIndex) {
        let (number, sectors) = (self.segment.number, self.segment.sectors);
        let header = SegmentHeader { number, sectors, tip: self.tip };
        header.encode(&self.identity, &mut self.batch);
        index.begin_segment(number);
    }

    /// Writes the batch and syncs it; before that, what the witness has to know.
    fn flush(&mut self) -> Result<(), WriteError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        if self.next == 0 || !self.witness.knows(self.tip.hard_state) {
            let (segment, hard_state) = (self.segment.number, self.tip.hard_state);
            let durable = self.durable;
            self.witness.say(Testimony { durable, segment, hard_state, ..Testimony::default() })?;
        }
        let file = &self.segment.file;
        let written = file.write_at(&self.batch, offset_bytes(self.next));
        written.map_err(|error| self.failed("write to", error))?;
        file.sync().map_err(|error| self.failed("sync", error))?;
        self.next = self.batch_end();
        self.durable = self.tip.sequence;
        self.batch.clear();
        self.batch.shrink_to(KEPT_BUFFER_BYTES);
        if self.next > self.segment.sectors / 2 {
            self.spares.ask(self.segment.number.saturating_add(1));
        }
        Ok(())
    }

    fn failed(&self, action: &'static str, error: io::Error) -> WriteError {
        IoError::new(action, &self.disk.path(&file_name(self.segment.number)), error).into()
    }

    /// Makes sure that a record of this many sectors fits behind the batch: if it does not, the
    /// batch is flushed, and the next segment has room for it.
    fn make_room(&mut self, record_sectors: u32) -> Result<(), WriteError> {
        let end = self.batch_end();
        let header_sectors = u32::from(end == 0);
        let needed = record_sectors.saturating_add(header_sectors);
        if end.saturating_add(needed) <= self.segment.sectors {
            return Ok(());
        }
        self.flush()?;
        // A segment that was not begun is not left behind as a gap: a larger one takes its place.
        let step = u32::from(self.next > 0);
        let rule = "the log has as many segments as can be numbered";
        let number = self.segment.number.checked_add(step).ok_or(WriteError::Malformed { rule })?;
        let taken = self.spares.take(number, record_sectors.saturating_add(1));
        let path = || self.disk.path(&file_name(number));
        self.segment = taken.map_err(|error| {
            let is_full = is_full(&error);
            let error = IoError::new("make", &path(), error);
            if is_full { WriteError::NoSpace { written: 0, error } } else { error.into() }
        })?;
        self.next = 0;
        Ok(())
    }
}

/// The position that the entries of `write` continue.
fn position_before(index: &LogIndex, write: &Write) -> Result<Position, WriteError> {
    let in_the_log = |first: &Entry| {
        let before = first.at.index.prev();
        index.term_at(before).map(|term| Position::new(term, before))
    };
    let prev = match (write.reset, write.entries.first()) {
        (Some(start), _) => Some(start),
        (None, Some(first)) => in_the_log(first),
        (None, None) => Some(index.last()),
    };
    match prev {
        Some(prev) if write.entries.follows(prev) => Ok(prev),
        Some(_) => Err(WriteError::Malformed { rule: "its entries do not follow each other" }),
        None => Err(WriteError::Malformed { rule: "its first entry is outside of the log" }),
    }
}
