//! The disk refuses a single call, at every moment of a life; the power goes at every moment around
//! a log that begins anew; and every sector of a larger log is damaged in every way. What is
//! allowed afterwards is one of three things: what was acknowledged is there, or the log says that
//! it is damaged, or it was not opened at all.

mod common;

use common::{
    Random, SECTOR, SimDisk, at, command, config, filler, matches, model_of, noop, open, options,
    write,
};
use raft_core::{Index, Write};
use raft_storage::{BadSector, Fault, Log, MemoryLog, OpenError, Options, ReadError, repair};

/// A write with which the log begins anew after `index` of `term`.
fn reset(term: u64, index: u64, entries: Vec<raft_core::Entry>) -> Write {
    let write = write(term, index, entries);
    Write { reset: Some(at(term, index)), ..write }
}

/// One step of a life.
#[derive(Clone)]
enum Step {
    Append(Vec<Write>),
    Compact(u64),
}

/// A life with everything that there is: votes, truncation, segment changes, compaction, and a
/// snapshot in the place of the log, twice.
fn life() -> Vec<Step> {
    let one = |write| Step::Append(vec![write]);
    vec![
        one(write(1, 0, vec![noop(1, 1), filler(1, 2, 700)])),
        one(write(1, 1, vec![filler(1, 3, 900)])),
        one(write(2, 2, vec![])),
        Step::Append(vec![
            write(2, 2, vec![command(2, 3, b"three again")]),
            write(2, 3, vec![filler(2, 4, 300), config(2, 5, &[1, 2, 4])]),
        ]),
        one(reset(3, 20, vec![noop(3, 21), filler(3, 22, 1500)])),
        one(write(3, 21, vec![filler(3, 23, 600)])),
        Step::Compact(21),
        one(reset(4, 30, vec![])),
        one(write(4, 30, vec![noop(4, 31)])),
        Step::Compact(30),
        one(write(4, 31, vec![filler(4, 32, 800)])),
    ]
}

/// What the log should hold after so many writes of the life.
fn model_after(count: usize) -> MemoryLog {
    let appended = life().into_iter().filter_map(|step| match step {
        Step::Append(writes) => Some(writes),
        Step::Compact(_) => None,
    });
    model_of(&appended.flatten().take(count).collect::<Vec<_>>())
}

const WRITES: usize = 10;

/// Lives until something is refused; returns how many writes were acknowledged, and handed over.
fn live(disk: &SimDisk, options: &Options) -> (usize, usize) {
    let Ok((mut log, _)) = Log::open(disk.clone(), options) else { return (0, 0) };
    let mut done = 0;
    for step in life() {
        match step {
            Step::Append(writes) => {
                if log.append(&writes).is_err() {
                    log.append(&writes).expect_err("the first failure is the last word");
                    return (done, done + writes.len());
                }
                done += writes.len();
            }
            Step::Compact(upto) => {
                if log.compact(Index::new(upto)).is_err() {
                    log.append(&[]).expect_err("the first failure is the last word");
                    return (done, done);
                }
            }
        }
    }
    (done, done)
}

/// Holds what is left to the one promise: all that was acknowledged, and at most a prefix of the
/// rest. What was compacted may be gone.
fn check(disk: &SimDisk, options: &Options, (acknowledged, begun): (usize, usize), when: &str) {
    let (mut log, recovered) = open(disk, options);
    assert_eq!(recovered.damage, None, "{when}: neither a crash nor a refusal is damage");
    let found = (acknowledged..=begun).any(|count| {
        let mut model = model_after(count);
        let start = recovered.start.index;
        let is_compacted = start <= model.last().index && model.compact(start).is_ok();
        is_compacted && matches(&mut log, &recovered, &model)
    });
    assert!(found, "{when}: {acknowledged} acknowledged, {recovered:#?}");
}

#[test]
fn one_refused_call_at_every_moment_is_final_and_loses_nothing() {
    for sectors in [4, 9, 64] {
        let options = Options { reserve_bytes: 4 * SECTOR as u64, ..options(sectors) };
        let whole = SimDisk::new();
        assert_eq!(live(&whole, &options), (WRITES, WRITES));
        for moment in 0..whole.changes() {
            for is_done in [false, true] {
                let disk = SimDisk::new();
                disk.refuse_change(moment, is_done);
                let done = live(&disk, &options);
                let when = format!("{sectors} sectors, refused change {moment} ({is_done})");
                // The process ends, and is started again on what the system still has in memory.
                check(&disk.copy(), &options, done, &when);
                // Or the power goes as well.
                let (count, names) = (disk.unsynced().len().min(6), disk.unsynced_names());
                for subset in 0..1_usize << count {
                    let kept = |nth: usize| nth >= 6 || subset >> nth & 1 == 1;
                    check(&disk.crash(kept, names.min(subset)), &options, done, &when);
                }
            }
        }
    }
}

#[test]
fn the_power_may_go_at_every_moment_of_a_life_with_resets_and_compactions() {
    let mut random = Random(7);
    for sectors in [4, 6, 9, 64] {
        let options = options(sectors);
        let whole = SimDisk::new();
        live(&whole, &options);
        for moment in 0..=whole.changes() {
            let disk = SimDisk::new();
            disk.power_off_at(moment);
            let done = live(&disk, &options);
            let count = disk.unsynced().len();
            for names in 0..=disk.unsynced_names() {
                for subset in 0..1_usize << count.min(8) {
                    let rest = random.next();
                    let kept = |nth: usize| match nth {
                        0..8 => subset >> nth & 1 == 1,
                        _ => rest >> (nth % 64) & 1 == 1,
                    };
                    let when = format!("{sectors} sectors, power off at {moment}");
                    check(&disk.crash(kept, names), &options, done, &when);
                }
            }
        }
    }
}

#[test]
fn a_read_that_is_refused_is_an_error_and_no_damage() {
    let options = options(6);
    let disk = SimDisk::new();
    live(&disk, &options);
    let fresh = || disk.crash(|_| true, 9);
    let counted = fresh();
    let before = counted.reads();
    drop(open(&counted, &options));
    for nth in before..counted.reads() {
        let disk = fresh();
        disk.refuse_read(nth);
        let left = disk.snapshot();
        let refused = Log::open(disk.clone(), &options).expect_err("it cannot be read");
        assert!(matches!(refused, OpenError::Io(_)), "{refused}");
        assert_eq!(disk.snapshot().keys().collect::<Vec<_>>(), left.keys().collect::<Vec<_>>());
        check(&disk, &options, (WRITES, WRITES), "the next attempt can read");
    }
    let disk = fresh();
    let (mut log, _) = open(&disk, &options);
    disk.refuse_read(disk.reads());
    let last = log.last().index;
    assert!(matches!(log.read(last, last, usize::MAX), Err(ReadError::Io(_))));
    assert_eq!(log.read(last, last, usize::MAX).expect("now it can").len(), 1);
}

#[test]
fn every_call_of_a_repair_may_be_refused() {
    let options = options(6);
    let good = SimDisk::new();
    let (mut log, _) = open(&good, &options);
    for index in 1..=12 {
        log.append(&[write(1, index - 1, vec![filler(1, index, 300)])]).expect("written");
    }
    drop(log);
    good.tamper("00000002.log", |bytes| bytes[2 * SECTOR + 3] ^= 8);
    let whole = good.copy();
    let kept = repair(&whole, &options).expect("repaired").expect("it was damaged").kept;
    for moment in good.changes()..whole.changes() {
        for is_done in [false, true] {
            let disk = good.copy();
            disk.refuse_change(moment, is_done);
            repair(&disk, &options).expect_err("the disk refuses");
            let again = repair(&disk, &options).expect("repaired, or found sound");
            assert!(again.is_none_or(|again| again.kept == kept));
            let (_, recovered) = open(&disk, &options);
            assert_eq!((recovered.damage, recovered.last), (None, kept));
            assert!(recovered.hard_state.recovering);
        }
    }
}

/// A log of some hundred sectors in several segments, with records of all sizes.
fn large() -> (SimDisk, Options, Vec<Write>) {
    let (disk, options) = (SimDisk::new(), options(48));
    let (mut log, _) = open(&disk, &options);
    let mut random = Random(11);
    let mut writes = Vec::new();
    let mut index = 1;
    while writes.len() < 120 {
        let batch: Vec<Write> = (0..=random.below(3))
            .map(|_| {
                let entries = (0..random.below(4) as u64)
                    .map(|nth| filler(1 + index / 50, index + nth, random.below(1200)))
                    .collect::<Vec<_>>();
                let made = write(1 + index / 50, index - 1, entries);
                index += made.entries.len() as u64;
                made
            })
            .collect();
        log.append(&batch).expect("written");
        writes.extend(batch);
    }
    (disk, options, writes)
}

/// A way to damage a sector; the second one is another of the same file.
type Way<'a> = dyn Fn(&mut [u8], &[u8]) + 'a;

#[test]
fn every_sector_of_a_large_log_may_be_damaged_in_every_way() {
    let (good, options, writes) = large();
    let names: Vec<String> =
        good.snapshot().into_keys().filter(|name| name.starts_with("0000")).collect();
    assert!(names.len() > 3, "{names:?}");
    let mut random = Random(13);
    let (mut damaged, mut undecidable) = (0, 0);
    for name in &names {
        for sector in 0..good.bytes(name).len() / SECTOR {
            let bit = random.below(SECTOR * 8);
            let other = random.below(good.bytes(name).len() / SECTOR);
            let ways: [&Way<'_>; 4] = [
                &|sector, _| sector.fill(0),
                &|sector, _| sector.fill(0xff),
                &|sector, _| sector[bit / 8] ^= 1 << (bit % 8),
                &|sector, other| sector.copy_from_slice(other),
            ];
            for way in ways {
                let disk = good.copy();
                let before = disk.bytes(name);
                disk.tamper(name, |bytes| {
                    let other = bytes[other * SECTOR..][..SECTOR].to_vec();
                    way(&mut bytes[sector * SECTOR..][..SECTOR], &other);
                });
                if disk.bytes(name) == before {
                    continue;
                }
                let (mut log, recovered) = open(&disk, &options);
                let left = (0..=writes.len())
                    .rev()
                    .find(|count| matches(&mut log, &recovered, &model_of(&writes[..*count])));
                let left = left.expect("a prefix, whatever happened");
                if recovered.damage.is_some() {
                    damaged += 1;
                } else {
                    // Only the last batch, gone back to unwritten, may pass for a torn one.
                    assert!(left + 3 >= writes.len(), "{name}, sector {sector}: {left} left");
                    undecidable += 1;
                }
            }
        }
    }
    assert!(damaged > 300 && undecidable < 30, "{damaged} and {undecidable}");
}

#[test]
fn a_record_of_another_place_in_the_same_log_is_told_as_misplaced() {
    let (good, options, _) = large();
    let disk = good.copy();
    let second = good.bytes("00000002.log");
    disk.tamper("00000001.log", |bytes| {
        bytes[4 * SECTOR..5 * SECTOR].copy_from_slice(&second[4 * SECTOR..5 * SECTOR]);
    });
    let (_, recovered) = open(&disk, &options);
    let fault = recovered.damage.expect("it is noticed").fault;
    assert_eq!(fault, Fault::Sector(BadSector::Misplaced { segment: 2, sector: 4 }));
}
