//! raft-storage: a record staged, sealed, written and synced, in a file of its own directory. What
//! the system does for it does not count.

use std::slice;

use raft_core::{HardState, Index, NodeId, PersistId, Write};
use raft_storage::{FileDisk, Log, Options};

use crate::samples::{self, TERM};

/// Writes so many entries at each step.
pub(crate) fn append(entries: u64, steps: u32) -> Box<dyn FnMut()> {
    let directory = tempfile::tempdir().expect("a directory for a log");
    let disk = FileDisk::create(directory.path()).expect("a directory that was just made");
    let options = Options {
        // One segment is enough: making others is no part of the path.
        segment_bytes: 64 << 20,
        reserve_bytes: 0,
        background: false,
        ..Options::new(NodeId::new(1), 1, "hot-paths")
    };
    let (mut log, _) = Log::open(disk, &options).expect("an empty directory");
    let mut writes = (0..u64::from(steps)).map(|step| write(step, entries)).collect::<Vec<_>>();
    writes.reverse();
    Box::new(move || {
        let _ = &directory;
        let write = writes.pop().expect("there is one for each step");
        log.append(slice::from_ref(&write)).expect("the disk works");
    })
}

fn write(step: u64, entries: u64) -> Write {
    let after = Index::new(step * entries);
    Write {
        id: PersistId::new(step + 1),
        hard_state: HardState { term: TERM, ..HardState::default() },
        commit: after,
        reset: None,
        entries: samples::entries(after, entries),
    }
}
