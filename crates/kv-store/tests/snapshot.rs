//! A snapshot taken in elsewhere is the store that it was taken of; a damaged one is refused.

mod support;

use std::path::{Path, PathBuf};

use kv_store::snapshot::{Restore, SnapshotError, Verifier, verify};
use kv_store::{Options, Retention, Store};
use tempfile::TempDir;

use support::sim_disk::{Dice, SimDisk};
use support::workload::{apply_until, assert_same, forgetful, reference};

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory for tests");
    let path = dir.path().join("state.redb");
    (dir, path)
}

/// A store with everything in it that a store can have, up to `last`.
fn store(path: &Path, options: &Options, last: u64) -> Store {
    let mut store = Store::open(path, options).expect("it opens");
    apply_until(&mut store, last).expect("the disk works");
    store.flush().expect("the disk works");
    store
}

fn pieces(store: &Store) -> Vec<Vec<u8>> {
    let mut snapshot = store.snapshot().expect("the disk works").expect("it has a file");
    let mut pieces = Vec::new();
    while let Some(piece) = snapshot.next_piece().expect("the disk works") {
        pieces.push(piece);
    }
    pieces
}

fn restore(path: &Path, pieces: &[Vec<u8>]) -> Result<(), SnapshotError> {
    let mut restore = Restore::begin(path)?;
    for piece in pieces {
        restore.take(piece)?;
    }
    Ok(restore.finish()?.put_in_place()?)
}

#[test]
fn what_was_restored_is_the_same_and_goes_on_the_same() {
    for last in [0, 1, 100, 6_000] {
        let (_dir, path) = place();
        let original = store(&path, &forgetful(), last);
        let (_other_dir, other_path) = place();
        restore(&other_path, &pieces(&original)).expect("it is whole");
        let mut restored = Store::open(&other_path, &forgetful()).expect("it opens");
        assert_same(&restored, &original);
        assert_eq!(restored.durable(), original.position());
        apply_until(&mut restored, last + 2_000).expect("the disk works");
        assert_same(&restored, &reference(&forgetful(), last + 2_000));
        drop(restored);
        let again = Store::open(&other_path, &forgetful()).expect("it opens");
        assert_same(&again, &reference(&forgetful(), last + 2_000));
    }
}

#[test]
fn a_snapshot_shows_one_moment_whatever_is_written_and_cleaned_meanwhile() {
    let (_dir, path) = place();
    let retention = Retention { revisions: 2_000, history_bytes: u64::MAX };
    let options = Options { retention, ..forgetful() };
    let mut original = store(&path, &options, 5_000);
    let mut snapshot = original.snapshot().expect("the disk works").expect("it has a file");
    let mut pieces = Vec::new();
    while let Some(piece) = snapshot.next_piece().expect("the disk works") {
        pieces.push(piece);
        let next = original.applied_index() + 500;
        apply_until(&mut original, next).expect("the disk works");
        original.flush().expect("the disk works");
    }
    assert!(pieces.len() > 3, "a header, chunks and an end");
    let (_other_dir, other_path) = place();
    restore(&other_path, &pieces).expect("it is whole");
    let restored = Store::open(&other_path, &options).expect("it opens");
    assert_same(&restored, &reference(&options, 5_000));
}

#[test]
fn a_transport_that_broke_goes_on_where_it_was() {
    let (_dir, path) = place();
    let keep_all = Options { retention: Retention::default(), ..Options::default() };
    let original = store(&path, &keep_all, 9_000);
    let (_other_dir, other_path) = place();
    let mut snapshot = original.snapshot().expect("the disk works").expect("it has a file");
    let mut restore = Restore::begin(&other_path).expect("the disk works");
    let mut dice = Dice(5);
    while let Some(piece) = snapshot.next_piece().expect("the disk works") {
        match dice.roll(3) {
            // It is lost, and asked for again.
            0 => snapshot.go_back_to(restore.next_piece()),
            // It comes twice.
            1 => {
                restore.take(&piece).expect("it is whole");
                let twice = restore.take(&piece).expect_err("another one is due");
                assert!(matches!(
                    twice,
                    SnapshotError::OutOfOrder { .. } | SnapshotError::Damaged { .. }
                ));
            }
            _ => restore.take(&piece).expect("it is whole"),
        }
    }
    let restored = restore.finish().expect("all of it came");
    assert_eq!(restored.position(), original.position());
    restored.put_in_place().expect("the disk works");
    assert_same(&Store::open(&other_path, &keep_all).expect("it opens"), &original);
}

#[test]
fn a_store_goes_on_until_another_takes_its_place() {
    let (_dir, path) = place();
    let original = store(&path, &forgetful(), 3_000);
    let (_other_dir, other_path) = place();
    let mut old = store(&other_path, &forgetful(), 50);
    let mut restore = Restore::begin(&other_path).expect("the disk works");
    for piece in pieces(&original) {
        restore.take(&piece).expect("it is whole");
        let next = old.applied_index() + 1;
        apply_until(&mut old, next).expect("the disk works");
    }
    let restored = restore.finish().expect("all of it came");
    let last = old.applied_index();
    drop(old);
    // The power goes right before the swap: the old one is there, whole.
    assert_same(
        &Store::open(&other_path, &forgetful()).expect("it opens"),
        &reference(&forgetful(), last),
    );
    restored.put_in_place().expect("the disk works");
    assert_same(&Store::open(&other_path, &forgetful()).expect("it opens"), &original);
}

/// A draft gets the name of the state when it is told as finished: by then all of it is durable, or
/// a failure was noticed. What is left of one that was not finished never gets that name.
#[test]
fn whatever_step_of_taking_it_in_fails_what_is_told_as_finished_is_durable_and_whole() {
    let (_dir, path) = place();
    let original = store(&path, &forgetful(), 3_000);
    let sent = pieces(&original);
    let take_in = |disk: &SimDisk| {
        let mut restore = Restore::begin_on(disk.clone(), Path::new("draft"))?;
        sent.iter().try_for_each(|piece| restore.take(piece))?;
        restore.finish().map(drop)
    };
    let whole = SimDisk::default();
    take_in(&whole).expect("the disk works");
    let mut finished = 0;
    for step in 0..=whole.steps() {
        for fail in [SimDisk::fail_power_at, SimDisk::fail_once_at] {
            let disk = SimDisk::default();
            fail(&disk, step);
            if take_in(&disk).is_err() {
                continue;
            }
            finished += 1;
            for keeps in [false, true] {
                let image = disk.after_power_loss(|| keeps);
                let left = SimDisk::with_content(image);
                let left = Store::open_on(left, Path::new("draft"), &forgetful());
                assert_same(&left.expect("it was told as finished"), &original);
            }
        }
    }
    let steps = whole.steps();
    assert!((2..steps).contains(&finished), "{finished} of twice {steps} were finished");
}

#[test]
fn a_restore_that_was_given_up_leaves_the_old_store_and_is_begun_again() {
    let (_dir, path) = place();
    let original = store(&path, &forgetful(), 3_000);
    let sent = pieces(&original);
    let (_other_dir, other_path) = place();
    drop(store(&other_path, &forgetful(), 50));
    for taken in 0..sent.len() {
        let mut restore = Restore::begin(&other_path).expect("the disk works");
        for piece in &sent[..taken] {
            restore.take(piece).expect("it is whole");
        }
        let error = restore.finish().expect_err("the end has not come");
        assert!(matches!(error, SnapshotError::Unfinished { due } if due == taken as u64));
        let old = Store::open(&other_path, &forgetful()).expect("it opens");
        assert_same(&old, &reference(&forgetful(), 50));
    }
    restore(&other_path, &sent).expect("it is whole");
    assert_same(&Store::open(&other_path, &forgetful()).expect("it opens"), &original);
}

#[test]
fn every_damaged_missing_or_foreign_piece_is_refused_and_the_right_one_still_taken() {
    let (_dir, path) = place();
    let sent = pieces(&store(&path, &forgetful(), 4_000));
    let (_foreign_dir, foreign_path) = place();
    let foreign = pieces(&store(&foreign_path, &forgetful(), 4_500));
    let (_other_dir, other_path) = place();
    let mut restore = Restore::begin(&other_path).expect("the disk works");
    let mut dice = Dice(6);
    for (number, piece) in sent.iter().enumerate() {
        for _ in 0..50 {
            let mut damaged = piece.clone();
            let at = usize::try_from(dice.roll(piece.len() as u64)).expect("small");
            match dice.roll(3) {
                0 => damaged[at] ^= 1 << dice.roll(8),
                1 => damaged.truncate(at),
                _ => damaged.insert(at, 0),
            }
            assert!(restore.take(&damaged).is_err(), "piece {number}");
        }
        if let Some(later) = sent.get(number + 1) {
            assert!(restore.take(later).is_err(), "piece {number} left out");
        }
        restore.take(piece).expect("the right one");
    }
    assert!(restore.take(&sent[0]).is_err(), "it is over");
    restore.finish().expect("all of it came").put_in_place().expect("the disk works");

    // A chunk of another snapshot fits in its place, but not into the whole.
    let mut mixed = sent.clone();
    mixed[1].clone_from(&foreign[1]);
    if mixed != sent {
        assert!(restore_fails(&mixed));
    }
    for missing in 0..sent.len() {
        let mut short = sent.clone();
        short.remove(missing);
        assert!(restore_fails(&short), "without piece {missing}");
    }
}

fn restore_fails(pieces: &[Vec<u8>]) -> bool {
    let (dir, path) = place();
    let failed = restore(&path, pieces).is_err();
    assert!(!failed || !path.exists(), "something was put in place in {}", dir.path().display());
    failed
}

#[test]
fn a_file_of_pieces_is_verified_without_a_store() {
    let (_dir, path) = place();
    let original = store(&path, &forgetful(), 2_000);
    let file = pieces(&original).concat();
    let summary = verify(&mut file.as_slice()).expect("it is whole");
    assert_eq!(summary.position, original.position());
    assert_eq!((summary.position.index, summary.state_digest), original.digest());
    let versions = original.stats().live_keys + original.stats().superseded_versions;
    assert!(summary.records >= versions, "deletions are records too");
    for cut in [0, 7, 100, file.len() / 2, file.len() - 1] {
        assert!(verify(&mut &file[..cut]).is_err(), "cut at {cut}");
    }
    let mut longer = file.clone();
    longer.push(0);
    assert!(verify(&mut longer.as_slice()).is_err(), "something follows");
    assert!(verify(&mut [0x55; 1000].as_slice()).is_err(), "that is no snapshot");
}

#[test]
fn a_store_in_memory_has_no_snapshot() {
    assert!(Store::new(Options::default().limits).snapshot().expect("no disk").is_none());
}

/// A snapshot used to show the store at its durable position, up to half a second before what had
/// been acknowledged: a backup could lack the write that was just confirmed.
#[test]
fn a_door_to_snapshots_shows_all_that_was_applied_when_it_was_given_away() {
    let (_dir, path) = place();
    let mut original = Store::open(&path, &forgetful()).expect("it opens");
    for last in [10, 500, 501, 2_000] {
        apply_until(&mut original, last).expect("the disk works");
        let door = original.snapshots().expect("it has a file");
        let taken = std::thread::spawn(move || door.take().expect("the disk works"));
        let mut snapshot = taken.join().expect("it does not panic");
        assert!(snapshot.position().index >= last);
        let mut verifier = Verifier::default();
        let mut before = 0;
        while let Some(piece) = snapshot.next_piece().expect("the disk works") {
            assert!(!snapshot.is_over() || snapshot.next_piece().expect("it works").is_none());
            let (done, total) = snapshot.progress();
            assert!(before <= done && done <= total, "{done} of {total}, after {before}");
            before = done;
            verifier.take(&piece).expect("it is whole");
        }
        assert!(snapshot.is_over());
        let summary = verifier.finish().expect("it is whole");
        assert_eq!(summary.state_digest, original.digest().1);
        let (done, total) = snapshot.progress();
        assert_eq!(done, total);
    }
}

#[test]
fn the_members_of_the_old_cluster_do_not_come_along_if_they_are_to_be_forgotten() {
    let (_dir, path) = place();
    let mut original = store(&path, &forgetful(), 100);
    let at = kv_store::Position { index: 101, ..original.position() };
    original.set_members(at, b"three of them").expect("the disk works");
    original.flush().expect("the disk works");
    let (_other_dir, other_path) = place();
    let mut anew = Restore::begin(&other_path).expect("it begins");
    anew.forget_members();
    for piece in &pieces(&original) {
        anew.take(piece).expect("it is whole");
    }
    anew.finish().expect("it is whole").put_in_place().expect("the disk works");
    let restored = Store::open(&other_path, &forgetful()).expect("it opens");
    assert_eq!((restored.members(), restored.digest()), ([].as_slice(), original.digest()));
    original.forget_members().expect("the disk works");
    drop(original);
    let again = Store::open(&path, &forgetful()).expect("it opens");
    assert_eq!((again.members(), again.position()), ([].as_slice(), at));
}
