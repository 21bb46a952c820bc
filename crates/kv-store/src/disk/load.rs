//! Opening a state file: reading the whole of it at a start.
//!
//! Most of a restart is spent here. So the file is read once, by two threads, each a piece of it at
//! a time, and checked in passing (`scan`). What is not as usual is left to the database, which
//! reads all of it twice for its own check; then everything is read once more from its tables.
//!
//! Either way nothing is believed that does not match its checksum, nor what a taker refuses.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use redb::{ReadableTable, StorageBackend};

use super::block::{Block, bad_block};
use super::died::AllMarks;
use super::file::{Check, DEAD, RECORDS, StateFile, Storage};
use super::groups::Groups;
use super::marks::bad_marks;
use super::record::Record;
use super::scan::Scan;
use super::state::State;
use crate::error::StoreError;

/// How many pages with blocks a thread reads before it looks for more.
const PIECE_PAGES: usize = 64;

/// What a file amounts to, apart from its records.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) state: State,
    pub(crate) groups: Groups,
}

/// Who takes in the records of some pieces of the file. It may come to nothing: then another one
/// begins.
pub(crate) trait Taker: Default + Send {
    /// Takes a record that lives. They come in the order of their numbers.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    fn take(&mut self, state: &State, seq: u64, record: &Record<'_>) -> Result<(), &'static str>;

    /// There will be no more. Called on the thread that took them.
    fn finish(&mut self) {}
}

/// Opens what `backend` holds, and hands every record that lives to one of two takers, each on a
/// thread. `path` is only its name. A file without a state gets `empty`, if that is given.
pub(crate) fn open<T: Taker>(
    backend: impl StorageBackend,
    path: &Path,
    page_cache_bytes: usize,
    empty: Option<&State>,
) -> Result<(StateFile, Loaded, [T; 2]), StoreError> {
    let storage = Storage::new(backend);
    if let Some((loaded, takers)) = read_by_two(storage.backend()) {
        let file = StateFile::open_on(storage, path, page_cache_bytes, Check::Done)?;
        return match file.state(&file.view()?)? {
            Some(state) if state == loaded.state => Ok((file, loaded, takers)),
            _ => Err(file.damaged("it changed while it was opened")),
        };
    }
    let file = StateFile::open_on(storage, path, page_cache_bytes, Check::ByDatabase)?;
    if let (Some(empty), None) = (empty, file.state(&file.view()?)?) {
        file.write_blocks(&[], Some(empty))?;
    }
    let mut taker = T::default();
    let loaded = read_tables(&file, &mut taker)?;
    taker.finish();
    Ok((file, loaded, [taker, T::default()]))
}

/// Reads what `backend` holds, and hands over every record that lives in the order of the numbers.
/// `path` is only its name. Afterwards the file is closed.
pub(crate) fn read_in_order<T: Taker>(
    backend: impl StorageBackend,
    path: &Path,
    page_cache_bytes: usize,
) -> Result<(Loaded, T), StoreError> {
    let storage = Storage::new(backend);
    if let Some(read) = read_by_one(storage.backend()) {
        return Ok(read);
    }
    let file = StateFile::open_on(storage, path, page_cache_bytes, Check::ByDatabase)?;
    let mut taker = T::default();
    let loaded = read_tables(&file, &mut taker)?;
    file.close()?;
    Ok((loaded, taker))
}

/// Reads and checks everything on two threads; `None` if the file is for the database to look at.
fn read_by_two<T: Taker>(storage: &impl StorageBackend) -> Option<(Loaded, [T; 2])> {
    let scan = Scan::begin(storage)?;
    let next = AtomicUsize::new(0);
    let work = || read_pieces::<T>(&scan, &next);
    let (first, second) = std::thread::scope(|scope| {
        let helper = std::thread::Builder::new().name("load".into());
        let helper = helper.spawn_scoped(scope, work);
        let first = work();
        // One thread reads all of it if there is no other.
        let second = helper.map(|helper| helper.join().unwrap_or_else(|panic| resume(panic)));
        (first, second.unwrap_or_else(|_| Some(Default::default())))
    });
    let ((mut groups, first), (others, second)) = (first?, second?);
    groups.append(others);
    groups.settle(&scan.marks, scan.state.mark.next_seq);
    Some((Loaded { state: scan.state, groups }, [first, second]))
}

/// Reads one piece after the other, as long as nobody else has begun it.
fn read_pieces<T: Taker>(
    scan: &Scan<'_, impl StorageBackend>,
    next: &AtomicUsize,
) -> Option<(Groups, T)> {
    let mut taker = T::default();
    let mut sink = Sink::new(&scan.state, &scan.marks, &mut taker);
    let mut page = Vec::new();
    loop {
        let start = next.fetch_add(PIECE_PAGES, Ordering::Relaxed).min(scan.len());
        let end = scan.len().min(start + PIECE_PAGES);
        if start == end {
            break;
        }
        let read = scan.read(start..end, &mut page, |first, row| sink.take(first, row).ok());
        if read.is_none() {
            // The other one need not go on either.
            next.store(scan.len(), Ordering::Relaxed);
            return None;
        }
    }
    let groups = sink.groups;
    taker.finish();
    Some((groups, taker))
}

/// The same on this thread, in order.
fn read_by_one<T: Taker>(storage: &impl StorageBackend) -> Option<(Loaded, T)> {
    let scan = Scan::begin(storage)?;
    let (mut groups, taker) = read_pieces(&scan, &AtomicUsize::new(0))?;
    groups.settle(&scan.marks, scan.state.mark.next_seq);
    Some((Loaded { state: scan.state, groups }, taker))
}

fn resume(panic: Box<dyn std::any::Any + Send>) -> ! {
    std::panic::resume_unwind(panic)
}

/// Reads everything from the tables of a file that is open.
pub(super) fn read_tables(file: &StateFile, taker: &mut impl Taker) -> Result<Loaded, StoreError> {
    let view = file.view()?;
    let state = file.state(&view)?.ok_or_else(|| file.damaged("it has no state row"))?;
    let mut marks = file.listed(&view)?;
    for row in file.table(&view, DEAD)?.iter().map_err(|error| file.fault(error))? {
        let (number, row) = row.map_err(|error| file.fault(error))?;
        let number = number.value();
        let read = marks.add_row(number, row.value());
        read.ok_or_else(|| file.damaged(bad_marks(number)))?;
    }
    // They would be those of records that come later.
    if let Some(seq) = marks.last().filter(|seq| *seq >= state.mark.next_seq) {
        let next_seq = state.mark.next_seq;
        let what = format!("record {seq} is marked as dead, and the next one will be {next_seq}");
        return Err(file.damaged(what));
    }
    let mut sink = Sink::new(&state, &marks, taker);
    for row in file.table(&view, RECORDS)?.iter().map_err(|error| file.fault(error))? {
        let (first, row) = row.map_err(|error| file.fault(error))?;
        sink.take(first.value(), row.value()).map_err(|what| file.damaged(what))?;
    }
    let mut groups = sink.groups;
    groups.settle(&marks, state.mark.next_seq);
    Ok(Loaded { state, groups })
}

/// Where blocks go: what is dead of them is counted, and the rest is taken.
struct Sink<'a, T> {
    state: &'a State,
    groups: Groups,
    taker: &'a mut T,
    /// The least number that the next record may have.
    next_seq: u64,
}

impl<'a, T: Taker> Sink<'a, T> {
    /// With the marks of all groups.
    fn new(state: &'a State, marks: &AllMarks, taker: &'a mut T) -> Self {
        Self { state, groups: Groups::of_marks(marks), taker, next_seq: 0 }
    }

    /// Takes the block that stands under the number `first`; after every block before it.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    fn take(&mut self, first: u64, row: &[u8]) -> Result<(), String> {
        let block = Block::check(first, row).ok_or_else(|| bad_block(first))?;
        let mut group = self.groups.load_block(first);
        for (seq, bytes) in block.iter() {
            if seq < self.next_seq || seq >= self.state.mark.next_seq {
                return Err(format!("record {seq} is not where it belongs"));
            }
            self.next_seq = seq + 1;
            let bad = |why| format!("record {seq} {why}");
            let record = Record::decode(bytes).ok_or_else(|| bad("cannot be read"))?;
            if group.load_record(seq, record.weight()) {
                self.taker.take(self.state, seq, &record).map_err(bad)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kv_proto::Revision;

    use super::super::file::existing;
    use super::super::marks::Marks;
    use super::super::state::{Mark, Position};
    use super::*;
    use crate::build::Part;

    /// The next records would have been dead from the start: whoever put them would have been told
    /// that they are safe, and after a restart they would have been gone.
    #[test]
    fn marks_of_records_that_are_still_to_come_are_refused() {
        let dir = tempfile::tempdir().expect("a directory for tests");
        let path = dir.path().join("state");
        let (revision, compacted) = (Revision::new(11), Revision::FRESH);
        let position = Position { term: 1, index: 10 };
        let mark = Mark { position, revision, compacted, digest: 0, next_seq: 10 };
        StateFile::create(&path, &State { mark, members: Arc::default() }).expect("a file");
        let open = || open::<Part>(existing(&path)?, &path, 1 << 20, None);
        for (seq, is_refused) in [(9, false), (10, true)] {
            let (file, ..) = open().expect("nothing is wrong yet");
            let mut marks = Marks::default();
            marks.kill(seq);
            let transaction = file.database().begin_write().expect("the disk works");
            for (number, row) in marks.to_rows(0) {
                let mut table = transaction.open_table(DEAD).expect("the disk works");
                table.insert(number, row.as_slice()).expect("the disk works");
            }
            transaction.commit().expect("the disk works");
            file.close().expect("the disk works");
            let error = open().err().map(|error| error.to_string());
            assert_eq!(error.is_some(), is_refused, "{seq}: {error:?}");
            let says = "record 10 is marked as dead, and the next one will be 10";
            assert!(error.is_none_or(|error| error.contains(says)));
        }
    }
}
