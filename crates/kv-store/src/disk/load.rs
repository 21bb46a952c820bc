//! Reading the whole file at a start.

use redb::ReadableTable;

use super::block::Block;
use super::file::{DEAD, RECORDS, StateFile};
use super::groups::{Groups, Marks, bad_marks};
use super::record::Record;
use super::state::State;
use super::writer::bad_block;
use crate::error::StoreError;

/// What a file amounts to, apart from its records.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) state: State,
    pub(crate) groups: Groups,
}

/// Reads everything, and hands every record that lives to `each`, in the order of their numbers.
///
/// Nothing is believed that does not match its checksum, nor what `each` refuses with a reason.
pub(crate) fn load(
    file: &StateFile,
    mut each: impl FnMut(&State, u64, &Record<'_>) -> Result<(), &'static str>,
) -> Result<Loaded, StoreError> {
    let view = file.view()?;
    let no_state = || file.damaged("it has no state row");
    let state = file.state(&view)?.ok_or_else(no_state)?;
    let mut groups = Groups::default();
    for row in file.table(&view, DEAD)?.iter().map_err(|error| file.fault(error))? {
        let (number, row) = row.map_err(|error| file.fault(error))?;
        let number = number.value();
        let marks = Marks::from_row(number, row.value());
        let marks = marks.ok_or_else(|| file.damaged(bad_marks(number)))?;
        groups.load_marks(number, marks);
    }
    let mut next_seq = 0;
    for row in file.table(&view, RECORDS)?.iter().map_err(|error| file.fault(error))? {
        let (first, row) = row.map_err(|error| file.fault(error))?;
        let first = first.value();
        let block = Block::check(first, row.value());
        let block = block.ok_or_else(|| file.damaged(bad_block(first)))?;
        groups.add_block(first);
        for (seq, bytes) in block.iter() {
            let bad = |why| file.damaged(format!("record {seq} {why}"));
            if seq < next_seq || seq >= state.mark.next_seq {
                return Err(bad("is not where it belongs"));
            }
            next_seq = seq + 1;
            let record = Record::decode(bytes).ok_or_else(|| bad("cannot be read"))?;
            if groups.load_record(seq, record.weight()) {
                each(&state, seq, &record).map_err(bad)?;
            }
        }
    }
    groups.judge_all();
    Ok(Loaded { state, groups })
}
