//! A log on its thread: everything is answered, in order, and a failure is the last word.

mod common;

use common::{SimDisk, all_entries, filler, noop, open, options, write};
use crossbeam_channel::{Receiver, unbounded};
use raft_core::{Index, LogRead, PersistId, ReadLog, ReadPurpose, Write};
use raft_storage::thread::{LogEvent, LogFailure, LogRequest, LogThread};
use raft_storage::{Log, MemoryLog};

fn numbered(id: u64, write: Write) -> LogRequest {
    LogRequest::Write(Write { id: PersistId::new(id), ..write })
}

fn read(first: u64, last: u64) -> LogRequest {
    LogRequest::Read(ReadLog {
        purpose: ReadPurpose::Apply,
        first: Index::new(first),
        last: Index::new(last),
        max_bytes: usize::MAX,
    })
}

/// A thread whose queue is filled before it starts, so that the batches are known.
fn start_with(
    disk: &SimDisk,
    requests: Vec<LogRequest>,
) -> (LogThread<Log<SimDisk>>, Receiver<LogEvent>) {
    let (log, _) = open(disk, &options(64));
    let (events, seen) = unbounded();
    let (go, ready) = unbounded::<()>();
    let mut is_first = true;
    let done = move |event| {
        // The first event waits until the rest is in the queue.
        if std::mem::take(&mut is_first) {
            let _ = ready.recv();
        }
        let _ = events.send(event);
    };
    let thread = LogThread::spawn(log, Some(requests.len() + 1), done).expect("started");
    for request in requests {
        thread.requests().send(request).expect("there is room");
    }
    drop(go);
    (thread, seen)
}

#[test]
fn writes_are_synced_together_and_reads_see_what_was_written_before_them() {
    let disk = SimDisk::new();
    let mut requests = vec![numbered(1, write(1, 0, vec![noop(1, 1)]))];
    requests.extend((2..=9).map(|n| numbered(n, write(1, n - 1, vec![filler(1, n, 50)]))));
    requests.push(read(1, 9));
    requests.push(numbered(10, write(1, 9, vec![noop(1, 10)])));
    requests.push(read(11, 11));
    let (thread, seen) = start_with(&disk, requests);
    let mut log = thread.finish().expect("it ended well");
    let mut persisted = Vec::new();
    let mut reads: Vec<LogRead> = Vec::new();
    for event in seen {
        match event {
            LogEvent::Persisted(id) => persisted.push(id.get()),
            LogEvent::Read(read) => {
                assert_eq!(persisted.last(), Some(&if reads.is_empty() { 9 } else { 10 }));
                reads.push(read);
            }
            LogEvent::Room(room) => panic!("the disk is not full: {room:?}"),
            LogEvent::Failed(failure) => panic!("{failure}"),
        }
    }
    assert_eq!(persisted.last(), Some(&10));
    assert!(persisted.is_sorted());
    let indexes: Vec<u64> = reads[0].entries.iter().map(|entry| entry.at.index.get()).collect();
    assert_eq!(indexes, (1..=9).collect::<Vec<_>>());
    assert!(reads[1].entries.is_empty(), "an entry that is not there is no failure");
    assert_eq!(all_entries(&mut log).len(), 10);
}

#[test]
fn a_full_queue_is_synced_in_one_go() {
    let disk = SimDisk::new();
    // The thread waits in its first answer until all of these are queued.
    let requests = (1..=50).map(|n| numbered(n, write(1, n - 1, vec![noop(1, n)]))).collect();
    let (thread, seen) = start_with(&disk, requests);
    thread.finish().expect("it ended well");
    let answers = seen.iter().count();
    let syncs = disk.history().iter().filter(|it| *it == "sync 00000001.log").count();
    assert!(answers < 50, "{answers} answers to 50 writes");
    // One sync when the log was opened.
    assert_eq!(syncs, answers + 1, "one sync an answer");
}

/// With values of 64 KiB, 64 MiB of writes waited in a leader's log. What it read back for a
/// follower that had fallen behind waited behind all of them, a mebibyte each time: the follower
/// got 4 MB a second, of 160 MB a second that the other got, and was ever further behind.
#[test]
fn a_read_goes_before_the_writes_that_wait_if_there_is_no_bound() {
    let (events, seen) = unbounded();
    let (go, ready) = unbounded::<()>();
    let done = move |event| {
        let _ = events.send(event);
        // Nothing more is carried out before the rest is in the queue.
        let _ = ready.recv();
    };
    let thread = LogThread::spawn(MemoryLog::new(), None, done).expect("started");
    let send = |request| thread.requests().send(request).expect("it has no bound");
    send(numbered(1, write(1, 0, vec![noop(1, 1)])));
    let mut told = vec![told(&seen.recv().expect("it is written"))];
    (2..=50).for_each(|n| send(numbered(n, write(1, n - 1, vec![noop(1, n)]))));
    send(read(1, 50));
    send(read(1, 1));
    drop(go);
    thread.finish().expect("it ended well");
    told.extend(seen.iter().map(|event| self::told(&event)));
    assert_eq!(told, ["durable up to 1", "1 read", "durable up to 50", "50 read"]);
}

fn told(event: &LogEvent) -> String {
    match event {
        LogEvent::Persisted(id) => format!("durable up to {}", id.get()),
        LogEvent::Read(read) => format!("{} read", read.entries.len()),
        LogEvent::Room(_) | LogEvent::Failed(_) => panic!("a log in order: {event:?}"),
    }
}

#[test]
fn a_failed_sync_is_reported_once_and_ends_the_thread() {
    let disk = SimDisk::new();
    let (log, _) = open(&disk, &options(64));
    disk.fail_next_sync();
    let (events, seen) = unbounded();
    let thread = LogThread::spawn(log, Some(4), move |event| {
        let _ = events.send(event);
    })
    .expect("started");
    thread.requests().send(numbered(1, write(1, 0, vec![noop(1, 1)]))).expect("taken");
    let events: Vec<LogEvent> = seen.iter().collect();
    assert!(matches!(events[..], [LogEvent::Failed(LogFailure::Write(_))]), "{events:?}");
    let refused = thread.requests().send(numbered(2, write(1, 0, vec![noop(1, 1)])));
    assert!(refused.is_err(), "nobody takes requests any more");
    assert!(thread.finish().is_some());
}

#[test]
fn a_log_in_memory_runs_on_a_thread_too() {
    let (events, seen) = unbounded();
    let thread = LogThread::spawn(MemoryLog::new(), Some(4), move |event| {
        let _ = events.send(event);
    })
    .expect("started");
    thread.requests().send(numbered(1, write(1, 0, vec![noop(1, 1)]))).expect("taken");
    assert!(matches!(seen.recv(), Ok(LogEvent::Persisted(id)) if id == PersistId::new(1)));
    let log = thread.finish().expect("it ended well");
    assert_eq!(log.last().index, Index::new(1));
}

#[test]
fn a_log_is_cut_behind_the_writes_that_were_queued_before() {
    let (events, seen) = unbounded();
    let thread = LogThread::spawn(MemoryLog::new(), Some(8), move |event| _ = events.send(event))
        .expect("started");
    let requests = [
        numbered(1, write(1, 0, vec![noop(1, 1), noop(1, 2), noop(1, 3)])),
        LogRequest::Compact(Index::new(2)),
        read(3, 3),
    ];
    for request in requests {
        thread.requests().send(request).expect("there is room");
    }
    let log = thread.finish().expect("it ended well");
    assert_eq!((log.start().index, log.last().index), (Index::new(2), Index::new(3)));
    let entries = seen.iter().find_map(|event| match event {
        LogEvent::Read(read) => Some(read.entries.len()),
        _ => None,
    });
    assert_eq!(entries, Some(1), "what is kept can be read");
}
