//! How a piece looks.

use std::io::{self, Read};

use super::SnapshotError;
use crate::disk::{BadState, Cursor, State, put_number};

/// The version of the format.
pub(crate) const FORMAT: u16 = 1;

/// About how many bytes of records a chunk holds before it is packed. One more record fits in, so
/// that the largest has a place.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;

/// The most bytes of records in a chunk: far more than the largest request allows.
const MAX_CHUNK_BYTES: usize = 15 << 20;

/// The most bytes of a piece.
pub const MAX_PIECE_BYTES: usize = 16 << 20;

/// What a header begins with.
const MAGIC: [u8; 8] = *b"KVSNAP\0\0";

/// The version of the state row in a header. What is new in later ones is not in snapshots, so
/// those who know this one may read them.
const STATE_FORMAT: u16 = 1;

/// Checksum and length.
const FRONT_BYTES: usize = 8;

/// The first byte behind those.
const HEADER: u8 = 0;
const CHUNK: u8 = 1;
const END: u8 = 2;

/// A piece, unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The first: what the store was, apart from its records.
    Header(State),
    /// Records, as [`put_record`] wrote them.
    Chunk(Vec<u8>),
    /// The last.
    End(Totals),
}

/// What all records amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) records: u64,
    pub(crate) digest: u64,
}

/// Adds a record to a chunk.
pub(crate) fn put_record(seq: u64, record: &[u8], chunk: &mut Vec<u8>) {
    put_number(seq, chunk);
    put_number(record.len() as u64, chunk);
    chunk.extend_from_slice(record);
}

/// Takes a record from the front of a chunk.
pub(crate) fn take_record<'a>(chunk: &mut Cursor<'a>) -> Option<(u64, &'a [u8])> {
    Some((chunk.number()?, chunk.bytes()?))
}

impl Piece {
    /// The bytes of the piece with this number.
    pub(crate) fn encode(&self, number: u64) -> Vec<u8> {
        let mut out = vec![0; FRONT_BYTES];
        out.push(match self {
            Self::Header(_) => HEADER,
            Self::Chunk(_) => CHUNK,
            Self::End(_) => END,
        });
        out.extend_from_slice(&number.to_le_bytes());
        match self {
            Self::Header(state) => {
                out.extend_from_slice(&MAGIC);
                out.extend_from_slice(&FORMAT.to_le_bytes());
                out.extend_from_slice(&state.encode_as(STATE_FORMAT));
            }
            Self::Chunk(records) => {
                out.extend_from_slice(&lz4_flex::block::compress_prepend_size(records));
            }
            Self::End(totals) => {
                out.extend_from_slice(&totals.records.to_le_bytes());
                out.extend_from_slice(&totals.digest.to_le_bytes());
            }
        }
        let rest = u32::try_from(out.len() - FRONT_BYTES).unwrap_or(u32::MAX);
        out[4..FRONT_BYTES].copy_from_slice(&rest.to_le_bytes());
        let checksum = crc32c::crc32c(&out[4..]);
        out[..4].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// The piece that `bytes` are, if it is number `due`.
    pub(crate) fn decode(due: u64, bytes: &[u8]) -> Result<Self, SnapshotError> {
        let damaged = |what| SnapshotError::Damaged { due, what };
        let mut cursor = Cursor(bytes);
        let stored = cursor.array().ok_or(damaged("it is too short"))?;
        if bytes.len() > MAX_PIECE_BYTES || u32::from_le_bytes(stored) != crc32c::crc32c(cursor.0) {
            return Err(damaged("its checksum does not match"));
        }
        let length = cursor.array().map(u32::from_le_bytes);
        if length.is_none_or(|length| length as usize != cursor.0.len()) {
            return Err(damaged("its length does not match"));
        }
        let kind = cursor.byte();
        let came = cursor.array().map(u64::from_le_bytes).ok_or(damaged("it is too short"))?;
        if came != due {
            return Err(SnapshotError::OutOfOrder { due, came });
        }
        match kind {
            Some(HEADER) => decode_header(due, cursor),
            Some(CHUNK) => unpack(cursor.0).map(Self::Chunk).ok_or(damaged("it does not unpack")),
            Some(END) => {
                let totals = decode_totals(cursor).ok_or(damaged("its totals are cut short"))?;
                Ok(Self::End(totals))
            }
            _ => Err(damaged("it is of an unknown kind")),
        }
    }
}

fn decode_header(due: u64, mut cursor: Cursor<'_>) -> Result<Piece, SnapshotError> {
    let damaged = |what| SnapshotError::Damaged { due, what };
    if cursor.array() != Some(MAGIC) {
        return Err(damaged("this is no snapshot"));
    }
    match cursor.array().map(u16::from_le_bytes) {
        None => return Err(damaged("its header is cut short")),
        Some(found) if found > FORMAT => {
            return Err(SnapshotError::TooNew { found, known: FORMAT });
        }
        Some(_) => {}
    }
    State::decode(cursor.0).map(Piece::Header).map_err(|bad| match bad {
        BadState::Damaged => damaged("its state does not match its checksum"),
        BadState::TooNew(found) => SnapshotError::TooNew { found, known: FORMAT },
    })
}

fn decode_totals(mut cursor: Cursor<'_>) -> Option<Totals> {
    let records = u64::from_le_bytes(cursor.array()?);
    let digest = u64::from_le_bytes(cursor.array()?);
    cursor.is_empty().then_some(Totals { records, digest })
}

fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = lz4_flex::block::uncompressed_size(packed).ok()?;
    if length > MAX_CHUNK_BYTES {
        return None;
    }
    let unpacked = lz4_flex::block::decompress(rest, length).ok()?;
    (unpacked.len() == length).then_some(unpacked)
}

/// Reads the bytes of the next piece from a file of pieces; `None` at its end.
///
/// # Errors
///
/// If it cannot be read, ends within a piece, or announces one of more than
/// [`MAX_PIECE_BYTES`].
pub fn read_piece(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.by_ref().take(FRONT_BYTES as u64).read_to_end(&mut bytes)?;
    let Some(front) = bytes.first_chunk::<FRONT_BYTES>() else {
        return if bytes.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
    };
    let [.., l0, l1, l2, l3] = *front;
    let rest = u32::from_le_bytes([l0, l1, l2, l3]);
    if rest as usize > MAX_PIECE_BYTES - FRONT_BYTES {
        let what = format!("a piece of {rest} bytes is announced, and none is that long");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    // Grows with what arrives, not with what was announced.
    from.by_ref().take(u64::from(rest)).read_to_end(&mut bytes)?;
    if bytes.len() < FRONT_BYTES + rest as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use kv_proto::Revision;

    use super::*;
    use crate::disk::{Mark, Position};

    fn pieces() -> Vec<Piece> {
        let mark = Mark {
            position: Position { term: 2, index: 9 },
            revision: Revision::new(8),
            compacted: Revision::new(1),
            digest: 7,
            next_seq: 6,
        };
        let mut chunk = Vec::new();
        put_record(3, b"a record, a record, a record, a record", &mut chunk);
        put_record(5, b"", &mut chunk);
        vec![
            Piece::Header(State { mark, members: b"three".as_slice().into() }),
            Piece::Chunk(chunk),
            Piece::Chunk(Vec::new()),
            Piece::End(Totals { records: 2, digest: 1 }),
        ]
    }

    #[test]
    fn every_piece_comes_back_by_itself_and_from_a_file() {
        let file: Vec<_> = (0..).zip(pieces()).flat_map(|(n, piece)| piece.encode(n)).collect();
        let mut from = file.as_slice();
        for (number, piece) in (0..).zip(pieces()) {
            let bytes = read_piece(&mut from).expect("readable").expect("one more");
            assert_eq!(bytes, piece.encode(number));
            assert_eq!(Piece::decode(number, &bytes).expect("whole"), piece);
        }
        assert!(read_piece(&mut from).expect("readable").is_none());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        for (number, piece) in (0..).zip(pieces()) {
            let bytes = piece.encode(number);
            for bit in 0..8 * bytes.len() {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(Piece::decode(number, &flipped).is_err(), "{piece:?}, bit {bit}");
            }
            for cut in 0..bytes.len() {
                assert!(Piece::decode(number, &bytes[..cut]).is_err(), "{piece:?} cut at {cut}");
                let read = read_piece(&mut &bytes[..cut]);
                assert_eq!(read.is_ok_and(|piece| piece.is_none()), cut == 0);
            }
        }
    }

    #[test]
    fn records_come_back_from_a_chunk_and_lengths_beyond_its_end_are_refused() {
        let Piece::Chunk(chunk) = &pieces()[1] else { panic!("the second is a chunk") };
        let mut cursor = Cursor(chunk);
        assert_eq!(take_record(&mut cursor).map(|(seq, _)| seq), Some(3));
        assert_eq!(take_record(&mut cursor), Some((5, b"".as_slice())));
        assert!(cursor.is_empty());
        let mut cut = Cursor(&chunk[..chunk.len() - 3]);
        assert_eq!(take_record(&mut cut), None);
    }

    #[test]
    fn announced_lengths_take_no_memory_before_they_are_checked() {
        let mut huge = vec![0; 4];
        huge.extend_from_slice(&u32::MAX.to_le_bytes());
        assert!(read_piece(&mut huge.as_slice()).is_err());
        let packed = u32::MAX.to_le_bytes();
        assert_eq!(unpack(&packed), None);
    }
}
