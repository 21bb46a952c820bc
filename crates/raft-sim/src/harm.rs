//! [`Harm`]: what befalls a real log while no process runs: its bits, sectors and whole files.
//!
//! Every harm here is one that the log promises to notice, or that takes nothing away which was
//! acknowledged. `docs/format.md` names what no single machine can tell from a crash, and that is
//! left out: the sectors of the last batches gone back to zeros, an emptied directory, an older
//! copy; and so is the `witness` beside a log that relies on it. What cannot be repaired is `ruin`.

use crate::coverage::Mark;
use crate::dice::Dice;
use crate::disk::{Extent, SECTOR_BYTES, SimDisk};

/// How many sectors go back to zeros at most.
const MAX_ZEROED: usize = 4;

/// How often a bit flips where something was written, in a thousand times.
const WRITTEN_PER_MILLE: u64 = 800;

/// Where the witness has its two sectors.
const WITNESS_SECTORS: [usize; 2] = [0, 8];

/// How often the harm hits where entries were replaced, if any were, in a thousand times.
const REPLACING_PER_MILLE: u64 = 250;

/// What happens to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// One bit of a segment is another one.
    FlippedBit,
    /// What one sector holds turns up in the place of another: written there by mistake, or both
    /// swapped.
    StraySector,
    /// Sectors are zeros again, of which later ones prove that they had been written.
    ZeroedSectors,
    /// A segment is gone.
    LostSegment,
    /// A segment ends too early.
    ShortSegment,
    /// The witness, whose half is changed or which is gone.
    BadWitness,
}

impl Harm {
    const ALL: [Self; 6] = [
        Self::FlippedBit,
        Self::StraySector,
        Self::ZeroedSectors,
        Self::LostSegment,
        Self::ShortSegment,
        Self::BadWitness,
    ];

    /// What shows that it happened.
    pub(crate) const fn mark(self) -> Mark {
        match self {
            Self::FlippedBit => Mark::BitFlipped,
            Self::StraySector => Mark::SectorStrayed,
            Self::ZeroedSectors => Mark::SectorsZeroed,
            Self::LostSegment => Mark::SegmentLost,
            Self::ShortSegment => Mark::SegmentShort,
            Self::BadWitness => Mark::WitnessDamaged,
        }
    }
}

/// Does one harm to the log on this disk, if there is anything to be harmed. No later record
/// proves what is `fresh`; where entries were last replaced is `replacing`, and what is left
/// without that is a log that ends in the entries of another leader; whether a witness may be
/// damaged is for the caller to know.
pub(crate) fn strike(
    disk: &SimDisk,
    fresh: &[Extent],
    replacing: &[Extent],
    may_hit_witness: bool,
    dice: &mut Dice,
) -> Option<Harm> {
    let segments = segments(disk);
    if segments.is_empty() {
        return None;
    }
    let (name, file) = segments[dice.place(segments.len())].clone();
    let written = written_sectors(disk, &segments);
    let is_held = |file: &usize| segments.iter().any(|(_, held)| held == file);
    if let Some((file, sectors)) = replacing.iter().find(|(file, _)| is_held(file))
        && dice.chance(REPLACING_PER_MILLE)
    {
        disk.tamper(*file, |bytes| flip(bytes, sectors.start, dice));
        return Some(Harm::FlippedBit);
    }
    let harm = dice.pick(&Harm::ALL);
    let is_done = match harm {
        Harm::FlippedBit => false,
        Harm::StraySector => stray_sector(disk, &written, file, dice),
        Harm::ZeroedSectors => zero_sectors(disk, &written, fresh, dice),
        Harm::LostSegment => {
            disk.lose(&name);
            true
        }
        Harm::ShortSegment => shorten(disk, file, dice),
        Harm::BadWitness => may_hit_witness && damage_witness(disk, dice),
    };
    if is_done {
        return Some(harm);
    }
    // What there always is.
    let is_written = !written.is_empty() && dice.chance(WRITTEN_PER_MILLE);
    let (file, sector) = if is_written {
        written[dice.place(written.len())]
    } else {
        (file, any_sector(disk, file, dice))
    };
    disk.tamper(file, |bytes| flip(bytes, sector, dice));
    Some(Harm::FlippedBit)
}

/// Does one harm to the log on this disk that the log itself shows, whatever becomes of its
/// witness; whether there was anything to be harmed.
pub(crate) fn strike_proven(disk: &SimDisk, fresh: &[Extent], dice: &mut Dice) -> bool {
    let segments = segments(disk);
    let written = written_sectors(disk, &segments);
    if written.is_empty() {
        return false;
    }
    let (file, sector) = written[dice.place(written.len())];
    match dice.below(3) {
        0 if zero_sectors(disk, &written, fresh, dice) => {}
        1 if stray_sector(disk, &written, file, dice) => {}
        _ => disk.tamper(file, |bytes| flip(bytes, sector, dice)),
    }
    true
}

/// The segments that are part of the log: their names, and the numbers of their files.
fn segments(disk: &SimDisk) -> Vec<(String, usize)> {
    // Where `docs/format.md` has the number of the first.
    let first = disk.files("meta").first().and_then(|(_, file)| {
        disk.look(*file, |bytes| Some(u32::from_le_bytes(bytes.get(40..44)?.try_into().ok()?)))
    });
    let is_kept = |(name, _): &(String, usize)| segment_number(name) >= first;
    disk.files(".log").into_iter().filter(is_kept).collect()
}

fn segment_number(name: &str) -> Option<u32> {
    name.get(..8)?.parse().ok()
}

/// Every sector that was written for the segment that it is in, with the number of its file.
fn written_sectors(disk: &SimDisk, segments: &[(String, usize)]) -> Vec<(usize, usize)> {
    let mut written = Vec::new();
    for (name, file) in segments {
        let number = segment_number(name).unwrap_or_default().to_le_bytes();
        disk.look(*file, |bytes| {
            let sectors = bytes.chunks(SECTOR_BYTES).enumerate();
            let held = sectors.filter(|(_, sector)| sector.get(496..500) == Some(&number[..]));
            written.extend(held.map(|(nth, _)| (*file, nth)));
        });
    }
    written
}

fn any_sector(disk: &SimDisk, file: usize, dice: &mut Dice) -> usize {
    disk.look(file, |bytes| dice.place(bytes.len() / SECTOR_BYTES))
}

/// The bytes of this sector, as far as the file goes.
fn sector_of(bytes: &mut [u8], sector: usize) -> &mut [u8] {
    let end = bytes.len();
    &mut bytes[end.min(sector * SECTOR_BYTES)..end.min((sector + 1) * SECTOR_BYTES)]
}

pub(crate) fn flip(bytes: &mut [u8], sector: usize, dice: &mut Dice) {
    let sector = sector_of(bytes, sector);
    let at = dice.place(sector.len());
    if let Some(byte) = sector.get_mut(at) {
        *byte ^= 1 << dice.below(8);
    }
}

fn stray_sector(
    disk: &SimDisk,
    written: &[(usize, usize)],
    to_file: usize,
    dice: &mut Dice,
) -> bool {
    if written.is_empty() {
        return false;
    }
    let (from_file, from) = written[dice.place(written.len())];
    let to = any_sector(disk, to_file, dice);
    if (from_file, from) == (to_file, to) {
        return false;
    }
    let content = disk.tamper(from_file, |bytes| sector_of(bytes, from).to_vec());
    let replaced = disk.tamper(to_file, |bytes| {
        let place = sector_of(bytes, to);
        let replaced = place.to_vec();
        let both = place.len().min(content.len());
        place[..both].copy_from_slice(&content[..both]);
        replaced
    });
    // Swapped for one that was never written, it would be one as well.
    if dice.coin() && written.contains(&(to_file, to)) {
        disk.tamper(from_file, |bytes| sector_of(bytes, from).copy_from_slice(&replaced));
    }
    true
}

fn zero_sectors(
    disk: &SimDisk,
    written: &[(usize, usize)],
    fresh: &[Extent],
    dice: &mut Dice,
) -> bool {
    let is_fresh = |(file, sector): &(usize, usize)| {
        fresh.iter().any(|(fresh, sectors)| fresh == file && sectors.contains(sector))
    };
    let proven: Vec<_> = written.iter().filter(|sector| !is_fresh(sector)).collect();
    if proven.is_empty() {
        return false;
    }
    let first = dice.place(proven.len());
    let count = 1 + dice.place(MAX_ZEROED);
    for (file, sector) in proven.into_iter().skip(first).take(count) {
        disk.tamper(*file, |bytes| sector_of(bytes, *sector).fill(0));
    }
    true
}

fn shorten(disk: &SimDisk, file: usize, dice: &mut Dice) -> bool {
    disk.tamper(file, |bytes| {
        let sectors = dice.place(bytes.len() / SECTOR_BYTES);
        let odd_bytes = if dice.coin() { dice.place(SECTOR_BYTES) } else { 0 };
        bytes.truncate(sectors * SECTOR_BYTES + odd_bytes);
    });
    true
}

pub(crate) fn damage_witness(disk: &SimDisk, dice: &mut Dice) -> bool {
    let Some((name, file)) = disk.files("witness").pop() else { return false };
    let sector = dice.pick(&WITNESS_SECTORS);
    match dice.below(3) {
        0 => disk.lose(&name),
        1 => disk.tamper(file, |bytes| sector_of(bytes, sector).fill(0)),
        _ => disk.tamper(file, |bytes| flip(bytes, sector, dice)),
    }
    true
}
