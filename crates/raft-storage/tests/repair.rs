//! A damaged log is repaired: its intact beginning and its hard state stay, the rest is set aside,
//! and the node starts as one that recovers.

mod common;

use std::collections::BTreeMap;

use common::{SECTOR, SimDisk, at, filler, is_kept, matches, model_of, noop, open, options, write};
use raft_core::{Index, Write};
use raft_storage::{Disk, Fault, Log, OpenError, Options, RepairError, repair};

const FIRST: &str = "00000001.log";

/// Three small segments, with votes in between; the last write is of term 3.
fn written() -> (SimDisk, Options, Vec<Write>) {
    let (disk, options) = (SimDisk::new(), options(6));
    let (mut log, _) = open(&disk, &options);
    let entry = |n: u64| write(1 + n / 5, n - 1, vec![filler(1 + n / 5, n, 300)]);
    let writes: Vec<Write> = (1..=11).map(entry).collect();
    for write in &writes {
        log.append(std::slice::from_ref(write)).expect("written");
    }
    (disk, options, writes)
}

fn used_sectors(disk: &SimDisk) -> Vec<(String, usize)> {
    let is_log = |name: &String| name.starts_with("0000");
    let files: BTreeMap<_, _> =
        disk.snapshot().into_iter().filter(|(name, _)| is_log(name)).collect();
    let used = files.into_iter().flat_map(|(name, bytes)| {
        let sectors: Vec<_> = bytes.chunks(SECTOR).map(|it| it.iter().any(|b| *b != 0)).collect();
        (0..sectors.len())
            .filter(|nth| sectors[*nth])
            .map(|nth| (name.clone(), nth))
            .collect::<Vec<_>>()
    });
    used.collect()
}

/// Opens a log that was repaired, and holds it to the rules; returns how many writes are left.
fn check_repaired(disk: &SimDisk, options: &Options, writes: &[Write]) -> usize {
    let (mut log, recovered) = open(disk, options);
    assert_eq!(recovered.damage, None);
    assert!(recovered.hard_state.recovering, "the node knows that it lost something");
    let last = writes.last().expect("something was written").hard_state;
    assert!(is_kept(last, recovered.hard_state), "term and vote are kept: {recovered:?}");
    let left = (0..=writes.len())
        .find(|count| matches(&mut log, &recovered, &model_of(&writes[..*count])))
        .expect("a prefix is left");
    let next = recovered.last.index.next().get();
    let hard_state = recovered.hard_state;
    let more = Write { hard_state, ..write(3, 0, vec![noop(3, next)]) };
    let commit = recovered.commit;
    log.append(&[Write { commit, ..more }]).expect("it can be written");
    drop(log);
    let (_, again) = open(disk, options);
    assert_eq!((again.damage, again.last), (None, at(3, next)));
    left
}

#[test]
fn whatever_sector_is_damaged_the_beginning_and_the_vote_stay() {
    let (good, options, writes) = written();
    let mut left = Vec::new();
    for (name, sector) in used_sectors(&good) {
        let disk = good.copy();
        disk.tamper(&name, |bytes| bytes[sector * SECTOR + 40] ^= 4);
        let repaired = repair(&disk, &options).expect("repaired").expect("it was damaged");
        assert!(repaired.damage.to_string().contains(&name), "{}", repaired.damage);
        let aside = format!("data/{name}.damaged-1");
        assert!(repaired.set_aside.contains(&aside), "{:?}", repaired.set_aside);
        left.push(check_repaired(&disk, &options, &writes));
        assert_eq!(repair(&disk, &options).expect("sound"), None, "it is done");
    }
    assert!(left.is_sorted(), "damage further behind leaves more: {left:?}");
    assert_eq!((left.first(), left.last()), (Some(&0), Some(&(writes.len() - 1))));
}

/// A log was repaired, and nothing was left of it but an empty first segment. Then its meta file
/// was lost. What remained looked like a log that was just being made, and a new one was made over
/// it: the node no longer knew whom it had voted for, nor that it was to recover.
#[test]
fn a_repaired_log_of_which_nothing_is_left_is_not_taken_for_none() {
    let (disk, options, _) = written();
    disk.tamper(FIRST, |bytes| bytes[40] ^= 4);
    repair(&disk, &options).expect("repaired").expect("it was damaged");
    assert!(disk.bytes(FIRST).iter().all(|byte| *byte == 0), "nothing is left");
    disk.remove("meta").expect("removed");
    let before = disk.snapshot();
    let refused = Log::open(disk.clone(), &options).expect_err("there was a log");
    assert!(matches!(refused, OpenError::MissingMeta { .. }), "{refused}");
    assert_eq!(disk.snapshot(), before, "nothing was changed");
}

#[test]
fn a_repair_may_be_cut_short_at_every_change() {
    let (good, options, writes) = written();
    good.tamper(FIRST, |bytes| bytes[2 * SECTOR + 7] ^= 1);
    let whole = good.copy();
    repair(&whole, &options).expect("repaired");
    let expected = check_repaired(&whole.copy(), &options, &writes);
    for moment in good.changes()..whole.changes() {
        let disk = good.copy();
        disk.power_off_at(moment);
        repair(&disk, &options).expect_err("the power is off");
        let (sectors, names) = (disk.unsynced().len().min(4), disk.unsynced_names());
        for subset in 0..1_usize << sectors {
            for names in 0..=names {
                let after = disk.crash(|nth| subset >> nth & 1 == 1, names);
                repair(&after, &options).expect("repaired, or found sound");
                assert_eq!(check_repaired(&after, &options, &writes), expected);
            }
        }
    }
}

#[test]
fn a_log_is_not_repaired_if_the_vote_may_be_lost_too() {
    let (good, options, _) = written();
    good.tamper(FIRST, |bytes| bytes[SECTOR + 7] ^= 1);
    for half in [0, 4096] {
        let disk = good.copy();
        disk.tamper("witness", |bytes| bytes[half + 33] ^= 1);
        let before = disk.snapshot();
        let refused = repair(&disk, &options).expect_err("nobody knows the vote");
        assert!(matches!(refused, RepairError::HardStateLost { .. }));
        assert!(refused.to_string().contains("replace this node by a new one"), "{refused}");
        assert_eq!(disk.snapshot(), before, "nothing was changed");
    }
}

#[test]
fn a_sound_log_needs_no_witness_and_no_repair() {
    let (disk, options, writes) = written();
    let before = disk.snapshot();
    assert_eq!(repair(&disk, &options).expect("sound"), None);
    assert_eq!(disk.snapshot(), before);
    disk.tamper("witness", |bytes| bytes[33] ^= 1);
    let (log, recovered) = open(&disk, &options);
    assert_eq!((recovered.damage, recovered.hard_state.recovering), (None, false));
    drop(log);
    let (mut log, recovered) = open(&disk.crash(|_| false, 0), &options);
    assert!(matches(&mut log, &recovered, &model_of(&writes)));
}

/// A log that ends early looks like a shorter log. The witness, which is written again with every
/// vote and every segment, knows better.
#[test]
fn an_end_that_has_vanished_is_noticed_by_the_witness() {
    let (good, options, writes) = written();
    let names: Vec<_> =
        good.snapshot().into_keys().filter(|name| name.starts_with("0000")).collect();
    assert!(names.len() > 2);
    let check = |damage: &dyn Fn(&SimDisk, &str), is_expected: fn(&Fault) -> bool| {
        for kept in 1..names.len() {
            let disk = good.copy();
            names[kept..].iter().rev().for_each(|name| damage(&disk, name));
            let (log, recovered) = open(&disk, &options);
            let fault = recovered.damage.expect("it is noticed").fault;
            assert!(is_expected(&fault), "{fault:?}");
            drop(log);
            repair(&disk, &options).expect("repaired").expect("it was damaged");
            check_repaired(&disk, &options, &writes);
        }
    };
    let remove = |disk: &SimDisk, name: &str| Disk::remove(disk, name).expect("removed");
    check(&remove, |fault| *fault == Fault::MissingFile);
    // (The last segment alone, all zeros, may just have been begun when the power went.)
    let disk = good.copy();
    names[1..].iter().for_each(|name| disk.tamper(name, |bytes| bytes.fill(0)));
    let (_, recovered) = open(&disk, &options);
    let fault = recovered.damage.expect("it is noticed").fault;
    assert!(matches!(fault, Fault::CutShort { .. }), "{fault:?}");
}

#[test]
fn a_log_of_which_nothing_is_left_begins_with_nothing() {
    let (disk, options, writes) = written();
    let (mut log, _) = open(&disk, &options);
    log.compact(Index::new(8)).expect("compacted");
    log.free_room().expect("what waits to be used again is gone");
    drop(log);
    let first = disk.snapshot().into_keys().find(|name| name.starts_with("0000")).expect("a log");
    assert_ne!(first, FIRST);
    disk.tamper(&first, |bytes| bytes[9] ^= 1);
    let repaired = repair(&disk, &options).expect("repaired").expect("it was damaged");
    assert_eq!(repaired.kept, at(0, 0));
    assert_eq!(check_repaired(&disk, &options, &writes), 0);
}

#[test]
fn a_log_that_is_open_is_not_repaired() {
    let (disk, options, _) = written();
    let (_log, _) = open(&disk, &options);
    let refused = repair(&disk, &options).expect_err("it is in use");
    assert!(refused.to_string().contains("in use by another process"), "{refused}");
    assert!(Log::open(disk, &options).is_err());
}
