//! Making a snapshot.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::ReadOnlyTable;

use super::piece::{CHUNK_BYTES, Piece, Totals, put_record};
use crate::digest::Digest;
use crate::disk::{
    AllMarks, Block, Disk, GROUP_RECORDS, Marks, Position, Queue, RECORDS, State, StateFile, View,
    bad_block,
};
use crate::error::StoreError;

/// A way to snapshots of a store, on any thread, that does not hold up the store.
#[derive(Clone, Debug)]
pub struct Snapshots {
    file: Arc<StateFile>,
    queue: Arc<Queue>,
    /// What the snapshots have to show at least.
    position: Position,
}

impl Snapshots {
    pub(crate) fn new(disk: &Disk, position: Position) -> Self {
        Self { file: disk.shared_file(), queue: disk.shared_queue(), position }
    }

    /// The position of the log that [`take`](Self::take) shows at least: where the store was when
    /// it gave this away.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Waits until the state file holds everything up to [`position`](Self::position), and takes a
    /// snapshot. On a full disk that takes until there is room.
    ///
    /// # Errors
    ///
    /// If the state file failed, now or before.
    pub fn take(&self) -> Result<Snapshot, StoreError> {
        self.queue.wait_for(self.position.index, None)?;
        Snapshot::new(Arc::clone(&self.file))
    }

    /// As [`take`](Self::take), for those who wait no longer than `patience`: `None` if that was
    /// not enough.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn take_within(&self, patience: Duration) -> Result<Option<Snapshot>, StoreError> {
        // Beyond what a clock can show, there is no end.
        let give_up_at = Instant::now().checked_add(patience);
        if !self.queue.wait_for(self.position.index, give_up_at)? {
            return Ok(None);
        }
        Snapshot::new(Arc::clone(&self.file)).map(Some)
    }
}

/// A store at one moment, piece by piece, while the store itself goes on: on any thread.
///
/// As long as it lives, the state file keeps what it shows, and grows by what is overwritten
/// meanwhile.
#[derive(Debug)]
pub struct Snapshot {
    file: Arc<StateFile>,
    view: View,
    state: State,
    table: ReadOnlyTable<u64, &'static [u8]>,
    /// The marks that are only in lists.
    listed: AllMarks,
    /// Where each chunk begins, as far as they were made, and the next one.
    starts: Vec<Start>,
    /// The number of the next piece.
    next: u64,
}

/// What has to be known to make the rest of a snapshot.
#[derive(Clone, Copy, Debug)]
struct Start {
    /// No record before this one is left to send.
    seq: u64,
    /// The block that it is in.
    block: u64,
    /// Of those before.
    totals: Totals,
    digest: Digest,
    /// Whether nothing is left at all.
    is_end: bool,
}

impl Snapshot {
    pub(crate) fn new(file: Arc<StateFile>) -> Result<Self, StoreError> {
        let view = file.view()?;
        let no_state = || file.damaged("it has no state row");
        let state = file.state(&view)?.ok_or_else(no_state)?;
        let table = file.table(&view, RECORDS)?;
        let listed = file.listed(&view)?;
        let digest = Digest::EMPTY;
        let totals = Totals { records: 0, digest: digest.get() };
        let start = Start { seq: 0, block: 0, totals, digest, is_end: false };
        Ok(Self { file, view, state, table, listed, starts: vec![start], next: 0 })
    }

    /// The position of the log that it shows the store at.
    pub fn position(&self) -> Position {
        self.state.mark.position
    }

    /// The members of the cluster at that position.
    pub fn members(&self) -> &[u8] {
        &self.state.members
    }

    /// How much the pieces that were made tell, and how much there is to tell in all: the first
    /// grows to the second. Only good for showing people how far it is.
    pub fn progress(&self) -> (u64, u64) {
        let total = self.state.mark.next_seq;
        let made = usize::try_from(self.next.saturating_sub(1)).unwrap_or(usize::MAX);
        let done = self.starts.get(made).or(self.starts.last());
        (done.map_or(0, |start| if start.is_end { total } else { start.seq.min(total) }), total)
    }

    /// Whether the last piece was made.
    pub fn is_over(&self) -> bool {
        let ends_at = self.starts.iter().position(|start| start.is_end);
        ends_at.is_some_and(|place| self.next > place as u64 + 1)
    }

    /// The number of the piece that comes next.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// Goes back to a piece that was made before, or stays where it is for one that was not.
    pub fn go_back_to(&mut self, number: u64) {
        self.next = self.next.min(number);
    }

    /// The next piece; `None` after the last.
    ///
    /// # Errors
    ///
    /// If the state file cannot be read, or is damaged.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let number = self.next;
        let Some(chunk) = number.checked_sub(1) else {
            self.next = 1;
            return Ok(Some(Piece::Header(self.state.clone()).encode(0)));
        };
        let place = usize::try_from(chunk).unwrap_or(usize::MAX);
        let Some(&start) = self.starts.get(place) else { return Ok(None) };
        self.next = number + 1;
        if start.is_end {
            return Ok(Some(Piece::End(start.totals).encode(number)));
        }
        let (records, after) = self.fill(start)?;
        if self.starts.len() == place + 1 {
            self.starts.push(after);
        }
        if records.is_empty() {
            // Nothing was left: what follows is the end, which takes this number.
            self.starts[place] = after;
            self.starts.truncate(place + 1);
            return Ok(Some(Piece::End(after.totals).encode(number)));
        }
        Ok(Some(Piece::Chunk(records).encode(number)))
    }

    /// A chunk of records from `start` on, and where the next begins.
    fn fill(&self, start: Start) -> Result<(Vec<u8>, Start), StoreError> {
        let file = &self.file;
        let (mut chunk, mut after) = (Vec::new(), start);
        let mut marks: Option<(u64, Marks)> = None;
        let rows = self.table.range(start.block..).map_err(|error| file.fault(error))?;
        for row in rows {
            let (first, row) = row.map_err(|error| file.fault(error))?;
            let first = first.value();
            let block = Block::check(first, row.value());
            let block = block.ok_or_else(|| file.damaged(bad_block(first)))?;
            let group = first / GROUP_RECORDS;
            if marks.is_none_or(|(known, _)| known != group) {
                let mut all = file.marks(&self.view, group)?;
                all.add(&self.listed.of(group));
                marks = Some((group, all));
            }
            let is_dead = |seq| marks.is_some_and(|(_, marks)| marks.is_dead(seq));
            for (seq, record) in block.iter().filter(|(seq, _)| *seq >= start.seq) {
                if chunk.len() >= CHUNK_BYTES {
                    (after.seq, after.block) = (seq, first);
                    return Ok((chunk, after));
                }
                if !is_dead(seq) {
                    put_record(seq, record, &mut chunk);
                    after.add(seq, record);
                }
            }
        }
        after.is_end = true;
        Ok((chunk, after))
    }
}

impl Start {
    fn add(&mut self, seq: u64, record: &[u8]) {
        self.digest.number(seq);
        self.digest.bytes(record);
        self.totals = Totals { records: self.totals.records + 1, digest: self.digest.get() };
    }
}
