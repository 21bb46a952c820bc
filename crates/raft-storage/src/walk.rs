//! [`walk`]: reads a log from end to end and decides where it ends, and whether anything that was
//! acknowledged is missing. The one place where a torn write is told from damage.
//!
//! What is assumed: a sector is old or new, never half; and a batch is written only after the
//! batch before it was synced. From these follow the rules:
//!
//! 1. A bad sector, anywhere, is damage: no interrupted write leaves one behind.
//! 2. The log ends before the first record that is not whole. What is left there by an interrupted
//!    write consists of good and unwritten sectors, and nothing else.
//! 3. Every record names the last record that was durable when it was written. If one behind the
//!    end names the record that is missing there, or a later one, that had been durable: damage.
//!    So a torn *batch* may have lost any of its records, and no record of an earlier batch.
//! 4. A segment is begun only after the one before it was synced, and made ready ahead of use:
//!    something written behind a torn batch, in a later segment, is damage, and so is a gap in the
//!    numbers.
//! 5. The `witness` file names a record that was durable, and a segment that was there: a log that
//!    ends before either is damaged.
//!
//! One case is undecidable for any single machine: the sectors of the last batches gone back to
//! unwritten, since the witness was last written, look like batches that were never synced.

use crate::damage::{Damage, Fault};
use crate::disk::{Access, Disk};
use crate::error::IoError;
use crate::meta::Meta;
use crate::record::{EntryMeta, Header, decode_metas};
use crate::sector::{Good, Place, Sector};
use crate::segment::{Found, SegmentHeader, SegmentReader, file_name, number_of};
use crate::tip::Tip;
use crate::witness::{self, Testimony};

/// Who wants to know what the log holds, in order.
pub(crate) trait Visitor {
    /// A segment begins.
    fn segment(&mut self, header: &SegmentHeader);

    /// A whole record lies at `place`; the rule that it breaks, if it cannot stand there.
    fn record(
        &mut self,
        place: Place,
        header: &Header,
        metas: &[EntryMeta],
    ) -> Result<(), &'static str>;
}

/// What became of a walk.
#[derive(Debug)]
pub(crate) struct Walked {
    /// The log after its last whole record.
    pub(crate) tip: Tip,
    /// Where the next record goes; sector 0 if its segment has not been begun.
    pub(crate) end: Place,
    /// How many sectors the segment of `end` has, if it was begun.
    pub(crate) end_sectors: u32,
    /// Where the last batch begins, if it lies in the segment of `end`.
    pub(crate) last_batch: Option<u32>,
    /// How far behind `end` a torn batch reaches: the sector after its last written one.
    pub(crate) torn_until: Option<u32>,
    /// Segments behind `end` that were never used.
    pub(crate) unused: Vec<u32>,
    /// What no crash explains.
    pub(crate) damage: Option<Damage>,
}

/// [`walk`], and what the witness says of the same log; one that says that more was durable than
/// there is shows damage. Changes nothing.
///
/// # Errors
///
/// As for [`walk`].
pub(crate) fn examine<D: Disk>(
    disk: &D,
    meta: &Meta,
    visitor: &mut dyn Visitor,
) -> Result<(Walked, Option<Testimony>), IoError> {
    let mut walked = walk(disk, meta, visitor)?;
    let said = witness::read(disk, meta.identity.log)?;
    if let (None, Some(said)) = (&walked.damage, said) {
        let is_there =
            |number: u32| walked.end.segment >= number || walked.unused.contains(&number);
        let last = walked.tip.sequence;
        let found = if !is_there(said.segment) {
            Some((Place::new(said.segment, 0), Fault::MissingFile))
        } else if said.durable > last {
            Some((walked.end, Fault::CutShort { last, durable: said.durable }))
        } else {
            None
        };
        walked.damage = found.map(|(place, fault)| {
            let file = disk.path(&file_name(place.segment));
            Damage { file, offset_bytes: place.offset_bytes(), fault }
        });
    }
    Ok((walked, said))
}

/// Reads the log in `disk` from its first segment on, and tells `visitor`. Changes nothing.
///
/// # Errors
///
/// If the operating system refuses to read. Damage is not an error, but a finding.
fn walk<D: Disk>(disk: &D, meta: &Meta, visitor: &mut dyn Visitor) -> Result<Walked, IoError> {
    let failed = |error| IoError::new("read the log in", &disk.directory(), error);
    let numbers = segment_numbers(&disk.list().map_err(failed)?, meta.first_segment);
    let walked = Walked {
        tip: Tip::default(),
        end: Place::new(meta.first_segment, 0),
        end_sectors: 0,
        last_batch: None,
        torn_until: None,
        unused: Vec::new(),
        damage: None,
    };
    let mut walk = Walk { disk, meta, visitor, walked, is_over: false, payload: Vec::new() };
    for (number, expected) in numbers.iter().copied().zip(meta.first_segment..) {
        if number != expected {
            walk.report(Place::new(expected, 0), Fault::MissingFile);
        } else if let Err(stop) = walk.segment(number) {
            match stop {
                Stop::Damage(place, fault) => walk.report(place, fault),
                Stop::Io(error) => {
                    return Err(IoError::new("read", &disk.path(&file_name(number)), error));
                }
            }
        }
        if walk.walked.damage.is_some() {
            break;
        }
    }
    if numbers.is_empty() {
        walk.report(Place::new(meta.first_segment, 0), Fault::MissingFile);
    }
    Ok(walk.walked)
}

/// The numbers of the segments that are part of the log, in order.
pub(crate) fn segment_numbers(names: &[String], first: u32) -> Vec<u32> {
    let mut numbers: Vec<u32> =
        names.iter().filter_map(|name| number_of(name)).filter(|number| *number >= first).collect();
    numbers.sort_unstable();
    numbers
}

struct Walk<'w, D> {
    disk: &'w D,
    meta: &'w Meta,
    visitor: &'w mut dyn Visitor,
    walked: Walked,
    /// The end was found; what follows must be unwritten.
    is_over: bool,
    payload: Vec<u8>,
}

/// Why a walk goes no further.
enum Stop {
    Damage(Place, Fault),
    Io(std::io::Error),
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl<D: Disk> Walk<'_, D> {
    fn report(&mut self, place: Place, fault: Fault) {
        let file = self.disk.path(&file_name(place.segment));
        self.walked.damage = Some(Damage { file, offset_bytes: place.offset_bytes(), fault });
    }

    fn segment(&mut self, number: u32) -> Result<(), Stop> {
        let start = Place::new(number, 0);
        let mut reader = SegmentReader::open(self.disk, self.meta, number, Access::Read)?;
        let end = if self.is_over { 0 } else { self.records(&mut reader)? };
        let written_until = self.behind_the_end(&mut reader, end)?;
        if let Some(size_bytes) = reader.wrong_size {
            return Err(Stop::Damage(start, Fault::WrongSize { size_bytes }));
        }
        match (self.is_over, written_until) {
            (true, None) => self.walked.unused.push(number),
            (true, Some(_)) => return Err(Stop::Damage(start, Fault::BehindTheEnd)),
            (false, written_until) => {
                self.walked.torn_until = written_until;
                let is_first = number == self.meta.first_segment;
                if end == 0 && written_until.is_none() && !is_first {
                    self.walked.unused.push(number);
                } else {
                    self.ends_at(Place::new(number, end));
                }
                self.is_over = end == 0 || written_until.is_some();
            }
        }
        Ok(())
    }

    fn ends_at(&mut self, end: Place) {
        if self.walked.end.segment != end.segment {
            self.walked.last_batch = None;
        }
        self.walked.end = end;
    }

    /// Reads the header and the whole records of a segment; returns the sector behind them, 0 if
    /// the segment was not begun.
    fn records(&mut self, reader: &mut SegmentReader<D::File>) -> Result<u32, Stop> {
        let number = reader.number;
        if !self.begin(reader)? {
            return Ok(0);
        }
        self.walked.end = Place::new(number, 1);
        self.walked.last_batch = Some(0);
        while self.walked.end.sector < reader.sectors {
            let place = self.walked.end;
            match reader.record(place.sector, &mut self.payload)? {
                Found::Nothing | Found::Torn => break,
                Found::Bad(sector, fault) => {
                    return Err(Stop::Damage(Place::new(number, sector), fault));
                }
                Found::Record { header, seal, sectors } => {
                    self.record(place, &header, seal)
                        .map_err(|rule| Stop::Damage(place, Fault::Record { rule }))?;
                    self.walked.end.sector += sectors;
                }
            }
        }
        Ok(self.walked.end.sector)
    }

    /// Reads the header of a segment; `false` if there is none.
    fn begin(&mut self, reader: &mut SegmentReader<D::File>) -> Result<bool, Stop> {
        let place = Place::new(reader.number, 0);
        let damage = |fault| Stop::Damage(place, fault);
        let is_first = place.segment == self.meta.first_segment;
        if reader.sectors == 0 {
            return Ok(false);
        }
        let header = match reader.sector(0)? {
            // Earlier segments are removed only once this one's beginning is durable.
            Sector::Unwritten if is_first && place.segment > 1 => {
                return Err(damage(Fault::Segment { rule: "its beginning is gone" }));
            }
            Sector::Unwritten => return Ok(false),
            Sector::Bad(bad) => return Err(damage(Fault::Sector(bad))),
            Sector::Good(good) => {
                SegmentHeader::decode(&self.meta.identity, good.content).map_err(damage)?
            }
        };
        reader.expect_sectors(header.sectors);
        let continues = header.tip == self.walked.tip;
        if !continues && (!is_first || place.segment == 1) {
            return Err(damage(broken_seam(&self.walked.tip, &header.tip)));
        }
        self.walked.tip = header.tip;
        self.walked.end_sectors = header.sectors;
        self.visitor.segment(&header);
        Ok(true)
    }

    fn record(&mut self, place: Place, header: &Header, seal: u32) -> Result<(), &'static str> {
        let tip = self.walked.tip;
        tip.check(header)?;
        let (metas, _) = decode_metas(header, &self.payload)?;
        self.visitor.record(place, header, &metas)?;
        // The segment's header is written together with the batch behind it.
        if header.durable == tip.sequence && place.sector > 1 {
            self.walked.last_batch = Some(place.sector);
        }
        self.walked.tip = tip.after(header, seal);
        Ok(())
    }

    /// Judges what lies behind the last whole record of a segment; returns the sector behind the
    /// last written one, if any is.
    fn behind_the_end(
        &self,
        reader: &mut SegmentReader<D::File>,
        end: u32,
    ) -> Result<Option<u32>, Stop> {
        let missing = self.walked.tip.sequence.saturating_add(1);
        let mut written_until = None;
        for sector in end..reader.sectors {
            let place = Place::new(reader.number, sector);
            match reader.sector(sector)? {
                Sector::Unwritten => continue,
                Sector::Bad(bad) => return Err(Stop::Damage(place, Fault::Sector(bad))),
                Sector::Good(good) => {
                    let proof = proof_in(self.meta, place, good);
                    if let Some(Proof { witness, .. }) = proof.filter(|it| it.durable >= missing) {
                        let lost_at = Place::new(reader.number, end);
                        return Err(Stop::Damage(
                            lost_at,
                            Fault::Lost { record: missing, witness },
                        ));
                    }
                }
            }
            written_until = Some(sector + 1);
        }
        Ok(written_until)
    }
}

/// What is wrong where a segment does not begin as the one before it ended.
fn broken_seam(before: &Tip, begun: &Tip) -> Fault {
    if begun.sequence > before.sequence {
        let (record, witness) = (before.sequence + 1, begun.sequence.saturating_add(1));
        return Fault::Lost { record, witness };
    }
    Fault::Segment { rule: "it does not continue the segment before it" }
}

/// That a record had been durable: `witness` was written later, and says so.
struct Proof {
    durable: u64,
    witness: u64,
}

/// What a good sector proves, if a record or a segment begins in it.
fn proof_in(meta: &Meta, place: Place, good: Good<'_>) -> Option<Proof> {
    if good.ordinal != 0 {
        return None;
    }
    if place.sector == 0 {
        let durable = SegmentHeader::decode(&meta.identity, good.content).ok()?.tip.sequence;
        return Some(Proof { durable, witness: durable.saturating_add(1) });
    }
    let header = Header::decode(good.content).ok()?;
    Some(Proof { durable: header.durable, witness: header.sequence })
}
