//! Which records of a group are dead: a bit for each.
//!
//! Records are told apart by their numbers, and [`GROUP_RECORDS`] numbers that follow each other
//! are a group. In the file, its bits stand in rows of [`ROW_RECORDS`] each, under the number of
//! the row; a row without a bit that is set need not be there.

use std::ops::Range;

/// How many numbers are a group: so many that what cleaning leaves of an old one still fills a few
/// blocks, and there are not too many groups.
pub(crate) const GROUP_RECORDS: u64 = 4096;

/// How many of them a row has.
const ROW_RECORDS: u64 = 1024;

const ROWS: usize = (GROUP_RECORDS / ROW_RECORDS) as usize;

const ROW_WORDS: usize = (ROW_RECORDS / 64) as usize;

/// The bytes of a row: a checksum, and its bits.
const ROW_BYTES: usize = 4 + 8 * ROW_WORDS;

/// A bit for each record of a group; set when it died.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks([[u64; ROW_WORDS]; ROWS]);

impl Marks {
    pub(crate) fn is_dead(&self, seq: u64) -> bool {
        let (word, bit) = place(seq);
        self.0.as_flattened()[word] & bit != 0
    }

    pub(crate) fn kill(&mut self, seq: u64) {
        let (word, bit) = place(seq);
        self.0.as_flattened_mut()[word] |= bit;
    }

    /// How many of these numbers, all of them of this group, are not those of dead records.
    pub(crate) fn count_live(&self, seqs: Range<u64>) -> u64 {
        let words = self.0.as_flattened();
        let (mut seq, mut live) = (seqs.start, 0);
        while seq < seqs.end {
            let (word, _) = place(seq);
            let in_word = (64 - seq % 64).min(seqs.end - seq);
            let bits = (words[word] >> (seq % 64)) << (64 - in_word);
            live += in_word - u64::from(bits.count_ones());
            seq += in_word;
        }
        live
    }

    /// The place in the group of its last record with a mark.
    pub(crate) fn last(&self) -> Option<u64> {
        let words = self.0.as_flattened();
        let at = words.iter().rposition(|word| *word != 0)?;
        Some(at as u64 * 64 + u64::from(words[at].ilog2()))
    }

    /// Adds those of others of the same group.
    pub(crate) fn add(&mut self, others: &Self) {
        for (word, other) in self.0.as_flattened_mut().iter_mut().zip(others.0.as_flattened()) {
            *word |= other;
        }
    }

    /// The rows of a group with these marks, by their numbers; those without any are left out.
    pub(crate) fn to_rows(self, group: u64) -> impl Iterator<Item = (u64, [u8; ROW_BYTES])> {
        let marked = row_numbers(group).zip(self.0).filter(|(_, words)| *words != [0; ROW_WORDS]);
        marked.map(|(number, words)| (number, to_row(number, words)))
    }

    /// Adds what is in the row of this number, which is one of the group's; `None` if the row is
    /// damaged.
    pub(crate) fn add_row(&mut self, number: u64, row: &[u8]) -> Option<()> {
        let row: &[u8; ROW_BYTES] = row.try_into().ok()?;
        let (stored, words) = row.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*stored) != checksum(number, words) {
            return None;
        }
        let marks = &mut self.0[usize::try_from(number).ok()? % ROWS];
        for (mark, word) in marks.iter_mut().zip(words.as_chunks::<8>().0) {
            *mark |= u64::from_le_bytes(*word);
        }
        Some(())
    }
}

/// The numbers of a group's rows.
pub(crate) fn row_numbers(group: u64) -> Range<u64> {
    let rows = GROUP_RECORDS / ROW_RECORDS;
    group * rows..(group + 1) * rows
}

/// The group of a row.
pub(crate) fn group_of_row(number: u64) -> u64 {
    number / (GROUP_RECORDS / ROW_RECORDS)
}

/// What cannot be read is named like this.
pub(crate) fn bad_marks(number: u64) -> String {
    format!("row {number} of the marks does not match its checksum")
}

fn to_row(number: u64, words: [u64; ROW_WORDS]) -> [u8; ROW_BYTES] {
    let mut row = [0; ROW_BYTES];
    for (place, word) in row[4..].chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    let checksum = checksum(number, &row[4..]);
    row[..4].copy_from_slice(&checksum.to_le_bytes());
    row
}

/// The word and the bit of a record's mark.
fn place(seq: u64) -> (usize, u64) {
    let number = seq % GROUP_RECORDS;
    // Below 64.
    (usize::try_from(number / 64).unwrap_or(0), 1 << (number % 64))
}

fn checksum(number: u64, words: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks_of(dead: &[u64]) -> Marks {
        let mut marks = Marks::default();
        for seq in dead {
            marks.kill(*seq);
        }
        marks
    }

    #[test]
    fn rows_come_back_and_damage_is_noticed() {
        let marks = marks_of(&[0, 63, 64, 1023, 3072, 4095]);
        let rows: Vec<_> = marks.to_rows(9).collect();
        assert_eq!(rows.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [36, 39]);
        let mut read = Marks::default();
        for (number, row) in &rows {
            assert_eq!(group_of_row(*number), 9);
            read.add_row(*number, row).expect("it is whole");
        }
        assert_eq!(read, marks);
        assert_eq!((read.last(), Marks::default().last()), (Some(4095), None));
        assert_eq!(marks_of(&[0, 64]).last(), Some(64));
        assert_eq!(read.add_row(37, &rows[0].1), None, "another row's");
        assert_eq!(read.add_row(36, &rows[0].1[1..]), None);
        for bit in 0..8 * ROW_BYTES {
            let mut flipped = rows[0].1;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read.add_row(36, &flipped), None, "bit {bit}");
        }
        assert_eq!(read, marks, "nothing came of them");
    }

    #[test]
    fn those_who_live_are_counted_from_and_to_anywhere() {
        let dead: Vec<_> =
            (0..GROUP_RECORDS).filter(|seq| seq % 7 == 3 || seq / 100 == 9).collect();
        let (marks, first) = (marks_of(&dead), 5 * GROUP_RECORDS);
        for start in [0, 1, 3, 63, 64, 65, 899, 901, 1024, 4032, 4095, 4096] {
            for end in (start..start + 130).chain([1023, 1024, 4095, 4096]) {
                if end < start || end > GROUP_RECORDS {
                    continue;
                }
                let live = (start..end).filter(|seq| !marks.is_dead(*seq)).count() as u64;
                assert_eq!(marks.count_live(first + start..first + end), live, "{start}..{end}");
            }
        }
    }
}
