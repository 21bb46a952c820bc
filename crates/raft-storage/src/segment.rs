//! Segments: the files that the log consists of, `00000001.log` and so on, without a gap.
//!
//! A segment is durable before its first use: made full of zeros, or of one that was cut off
//! (`spare`). It never changes its size.
//! Its sector 0 is written together with the first records behind it:
//!
//! ```text
//! offset  size  what
//!      0     8  "RAFTSEG" and a zero
//!      8     4  version of the format: 1
//!     12     4  flags: bit 0, there is a vote; bit 1, the node recovers; the others are zero
//!     16     8  id of the log
//!     24     8  id of the cluster
//!     32     8  id of the node
//!     40     4  number of the segment
//!     44     4  sectors in the segment, this one among them: 2 to 2^21
//!     48     8  number of the last record before this segment
//!     56     4  seal of that record's first sector
//!     60     4  zero
//!     64     8  index of the last entry before this segment
//!     72     8  its term
//!     80     8  current term as of then
//!     88     8  vote, 0 without one
//!     96     8  starts of the node
//!    104     8  commit index
//!    112   384  zeros
//! ```
//!
//! The fields from 48 on say what the segments before amount to, so that those can be removed
//! once their entries are no longer needed.

use std::io;

use raft_core::{Index, NodeId};

use crate::damage::Fault;
use crate::disk::{Access, Disk, DiskFile};
use crate::fields::{put_u32, put_u64, u32_at, u64_at};
use crate::meta::{Identity, Meta};
use crate::options::Options;
use crate::record::{
    HARD_STATE_FLAGS, Header, flags, hard_state_at, position_at, put_hard_state, put_position,
};
use crate::sector::{
    CONTENT_BYTES, Good, Place, SECTOR_BYTES, Sector, SectorBytes, add_seal, judge, offset_bytes,
    push_content, seal,
};
use crate::tip::Tip;

const MAGIC: u64 = u64::from_le_bytes(*b"RAFTSEG\0");

/// The version of the format.
pub(crate) const VERSION: u32 = 1;

/// A header and a record.
pub(crate) const MIN_SECTORS: u32 = 2;

/// The largest segment that options allow. The largest record takes less, with the header.
const MAX_SECTORS: u64 = Options::MAX_SEGMENT_BYTES / SECTOR_BYTES as u64;

/// How many sectors are read at once: 128 KiB.
const WINDOW_SECTORS: u32 = 256;

/// The file of a segment.
pub(crate) fn file_name(number: u32) -> String {
    format!("{number:08}.log")
}

/// The segment that a file of this name is.
pub(crate) fn number_of(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".log")?.parse().ok()?;
    (file_name(number) == name && number > 0).then_some(number)
}

/// The file of a segment until it is ready.
pub(crate) fn new_file_name(number: u32) -> String {
    format!("{number:08}.tmp")
}

/// Whether a file of this name is a segment that was not ready when the power went.
pub(crate) fn is_unfinished(name: &str) -> bool {
    let number = name.strip_suffix(".tmp").and_then(|number| number.parse().ok());
    number.is_some_and(|number| new_file_name(number) == name)
}

/// What sector 0 of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) number: u32,
    pub(crate) sectors: u32,
    /// The log as it was when the segment was begun.
    pub(crate) tip: Tip,
}

impl SegmentHeader {
    /// Appends the sealed sector to `out`, which begins with it.
    pub(crate) fn encode(&self, identity: &Identity, out: &mut Vec<u8>) {
        let mut content = [0; CONTENT_BYTES];
        put_u64(&mut content, 0, MAGIC);
        put_u32(&mut content, 8, VERSION);
        put_u32(&mut content, 12, flags(self.tip.hard_state));
        put_u64(&mut content, 16, identity.log);
        put_u64(&mut content, 24, identity.cluster);
        put_u64(&mut content, 32, identity.node.get());
        put_u32(&mut content, 40, self.number);
        put_u32(&mut content, 44, self.sectors);
        put_u64(&mut content, 48, self.tip.sequence);
        put_u32(&mut content, 56, self.tip.seal);
        put_position(&mut content, 64, self.tip.last);
        put_hard_state(&mut content, 80, self.tip.hard_state);
        put_u64(&mut content, 104, self.tip.commit.get());
        let start = out.len();
        push_content(out, &content);
        seal(identity.log, Place::new(self.number, 0), 0, &mut out[start..]);
    }

    /// Takes the header from the contents of a good sector 0.
    pub(crate) fn decode(identity: &Identity, content: &[u8]) -> Result<Self, Fault> {
        let flags = u32_at(content, 12);
        let is_ours = u64_at(content, 16) == identity.log
            && u64_at(content, 24) == identity.cluster
            && NodeId::new(u64_at(content, 32)) == identity.node;
        let (number, sectors) = (u32_at(content, 40), u32_at(content, 44));
        let is_possible = sectors >= MIN_SECTORS && u64::from(sectors) <= MAX_SECTORS;
        let rules = [
            (u64_at(content, 0) == MAGIC, "no segment begins here"),
            (u32_at(content, 8) == VERSION, "it is of a version of the format other than 1"),
            (flags & !HARD_STATE_FLAGS == 0, "it has flags that this version does not know"),
            (is_ours, "it belongs to another log"),
            // A repair makes the file anew, in this size.
            (is_possible, "it says that it is of a size that no segment has"),
        ];
        if let Some((_, broken)) = rules.iter().find(|(holds, _)| !holds) {
            return Err(Fault::Segment { rule: broken });
        }
        let tip = Tip {
            sequence: u64_at(content, 48),
            seal: u32_at(content, 56),
            last: position_at(content, 64),
            hard_state: hard_state_at(content, 80, flags),
            commit: Index::new(u64_at(content, 104)),
        };
        Ok(Self { number, sectors, tip })
    }
}

/// Reads a segment sector by sector. Holds one window of it, whatever the segment's size.
#[derive(Debug)]
pub(crate) struct SegmentReader<F> {
    log_id: u64,
    /// The first segment of the log; those before it were cut off.
    first_segment: u32,
    pub(crate) number: u32,
    /// How many whole sectors the file has.
    pub(crate) sectors: u32,
    /// The size of the file in bytes, if no segment can have it.
    pub(crate) wrong_size: Option<u64>,
    file: F,
    window: Vec<u8>,
    window_start: u32,
}

impl<F: DiskFile> SegmentReader<F> {
    /// Opens segment `number`.
    pub(crate) fn open<D: Disk<File = F>>(
        disk: &D,
        meta: &Meta,
        number: u32,
        access: Access,
    ) -> io::Result<Self> {
        let file = disk.open(&file_name(number), access)?;
        let size_bytes = file.size_bytes()?;
        let sectors = u32::try_from(size_bytes / SECTOR_BYTES as u64).unwrap_or(u32::MAX);
        let is_whole = sectors >= MIN_SECTORS && offset_bytes(sectors) == size_bytes;
        Ok(Self {
            log_id: meta.identity.log,
            first_segment: meta.first_segment,
            number,
            sectors,
            wrong_size: (!is_whole).then_some(size_bytes),
            file,
            window: Vec::new(),
            window_start: 0,
        })
    }

    /// Takes note of the size that the segment was made with.
    pub(crate) fn expect_sectors(&mut self, sectors: u32) {
        if sectors != self.sectors && self.wrong_size.is_none() {
            self.wrong_size = Some(offset_bytes(self.sectors));
        }
        // What lies behind is no part of it: a repair that kept it would make this size anew, and
        // find that it is wrong again.
        self.sectors = self.sectors.min(sectors);
    }

    /// Judges sector `n`, which is below `sectors`.
    pub(crate) fn sector(&mut self, n: u32) -> io::Result<Sector<'_>> {
        let (log_id, first, place) = (self.log_id, self.first_segment, Place::new(self.number, n));
        Ok(judge(log_id, first, place, self.bytes(n)?))
    }

    fn bytes(&mut self, n: u32) -> io::Result<&SectorBytes> {
        let held = self.window_start..self.window_start + sector_count(self.window.len());
        if !held.contains(&n) {
            let count = WINDOW_SECTORS.min(self.sectors.saturating_sub(n));
            self.window.resize(count as usize * SECTOR_BYTES, 0);
            self.window_start = n;
            if let Err(error) = self.file.read_at(&mut self.window, offset_bytes(n)) {
                self.window.clear();
                return Err(error);
            }
        }
        let at = (n - self.window_start) as usize * SECTOR_BYTES;
        self.window[at..].first_chunk().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Forgets what was read, so that what was written since is seen.
    pub(crate) fn refresh(&mut self) {
        self.window.clear();
    }

    /// Looks for a record at sector `at`, below `sectors`; its payload goes to `payload`.
    ///
    /// 1. A record is there only if all its sectors are good, and have the seals that its first
    ///    sector says.
    /// 2. It may have been cut short only if all its sectors are good or unwritten.
    pub(crate) fn record(&mut self, at: u32, payload: &mut Vec<u8>) -> io::Result<Found> {
        payload.clear();
        let (header, seal) = match self.sector(at)? {
            Sector::Unwritten => return Ok(Found::Nothing),
            Sector::Bad(bad) => return Ok(Found::Bad(at, Fault::Sector(bad))),
            Sector::Good(first) => match first_sector(first, payload) {
                Ok(header) => (header, first.seal),
                Err(rule) => return Ok(Found::Bad(at, Fault::Record { rule })),
            },
        };
        let count = u32::try_from(header.sectors()).unwrap_or(u32::MAX);
        if count > self.sectors - at {
            return Ok(Found::Bad(at, Fault::Record { rule: "it is longer than its segment" }));
        }
        let (mut is_torn, mut seals) = (false, 0);
        for ordinal in 1..count {
            match self.sector(at + ordinal)? {
                Sector::Unwritten => is_torn = true,
                Sector::Bad(bad) => return Ok(Found::Bad(at + ordinal, Fault::Sector(bad))),
                Sector::Good(good) if good.ordinal == ordinal => {
                    seals = add_seal(seals, good.seal);
                    payload.extend_from_slice(good.content);
                }
                Sector::Good(_) => {
                    let rule = "a sector of another record lies within it";
                    return Ok(Found::Bad(at + ordinal, Fault::Record { rule }));
                }
            }
        }
        if is_torn {
            return Ok(Found::Torn);
        }
        if seals != header.rest {
            let rule = "its sectors do not belong together";
            return Ok(Found::Bad(at, Fault::Record { rule }));
        }
        payload.truncate(header.payload_bytes as usize);
        Ok(Found::Record { header, seal, sectors: count })
    }
}

/// The header of the record that begins in this sector; the rest goes to `payload`.
fn first_sector(first: Good<'_>, payload: &mut Vec<u8>) -> Result<Header, &'static str> {
    if first.ordinal != 0 {
        return Err("no record begins here");
    }
    let header = Header::decode(first.content)?;
    payload.extend_from_slice(&first.content[crate::record::HEADER_BYTES..]);
    Ok(header)
}

fn sector_count(bytes: usize) -> u32 {
    u32::try_from(bytes / SECTOR_BYTES).unwrap_or(u32::MAX)
}

/// What was found where a record may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A whole record.
    Record { header: Header, seal: u32, sectors: u32 },
    /// A sector that was never written.
    Nothing,
    /// The beginning of a record, some sectors of which were never written.
    Torn,
    /// Something that no interrupted write leaves behind, and the sector it was found in.
    Bad(u32, Fault),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header that named a size of gigabytes was believed, and the repair of that log wrote a
    /// file of zeros as large.
    #[test]
    fn a_size_that_no_segment_has_is_damage() {
        let identity = Identity { log: 1, cluster: 2, node: NodeId::new(3) };
        let decoded = |sectors| {
            let header = SegmentHeader { number: 4, sectors, tip: Tip::default() };
            let mut sector = Vec::new();
            header.encode(&identity, &mut sector);
            SegmentHeader::decode(&identity, &sector).map(|header| header.sectors)
        };
        let most = u32::try_from(MAX_SECTORS).expect("it is a number of sectors");
        for sectors in [MIN_SECTORS, 32, most] {
            assert_eq!(decoded(sectors), Ok(sectors));
        }
        for sectors in [0, MIN_SECTORS - 1, most + 1, u32::MAX] {
            assert!(matches!(decoded(sectors), Err(Fault::Segment { .. })), "{sectors}");
        }
    }

    #[test]
    fn only_the_names_we_make_are_segments() {
        assert_eq!(number_of("00000012.log"), Some(12));
        assert_eq!(number_of(&file_name(u32::MAX)), Some(u32::MAX));
        for name in ["12.log", "00000000.log", "+0000012.log", "00000012.log.tmp", "meta"] {
            assert_eq!(number_of(name), None, "{name}");
        }
        assert!(is_unfinished("00000012.tmp"));
        assert!(!is_unfinished("meta.tmp") && !is_unfinished("00000012.log"));
    }
}
