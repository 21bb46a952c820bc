//! Records side by side, under one checksum: a row of the state file.
//!
//! A row for each record would cost the database's own overhead for each, and a page rewritten for
//! each record that goes. So records stand in blocks. The database gives each row as many pages as
//! the next power of two, so a block is made to fill that many: four, or as many as four records of
//! the size of its first would take, if that is more. (A block of a single record just above 64 KiB
//! would be half empty, one of three leaves a quarter.) To read a value is to read its block, so
//! there is a limit to that.
//!
//! Invariants:
//! 1. The numbers of the records in a block rise. They need not follow each other: cleaning takes
//!    the dead from between the living.
//! 2. All of them belong to one group (see `groups`) and none lies before the block's own number,
//!    under which it stands in the table. That number is under the checksum too, so a block that
//!    is found in another's place is not believed.

use super::marks::{GROUP_RECORDS, Marks};

/// The pages of a block of more than one record, in bytes: at least, and at most.
const PAGES_BYTES: (usize, usize) = (16 << 10, 256 << 10);

/// So many records of the size of the first should find room.
const RECORDS_AT_LEAST: usize = 4;

/// What a block leaves of its pages.
const LEFT_BYTES: usize = 64;

// What a leaf of the database adds to a single pair: its head, the end of the value, and the key.
const _: () = assert!(4 + 4 + 8 <= LEFT_BYTES);

const CHECKSUM_BYTES: usize = 4;
const COUNT_BYTES: usize = 4;
/// A number relative to the block's own, and where the record ends.
const PLACE_BYTES: usize = 2 + 4;

/// Collects records for one block.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockBuilder {
    /// The number of the block: of the record it began with.
    first: u64,
    places: Vec<[u8; PLACE_BYTES]>,
    records: Vec<u8>,
    /// As many bytes as it may have with a second record.
    full_bytes: usize,
}

/// The most bytes of a block whose first record has `record_bytes`, if it has another.
fn full_bytes(record_bytes: usize) -> usize {
    let (least, most) = PAGES_BYTES;
    let pages_bytes = (RECORDS_AT_LEAST * record_bytes.min(most)).next_power_of_two();
    pages_bytes.clamp(least, most) - LEFT_BYTES
}

impl BlockBuilder {
    /// Whether the record `seq` of `record_bytes` bytes belongs into this block: there is room, and
    /// it is of the same group. A block takes its first record whatever its size.
    pub(crate) fn takes(&self, seq: u64, record_bytes: usize) -> bool {
        let is_same_group = seq / GROUP_RECORDS == self.first / GROUP_RECORDS;
        let size = self.size_bytes() + PLACE_BYTES + record_bytes;
        self.places.is_empty() || (is_same_group && size <= self.full_bytes)
    }

    /// Adds a record that it [takes](Self::takes), of a number above every other.
    pub(crate) fn push(&mut self, seq: u64, record: &[u8]) {
        debug_assert!(self.takes(seq, record.len()));
        if self.places.is_empty() {
            self.first = seq;
            self.full_bytes = full_bytes(record.len());
        }
        self.records.extend_from_slice(record);
        let mut place = [0; PLACE_BYTES];
        // A group has fewer than 2^16 numbers, and a record fewer bytes than a request.
        let delta = u16::try_from(seq - self.first).unwrap_or(u16::MAX);
        let end = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        place[..2].copy_from_slice(&delta.to_le_bytes());
        place[2..].copy_from_slice(&end.to_le_bytes());
        self.places.push(place);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many records are in it.
    pub(crate) fn len(&self) -> u64 {
        self.places.len() as u64
    }

    /// The number under which the block stands in the table.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The number of its last record.
    pub(crate) fn last(&self) -> u64 {
        self.first + self.places.last().map_or(0, |place| u64::from(parse(*place).0))
    }

    /// Its bytes, into `out`, which is emptied before.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&[0; CHECKSUM_BYTES]);
        let count = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(self.places.as_flattened());
        out.extend_from_slice(&self.records);
        let checksum = checksum(self.first, &out[CHECKSUM_BYTES..]);
        out[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Those of its records that are dead.
    pub(crate) fn dead(&self, marks: &Marks) -> impl Iterator<Item = &[u8]> {
        let ends = self.places.iter().map(|place| parse(*place));
        let starts = std::iter::once(0).chain(ends.clone().map(|(_, end)| end));
        let dead = ends
            .zip(starts)
            .filter(|((delta, _), _)| marks.is_dead(self.first + u64::from(*delta)));
        dead.map(|((_, end), start)| &self.records[start..end])
    }

    /// Its number and its bytes; then it begins again.
    pub(crate) fn take(&mut self) -> (u64, Vec<u8>) {
        let mut bytes = Vec::with_capacity(self.size_bytes());
        self.write(&mut bytes);
        self.clear();
        (self.first, bytes)
    }

    /// Begins again.
    pub(crate) fn clear(&mut self) {
        self.places.clear();
        self.records.clear();
    }

    fn size_bytes(&self) -> usize {
        CHECKSUM_BYTES + COUNT_BYTES + self.places.len() * PLACE_BYTES + self.records.len()
    }
}

/// What cannot be read is named like this.
pub(crate) fn bad_block(first: u64) -> String {
    format!("the block of record {first} is missing, or does not match its checksum")
}

fn checksum(first: u64, rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&first.to_le_bytes()), rest)
}

/// A block that was read, and has been checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    first: u64,
    places: &'a [[u8; PLACE_BYTES]],
    records: &'a [u8],
}

impl<'a> Block<'a> {
    /// The block that stands under the number `first`; `None` if these are not its bytes.
    pub(crate) fn check(first: u64, bytes: &'a [u8]) -> Option<Self> {
        let (stored, rest) = bytes.split_first_chunk::<CHECKSUM_BYTES>()?;
        if checksum(first, rest) != u32::from_le_bytes(*stored) {
            return None;
        }
        let block = Self::split(first, bytes)?;
        block.is_valid().then_some(block)
    }

    /// The same, for bytes that have been checked before.
    pub(crate) fn split(first: u64, bytes: &'a [u8]) -> Option<Self> {
        let (count, rest) = bytes.get(CHECKSUM_BYTES..)?.split_first_chunk::<COUNT_BYTES>()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
        let (places, records) = rest.split_at_checked(count.checked_mul(PLACE_BYTES)?)?;
        Some(Self { first, places: places.as_chunks().0, records })
    }

    /// Invariants 1 and 2, and whether the records fill the block.
    fn is_valid(&self) -> bool {
        let ends = || self.places.iter().map(|place| parse(*place).1);
        let deltas = || self.places.iter().map(|place| u64::from(parse(*place).0));
        let group_rest = GROUP_RECORDS - self.first % GROUP_RECORDS;
        ends().is_sorted()
            && ends().next_back() == Some(self.records.len())
            && deltas().is_sorted_by(|a, b| a < b)
            && deltas().all(|delta| delta < group_rest)
            && self.first.checked_add(GROUP_RECORDS).is_some()
    }

    /// The record of this number, if the block has it.
    pub(crate) fn find(&self, seq: u64) -> Option<&'a [u8]> {
        let delta = u16::try_from(seq.checked_sub(self.first)?).ok()?;
        let at = self.places.binary_search_by_key(&delta, |place| parse(*place).0).ok()?;
        self.record(at)
    }

    /// All of its records, with their numbers, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &'a [u8])> {
        let seqs = self.places.iter().map(|place| self.first + u64::from(parse(*place).0));
        seqs.enumerate().filter_map(|(at, seq)| Some((seq, self.record(at)?)))
    }

    fn record(&self, at: usize) -> Option<&'a [u8]> {
        let start = at.checked_sub(1).map_or(0, |before| parse(self.places[before]).1);
        self.records.get(start..parse(self.places[at]).1)
    }
}

fn parse(place: [u8; PLACE_BYTES]) -> (u16, usize) {
    let [d0, d1, e0, e1, e2, e3] = place;
    (u16::from_le_bytes([d0, d1]), u32::from_le_bytes([e0, e1, e2, e3]) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(first: u64, records: &[(u64, &[u8])]) -> Vec<u8> {
        let mut builder = BlockBuilder::default();
        for (delta, record) in records {
            assert!(builder.takes(first + delta, record.len()));
            builder.push(first + delta, record);
        }
        let mut bytes = Vec::new();
        builder.write(&mut bytes);
        bytes
    }

    #[test]
    fn records_come_back_by_number_and_in_order() {
        let records: [(u64, &[u8]); 4] = [(0, b"zero"), (3, b""), (4, b"four"), (500, b"last")];
        let bytes = block(2048, &records);
        let block = Block::check(2048, &bytes).expect("it is whole");
        let numbered = records.map(|(delta, record)| (2048 + delta, record));
        assert!(block.iter().eq(numbered));
        for (seq, record) in numbered {
            assert_eq!(block.find(seq), Some(record));
        }
        for missing in [0, 2047, 2049, 2549, 70_000, u64::MAX] {
            assert_eq!(block.find(missing), None);
        }
    }

    #[test]
    fn every_flipped_bit_every_cut_and_every_other_place_is_noticed() {
        let bytes = block(7, &[(0, b"a record"), (1, b"another")]);
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Block::check(7, &flipped).is_none(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(Block::check(7, &bytes[..cut]).is_none(), "cut at {cut}");
        }
        assert!(Block::check(8, &bytes).is_none());
        assert!(Block::check(7, &bytes).is_some());
    }

    #[test]
    fn a_block_ends_when_it_is_full_and_where_its_group_ends() {
        let mut builder = BlockBuilder::default();
        assert!(builder.takes(5, 1 << 20), "the first, whatever its size");
        builder.push(5, &[0; 100]);
        let full = (16 << 10) - 64;
        assert!(builder.takes(6, full - 8 - 100 - 12) && !builder.takes(6, full - 8 - 100 - 11));
        assert!(builder.takes(GROUP_RECORDS - 1, 100) && !builder.takes(GROUP_RECORDS, 100));
    }

    #[test]
    fn a_block_is_as_long_as_its_first_record_asks_for() {
        for (record_bytes, records) in [(100, 153), (4200, 7), (16_500, 7), (65_600, 3)] {
            let (mut builder, record) = (BlockBuilder::default(), vec![7; record_bytes]);
            let mut seq = 0;
            while builder.takes(seq, record_bytes) {
                builder.push(seq, &record);
                seq += 1;
            }
            assert_eq!(seq, records, "of {record_bytes} bytes");
        }
        for record_bytes in [300_000, usize::MAX] {
            assert_eq!(full_bytes(record_bytes), (256 << 10) - 64);
        }
    }
}
