//! A snapshot that comes to a disk with too little room for it: every amount of room, from none to
//! enough. Each is a small file system in memory, which takes the right to mount one: without it,
//! this test says so and does nothing.

mod support;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use kv_store::snapshot::{Restore, Restored, SnapshotError, remove_draft};
use kv_store::{Options, Retention, Store};

use support::workload::{apply_until, assert_same, reference};

const KIB: usize = 1 << 10;
const DISK_KIB: usize = 16 << 10;

/// How far apart the amounts of room are.
const STEP_KIB: usize = 96;

/// What was applied to the store that is there, and to the one that comes.
const OLD: u64 = 300;
const NEW: u64 = 9_000;

/// A file system of its own, unmounted when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one; `None`, and says why, if that is not allowed.
    fn mount(path: &Path) -> Option<Self> {
        let size = format!("size={DISK_KIB}k,mode=0700");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(path).output();
        match mount {
            Ok(done) if done.status.success() => Some(Self(path.to_owned())),
            Ok(done) => {
                let why = String::from_utf8_lossy(&done.stderr).into_owned();
                eprintln!("skipped: a small disk cannot be mounted here: {}", why.trim());
                None
            }
            Err(error) => {
                eprintln!("skipped: there is no `mount` here: {error}");
                None
            }
        }
    }

    /// Leaves so much room.
    fn leave(&self, room_bytes: usize) {
        let mut ballast = fs::File::create(self.ballast()).expect("a file");
        let mut filled = 0;
        while let Ok(count) = ballast.write(&[1; 4 * KIB]) {
            filled += count as u64;
        }
        ballast.set_len(filled.saturating_sub(room_bytes as u64)).expect("shorter");
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).expect("it is there");
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a test that fails may still have a file open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn options() -> Options {
    Options { retention: Retention::default(), ..Options::default() }
}

fn open(path: &Path, last: u64) -> Store {
    let mut store = Store::open(path, &options()).expect("it opens");
    apply_until(&mut store, last).expect("there is room");
    store.flush().expect("there is room");
    store
}

fn pieces(store: &Store) -> Vec<Vec<u8>> {
    let mut snapshot = store.snapshot().expect("the disk works").expect("it has a file");
    let pieces = std::iter::from_fn(|| snapshot.next_piece().expect("the disk works"));
    pieces.collect()
}

fn take_in(path: &Path, pieces: &[Vec<u8>]) -> Result<Restored, SnapshotError> {
    let mut restore = Restore::begin(path)?;
    for piece in pieces {
        restore.take(piece)?;
    }
    restore.finish()
}

#[test]
fn a_snapshot_finds_its_place_or_takes_nothing_whatever_room_there_is() {
    let dir = tempfile::tempdir().expect("a directory for tests");
    let place = dir.path().join("small");
    fs::create_dir(&place).expect("a directory");
    let Some(disk) = SmallDisk::mount(&place) else { return };
    let sent = pieces(&open(&dir.path().join("sent.redb"), NEW));
    let (old, new) = (reference(&options(), OLD), reference(&options(), NEW));
    let path = place.join("state.redb");
    let mut refused = 0;
    for room_bytes in (0..).step_by(STEP_KIB * KIB) {
        let mut store = open(&path, OLD);
        disk.leave(room_bytes);
        match take_in(&path, &sent) {
            Err(SnapshotError::NoRoom { .. }) => {
                refused += 1;
                remove_draft(&path).expect("it can be removed");
                // It goes on, and is there as it was when it is opened again without any room.
                disk.leave(0);
                apply_until(&mut store, OLD + 1).expect("it waits for no disk");
                drop(store);
                let mut store = Store::open(&path, &options()).expect("it opens on a full disk");
                apply_until(&mut store, OLD + 1).expect("the log has it");
                drop(store);
                disk.free();
                assert_same(&open(&path, OLD + 1), &reference(&options(), OLD + 1));
                fs::remove_file(&path).expect("it is there");
            }
            Err(other) => panic!("with room for {room_bytes} bytes: {other}"),
            Ok(restored) => {
                assert_same(&store, &old);
                drop(store);
                disk.leave(0);
                restored.put_in_place().expect("a name is all it takes");
                disk.leave(0);
                assert_same(&Store::open(&path, &options()).expect("it opens"), &new);
                break;
            }
        }
    }
    assert!(refused > 5, "the steps are too large: {refused} were refused");
    // Each run of this test once left its disk mounted, and its directory with it.
    drop(disk);
    fs::remove_dir(&place).expect("nothing is mounted there any more");
}
