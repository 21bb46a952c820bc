//! A full disk: nothing that was acknowledged is lost, nothing is promised that there is no room
//! for, and everything goes on by itself when there is room again.

mod common;

use std::time::Duration;

use common::{SimDisk, all_entries, filler, matches, model_of, noop, open, options, write};
use crossbeam_channel::{Receiver, unbounded};
use raft_core::{Index, PersistId, ReadLog, ReadPurpose, Write};
use raft_storage::thread::{LogEvent, LogRequest, LogThread};
use raft_storage::{Disk, FileDisk, Log, OpenError, Options, Room, WriteError};

const SECTOR: usize = common::SECTOR;

/// Segments of eight sectors, and a reserve of as many.
fn reserving() -> Options {
    Options { reserve_bytes: 8 * SECTOR as u64, ..options(8) }
}

/// A write of one entry that fills one sector.
fn small(index: u64) -> Write {
    write(1, index - 1, vec![filler(1, index, 200)])
}

fn exists(disk: &SimDisk, name: &str) -> bool {
    disk.snapshot().contains_key(name)
}

/// Appends writes of a sector until there is no room; returns how many are durable in all.
fn fill(log: &mut Log<SimDisk>, first: u64) -> u64 {
    let mut next = first;
    loop {
        match log.append(&[small(next)]) {
            Ok(()) => next += 1,
            Err(WriteError::NoSpace { written: 0, .. }) => return next - 1,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn the_reserve_takes_the_place_of_the_segment_that_there_is_no_room_for() {
    let (disk, options) = (SimDisk::new(), reserving());
    let (mut log, _) = open(&disk, &options);
    assert!(exists(&disk, "reserve"));
    disk.set_capacity(Some(disk.used()));
    let mut rooms = Vec::new();
    let mut next = 1;
    let refused = loop {
        match log.append(&[small(next)]) {
            Ok(()) => rooms.push(log.room()),
            Err(error) => break error,
        }
        next += 1;
    };
    assert!(matches!(refused, WriteError::NoSpace { written: 0, .. }), "{refused}");
    assert!(refused.to_string().contains("00000003.log"), "{refused}");
    // Seven sectors of the first segment, and seven of the one that the reserve became.
    assert_eq!(next, 15);
    assert_eq!(rooms[..7], [Room::Ample; 7]);
    assert_eq!(rooms[7..], [vec![Room::Low; 2], vec![Room::Scarce; 5]].concat());
    assert!(!exists(&disk, "reserve") && exists(&disk, "00000002.log"));
    let writes: Vec<Write> = (1..=14).map(small).collect();
    drop(log);
    let (mut log, recovered) = open(&disk.crash(|_| false, 0), &options);
    assert!(matches(&mut log, &recovered, &model_of(&writes)), "all that was acknowledged");
}

#[test]
fn a_batch_says_how_much_of_it_is_durable_and_the_rest_goes_in_later() {
    let (disk, options) = (SimDisk::new(), options(8));
    let (mut log, _) = open(&disk, &options);
    disk.set_capacity(Some(disk.used()));
    let writes: Vec<Write> = (1..=12).map(small).collect();
    let refused = log.append(&writes).expect_err("there is no room for all of them");
    let WriteError::NoSpace { written, .. } = refused else { panic!("{refused}") };
    assert_eq!(written, 7);
    let after = disk.crash(|_| false, 0);
    let (mut left, recovered) = open(&after, &options);
    assert!(matches(&mut left, &recovered, &model_of(&writes[..written])), "exactly so many");
    // The log goes on where it was, as often as one likes.
    for _ in 0..3 {
        log.append(&writes[written..]).expect_err("still no room");
        log.look_for_room();
        assert_eq!(log.room(), Room::Scarce);
    }
    assert_eq!(all_entries(&mut log).len(), written, "reads go on");
    disk.set_capacity(None);
    log.append(&writes[written..]).expect("there is room again");
    assert_eq!(log.room(), Room::Ample);
    drop(log);
    let (mut log, recovered) = open(&disk.crash(|_| false, 0), &options);
    assert!(matches(&mut log, &recovered, &model_of(&writes)));
}

#[test]
fn what_there_was_no_room_for_leaves_nothing_behind() {
    let (disk, options) = (SimDisk::new(), reserving());
    let (mut log, _) = open(&disk, &options);
    // Room for a part of a segment, but not for one.
    disk.set_capacity(Some(disk.used() + 5 * SECTOR));
    fill(&mut log, 1);
    log.look_for_room();
    let names: Vec<_> = disk.snapshot().into_keys().collect();
    assert!(names.iter().all(|name| !name.contains("tmp")), "{names:?}");
}

#[test]
fn room_that_returns_is_found_and_the_reserve_is_made_again_first() {
    let (disk, options) = (SimDisk::new(), reserving());
    let (mut log, _) = open(&disk, &options);
    disk.set_capacity(Some(disk.used()));
    let last = fill(&mut log, 1);
    disk.set_capacity(Some(disk.used() + 8 * SECTOR));
    log.look_for_room();
    assert!(exists(&disk, "reserve"), "votes come before anything else");
    // The reserve is there, but the segment that was wanted is not.
    assert_ne!(log.room(), Room::Ample);
    disk.set_capacity(Some(disk.used() + 8 * SECTOR));
    log.look_for_room();
    assert_eq!(log.room(), Room::Ample);
    log.append(&[small(last + 1)]).expect("there is room");
}

#[test]
fn compaction_on_a_full_disk_gives_up_the_reserve_and_has_it_back() {
    let (disk, options) = (SimDisk::new(), reserving());
    let (mut log, _) = open(&disk, &options);
    for index in 1..=20 {
        log.append(&[small(index)]).expect("written");
    }
    // Not even a file of one sector fits: but for the reserve, nothing could be removed.
    disk.set_capacity(Some(disk.used()));
    log.compact(Index::new(14)).expect("compacted");
    assert_eq!(log.start().index, Index::new(14));
    assert!(!exists(&disk, "00000001.log") && !exists(&disk, "00000002.log"));
    assert!(exists(&disk, "reserve"), "made again of what was freed");
    assert_eq!(log.room(), Room::Ample);
}

#[test]
fn compaction_that_finds_no_room_at_all_removes_nothing_and_is_no_failure() {
    let (disk, options) = (SimDisk::new(), options(8));
    let (mut log, _) = open(&disk, &options);
    for index in 1..=20 {
        log.append(&[small(index)]).expect("written");
    }
    disk.set_capacity(Some(disk.used()));
    let before = disk.snapshot();
    log.compact(Index::new(14)).expect("nothing went wrong");
    assert_eq!((log.start().index, disk.snapshot()), (Index::ZERO, before));
    log.append(&[small(21)]).expect("the segment has room");
    disk.set_capacity(None);
    log.compact(Index::new(14)).expect("now it goes");
    assert_eq!(log.start().index, Index::new(14));
}

#[test]
fn the_power_may_go_at_every_change_on_a_full_disk() {
    // From the first write that finds no room until the reserve is in use, given up, and back.
    let options = reserving();
    let writes: Vec<Write> = (1..=16).map(small).collect();
    // Returns how many writes were acknowledged before the power went.
    let run = |disk: &SimDisk| {
        let Ok((mut log, _)) = Log::open(disk.clone(), &options) else { return 0 };
        disk.set_capacity(Some(disk.used()));
        for (nth, write) in writes.iter().enumerate() {
            if nth == 14 {
                disk.set_capacity(None);
                log.look_for_room();
            }
            if log.append(std::slice::from_ref(write)).is_err() {
                return nth;
            }
        }
        writes.len()
    };
    let whole = SimDisk::new();
    assert_eq!(run(&whole), writes.len(), "all of it fits");
    for moment in 0..whole.changes() {
        let disk = SimDisk::new();
        disk.power_off_at(moment);
        let acknowledged = run(&disk);
        disk.set_capacity(None);
        let sectors = disk.unsynced().len().min(4);
        for names in 0..=disk.unsynced_names() {
            for subset in 0..1_usize << sectors {
                let after = disk.crash(|nth| nth >= 4 || subset >> nth & 1 == 1, names);
                let (mut log, recovered) = open(&after, &options);
                assert_eq!(recovered.damage, None, "a crash is not damage");
                let found = (acknowledged..=writes.len())
                    .any(|count| matches(&mut log, &recovered, &model_of(&writes[..count])));
                assert!(found, "moment {moment}: {acknowledged} acknowledged, {recovered:#?}");
            }
        }
    }
}

#[test]
fn a_reserve_that_is_not_what_was_made_is_made_again() {
    let (disk, options) = (SimDisk::new(), reserving());
    drop(open(&disk, &options));
    for change in [(|bytes| bytes[700] = 1) as fn(&mut Vec<u8>), |bytes| bytes.truncate(SECTOR)] {
        disk.tamper("reserve", change);
        drop(open(&disk, &options));
        assert_eq!(disk.bytes("reserve"), vec![0; 8 * SECTOR]);
    }
    drop(open(&disk, &common::options(8)));
    assert!(!exists(&disk, "reserve"), "nobody wants one any more");
}

#[test]
fn a_full_disk_at_a_start_is_no_reason_not_to_start_unless_there_is_no_log_yet() {
    let (disk, options) = (SimDisk::new(), reserving());
    let (mut log, _) = open(&disk, &options);
    log.append(&[small(1)]).expect("written");
    drop(log);
    Disk::remove(&disk, "reserve").expect("removed");
    disk.set_capacity(Some(disk.used()));
    let (mut log, recovered) = open(&disk, &options);
    assert_eq!(recovered.last.index, Index::new(1));
    assert_eq!(log.room(), Room::Low, "the rest of the segment is left");
    log.append(&[small(2)]).expect("written");
    let disk = SimDisk::new();
    disk.set_capacity(Some(3 * SECTOR));
    let refused = Log::open(disk, &options).expect_err("no room for a log");
    assert!(matches!(refused, OpenError::Io(_)));
    assert!(refused.to_string().contains("make room on this disk"), "{refused}");
}

#[test]
fn on_real_files_room_is_asked_for_before_it_is_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = FileDisk::create(directory.path()).expect("made");
    let file = disk.create("huge").expect("made");
    // No disk has room for this.
    let refused = raft_storage::DiskFile::allocate(&file, 1 << 61).expect_err("too much");
    assert_ne!(refused.kind(), std::io::ErrorKind::Unsupported);
    raft_storage::DiskFile::allocate(&file, 1 << 12).expect("that is there");
}

/// A thread on a disk that is full from now on.
fn start(disk: &SimDisk, options: &Options) -> (LogThread<Log<SimDisk>>, Receiver<LogEvent>) {
    let (log, _) = open(disk, options);
    disk.set_capacity(Some(disk.used()));
    let (events, seen) = unbounded();
    let done = move |event| _ = events.send(event);
    (LogThread::spawn(log, Some(64), done).expect("started"), seen)
}

/// A log of 13 entries on a disk with room for a `meta` file and not for a segment, and two writes
/// that wait for that.
fn start_and_fill(
    queue_requests: Option<usize>,
) -> (SimDisk, LogThread<Log<SimDisk>>, Receiver<LogEvent>) {
    let disk = SimDisk::new();
    let (log, _) = open(&disk, &options(8));
    let (events, seen) = unbounded();
    let done = move |event| _ = events.send(event);
    let thread = LogThread::spawn(log, queue_requests, done).expect("started");
    (1..=13).for_each(|index| ask(&thread, numbered(index)));
    persisted(&seen, 13);
    disk.set_capacity(Some(disk.used() + 2 * SECTOR));
    (14..=15).for_each(|index| ask(&thread, numbered(index)));
    room(&seen, Room::Scarce);
    (disk, thread, seen)
}

fn ask(thread: &LogThread<Log<SimDisk>>, request: LogRequest) {
    thread.requests().send(request).expect("taken");
}

fn numbered(index: u64) -> LogRequest {
    LogRequest::Write(Write { id: PersistId::new(index), ..small(index) })
}

/// Waits for an event that `wanted` takes, and returns what it made of it.
fn wait_for<T>(seen: &Receiver<LogEvent>, wanted: impl Fn(LogEvent) -> Option<T>) -> T {
    loop {
        let event = seen.recv_timeout(Duration::from_mins(1)).expect("it comes");
        assert!(!matches!(event, LogEvent::Failed(_)), "{event:?}");
        if let Some(found) = wanted(event) {
            return found;
        }
    }
}

fn persisted(seen: &Receiver<LogEvent>, upto: u64) {
    wait_for(seen, |event| match event {
        LogEvent::Persisted(id) => (id.get() >= upto).then_some(()),
        _ => None,
    });
}

fn room(seen: &Receiver<LogEvent>, expected: Room) {
    wait_for(seen, |event| match event {
        LogEvent::Room(room) => (room == expected).then_some(()),
        _ => None,
    });
}

#[test]
fn a_write_that_there_is_no_room_for_waits_on_its_thread_and_reads_go_on() {
    let disk = SimDisk::new();
    let (thread, seen) = start(&disk, &options(8));
    for index in 1..=9 {
        ask(&thread, numbered(index));
    }
    persisted(&seen, 7);
    room(&seen, Room::Scarce);
    let (first, last) = (Index::new(1), Index::new(7));
    let purpose = ReadPurpose::Apply;
    ask(&thread, LogRequest::Read(ReadLog { purpose, first, last, max_bytes: usize::MAX }));
    let read = wait_for(&seen, |event| match event {
        LogEvent::Read(read) => Some(read.entries.len()),
        LogEvent::Persisted(id) => panic!("{id:?} is not durable"),
        _ => None,
    });
    assert_eq!(read, 7);
    disk.set_capacity(None);
    persisted(&seen, 9);
    room(&seen, Room::Ample);
    ask(&thread, numbered(10));
    persisted(&seen, 10);
    let mut log = thread.finish().expect("it ended well");
    assert_eq!(all_entries(&mut log).len(), 10);
}

#[test]
fn a_waiting_write_gets_the_room_that_compaction_makes() {
    let (_, thread, seen) = start_and_fill(Some(64));
    ask(&thread, LogRequest::Compact(Index::new(7)));
    persisted(&seen, 15);
    room(&seen, Room::Ample);
    let mut log = thread.finish().expect("it ended well");
    assert_eq!(all_entries(&mut log).last().map(|entry| entry.at.index), Some(Index::new(15)));
}

/// More than a batch waited for room, and the compaction that would have made it stood behind that
/// in the queue, where nobody looked: the log waited for itself.
#[test]
fn compaction_makes_room_however_much_is_waiting() {
    const BATCH_WRITES: u64 = 4096;
    let (disk, thread, seen) = start_and_fill(None);
    let last = 15 + 2 * BATCH_WRITES;
    for index in 16..=last {
        ask(&thread, numbered(index));
    }
    ask(&thread, LogRequest::Compact(Index::new(7)));
    persisted(&seen, 15);
    disk.set_capacity(None);
    persisted(&seen, last);
    let mut log = thread.finish().expect("it ended well");
    assert_eq!(all_entries(&mut log).last().map(|entry| entry.at.index), Some(Index::new(last)));
}

#[test]
fn a_thread_that_ends_while_a_write_waits_has_promised_nothing() {
    let disk = SimDisk::new();
    let (thread, seen) = start(&disk, &options(8));
    ask(
        &thread,
        LogRequest::Write(Write { id: PersistId::new(1), ..write(1, 0, vec![noop(1, 1)]) }),
    );
    for index in 2..=20 {
        ask(&thread, numbered(index));
    }
    room(&seen, Room::Scarce);
    let log = thread.finish().expect("it ended well");
    let told = seen.try_iter().filter_map(|event| match event {
        LogEvent::Persisted(id) => Some(id.get()),
        _ => None,
    });
    assert!(told.max().unwrap_or(0) <= 7);
    assert_eq!(log.last().index, Index::new(7));
}
