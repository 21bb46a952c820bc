//! [`repair`]: sets the damaged part of a log aside, so that the node can start and get back from
//! others what is lost.
//!
//! What is kept is the intact beginning of the log, and the hard state: the witness file has that,
//! and if it is damaged as well, the log is not repaired. Nothing is thrown away: damaged files get
//! other names, for people to look at.
//!
//! The order is what makes it safe against a crash at any moment, after which the repair is either
//! still needed, with the same result, or done:
//!
//! 1. The witness says that the node recovers, and that no more was durable than what is kept.
//! 2. The segments behind the damage get other names, from the last one down.
//! 3. The segment with the damage is copied under another name, and one that holds only its intact
//!    beginning takes its place in one step.

use std::fmt;
use std::io;

use raft_core::{HardState, Position};

use crate::damage::Damage;
use crate::disk::{Access, Disk, DiskFile};
use crate::error::{IoError, OpenError};
use crate::meta::Meta;
use crate::open::{check_identity, lock};
use crate::options::Options;
use crate::planted::Bug;
use crate::recovery::Collector;
use crate::sector::{Place, SECTOR_BYTES, offset_bytes};
use crate::segment::{SegmentHeader, file_name};
use crate::spare;
use crate::tip::Tip;
use crate::walk::{Walked, examine, segment_numbers};
use crate::witness::{self, Testimony, Witness, latest};

/// How much is copied at once.
const COPY_BYTES: usize = 1 << 20;

/// What a repair has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// What was wrong.
    pub damage: Damage,
    /// The last position that is left; what came after it has to come from others.
    pub kept: Position,
    /// The files, with their directory, that hold what was damaged and what came behind it.
    pub set_aside: Vec<String>,
}

/// Why a log was not repaired. It may be tried again.
#[derive(Debug)]
pub enum RepairError {
    /// It cannot be opened, read or written.
    Open(OpenError),
    /// The witness file is missing or damaged as well: the node's latest term and vote are lost,
    /// and nobody can give them back.
    HardStateLost {
        /// What is wrong with the log.
        damage: Damage,
        /// The witness file.
        file: String,
    },
}

impl<E: Into<OpenError>> From<E> for RepairError {
    fn from(error: E) -> Self {
        Self::Open(error.into())
    }
}

impl fmt::Display for RepairError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::HardStateLost { damage, file } => write!(
                f,
                "{damage}; and {file} is missing or damaged too, so this node no longer knows whom \
                 it voted for, and must not start again: keep the directory for inspection, and \
                 replace this node by a new one with another id"
            ),
        }
    }
}

impl std::error::Error for RepairError {}

/// Repairs the log in `disk`, if it is damaged: keeps its intact beginning, sets the rest aside,
/// and marks the node as one that recovers. `None` if it is sound. Only for a node whose cluster
/// has other members: what is set aside may hold entries that this node has acknowledged.
///
/// # Errors
///
/// If the log cannot be opened, read or written, or if the witness file is damaged as well.
pub fn repair<D: Disk>(disk: &D, options: &Options) -> Result<Option<Repaired>, RepairError> {
    options.validate()?;
    let _lock = lock(disk)?;
    let Some(meta) = Meta::read(disk)? else { return Ok(None) };
    let meta = check_identity(disk, meta, options)?;
    let mut collector = Collector::default();
    let (walked, said) = examine(disk, &meta, &mut collector)?;
    let Some(damage) = walked.damage.clone() else { return Ok(None) };
    let Some(said) = said else {
        return Err(RepairError::HardStateLost { damage, file: disk.path(witness::FILE) });
    };
    let kept = testimony(&walked, said, options);
    let mut witness = Witness::open(disk, meta.identity.log, said)?;
    let is_told_last = options.has(Bug::RepairToldLast);
    if !is_told_last {
        witness.say(kept)?;
    }
    let failed = |error| IoError::new("repair the log in", &disk.directory(), error);
    let set_aside = set_aside(disk, &meta, walked.end.segment).map_err(failed)?;
    keep_beginning(disk, &meta, &walked, options).map_err(failed)?;
    if is_told_last {
        witness.say(kept)?;
    }
    Ok(Some(Repaired { damage, kept: collector.index.last(), set_aside }))
}

/// What the witness says from now on: that the node recovers, with the latest term and vote that
/// either knows, and that no more was durable than what is kept.
fn testimony(walked: &Walked, said: Testimony, options: &Options) -> Testimony {
    let left = walked.tip.hard_state;
    let is_unheard = options.has(Bug::WitnessUnheard);
    let hard_state = if is_unheard { left } else { latest(left, said.hard_state) };
    let recovering = !options.has(Bug::RepairUntold);
    let hard_state = HardState { recovering, ..hard_state };
    let (durable, segment) = (walked.tip.sequence, walked.end.segment);
    Testimony { durable, segment, hard_state, ..said }
}

/// Renames the segments behind `last`, and copies that one; returns the names of the files.
fn set_aside<D: Disk>(disk: &D, meta: &Meta, last: u32) -> io::Result<Vec<String>> {
    let names = disk.list()?;
    let mut set_aside = Vec::new();
    let numbers = segment_numbers(&names, meta.first_segment);
    for number in numbers.into_iter().rev().filter(|number| *number >= last) {
        let aside = free_name(&names, number);
        if number > last {
            disk.rename(&file_name(number), &aside)?;
        } else {
            copy(disk, &file_name(number), &aside)?;
        }
        disk.sync_directory()?;
        set_aside.push(disk.path(&aside));
    }
    Ok(set_aside)
}

/// A name for what is damaged that no earlier repair has given.
fn free_name(names: &[String], number: u32) -> String {
    let name = |nth: usize| format!("{}.damaged-{nth}", file_name(number));
    let mut free = (1..=names.len()).map(name).filter(|name| !names.contains(name));
    free.next().unwrap_or_else(|| name(names.len() + 1))
}

fn copy<D: Disk>(disk: &D, from: &str, to: &str) -> io::Result<()> {
    let (source, target) = (disk.open(from, Access::Read)?, disk.create(to)?);
    copy_range(&source, &target, source.size_bytes()?)?;
    target.sync()
}

fn copy_range<F: DiskFile>(source: &F, target: &F, end_bytes: u64) -> io::Result<()> {
    let most = usize::try_from(end_bytes).unwrap_or(usize::MAX);
    let mut buffer = vec![0; COPY_BYTES.min(most)];
    let mut at = 0;
    while at < end_bytes {
        let now = buffer.len().min(usize::try_from(end_bytes - at).unwrap_or(usize::MAX));
        source.read_at(&mut buffer[..now], at)?;
        target.write_at(&buffer[..now], at)?;
        at += now as u64;
    }
    Ok(())
}

/// Puts a segment that holds what is intact, and zeros behind it, in the place of the last one.
fn keep_beginning<D: Disk>(
    disk: &D,
    meta: &Meta,
    walked: &Walked,
    options: &Options,
) -> io::Result<()> {
    let Place { segment: number, sector: end } = walked.end;
    let sectors = if end > 0 { walked.end_sectors } else { options.segment_sectors() };
    spare::make_with(disk, number, sectors, |file| {
        if end > 0 {
            let damaged = disk.open(&file_name(number), Access::Read)?;
            return copy_range(&damaged, file, offset_bytes(end));
        }
        if number > 1 && number == meta.first_segment {
            // Nothing at all is left. This segment is the one that says what those before it
            // amounted to; as nobody knows that any more, it says: nothing.
            let header = SegmentHeader { number, sectors, tip: Tip::default() };
            let mut sector = Vec::with_capacity(SECTOR_BYTES);
            header.encode(&meta.identity, &mut sector);
            file.write_at(&sector, 0)?;
        }
        Ok(())
    })?;
    Ok(())
}
