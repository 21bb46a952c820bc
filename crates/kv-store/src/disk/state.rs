//! The one row that says what the rest of the file amounts to.

use std::sync::Arc;

use kv_proto::Revision;

use super::bytes::Cursor;

/// The version of the file's format. Since version 2 there are lists of what died, and a block may
/// have records that lie as far apart as its group is long now.
pub(crate) const FORMAT: u16 = 2;

/// A place in the log. The store only carries it: it is whatever the log says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The term of the entry at `index`; 0 before the first.
    pub term: u64,
    /// How many entries there are up to here.
    pub index: u64,
}

/// The state after an entry, apart from the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The last entry that was applied.
    pub(crate) position: Position,
    pub(crate) revision: Revision,
    /// The oldest revision that can be read.
    pub(crate) compacted: Revision,
    /// The digest at `position`.
    pub(crate) digest: u64,
    /// The number that the next record gets.
    pub(crate) next_seq: u64,
}

/// A mark, and who belonged to the cluster then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) mark: Mark,
    /// Opaque here; empty if they never changed.
    pub(crate) members: Arc<[u8]>,
}

/// What is wrong with the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadState {
    Damaged,
    TooNew(u16),
}

impl State {
    /// The row. `docs/format.md` describes it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.encode_as(FORMAT)
    }

    /// The same for what is in this version of the format, which has the same row.
    pub(crate) fn encode_as(&self, format: u16) -> Vec<u8> {
        let Mark { position, revision, compacted, digest, next_seq } = self.mark;
        let mut out = vec![0; 4];
        out.extend_from_slice(&format.to_le_bytes());
        let numbers =
            [position.term, position.index, revision.get(), compacted.get(), digest, next_seq];
        out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        out.extend_from_slice(&self.members);
        let checksum = crc32c::crc32c(&out[4..]);
        out[..4].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// The state that a row holds.
    pub(crate) fn decode(row: &[u8]) -> Result<Self, BadState> {
        let mut cursor = Cursor(row);
        let stored = cursor.array().ok_or(BadState::Damaged)?;
        if u32::from_le_bytes(stored) != crc32c::crc32c(cursor.0) {
            return Err(BadState::Damaged);
        }
        let format = u16::from_le_bytes(cursor.array().ok_or(BadState::Damaged)?);
        if format > FORMAT {
            return Err(BadState::TooNew(format));
        }
        let mut number = || cursor.array().map(u64::from_le_bytes).ok_or(BadState::Damaged);
        let mark = Mark {
            position: Position { term: number()?, index: number()? },
            revision: Revision::new(number()?),
            compacted: Revision::new(number()?),
            digest: number()?,
            next_seq: number()?,
        };
        if mark.revision < Revision::FRESH || mark.compacted > mark.revision {
            return Err(BadState::Damaged);
        }
        Ok(Self { mark, members: Arc::from(cursor.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let mark = Mark {
            position: Position { term: 3, index: 400 },
            revision: Revision::new(300),
            compacted: Revision::new(200),
            digest: u64::MAX,
            next_seq: 512,
        };
        State { mark, members: Arc::from(b"three of them".as_slice()) }
    }

    #[test]
    fn it_comes_back_and_every_damage_is_noticed() {
        let row = state().encode();
        assert_eq!(State::decode(&row), Ok(state()));
        for cut in 0..row.len() {
            assert_eq!(State::decode(&row[..cut]), Err(BadState::Damaged), "cut at {cut}");
        }
        for bit in 0..8 * row.len() {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(State::decode(&flipped), Err(BadState::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn a_later_format_is_told_from_damage() {
        let mut row = state().encode();
        row[4] = 9;
        let checksum = crc32c::crc32c(&row[4..]);
        row[..4].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(State::decode(&row), Err(BadState::TooNew(9)));
    }
}
