//! Reading the whole file at a start.
//!
//! Two threads read it, each a piece of it at a time, because most of a restart is spent here.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use redb::{ReadOnlyTable, ReadableTable};

use super::block::Block;
use super::file::{DEAD, RECORDS, StateFile};
use super::groups::{GROUP_RECORDS, Groups, Marks, bad_marks};
use super::record::Record;
use super::state::State;
use super::writer::bad_block;
use crate::error::StoreError;

/// How many records have their numbers in a piece: some groups.
const PIECE_RECORDS: u64 = 16 * GROUP_RECORDS;

/// What a file amounts to, apart from its records.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) state: State,
    pub(crate) groups: Groups,
}

/// Who takes in the records of some pieces of the file.
pub(crate) trait Taker: Send {
    /// Takes a record that lives. Those of a piece come in the order of their numbers.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    fn take(&mut self, state: &State, seq: u64, record: &Record<'_>) -> Result<(), &'static str>;

    /// There will be no more. Called on the thread that took them.
    fn finish(&mut self) {}
}

/// Reads everything, and hands every record that lives to one of two takers, each on a thread.
///
/// Nothing is believed that does not match its checksum, nor what a taker refuses.
pub(crate) fn load<T: Taker>(
    file: &StateFile,
    mut takers: [T; 2],
) -> Result<(Loaded, [T; 2]), StoreError> {
    let source = Source::open(file)?;
    let next = Mutex::new(Some(0));
    let [first, second] = &mut takers;
    let work = |taker: &mut T| source.read_pieces(&next, taker);
    let (groups, others) = std::thread::scope(|scope| {
        let helper = std::thread::Builder::new().name("load".into());
        let helper = helper.spawn_scoped(scope, || work(second));
        // One thread reads all of it if there is no other.
        let groups = work(first);
        let others = helper.map(|helper| helper.join().unwrap_or_else(|panic| resume(panic)));
        (groups, others.unwrap_or_else(|_| Ok(Groups::default())))
    });
    let mut groups = groups?;
    groups.append(others?);
    groups.judge_all();
    Ok((Loaded { state: source.state, groups }, takers))
}

/// Reads everything on this thread, and hands over all that lives in the order of the numbers.
pub(crate) fn load_in_order(
    file: &StateFile,
    taker: &mut impl Taker,
) -> Result<Loaded, StoreError> {
    let source = Source::open(file)?;
    let mut groups = Groups::default();
    source.read(0..source.state.mark.next_seq, &mut groups, taker)?;
    Ok(Loaded { state: source.state, groups })
}

fn resume(panic: Box<dyn std::any::Any + Send>) -> ! {
    std::panic::resume_unwind(panic)
}

/// The file at one moment.
struct Source<'a> {
    file: &'a StateFile,
    state: State,
    records: ReadOnlyTable<u64, &'static [u8]>,
    dead: ReadOnlyTable<u64, &'static [u8]>,
}

impl<'a> Source<'a> {
    fn open(file: &'a StateFile) -> Result<Self, StoreError> {
        let view = file.view()?;
        let no_state = || file.damaged("it has no state row");
        let state = file.state(&view)?.ok_or_else(no_state)?;
        let (records, dead) = (file.table(&view, RECORDS)?, file.table(&view, DEAD)?);
        let source = Self { file, state, records, dead };
        source.check_ends()?;
        Ok(source)
    }

    /// There is nothing at or after the number of the next record.
    fn check_ends(&self) -> Result<(), StoreError> {
        let last = self.records.last().map_err(|error| self.file.fault(error))?;
        let next_seq = self.state.mark.next_seq;
        match last.map(|(first, _)| first.value()) {
            Some(first) if first >= next_seq => Err(self.misplaced(first)),
            _ => Ok(()),
        }
    }

    fn misplaced(&self, seq: u64) -> StoreError {
        self.file.damaged(format!("record {seq} is not where it belongs"))
    }

    /// Reads one piece after the other, as long as nobody else has begun it.
    fn read_pieces(
        &self,
        next: &Mutex<Option<u64>>,
        taker: &mut impl Taker,
    ) -> Result<Groups, StoreError> {
        let mut groups = Groups::default();
        let mut read_all = || {
            while let Some(piece) = self.begin_piece(next)? {
                self.read(piece, &mut groups, taker)?;
            }
            Ok(())
        };
        if let Err(error) = read_all() {
            // The other one need not go on either.
            *next.lock().unwrap_or_else(PoisonError::into_inner) = None;
            return Err(error);
        }
        taker.finish();
        Ok(groups)
    }

    /// The next piece in which there is anything. Long stretches of the numbers may be empty.
    fn begin_piece(&self, next: &Mutex<Option<u64>>) -> Result<Option<Range<u64>>, StoreError> {
        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(start) = *next else { return Ok(None) };
        let mut rows = self.records.range(start..).map_err(|error| self.file.fault(error))?;
        let first = rows.next().transpose().map_err(|error| self.file.fault(error))?;
        let piece = first.map(|(first, _)| {
            let start = first.value() - first.value() % GROUP_RECORDS;
            start..start.saturating_add(PIECE_RECORDS)
        });
        *next = piece.as_ref().map(|piece| piece.end);
        Ok(piece)
    }

    /// Reads the records whose numbers are in `piece`, which begins and ends between groups.
    fn read(
        &self,
        piece: Range<u64>,
        groups: &mut Groups,
        taker: &mut impl Taker,
    ) -> Result<(), StoreError> {
        let file = self.file;
        let numbers = piece.start / GROUP_RECORDS..piece.end.div_ceil(GROUP_RECORDS);
        for row in self.dead.range(numbers).map_err(|error| file.fault(error))? {
            let (number, row) = row.map_err(|error| file.fault(error))?;
            let number = number.value();
            let marks = Marks::from_row(number, row.value());
            groups.load_marks(number, marks.ok_or_else(|| file.damaged(bad_marks(number)))?);
        }
        let mut next_seq = piece.start;
        for row in self.records.range(piece).map_err(|error| file.fault(error))? {
            let (first, row) = row.map_err(|error| file.fault(error))?;
            let first = first.value();
            let block = Block::check(first, row.value());
            let block = block.ok_or_else(|| file.damaged(bad_block(first)))?;
            groups.add_block(first);
            for (seq, bytes) in block.iter() {
                if seq < next_seq || seq >= self.state.mark.next_seq {
                    return Err(self.misplaced(seq));
                }
                next_seq = seq + 1;
                let bad = |why| file.damaged(format!("record {seq} {why}"));
                let record = Record::decode(bytes).ok_or_else(|| bad("cannot be read"))?;
                if groups.load_record(seq, record.weight()) {
                    taker.take(&self.state, seq, &record).map_err(bad)?;
                }
            }
        }
        Ok(())
    }
}
