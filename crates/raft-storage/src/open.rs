//! Opening a log: whose it is, what it holds, and what a crash left to be tidied up.
//!
//! The order is what makes it safe:
//!
//! 1. Lock, identity, and a walk over everything, all without changing a byte. Damage ends it here.
//! 2. What a torn write left is filled with zeros, so that it cannot be taken for a later one.
//! 3. The last batch is written again, as it was, and synced. A process that was killed may have
//!    left it in memory only, and after a failed sync the system may hold pages that it believes to
//!    be on disk; whatever is reported as recovered must survive a loss of power from now on.
//! 4. The directory is synced, and files that nobody needs are removed.

use crate::disk::{Access, Disk, DiskFile};
use crate::error::{IoError, OpenError, WriteError};
use crate::log::Log;
use crate::meta::{self, Identity, Meta};
use crate::options::Options;
use crate::planted::Bug;
use crate::recovery::{Collector, Recovered};
use crate::room::is_full;
use crate::sector::offset_bytes;
use crate::segment::{file_name, is_unfinished, number_of};
use crate::spare::{self, NEW_RESERVE_FILE, Ready, find_reserve, is_written};
use crate::spares::{Found, Spares};
use crate::walk::{Walked, examine};
use crate::witness::{self, Testimony, Witness};
use crate::writer::Writer;

/// The file that is locked while the log is open.
pub const LOCK_FILE: &str = "lock";

/// The first segment of every log.
const FIRST_SEGMENT: u32 = 1;

/// How much is copied at once.
const COPY_BYTES: usize = 1 << 20;

pub(crate) fn open<D: Disk>(disk: D, options: &Options) -> Result<(Log<D>, Recovered), OpenError> {
    options.validate()?;
    let lock = lock(&disk)?;
    let meta = match Meta::read(&disk)? {
        Some(meta) => check_identity(&disk, meta, options)?,
        None => create(&disk, options)?,
    };
    let mut collector = Collector::default();
    let (walked, said) = examine(&disk, &meta, &mut collector)?;
    let recovered = collector.recovered(&disk, &walked, said);
    let writer = match &walked.damage {
        Some(damage) => Err(WriteError::Damaged(damage.clone())),
        None => Ok(writer(&disk, &meta, &walked, said, options)?),
    };
    let (index, reader) = (collector.index, None);
    Ok((Log { writer, disk, meta, index, reader, _lock: lock }, recovered))
}

/// Makes an undamaged log ready to be written.
fn writer<D: Disk>(
    disk: &D,
    meta: &Meta,
    walked: &Walked,
    said: Option<Testimony>,
    options: &Options,
) -> Result<Writer<D>, OpenError> {
    let name = file_name(walked.end.segment);
    let segment = open_ready(disk, walked.end.segment)
        .map_err(|error| OpenError::io("open", &disk.path(&name), error))?;
    settle(&segment.file, walked, options)
        .map_err(|error| OpenError::io("sync", &disk.path(&name), error))?;
    let witness = open_witness(disk, meta, walked, said)?;
    let (segment_sectors, reserve_sectors) = (options.segment_sectors(), options.reserve_sectors());
    let failed = |error| OpenError::io("tidy up", &disk.directory(), error);
    let ready = tidy(disk, meta, walked).map_err(failed)?;
    let found = Found { ready, reserve: find_reserve(disk, reserve_sectors).map_err(failed)? };
    let in_background = options.background;
    let spares = Spares::new(disk.clone(), segment_sectors, reserve_sectors, found, in_background)
        .map_err(|error| OpenError::io("make files ahead of use in", &disk.directory(), error))?;
    Ok(Writer {
        disk: disk.clone(),
        identity: meta.identity,
        tip: walked.tip,
        durable: walked.tip.sequence,
        witness,
        segment,
        next: walked.end.sector,
        spares,
        batch: Vec::new(),
    })
}

/// Opens the witness, or makes it again: of a sound log it says nothing that the log does not.
fn open_witness<D: Disk>(
    disk: &D,
    meta: &Meta,
    walked: &Walked,
    said: Option<Testimony>,
) -> Result<Witness<D::File>, IoError> {
    let (log_id, tip) = (meta.identity.log, &walked.tip);
    if let Some(said) = said {
        return Witness::open(disk, log_id, said);
    }
    let path = disk.path(witness::FILE);
    log::warn!("{path} was missing or damaged and is made again; the log itself is sound");
    let (segment, hard_state) = (walked.end.segment, tip.hard_state);
    let said = Testimony { durable: tip.sequence, segment, hard_state, ..Testimony::default() };
    Witness::create(disk, log_id, said)
}

fn open_ready<D: Disk>(disk: &D, number: u32) -> std::io::Result<Ready<D::File>> {
    let file = disk.open(&file_name(number), Access::Write)?;
    let sectors = u32::try_from(file.size_bytes()? / offset_bytes(1)).unwrap_or(u32::MAX);
    Ok(Ready { number, sectors, file })
}

pub(crate) fn lock<D: Disk>(disk: &D) -> Result<D::Lock, OpenError> {
    disk.lock(LOCK_FILE).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => OpenError::Locked { directory: disk.directory() },
        _ => OpenError::io("lock", &disk.path(LOCK_FILE), error),
    })
}

pub(crate) fn check_identity<D: Disk>(
    disk: &D,
    meta: Meta,
    options: &Options,
) -> Result<Meta, OpenError> {
    let directory = disk.directory();
    if meta.identity.cluster != options.cluster_id {
        let (founded_as, cluster) = (meta.description, options.description.clone());
        return Err(OpenError::OtherCluster { directory, founded_as, cluster });
    }
    if meta.identity.node != options.node_id {
        let (owner, node) = (meta.identity.node, options.node_id);
        return Err(OpenError::OtherNode { directory, owner, node });
    }
    Ok(meta)
}

/// Makes a log where there is none. The `meta` file comes last: before it is there, there is no
/// log, and what an earlier attempt left is made again. What it left tells of nothing: no segment
/// but an empty first one, and no term or record in the witness.
fn create<D: Disk>(disk: &D, options: &Options) -> Result<Meta, OpenError> {
    let failed = |error| OpenError::io("make a log in", &disk.directory(), error);
    let first = file_name(FIRST_SEGMENT);
    if witness::tells_of_a_life(disk).map_err(failed)? {
        return Err(OpenError::MissingMeta { file: disk.path(meta::FILE) });
    }
    for name in disk.list().map_err(failed)? {
        let is_log = number_of(&name).is_some();
        let is_begun = || is_written(&disk.open(&name, Access::Read)?);
        if is_log && (name != first || is_begun().map_err(failed)?) {
            return Err(OpenError::MissingMeta { file: disk.path(meta::FILE) });
        }
    }
    spare::make(disk, FIRST_SEGMENT, options.segment_sectors(), &spare::Hurry::default())
        .map_err(failed)?;
    let log = disk.unique_number();
    Witness::create(disk, log, Testimony { segment: FIRST_SEGMENT, ..Testimony::default() })?;
    let meta = Meta {
        identity: Identity { log, cluster: options.cluster_id, node: options.node_id },
        first_segment: FIRST_SEGMENT,
        description: options.description.clone(),
    };
    meta.replace(disk)?;
    Ok(meta)
}

/// Removes what a torn write left, writes the last batch again, and syncs both. If the power goes
/// in between, any part of the torn write is still one, and the last batch is what it was.
fn settle<F: DiskFile>(file: &F, walked: &Walked, options: &Options) -> std::io::Result<()> {
    if options.has(Bug::LastBatchTrusted) {
        return Ok(());
    }
    let end = walked.end.sector;
    if let Some(until) = walked.torn_until.filter(|_| !options.has(Bug::TornWriteKept)) {
        let zeros = |_: &mut [u8], _| Ok(());
        rewrite(file, end, until, zeros)?;
    }
    if let Some(start) = walked.last_batch {
        rewrite(file, start, end, |buffer, at| file.read_at(buffer, at))?;
    }
    file.sync()
}

/// Fills the sectors from `start` to `until` with what `source` makes of zeros.
fn rewrite<F: DiskFile>(
    file: &F,
    start: u32,
    until: u32,
    source: impl Fn(&mut [u8], u64) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let (mut at, end) = (offset_bytes(start), offset_bytes(until));
    let mut buffer = vec![0; COPY_BYTES.min(usize::try_from(end - at).unwrap_or(usize::MAX))];
    while at < end {
        let now = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        source(&mut buffer[..now], at)?;
        file.write_at(&buffer[..now], at)?;
        at += now as u64;
    }
    Ok(())
}

/// Removes files that a crash left over; returns the one segment made ahead, if it is there.
fn tidy<D: Disk>(
    disk: &D,
    meta: &Meta,
    walked: &Walked,
) -> std::io::Result<Option<Ready<D::File>>> {
    // Names that were given just before a crash: from here on the log relies on them.
    disk.sync_directory()?;
    let next = walked.end.segment.checked_add(1);
    // From the last one down: a crash in between must not leave a gap.
    for number in walked.unused.iter().rev().filter(|number| Some(**number) != next) {
        disk.remove(&file_name(*number))?;
        disk.sync_directory()?;
    }
    for name in disk.list()? {
        let is_left_over =
            name == meta::NEW_FILE || name == NEW_RESERVE_FILE || is_unfinished(&name);
        let is_compacted = number_of(&name).is_some_and(|number| number < meta.first_segment);
        if is_left_over || is_compacted {
            disk.remove(&name)?;
        }
    }
    walked.unused.first().map(|number| open_ready(disk, *number)).transpose()
}

/// Makes `segment` the first one of the log. Those before it are kept to be used again, as far as
/// that is of use, or removed. `false` if the disk has no room for the new `meta` file: nothing was
/// changed then.
pub(crate) fn remove_before<D: Disk>(
    disk: &D,
    meta: &mut Meta,
    segment: u32,
    spares: &mut Spares<D>,
) -> Result<bool, IoError> {
    let first = meta.first_segment;
    let new = Meta { first_segment: segment, ..meta.clone() };
    match new.prepare(disk) {
        Err(error) if is_full(&error.source) => return Ok(false),
        prepared => prepared?,
    }
    Meta::put_in_place(disk)?;
    *meta = new;
    for number in first..segment {
        let name = file_name(number);
        let failed = |error| IoError::new("remove", &disk.path(&name), error);
        if !spares.retire(number).map_err(failed)? {
            disk.remove(&name).map_err(failed)?;
        }
    }
    Ok(true)
}
