//! A log whose sectors say something else than was written, and are sealed all the same: as if a
//! program with a mistake had written them. It is opened, refused, or said to be damaged; nothing
//! panics, and what was opened holds together.

use raft_core::{Entry, HardState, Index, Payload, Position, Term, Write};
use raft_storage::{Log, Options, Recovered, repair};

use crate::common::{
    SECTOR, SimDisk, all_entries, at, command, config, filler, noop, open, options, write,
};

const SEGMENT: &str = "00000001.log";

/// What of a sector its seal covers, and where the seal stands.
const SEALED_BYTES: usize = SECTOR - 4;

/// The contents of a sector.
const CONTENT_BYTES: usize = 496;

const RECORD_HEADER_BYTES: usize = 96;

/// How many sectors the log fills.
const USED: usize = 13;

/// Makes the segment tens or hundreds of times as large as it is, and still possible: its repair
/// is as large, and takes this more memory and time than it may.
const SIZE: (usize, usize) = (0, 46);

/// The edits that a string stands for, four bytes each: which sector, where in it (in halves of
/// what it holds), and what is there afterwards.
fn edits(bytes: &[u8]) -> impl Iterator<Item = (usize, usize, u8)> {
    let edits = bytes.chunks_exact(4).map(|edit| {
        let place = usize::from(u16::from_le_bytes([edit[1], edit[2]])) % CONTENT_BYTES;
        (usize::from(edit[0]) % USED, place, edit[3])
    });
    edits.filter(|(sector, place, _)| (*sector, *place) != SIZE)
}

/// A small log with everything in it.
pub(crate) fn written() -> (SimDisk, Options) {
    let (disk, options) = (SimDisk::new(), options(32));
    let (mut log, _) = open(&disk, &options);
    let batches = [
        vec![write(1, 0, vec![noop(1, 1), command(1, 2, b"two"), command(1, 3, b"three")])],
        vec![write(2, 2, vec![])],
        vec![write(2, 2, vec![command(2, 3, b"again"), config(2, 4, &[1, 2, 3, 4])])],
        vec![write(2, 3, vec![filler(2, 5, 900)]), write(3, 4, vec![noop(3, 6)])],
        vec![Write { reset: Some(at(3, 9)), ..write(3, 9, vec![noop(3, 10), filler(3, 11, 700)]) }],
        vec![write(4, 10, vec![command(4, 12, b"twelve"), command(4, 13, b"")])],
        vec![write(4, 12, vec![filler(4, 14, 40)])],
        vec![write(5, 12, vec![noop(5, 14)])],
    ];
    for batch in batches {
        log.append(&batch).expect("written");
    }
    drop(log);
    let used = disk.bytes(SEGMENT).chunks(SECTOR).rposition(|it| it.iter().any(|b| *b != 0));
    assert_eq!(used, Some(USED - 1));
    (disk, options)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].try_into().map_or(0, u32::from_le_bytes)
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Seals a sector, and returns the seal.
fn seal(log_id: &[u8], ordinal: u32, sector: &mut [u8]) -> u32 {
    put_u32(sector, 504, ordinal);
    let seal = wire::checksum_append(wire::checksum(log_id), &sector[..SEALED_BYTES]);
    put_u32(sector, SEALED_BYTES, seal);
    seal
}

/// Seals everything anew, and chains the records to each other as they are now.
pub(crate) fn seal_all(log_id: &[u8], segment: &mut [u8]) {
    let mut previous = 0;
    let mut at = 0;
    while at < USED {
        let (head, rest) = segment[at * SECTOR..].split_at_mut(SECTOR);
        let is_record = head.starts_with(b"RRec");
        let content_bytes = RECORD_HEADER_BYTES + u32_at(head, 28) as usize % (64 << 10);
        let count = if is_record { content_bytes.div_ceil(CONTENT_BYTES) } else { 1 };
        let count = count.min(USED - at);
        let mut seals = Vec::new();
        for (ordinal, sector) in (1..).zip(rest.chunks_mut(SECTOR).take(count - 1)) {
            seals.extend_from_slice(&seal(log_id, ordinal, sector).to_le_bytes());
        }
        if is_record {
            put_u32(head, 24, previous);
            put_u32(head, 32, if seals.is_empty() { 0 } else { wire::checksum(&seals) });
        }
        let sealed = seal(log_id, 0, head);
        previous = if is_record { sealed } else { previous };
        at += count;
    }
}

/// # Errors
///
/// What does not hold together.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    let (disk, options) = written();
    let log_id = disk.bytes("meta")[16..24].to_vec();
    disk.tamper(SEGMENT, |segment| {
        for (sector, place, value) in edits(bytes) {
            segment[sector * SECTOR + place] = value;
        }
        seal_all(&log_id, segment);
    });
    let before = disk.snapshot();
    let Ok((mut log, recovered)) = Log::open(disk.clone(), &options) else { return Ok(()) };
    holds_together(&mut log, &recovered)?;
    drop(log);
    if recovered.damage.is_some() {
        if disk.snapshot() != before {
            return Err("a damaged log was changed".to_owned());
        }
        // It may be that nobody knows the vote any more.
        if repair(&disk, &options).is_err() {
            return Ok(());
        }
        if let Some(damage) = open(&disk, &options).1.damage {
            return Err(format!("it is still damaged after its repair: {damage}"));
        }
    }
    goes_on(&disk, &options)
}

/// What is said of a log is what can be read of it.
fn holds_together(log: &mut Log<SimDisk>, recovered: &Recovered) -> Result<(), String> {
    let entries = match log.read(log.start().index.next(), log.last().index, usize::MAX) {
        Ok(entries) => entries.to_vec(),
        Err(_) if log.start().index >= log.last().index => Vec::new(),
        Err(error) => return Err(format!("what was recovered cannot be read: {error}")),
    };
    let mut last = recovered.start;
    for Entry { at, payload } in &entries {
        if at.index != last.index.next() || at.term < last.term {
            return Err(format!("{at} follows {last}"));
        }
        last = *at;
        if let Payload::Config(config) = payload
            && !recovered.configs.iter().any(|(index, it)| *index == at.index && it == config)
        {
            return Err(format!("the configuration at {at} was not recovered"));
        }
    }
    if last != recovered.last {
        return Err(format!("the log should end at {}, and ends at {last}", recovered.last));
    }
    let term = recovered.hard_state.term;
    if last.term > term || recovered.commit > last.index.max(recovered.start.index) {
        return Err(format!("term {term} and commit {} for {last}", recovered.commit));
    }
    Ok(())
}

/// A sound log can be written, and has what was written.
fn goes_on(disk: &SimDisk, options: &Options) -> Result<(), String> {
    let (mut log, recovered) = open(disk, options);
    let last = log.last();
    if last.index.get().max(recovered.hard_state.term.get()) > u64::MAX / 2 {
        // Where there is hardly a next one.
        return Ok(());
    }
    let term = recovered.hard_state.term.max(Term::new(1));
    let vote = if term == recovered.hard_state.term { recovered.hard_state.vote } else { None };
    let hard_state = HardState { term, vote, ..recovered.hard_state };
    let next = Position::new(term, last.index.next());
    let entry = noop(next.term.get(), next.index.get());
    let more = Write { hard_state, commit: Index::ZERO, ..write(1, 0, vec![entry]) };
    log.append(&[more]).map_err(|error| format!("it cannot be written: {error}"))?;
    let count = all_entries(&mut log).len();
    drop(log);
    let (mut log, recovered) = open(&disk.crash(|_| false, 0), options);
    if (recovered.last, recovered.damage) != (next, None) || all_entries(&mut log).len() != count {
        return Err(format!("what was written after {last} is not there"));
    }
    Ok(())
}
