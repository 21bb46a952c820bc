//! Sectors: the unit that a disk writes whole or not at all, and so the unit of every judgement.
//!
//! ```text
//! offset  size  what
//!      0   496  contents
//!    496     4  number of the segment it belongs to, from 1
//!    500     4  its place in the segment, from 0
//!    504     4  its place in its record, from 0
//!    508     4  seal: CRC-32C of the log's id (8 bytes), then of the 508 bytes before
//! ```
//!
//! Every sector carries its own seal. So each can be judged by itself, without the ones around it:
//! it is *good*, or still *unwritten*, or *bad*, and nothing else. Only that makes it possible to
//! tell a write that a crash cut short (good and unwritten sectors) from damage (a bad one).
//!
//! A written sector is never all zeros, because segments are numbered from 1. An unwritten one is
//! all zeros, or still what it was when its file was a segment that was cut off since: files are
//! used again. A sector of a segment that is still part of the log is never taken for that.

use std::fmt;

use crate::fields::{put_u32, u32_at};

/// The size of a sector.
pub(crate) const SECTOR_BYTES: usize = 512;

/// How much of a sector is contents.
pub(crate) const CONTENT_BYTES: usize = 496;

const SEGMENT_AT: usize = 496;
const SECTOR_AT: usize = 500;
const ORDINAL_AT: usize = 504;
const SEAL_AT: usize = 508;

/// One sector as it was read.
pub(crate) type SectorBytes = [u8; SECTOR_BYTES];

/// Where a sector is: segment first, so that places order as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) sector: u32,
}

impl Place {
    pub(crate) const fn new(segment: u32, sector: u32) -> Self {
        Self { segment, sector }
    }

    /// Where it begins in its segment's file.
    pub(crate) fn offset_bytes(self) -> u64 {
        offset_bytes(self.sector)
    }
}

/// Where a sector begins in its file.
pub(crate) fn offset_bytes(sector: u32) -> u64 {
    u64::from(sector) * SECTOR_BYTES as u64
}

/// What a sector turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sector<'a> {
    /// Written here, and unchanged since.
    Good(Good<'a>),
    /// As the segment was made: all zeros, or left of one that its file was before.
    Unwritten,
    /// Anything else.
    Bad(BadSector),
}

/// A sector that holds what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Good<'a> {
    pub(crate) content: &'a [u8],
    pub(crate) ordinal: u32,
    pub(crate) seal: u32,
}

/// What is wrong with a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSector {
    /// Its checksum does not match: it was changed, or comes from another log.
    Checksum,
    /// It is intact, but belongs to another place: the disk wrote or read the wrong sector.
    Misplaced {
        /// The segment it was written for.
        segment: u32,
        /// The sector of that segment it was written for.
        sector: u32,
    },
}

impl fmt::Display for BadSector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checksum => write!(f, "the checksum of this sector does not match its contents"),
            Self::Misplaced { segment, sector } => write!(
                f,
                "this sector was written for byte {} of segment {segment}",
                offset_bytes(*sector)
            ),
        }
    }
}

/// Judges the bytes that were read at `place` of the log `log_id`, whose segments before
/// `first_segment` were cut off.
pub(crate) fn judge(
    log_id: u64,
    first_segment: u32,
    place: Place,
    bytes: &SectorBytes,
) -> Sector<'_> {
    if *bytes == [0; SECTOR_BYTES] {
        return Sector::Unwritten;
    }
    let seal = u32_at(bytes, SEAL_AT);
    if seal != seal_of(log_id, bytes) {
        return Sector::Bad(BadSector::Checksum);
    }
    let (segment, sector) = (u32_at(bytes, SEGMENT_AT), u32_at(bytes, SECTOR_AT));
    if sector == place.sector && segment < first_segment.min(place.segment) {
        return Sector::Unwritten;
    }
    if Place::new(segment, sector) != place {
        return Sector::Bad(BadSector::Misplaced { segment, sector });
    }
    let ordinal = u32_at(bytes, ORDINAL_AT);
    Sector::Good(Good { content: &bytes[..CONTENT_BYTES], ordinal, seal })
}

fn seal_of(log_id: u64, bytes: &[u8]) -> u32 {
    wire::checksum_append(wire::checksum(&log_id.to_le_bytes()), &bytes[..SEAL_AT])
}

/// Seals the sector `bytes`, whose contents are complete, for `place`; returns the seal.
pub(crate) fn seal(log_id: u64, place: Place, ordinal: u32, bytes: &mut [u8]) -> u32 {
    put_u32(bytes, SEGMENT_AT, place.segment);
    put_u32(bytes, SECTOR_AT, place.sector);
    put_u32(bytes, ORDINAL_AT, ordinal);
    let seal = seal_of(log_id, bytes);
    put_u32(bytes, SEAL_AT, seal);
    seal
}

/// How many sectors hold `content_bytes` of contents.
pub(crate) fn sectors_for(content_bytes: usize) -> usize {
    content_bytes.div_ceil(CONTENT_BYTES)
}

/// Appends contents to `out`, leaving room for what closes each sector. `out` begins at a
/// sector's start and so does each record in it.
pub(crate) fn push_content(out: &mut Vec<u8>, mut content: &[u8]) {
    while !content.is_empty() {
        let used = out.len() % SECTOR_BYTES;
        let (now, later) = content.split_at(content.len().min(CONTENT_BYTES - used));
        out.extend_from_slice(now);
        if used + now.len() == CONTENT_BYTES {
            out.resize(out.len() + SECTOR_BYTES - CONTENT_BYTES, 0);
        }
        content = later;
    }
}

/// Fills the last sector of `out` with zeros.
pub(crate) fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(SECTOR_BYTES), 0);
}

/// Seals all sectors of a record but the first, which lies at `first`; returns the CRC-32C of
/// their seals.
pub(crate) fn seal_rest(log_id: u64, first: Place, others: &mut [u8]) -> u32 {
    let mut seals = 0;
    for (ordinal, bytes) in (1..).zip(others.chunks_exact_mut(SECTOR_BYTES)) {
        let place = Place::new(first.segment, first.sector + ordinal);
        seals = add_seal(seals, seal(log_id, place, ordinal, bytes));
    }
    seals
}

/// The CRC-32C of the seals so far and one more.
pub(crate) fn add_seal(seals: u32, seal: u32) -> u32 {
    wire::checksum_append(seals, &seal.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: u64 = 0x0123_4567_89ab_cdef;
    const HERE: Place = Place::new(3, 7);
    const NONE_CUT: u32 = 1;

    fn sealed(content: &[u8]) -> SectorBytes {
        let mut out = Vec::new();
        push_content(&mut out, content);
        pad(&mut out);
        seal(LOG, HERE, 0, &mut out);
        out.try_into().expect("one sector")
    }

    #[test]
    fn a_sealed_sector_is_good_at_its_own_place_only() {
        let bytes = sealed(b"contents");
        assert!(
            matches!(judge(LOG, NONE_CUT, HERE, &bytes), Sector::Good(good) if good.ordinal == 0)
        );
        let elsewhere = judge(LOG, NONE_CUT, Place::new(3, 8), &bytes);
        assert_eq!(elsewhere, Sector::Bad(BadSector::Misplaced { segment: 3, sector: 7 }));
        assert_eq!(judge(LOG + 1, NONE_CUT, HERE, &bytes), Sector::Bad(BadSector::Checksum));
    }

    #[test]
    fn what_a_file_held_as_a_segment_that_was_cut_off_is_as_good_as_unwritten() {
        let bytes = sealed(b"contents");
        let (segment, sector) = (HERE.segment, HERE.sector);
        let misplaced = Sector::Bad(BadSector::Misplaced { segment, sector });
        for later in [segment + 1, u32::MAX] {
            let place = Place::new(later, sector);
            assert_eq!(judge(LOG, segment + 1, place, &bytes), Sector::Unwritten);
            assert_eq!(judge(LOG, segment, place, &bytes), misplaced, "it is part of the log");
        }
        for place in [Place::new(segment - 1, sector), Place::new(segment + 1, 8)] {
            assert_eq!(judge(LOG, segment + 1, place, &bytes), misplaced, "at {place:?}");
        }
    }

    #[test]
    fn every_flipped_bit_of_a_sector_is_noticed() {
        let good = sealed(b"contents");
        for bit in 0..SECTOR_BYTES * 8 {
            let mut bytes = good;
            bytes[bit / 8] ^= 1 << (bit % 8);
            for place in [HERE, Place::new(HERE.segment + 1, HERE.sector)] {
                let judged = judge(LOG, place.segment, place, &bytes);
                assert!(matches!(judged, Sector::Bad(_)), "bit {bit}");
            }
        }
    }

    #[test]
    fn zeros_are_unwritten_and_one_stray_bit_is_not() {
        let mut bytes = [0; SECTOR_BYTES];
        assert_eq!(judge(LOG, NONE_CUT, HERE, &bytes), Sector::Unwritten);
        bytes[300] = 1;
        assert_eq!(judge(LOG, NONE_CUT, HERE, &bytes), Sector::Bad(BadSector::Checksum));
    }

    #[test]
    fn contents_flow_round_the_end_of_every_sector() {
        let content: Vec<u8> = (0..=250).cycle().take(2000).collect();
        let mut out = Vec::new();
        push_content(&mut out, &content[..700]);
        push_content(&mut out, &content[700..]);
        pad(&mut out);
        assert_eq!(out.len(), sectors_for(content.len()) * SECTOR_BYTES);
        let back: Vec<u8> =
            out.chunks(SECTOR_BYTES).flat_map(|sector| &sector[..CONTENT_BYTES]).copied().collect();
        assert_eq!(&back[..content.len()], content);
        assert!(back[content.len()..].iter().all(|byte| *byte == 0));
    }
}
