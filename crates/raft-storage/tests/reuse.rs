//! Segments that were cut off are used again under another number. What they held before is never
//! taken for anything of the log, neither after a crash nor on a disk that forgets.

mod common;

use common::{SECTOR, SimDisk, all_entries, filler, noop, open, options, write};
use raft_core::{Entry, Index, Write};
use raft_storage::{Log, Options};

/// How many entries stay behind the cut.
const KEPT: u64 = 4;

/// Entry `index`: with its record, one to three sectors, so that segments end at all places.
fn entry(index: u64) -> Entry {
    filler(1, index, [40, 900, 300, 1200][usize::try_from(index % 4).expect("below four")])
}

fn batch(index: u64) -> Write {
    write(1, index.saturating_sub(1), vec![entry(index)])
}

/// Appends entries one by one and cuts the log behind them, until it has `until` or the disk
/// refuses; returns how many are durable.
fn run(log: &mut Log<SimDisk>, until: u64) -> u64 {
    for index in log.last().index.get() + 1..=until {
        if log.append(&[batch(index)]).is_err() {
            return index - 1;
        }
        if log.compact(Index::new(index.saturating_sub(KEPT))).is_err() {
            return index;
        }
    }
    until
}

fn started(options: &Options) -> (SimDisk, Log<SimDisk>) {
    let disk = SimDisk::new();
    let (log, _) = open(&disk, options);
    (disk, log)
}

/// Opens the log and holds it to what was acknowledged: everything up to `acknowledged`, at most
/// one entry more, and all of it right.
fn check(disk: &SimDisk, options: &Options, acknowledged: u64) -> Log<SimDisk> {
    let (mut log, recovered) = open(disk, options);
    assert_eq!(recovered.damage, None, "a crash is not damage");
    let (start, last) = (log.start().index.get(), log.last().index.get());
    assert!((acknowledged..=acknowledged + 1).contains(&last), "{acknowledged}, found {last}");
    assert!(start <= last.saturating_sub(KEPT), "no more is cut off than was said: {start}");
    let expected: Vec<Entry> = (start + 1..=last).map(entry).collect();
    assert_eq!(all_entries(&mut log), expected);
    log
}

fn is_of(number: u32, sector: &[u8]) -> bool {
    sector[496..500] == number.to_le_bytes()
}

fn segments(disk: &SimDisk) -> Vec<(String, u32)> {
    let number = |name: &str| name.strip_suffix(".log")?.parse().ok();
    let names = disk.snapshot().into_keys();
    names.filter_map(|name| number(&name).map(|number| (name, number))).collect()
}

#[test]
fn a_segment_that_was_cut_off_takes_the_next_number_and_nothing_is_written_for_that() {
    let options = options(6);
    let (disk, mut log) = started(&options);
    run(&mut log, 40);
    disk.forget_history();
    run(&mut log, 80);
    let history = disk.history();
    let made = history.iter().filter(|it| it.starts_with("create 0")).count();
    let reused = history.iter().filter(|it| it.contains("rename 0")).count();
    assert_eq!(made, 0, "no file is made any more");
    assert!(reused > 10, "{reused} files were used again");
    let first = history.iter().position(|it| it.starts_with("rename 0")).expect("one of them");
    assert_eq!(history[first + 1], "sync directory", "the name is durable before it is relied on");
    drop(log);
    check(&disk, &options, 80);
}

#[test]
fn the_power_may_go_at_every_change_while_segments_are_used_again() {
    for sectors in [4, 6, 9] {
        let options = options(sectors);
        let (whole, mut log) = started(&options);
        run(&mut log, 20);
        let from = whole.changes();
        run(&mut log, 32);
        for moment in from..whole.changes() {
            let (disk, mut log) = started(&options);
            run(&mut log, 20);
            disk.power_off_at(moment);
            let acknowledged = run(&mut log, 32);
            drop(log);
            let count = disk.unsynced().len().min(8);
            for names in 0..=disk.unsynced_names() {
                for subset in 0..1_usize << count {
                    let kept = |nth: usize| nth >= 8 || subset >> nth & 1 == 1;
                    let after = disk.crash(kept, names);
                    // And it goes on from there.
                    let mut log = check(&after, &options, acknowledged);
                    let last = log.last().index.get() + 6;
                    assert_eq!(run(&mut log, last), last);
                    drop(log);
                    check(&after, &options, last);
                }
            }
        }
    }
}

/// A disk that lost a write shows what was there before: a sector of an earlier segment that looks
/// as good as new.
#[test]
fn a_sector_that_is_what_it_was_before_is_damage_unless_it_is_of_the_last_batch() {
    let options = options(6);
    let (disk, mut log) = started(&options);
    run(&mut log, 30);
    let old = disk.snapshot();
    let until = run(&mut log, 60);
    // So that the last batch is one record, and the log has several segments.
    for index in until + 1..=until + 4 {
        log.append(&[batch(index)]).expect("written");
    }
    let last = log.last().index.get();
    let start = log.start().index.get();
    drop(log);
    let sectors = entry(last).size_bytes().div_ceil(496) + 1;
    let stale: Vec<Vec<u8>> =
        old.values().flat_map(|file| file.chunks(SECTOR).map(<[u8]>::to_vec)).collect();
    let (mut hit, mut undecided) = (0, 0);
    for (name, number) in segments(&disk) {
        let count = disk.bytes(&name).len() / SECTOR;
        for sector in 0..count {
            let now = disk.bytes(&name)[sector * SECTOR..][..SECTOR].to_vec();
            if !is_of(number, &now) || now.iter().all(|byte| *byte == 0) {
                continue;
            }
            let place = u32::try_from(sector).expect("a few").to_le_bytes();
            let was = stale.iter().find(|it| it[500..504] == place && !is_of(number, it));
            let Some(was) = was.filter(|it| it.iter().any(|byte| *byte != 0)) else { continue };
            let after = disk.copy();
            after.tamper(&name, |bytes| bytes[sector * SECTOR..][..SECTOR].copy_from_slice(was));
            let (mut log, recovered) = open(&after, &options);
            let found = all_entries(&mut log);
            let first = found.first().map_or(start + 1, |entry| entry.at.index.get());
            assert!(found.iter().zip(first..).all(|(it, index)| *it == entry(index)));
            hit += 1;
            if recovered.damage.is_none() {
                assert_eq!(log.last().index.get(), last - 1, "{name}, sector {sector}");
                undecided += 1;
            }
        }
    }
    assert!(hit > 10, "{hit} sectors");
    assert!(undecided <= sectors, "{undecided} of the last batch's {sectors}");
}

#[test]
fn every_flipped_bit_of_what_is_left_of_an_earlier_segment_is_damage() {
    let options = options(6);
    let mut flipped = 0;
    for until in 40..46 {
        let (disk, mut log) = started(&options);
        run(&mut log, until);
        // What waits to be used again is no part of the log.
        log.free_room().expect("removed");
        drop(log);
        for (name, sector) in left_over(&disk) {
            for bit in (0..SECTOR * 8).step_by(7) {
                let after = disk.copy();
                after.tamper(&name, |it| it[sector * SECTOR + bit / 8] ^= 1 << (bit % 8));
                let (_, recovered) = open(&after, &options);
                assert!(recovered.damage.is_some(), "{name}, sector {sector}, bit {bit}");
                flipped += 1;
            }
        }
    }
    assert!(flipped > 0, "something was left");
}

/// The sectors that were written for another segment than the one they are in.
fn left_over(disk: &SimDisk) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (name, number) in segments(disk) {
        for (sector, bytes) in disk.bytes(&name).chunks(SECTOR).enumerate() {
            if !is_of(number, bytes) && bytes.iter().any(|byte| *byte != 0) {
                found.push((name.clone(), sector));
            }
        }
    }
    found
}

#[test]
fn what_waits_goes_when_its_room_is_asked_for_and_with_the_next_start() {
    let options = options(6);
    let (disk, mut log) = started(&options);
    run(&mut log, 40);
    let waiting = segments(&disk).len();
    log.free_room().expect("removed");
    assert!(segments(&disk).len() < waiting, "on request");
    run(&mut log, 60);
    drop(log);
    let waiting = segments(&disk).len();
    drop(check(&disk, &options, 60));
    assert!(segments(&disk).len() < waiting, "at the start");
}

#[test]
fn a_segment_of_another_size_is_not_used_again() {
    let small = options(6);
    let (disk, mut log) = started(&small);
    run(&mut log, 12);
    drop(log);
    let large = options(9);
    let (mut log, _) = open(&disk, &large);
    run(&mut log, 40);
    drop(log);
    let sizes = segments(&disk).into_iter().map(|(name, _)| disk.bytes(&name).len() / SECTOR);
    assert!(sizes.into_iter().all(|sectors| sectors == 9));
    // One that a large record made is larger than usual.
    let (mut log, _) = open(&disk, &large);
    log.append(&[write(1, 39, vec![filler(1, 41, 8000)])]).expect("written");
    log.append(&[write(1, 40, vec![noop(1, 42)])]).expect("written");
    log.compact(Index::new(42)).expect("cut");
    for index in 43..=60 {
        log.append(&[write(1, 42, vec![entry(index)])]).expect("written");
        log.compact(Index::new(index)).expect("cut");
    }
    drop(log);
    let sizes = segments(&disk).into_iter().map(|(name, _)| disk.bytes(&name).len() / SECTOR);
    assert!(sizes.into_iter().all(|sectors| sectors == 9));
}

/// A sector of the last batch became that of an earlier segment, at the same place. It was taken
/// for one that was never written, and an acknowledged write for one that a crash had cut short.
#[test]
fn a_sector_of_a_segment_that_is_part_of_the_log_is_damage_in_the_place_of_another() {
    let options = options(6);
    let (disk, mut log) = started(&options);
    for index in 1..=9 {
        log.append(&[batch(index)]).expect("written");
    }
    drop(log);
    let names = segments(&disk);
    let (earlier, _) = &names[0];
    let mut strayed = 0;
    for (later, number) in &names[1..] {
        for (sector, bytes) in disk.bytes(later).chunks(SECTOR).enumerate() {
            let stray = disk.bytes(earlier)[sector * SECTOR..][..SECTOR].to_vec();
            if !is_of(*number, bytes) || stray.iter().all(|byte| *byte == 0) {
                continue;
            }
            let after = disk.copy();
            after.tamper(later, |it| it[sector * SECTOR..][..SECTOR].copy_from_slice(&stray));
            let (_, recovered) = open(&after, &options);
            assert!(recovered.damage.is_some(), "{later}, sector {sector}");
            strayed += 1;
        }
    }
    assert!(strayed > 5, "{strayed} sectors");
}
