//! The power goes at any moment, and any subset of what was not synced is there afterwards.

mod common;

use common::{
    SECTOR, SimDisk, command, config, filler, matches, model_of, noop, open, options, write,
};
use raft_core::{Index, Write};
use raft_storage::{Log, Options};

const FIRST: &str = "00000001.log";

/// Batches of writes: one entry, several records at once, a vote alone, a truncation, a large
/// record, a configuration.
fn story() -> Vec<Vec<Write>> {
    vec![
        vec![write(1, 0, vec![noop(1, 1)])],
        vec![
            write(1, 1, vec![command(1, 2, b"two"), command(1, 3, b"three")]),
            write(1, 1, vec![filler(1, 4, 900)]),
            write(1, 1, vec![command(1, 5, b"five")]),
        ],
        vec![write(2, 1, vec![])],
        vec![write(2, 1, vec![command(2, 4, b"four again")])],
        vec![write(2, 3, vec![config(2, 5, &[1, 2, 3, 4]), filler(2, 6, 2000)])],
        vec![write(3, 5, vec![noop(3, 6)]), write(3, 6, vec![command(3, 7, b"")])],
    ]
}

/// Opens what the crash left, and holds it to the one promise: everything acknowledged is there,
/// and beyond it at most a prefix of the writes of the batch that was under way. Returns how many
/// writes that is.
fn check(disk: &SimDisk, options: &Options, writes: &[Write], acknowledged: usize) -> usize {
    let (mut log, recovered) = open(disk, options);
    assert_eq!(recovered.damage, None, "a crash is not damage");
    let found = (acknowledged..=writes.len())
        .find(|count| matches(&mut log, &recovered, &model_of(&writes[..*count])));
    found.unwrap_or_else(|| panic!("{acknowledged} acknowledged, found {recovered:#?}"))
}

fn flat(batches: &[Vec<Write>]) -> Vec<Write> {
    batches.iter().flatten().cloned().collect()
}

/// Runs the story until the power goes; returns how many writes were acknowledged, and how many
/// had been handed over.
fn run(disk: &SimDisk, options: &Options, batches: &[Vec<Write>]) -> (usize, usize) {
    let Ok((mut log, _)) = Log::open(disk.clone(), options) else { return (0, 0) };
    let mut done = 0;
    for batch in batches {
        if log.append(batch).is_err() {
            return (done, done + batch.len());
        }
        done += batch.len();
    }
    (done, done)
}

#[test]
fn the_power_may_go_at_every_single_change() {
    for sectors in [4, 6, 9, 64] {
        let options = options(sectors);
        let writes = flat(&story());
        let whole = SimDisk::new();
        run(&whole, &options, &story());
        for moment in 0..=whole.changes() {
            let disk = SimDisk::new();
            disk.power_off_at(moment);
            let (acknowledged, begun) = run(&disk, &options, &story());
            let count = disk.unsynced().len().min(10);
            for names in 0..=disk.unsynced_names() {
                for subset in 0..1_usize << count {
                    let kept = |nth: usize| nth >= 10 || subset >> nth & 1 == 1;
                    let after = disk.crash(kept, names);
                    check(&after, &options, &writes[..begun], acknowledged);
                }
            }
        }
    }
}

/// Whoever waits for a segment gets it with its room reserved, and without zeros: what was never
/// written of it reads as zeros all the same. Made on another thread, so what was done of it when
/// the power goes is another time something else.
#[test]
fn the_power_may_go_while_segments_are_only_reserved() {
    let batches = story();
    let writes = flat(&batches);
    let mut reserved = 0;
    for sectors in [4, 6, 9] {
        let options = Options { background: true, reserve_bytes: 2048, ..options(sectors) };
        let fresh = || {
            let disk = SimDisk::new();
            disk.reserve_room();
            disk
        };
        let whole = fresh();
        run(&whole, &options, &batches);
        reserved += whole.reserved_sectors();
        for moment in 0..=whole.changes() + 2 {
            let disk = fresh();
            disk.power_off_at(moment);
            let (acknowledged, begun) = run(&disk, &options, &batches);
            let count = disk.unsynced().len().min(6);
            for names in 0..=disk.unsynced_names() {
                for subset in 0..1_usize << count {
                    let kept = |nth: usize| nth >= 6 || subset >> nth & 1 == 1;
                    let after = disk.crash(kept, names);
                    check(&after, &options, &writes[..begun], acknowledged);
                }
            }
        }
    }
    assert!(reserved > 0, "nothing was only reserved");
}

#[test]
fn every_subset_of_the_sectors_of_the_last_batch_may_be_there() {
    let options = options(64);
    let batches = [
        vec![write(1, 0, vec![noop(1, 1), filler(1, 2, 700)])],
        vec![
            write(1, 1, vec![filler(1, 3, 1300)]),
            write(2, 2, vec![]),
            write(2, 3, vec![filler(2, 4, 300), filler(2, 5, 1700)]),
            write(2, 3, vec![command(2, 5, b"five"), filler(2, 6, 900)]),
        ],
    ];
    let writes = flat(&batches);
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, &options);
    log.append(&batches[0]).expect("the first batch");
    disk.fail_next_sync();
    log.append(&batches[1]).expect_err("the sync fails");
    let count = disk.unsynced().len();
    assert_eq!(count, 12, "every subset of twelve sectors");
    let mut seen = [0; 6];
    for subset in 0..1_usize << count {
        let after = disk.crash(|nth| subset >> nth & 1 == 1, 0);
        let survived = check(&after, &options, &writes, 1);
        seen[survived] += 1;
    }
    assert!(seen[1..].iter().all(|times| *times > 0), "every prefix was seen: {seen:?}");
}

#[test]
fn what_a_torn_batch_left_is_never_read_as_part_of_a_later_one() {
    // The batch [A, B] is torn: B is there, A is not. Then A is written again, exactly as it was.
    // If B's sectors were still there, B would continue A: a write that nobody repeated.
    let options = options(16);
    let (a, b) = (write(1, 0, vec![noop(1, 1)]), write(1, 0, vec![command(1, 2, b"ghost")]));
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, &options);
    log.append(&[write(1, 0, vec![])]).expect("something before");
    disk.fail_next_sync();
    log.append(&[a.clone(), b]).expect_err("the sync fails");
    drop(log);
    let disk = disk.crash(|nth| nth == 1, 0);
    let (mut log, recovered) = open(&disk, &options);
    assert!(recovered.torn.is_some());
    log.append(&[a]).expect("A again");
    drop(log);
    let (log, recovered) = open(&disk.crash(|_| false, 0), &options);
    assert_eq!((recovered.torn, recovered.damage), (None, None));
    assert_eq!(log.last().index, Index::new(1));
}

#[test]
fn recovery_itself_may_be_cut_short_at_every_change() {
    let options = options(32);
    let batches = story();
    let writes = flat(&batches);
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, &options);
    for batch in &batches[..4] {
        log.append(batch).expect("written");
    }
    disk.fail_next_sync();
    log.append(&batches[4]).expect_err("the sync fails");
    drop(log);
    let acknowledged = batches[..4].iter().map(Vec::len).sum();
    let torn = disk.unsynced().len();
    for subset in 0..1_usize << torn {
        let after = disk.crash(|nth| subset >> nth & 1 == 1, 0);
        let before = after.changes();
        let undisturbed = after.copy();
        check(&undisturbed, &options, &writes, acknowledged);
        for moment in before..undisturbed.changes() {
            let again = after.copy();
            again.power_off_at(moment);
            assert!(Log::open(again.clone(), &options).is_err(), "the power is off");
            for kept in 0..1_usize << again.unsynced().len().min(6) {
                let after = again.crash(|nth| kept >> nth & 1 == 1, again.unsynced_names());
                check(&after, &options, &writes, acknowledged);
            }
        }
    }
}

#[test]
fn what_was_recovered_survives_even_if_it_was_never_synced_before() {
    // The process is killed between its write and its sync: the next one finds the bytes in the
    // system's memory, and takes them for durable. So opening has to make them durable.
    let options = options(16);
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, &options);
    disk.fail_next_sync();
    log.append(&[write(1, 0, vec![noop(1, 1)])]).expect_err("killed before the sync");
    drop(log);
    let (log, recovered) = open(&disk, &options);
    assert_eq!(recovered.last.index, Index::new(1));
    drop(log);
    assert_eq!(check(&disk.crash(|_| false, 0), &options, &[write(1, 0, vec![noop(1, 1)])], 1), 1);
}

#[test]
fn every_cut_at_a_sector_is_a_prefix_of_what_was_acknowledged() {
    let options = options(64);
    let disk = SimDisk::new();
    let writes = flat(&story());
    run(&disk, &options, &story());
    let bytes = disk.bytes(FIRST);
    let mut last = 0;
    for cut in (0..=bytes.len()).step_by(SECTOR) {
        let after = disk.crash(|_| true, 9);
        after.tamper(FIRST, |bytes| bytes[cut..].fill(0));
        let (mut log, recovered) = open(&after, &options);
        // Where the witness was written since, the cut is noticed.
        let is_noticed = recovered.damage.is_some();
        let found = (last..=writes.len())
            .find(|count| matches(&mut log, &recovered, &model_of(&writes[..*count])));
        last = found.expect("a prefix that grows with what is left");
        assert!(is_noticed || last + story()[5].len() >= writes.len(), "cut at {cut}: {last}");
    }
    assert_eq!(last, writes.len());
}

#[test]
fn every_cut_of_the_file_keeps_a_prefix_and_is_reported() {
    let options = options(12);
    let disk = SimDisk::new();
    let writes = flat(&story());
    run(&disk, &options, &story()[..3]);
    let bytes = disk.bytes(FIRST);
    for cut in 0..bytes.len() {
        let after = disk.crash(|_| true, 9);
        after.tamper(FIRST, |bytes| bytes.truncate(cut));
        let before = after.snapshot();
        let (mut log, recovered) = open(&after, &options);
        let damage = recovered.damage.clone().expect("segments never get shorter");
        assert!(damage.to_string().contains("00000001.log"), "{damage}");
        let is_prefix =
            (0..=writes.len()).any(|n| matches(&mut log, &recovered, &model_of(&writes[..n])));
        assert!(is_prefix, "cut at {cut}");
        assert_eq!(after.snapshot(), before, "a damaged log is left as it is");
    }
}

#[test]
fn a_crash_in_the_middle_of_compaction_loses_nothing_and_leaves_nothing() {
    let options = options(4);
    let writes: Vec<Write> = (1..=12).map(|n| write(1, n - 1, vec![filler(1, n, 400)])).collect();
    let fill = |disk: &SimDisk| {
        let (mut log, _) = open(disk, &options);
        for write in &writes {
            log.append(std::slice::from_ref(write)).expect("written");
        }
        log
    };
    let whole = SimDisk::new();
    let mut log = fill(&whole);
    let before = whole.changes();
    log.compact(Index::new(8)).expect("compacted");
    let start = log.start().index;
    assert!(start > Index::ZERO && start <= Index::new(8));
    let end = whole.changes();
    drop(log);
    // What waits to be used again goes with the next start.
    drop(open(&whole, &options));
    let files = whole.snapshot().len();
    for moment in before..end {
        let disk = SimDisk::new();
        let mut log = fill(&disk);
        disk.power_off_at(moment);
        log.compact(Index::new(8)).expect_err("the power is off");
        drop(log);
        for names in 0..=disk.unsynced_names() {
            let after = disk.crash(|_| true, names);
            let (mut log, recovered) = open(&after, &options);
            assert_eq!(recovered.damage, None);
            assert!(recovered.start.index == start || recovered.start.index == Index::ZERO);
            let entries = common::all_entries(&mut log);
            assert_eq!(entries.last().map(|entry| entry.at.index), Some(Index::new(12)));
            let left = after.snapshot().len();
            assert!(recovered.start.index == Index::ZERO || left == files, "{left} files left");
        }
    }
}

/// A process was killed when it had written the witness and not synced it. The next one took the
/// term and the vote that it found for safe; the power went, and they were gone: the node could
/// have voted for another in that term.
#[test]
fn what_an_opening_finds_in_the_witness_is_durable_from_then_on() {
    let (disk, options) = (SimDisk::new(), options(8));
    let (mut log, _) = open(&disk, &options);
    log.append(&[write(1, 0, vec![noop(1, 1)])]).expect("written");
    disk.fail_next_sync_of_witness();
    log.append(&[write(2, 0, vec![noop(2, 2)])]).expect_err("the process ends here");
    drop(log);
    let (log, recovered) = open(&disk, &options);
    let found = recovered.hard_state;
    assert_eq!(found.term.get(), 2, "it was written");
    drop(log);
    let (_, again) = open(&disk.crash(|_| false, 0), &options);
    assert_eq!(again.hard_state, found, "the power takes nothing away that was relied upon");
}
