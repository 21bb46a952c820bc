//! What a log promises while nothing goes wrong, and what it does when a call fails.

mod common;

use std::os::unix::fs::PermissionsExt;

use common::{
    SimDisk, all_entries, at, command, config, filler, model_of, noop, open, options, write,
};
use raft_core::{Entry, HardState, Index, NodeId, Term, Write};
use raft_storage::{
    FileDisk, Log, MAX_DESCRIPTION_BYTES, MAX_PAYLOAD_BYTES, MemoryLog, OpenError, Options,
    ReadError, WriteError,
};

fn indexes(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.at.index.get()).collect()
}

fn file_options() -> Options {
    Options { segment_bytes: 4096, ..Options::new(NodeId::new(1), 77, "1=a:1") }
}

#[test]
fn a_log_on_real_files_comes_back_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("not/there/yet");
    let writes: Vec<Write> = (1..=60).map(|n| write(1, n - 1, vec![filler(1, n, 300)])).collect();
    for background in [true, false] {
        let options = Options { background, ..file_options() };
        let path = path.join(if background { "a" } else { "b" });
        let disk = FileDisk::create(&path).expect("made with those above it");
        let (mut log, _) = Log::open(disk, &options).expect("a new log");
        for batch in writes.chunks(7) {
            log.append(batch).expect("written");
        }
        let entries = all_entries(&mut log);
        drop(log);
        let disk = FileDisk::existing(&path).expect("it is there");
        let (mut log, recovered) = Log::open(disk, &options).expect("it opens again");
        assert_eq!(recovered, model_of(&writes).recovered());
        assert_eq!(all_entries(&mut log), entries);
        assert_eq!(entries.len(), 60);
        log.append(&[write(2, 60, vec![noop(2, 61)])]).expect("it goes on");
    }
}

#[test]
fn many_nodes_may_make_their_directories_below_the_same_new_one() {
    let directory = tempfile::tempdir().expect("a directory");
    for round in 0..20 {
        let above = directory.path().join(round.to_string()).join("cluster");
        std::thread::scope(|scope| {
            for node in 0..4 {
                let path = above.join(node.to_string());
                scope.spawn(move || FileDisk::create(path).expect("made"));
            }
        });
    }
}

#[test]
fn only_its_user_can_read_what_a_log_makes() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("data");
    let disk = FileDisk::create(&path).expect("made");
    let (_log, _) = Log::open(disk, &file_options()).expect("a new log");
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    };
    assert_eq!(mode(&path), 0o700);
    for name in ["meta", "lock", "00000001.log"] {
        assert_eq!(mode(&path.join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_second_process_is_kept_out_until_the_first_lets_go() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = FileDisk::create(directory.path()).expect("made");
    let (log, _) = Log::open(disk.clone(), &file_options()).expect("a new log");
    let refused = Log::open(disk.clone(), &file_options()).expect_err("it is open");
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    assert!(refused.to_string().contains("is in use by another process: stop that one"));
    drop(log);
    Log::open(disk, &file_options()).expect("it was let go");
}

#[test]
fn a_file_in_the_place_of_the_directory_is_refused_in_words() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    std::fs::write(&path, b"mine").expect("written");
    for path in [path.clone(), path.join("below")] {
        let refused = FileDisk::create(&path).expect_err("not a directory").to_string();
        assert!(refused.starts_with("cannot make the directory"), "{refused}");
        assert!(refused.ends_with("name a directory, not a file"), "{refused}");
    }
    let refused = FileDisk::existing(directory.path().join("none")).expect_err("not there");
    assert!(refused.to_string().ends_with("check the name"), "{refused}");
}

#[test]
fn options_that_no_log_can_have_are_refused_with_the_bounds() {
    for segment_bytes in [0, 512, 1000, (1 << 30) + 512] {
        let options = Options { segment_bytes, ..file_options() };
        let refused = Log::open(SimDisk::new(), &options).expect_err("no such segment");
        let sentence = refused.to_string();
        assert!(sentence.contains(&format!("{segment_bytes} bytes")), "{sentence}");
        assert!(sentence.contains("from 1024 to 1073741824"), "{sentence}");
    }
    let description = "x".repeat(MAX_DESCRIPTION_BYTES + 1);
    Log::open(SimDisk::new(), &Options { description, ..file_options() }).expect_err("too long");
}

#[test]
fn everything_the_core_needs_to_start_is_recovered() {
    let options = options(6);
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, &options);
    let vote =
        HardState { term: Term::new(5), vote: Some(NodeId::new(3)), boots: 7, recovering: false };
    log.append(&[
        write(2, 0, vec![noop(2, 1), config(2, 2, &[1, 2]), config(2, 3, &[1, 2, 3])]),
        write(4, 2, vec![config(4, 3, &[1, 4]), noop(4, 4), filler(4, 5, 1500)]),
        Write { hard_state: vote, ..write(5, 4, vec![]) },
    ])
    .expect("written");
    drop(log);
    let (_, recovered) = open(&disk, &options);
    assert_eq!(recovered.hard_state, vote);
    assert_eq!((recovered.start, recovered.last), (at(0, 0), at(4, 5)));
    assert_eq!(recovered.term_starts, [at(2, 1), at(4, 3)]);
    assert_eq!(recovered.commit, Index::new(4));
    let configs: Vec<u64> = recovered.configs.iter().map(|(index, _)| index.get()).collect();
    assert_eq!(configs, [2, 3], "the one at 3 is the one that replaced it");
    assert!(recovered.configs[1].1.is_voter(NodeId::new(4)));
    assert_eq!((recovered.torn, recovered.damage), (None, None));
}

#[test]
fn a_log_that_a_snapshot_took_the_place_of_begins_anew() {
    let (disk, options) = (SimDisk::new(), options(6));
    let (mut log, _) = open(&disk, &options);
    let old = write(2, 1, vec![noop(2, 1), config(2, 2, &[1, 2]), filler(2, 3, 900)]);
    let reset = |entries| Write { reset: Some(at(3, 100)), ..write(4, 100, entries) };
    log.append(&[old, reset(vec![]), write(4, 101, vec![noop(4, 101)])]).expect("written");
    assert_eq!((log.start(), log.last()), (at(3, 100), at(4, 101)));
    assert!(log.read(Index::new(3), Index::new(3), usize::MAX).is_err(), "it is gone");
    drop(log);
    let (mut log, recovered) = open(&disk, &options);
    assert_eq!((recovered.start, recovered.last), (at(3, 100), at(4, 101)));
    assert_eq!((recovered.configs.len(), recovered.commit), (0, Index::new(101)));
    assert_eq!(recovered.term_starts, [at(4, 101)]);
    assert_eq!(log.read(Index::new(101), Index::new(101), usize::MAX).expect("there").len(), 1);
    log.append(&[reset(vec![noop(4, 101)])]).expect_err("that would replace what is committed");
}

#[test]
fn a_batch_is_synced_once_and_before_the_next_one_is_written() {
    let options = options(64);
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, &options);
    disk.forget_history();
    log.append(&[write(1, 0, vec![noop(1, 1)]), write(1, 0, vec![noop(1, 2)])]).expect("written");
    log.append(&[write(1, 2, vec![])]).expect("written");
    let once = ["write 00000001.log", "sync 00000001.log"];
    let first = ["write witness", "sync witness"];
    assert_eq!(disk.history(), [&first[..], &once, &once].concat(), "the hard state is new once");
    disk.forget_history();
    log.append(&[]).expect("nothing to do");
    assert!(disk.history().is_empty(), "no writes, no sync");
}

#[test]
fn a_new_file_is_durable_under_its_name_before_anything_is_written_to_it() {
    let options = options(4);
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, &options);
    log.append(&[write(1, 0, vec![filler(1, 1, 1000)])]).expect("written");
    disk.forget_history();
    log.append(&[write(1, 0, vec![noop(1, 2)])]).expect("written");
    let expected = [
        "create 00000002.tmp",
        "write 00000002.tmp",
        "sync 00000002.tmp",
        "rename 00000002.tmp 00000002.log",
        "sync directory",
        "write witness",
        "sync witness",
        "write 00000002.log",
        "sync 00000002.log",
    ];
    assert_eq!(disk.history(), expected);
}

#[test]
fn a_write_larger_than_a_segment_gets_a_larger_segment() {
    let options = options(4);
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, &options);
    let writes = [
        write(1, 0, vec![noop(1, 1)]),
        write(1, 0, vec![filler(1, 2, 300), filler(1, 3, 20_000)]),
        write(1, 0, vec![noop(1, 4)]),
    ];
    log.append(&writes).expect("written");
    drop(log);
    let (mut log, recovered) = open(&disk, &options);
    assert_eq!(recovered, model_of(&writes).recovered());
    assert_eq!(all_entries(&mut log)[2], filler(1, 3, 20_000));
    assert!(disk.bytes("00000002.log").len() > 20_000);
    assert_eq!(disk.bytes("00000003.log").len(), 4 * 512);
}

#[test]
fn the_first_write_may_be_larger_than_the_first_segment() {
    for size in 1400..2100 {
        let disk = SimDisk::new();
        let (mut log, _) = open(&disk, &options(4));
        let writes = [write(1, 0, vec![filler(1, 1, size)]), write(1, 0, vec![noop(1, 2)])];
        log.append(&writes).expect("written");
        drop(log);
        let (mut log, recovered) = open(&disk, &options(4));
        assert_eq!(recovered, model_of(&writes).recovered(), "{size} bytes");
        assert_eq!(all_entries(&mut log).len(), 2);
        assert_eq!(disk.bytes("00000001.log").len() % 512, 0);
    }
}

#[test]
fn reads_are_bounded_and_give_at_least_one_entry() {
    let (mut log, _) = open(&SimDisk::new(), &options(6));
    for batch in (1..=20).collect::<Vec<u64>>().chunks(4) {
        let entries = batch.iter().map(|index| filler(1, *index, 100)).collect();
        log.append(&[write(1, 0, entries)]).expect("written");
    }
    let mut read = |first, last, bytes| {
        let entries = log.read(Index::new(first), Index::new(last), bytes);
        entries.map(|entries| indexes(&entries))
    };
    let size_bytes = filler(1, 1, 100).size_bytes();
    assert_eq!(read(3, 9, usize::MAX).expect("in the log"), (3..=9).collect::<Vec<_>>());
    assert_eq!(read(3, 9, 3 * size_bytes).expect("in the log"), [3, 4, 5]);
    assert_eq!(read(3, 9, 3 * size_bytes - 1).expect("in the log"), [3, 4]);
    assert_eq!(read(3, 9, 0).expect("in the log"), [3]);
    assert_eq!(read(19, u64::MAX, usize::MAX).expect("in the log"), [19, 20]);
    for (first, last) in [(0, 5), (21, 21), (5, 4)] {
        let refused = read(first, last, 1).expect_err("not there");
        assert!(matches!(refused, ReadError::NotInLog { .. }), "{refused}");
    }
}

#[test]
fn entries_that_replace_others_are_the_only_ones_read() {
    let (mut log, _) = open(&SimDisk::new(), &options(5));
    let writes = [
        write(1, 0, (1..=6).map(|index| filler(1, index, 100)).collect()),
        write(2, 0, vec![filler(2, 4, 10), filler(2, 5, 400)]),
        write(3, 3, vec![filler(3, 5, 30)]),
    ];
    for write in &writes {
        log.append(std::slice::from_ref(write)).expect("written");
    }
    let expected = [1, 2, 3].map(|index| filler(1, index, 100));
    let entries = all_entries(&mut log);
    assert_eq!(entries[..3], expected);
    assert_eq!(entries[3..], [filler(2, 4, 10), filler(3, 5, 30)]);
}

#[test]
fn compaction_removes_whole_segments_and_nothing_that_is_needed() {
    let options = options(4);
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, &options);
    for n in 1..=20 {
        log.append(&[write(1, n - 1, vec![filler(1, n, 300)])]).expect("written");
    }
    let mut segments = disk.snapshot().len();
    for upto in [0, 1, 5, 5, 12, 19] {
        log.compact(Index::new(upto)).expect("compacted");
        let start = log.start().index.get();
        assert!(start <= upto && upto - start < 3, "{start} for {upto}: three to a segment");
        let left = disk.snapshot().len();
        assert!(left <= segments);
        segments = left;
        let entries = all_entries(&mut log);
        assert_eq!(indexes(&entries), (start + 1..=20).collect::<Vec<_>>());
        let (mut again, recovered) = open(&disk.copy(), &options);
        assert_eq!((recovered.start, recovered.commit.get()), (log.start(), 19));
        assert_eq!(all_entries(&mut again), entries);
    }
    log.append(&[write(2, 20, vec![noop(2, 21)])]).expect("it goes on");
    let first = log.start().index;
    assert!(matches!(log.read(first, first, 1), Err(ReadError::NotInLog { .. })));
}

#[test]
fn compaction_copes_with_entries_that_were_replaced_across_segments() {
    let options = options(4);
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, &options);
    for n in 1..=8 {
        log.append(&[write(1, n.min(2), vec![filler(1, n, 300)])]).expect("written");
    }
    for n in 4..=12 {
        log.append(&[write(2, n - 1, vec![filler(2, n, 300)])]).expect("written");
    }
    for upto in 0..=11 {
        log.compact(Index::new(upto)).expect("compacted");
        assert!(log.start().index <= Index::new(upto));
        let (mut again, recovered) = open(&disk.copy(), &options);
        assert_eq!(recovered.damage, None);
        assert_eq!((recovered.start, recovered.last), (log.start(), log.last()));
        assert_eq!(all_entries(&mut again), all_entries(&mut log));
    }
}

#[test]
fn a_failed_write_or_sync_is_final() {
    let one = || write(1, 0, vec![noop(1, 1)]);
    let fail: [fn(&SimDisk); 4] = [
        SimDisk::fail_next_write,
        SimDisk::fail_next_sync,
        SimDisk::fail_next_write_of_witness,
        SimDisk::fail_next_sync_of_witness,
    ];
    let files = ["00000001.log", "00000001.log", "witness", "witness"];
    for (fail, file) in fail.into_iter().zip(files) {
        let disk = SimDisk::new();
        let (mut log, _) = open(&disk, &options(8));
        fail(&disk);
        let first = log.append(&[one()]).expect_err("the disk refuses").to_string();
        assert!(first.contains(&format!("data/{file}")), "{first}");
        disk.forget_history();
        let second = log.append(&[one()]).expect_err("no further write").to_string();
        assert_eq!(first, second, "every later call answers with the first failure");
        let read = log.read(Index::new(1), Index::new(1), 1).expect_err("no further read");
        assert!(matches!(read, ReadError::Failed(_)));
        log.compact(Index::new(1)).expect_err("no compaction");
        assert!(disk.history().is_empty(), "the disk is left alone");
    }
}

#[test]
fn writes_that_do_not_fit_the_log_are_refused_and_end_it() {
    let misfits: [(&str, Write); 9] = [
        ("its first entry is outside of the log", write(3, 0, vec![noop(3, 6)])),
        ("its entries do not follow each other", write(3, 0, vec![noop(3, 0)])),
        ("its entries do not follow each other", write(3, 0, vec![noop(3, 5), noop(3, 7)])),
        ("its entries do not follow each other", write(3, 0, vec![noop(1, 5)])),
        ("it replaces committed entries", write(3, 0, vec![noop(3, 2)])),
        ("its entries are of a later term", write(3, 0, vec![noop(4, 5)])),
        ("it takes back a term or a vote", write(1, 0, vec![])),
        ("it commits entries that do not exist", write(3, 5, vec![])),
        (
            "it takes back a term or a vote",
            Write {
                hard_state: HardState {
                    term: Term::new(2),
                    vote: Some(NodeId::new(2)),
                    boots: 1,
                    recovering: false,
                },
                ..write(2, 0, vec![])
            },
        ),
    ];
    for (rule, misfit) in misfits {
        let disk = SimDisk::new();
        let (mut log, _) = open(&disk, &options(16));
        let good = [write(2, 2, (1..=4).map(|index| noop(2, index)).collect())];
        log.append(&good).expect("written");
        let refused = log.append(&[misfit]).expect_err(rule);
        assert_eq!(refused.to_string(), format!("a write that does not fit the log: {rule}"));
        log.append(&[]).expect_err("the log has ended");
        drop(log);
        let (_, recovered) = open(&disk, &options(16));
        assert_eq!(recovered, model_of(&good).recovered(), "nothing of it was written");
    }
}

#[test]
fn a_command_above_the_limit_is_refused_with_the_limit() {
    let (mut log, _) = open(&SimDisk::new(), &options(4));
    let huge = command(1, 1, &vec![0; MAX_PAYLOAD_BYTES + 1]);
    let refused = log.append(&[write(1, 0, vec![huge])]).expect_err("too large");
    assert!(matches!(refused, WriteError::TooLarge { limit: MAX_PAYLOAD_BYTES, .. }), "{refused}");
}

#[test]
fn a_log_in_memory_behaves_as_one_on_a_disk() {
    let options = options(6);
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, &options);
    let mut memory = MemoryLog::new();
    let writes = [
        write(1, 0, (1..=6).map(|index| filler(1, index, 100)).collect()),
        write(2, 0, vec![filler(2, 4, 10), config(2, 5, &[1, 2])]),
        write(3, 4, vec![filler(3, 6, 30)]),
    ];
    log.append(&writes).expect("written");
    memory.append(&writes).expect("written");
    for first in 0..8 {
        for (last, bytes) in [(first, 0), (4, 300), (9, usize::MAX)] {
            let (first, last) = (Index::new(first), Index::new(last));
            let on_disk = log.read(first, last, bytes).map_err(|error| error.to_string());
            let in_memory = memory.read(first, last, bytes).map_err(|error| error.to_string());
            assert_eq!(on_disk, in_memory, "{first} to {last}, {bytes} bytes");
        }
    }
    drop(log);
    assert_eq!(open(&disk, &options).1, memory.recovered());
    memory.compact(Index::new(4)).expect("compacted");
    assert_eq!((memory.start(), memory.last()), (at(2, 4), at(3, 6)));
    assert_eq!(memory.recovered().term_starts, [at(2, 5), at(3, 6)]);
    memory.append(&[write(3, 4, vec![noop(3, 9)])]).expect_err("entries are missing before it");
}

#[test]
fn a_segment_made_ahead_is_used_after_a_restart() {
    let options = options(4);
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, &options);
    log.append(&[write(1, 0, vec![filler(1, 1, 1000)])]).expect("written");
    // The power goes just when the next segment was made, before anything is written to it.
    disk.power_off_at(disk.changes() + 5);
    log.append(&[write(1, 0, vec![noop(1, 2)])]).expect_err("the power is off");
    drop(log);
    let disk = disk.crash(|_| false, 0);
    assert_eq!(disk.bytes("00000002.log"), vec![0; 4 * 512]);
    let (mut log, _) = open(&disk, &options);
    disk.forget_history();
    log.append(&[write(1, 0, vec![noop(1, 2)])]).expect("written");
    let witness = ["write witness", "sync witness"];
    assert_eq!(disk.history(), [witness, ["write 00000002.log", "sync 00000002.log"]].concat());
}
