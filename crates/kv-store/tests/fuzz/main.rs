//! Pieces of snapshots from peers and from files: see `target`. The corpus is in `tests/corpus`.

#[path = "../../../wire/tests/hunt/mod.rs"]
mod hunt;
mod target;

use std::path::{Path, PathBuf};

use hunt::{corpus, corpus_has, hunt};
use kv_proto::{Command, Delete, Put};
use kv_store::snapshot::{SnapshotError, Verifier};
use kv_store::{Options, Position, Store};
use target::{Decoder, check, pieces};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn strings() -> Vec<Vec<u8>> {
    corpus(&folder())
}

/// A snapshot of a store with so many keys, as a string.
fn snapshot(keys: u64) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a directory for tests");
    let path = dir.path().join("state.redb");
    let mut store = Store::open(&path, &Options::default()).expect("it opens");
    let mut apply = |index, command: Command<'_>| {
        let mut bytes = Vec::new();
        command.encode(&mut bytes).expect("a short key");
        store.apply(Position { term: 1, index }, &bytes).expect("the disk works");
    };
    for index in 1..=keys {
        apply(index, Command::Put(Put::new(format!("key {index}").as_bytes(), b"value")));
    }
    apply(keys + 1, Command::Delete(Delete::key(b"key 1")));
    store.flush().expect("the disk works");
    let mut snapshot = store.snapshot().expect("the disk works").expect("it has a file");
    let mut string = Vec::new();
    while let Some(piece) = snapshot.next_piece().expect("the disk works") {
        let content = &piece[8..];
        let length = u16::try_from(content.len()).expect("a small store");
        string.extend_from_slice(&length.to_le_bytes());
        string.extend_from_slice(content);
    }
    string
}

#[test]
fn the_corpus_has_snapshots() {
    let seeds = [("empty", snapshot(0)), ("small", snapshot(5)), ("more", snapshot(60))];
    assert_eq!(corpus_has(&folder(), &seeds), Ok(()));
    for (name, seed) in seeds {
        let mut verifier = Verifier::default();
        for piece in pieces(&seed) {
            verifier.take(&piece).expect(name);
        }
        verifier.finish().expect("a seed is whole");
    }
}

#[test]
fn whatever_comes_is_refused_or_taken() {
    assert_eq!(hunt(&strings(), 30_000, check::<Verifier>), None);
}

/// Counts a piece before it looks at it.
#[derive(Default)]
struct Hasty(Verifier, u64);

impl Decoder for Hasty {
    fn take(&mut self, piece: &[u8]) -> Result<(), SnapshotError> {
        self.1 += 1;
        self.0.take(piece)
    }

    fn due(&self) -> u64 {
        self.1
    }

    fn ends_whole(self) -> bool {
        self.0.finish().is_ok()
    }
}

#[test]
fn a_decoder_that_counts_what_it_refuses_is_found_out() {
    let found = hunt(&strings(), 30_000, check::<Hasty>).expect("it miscounts");
    assert!(found.why.contains("are counted"), "{}", found.why);
}

/// Believes the length of a name that stands in the piece.
#[derive(Default)]
struct Trusting(Verifier);

impl Decoder for Trusting {
    fn take(&mut self, piece: &[u8]) -> Result<(), SnapshotError> {
        if let Some(length) = piece.get(40) {
            let _ = &piece[41..41 + usize::from(*length)];
        }
        self.0.take(piece)
    }

    fn due(&self) -> u64 {
        self.0.due()
    }

    fn ends_whole(self) -> bool {
        self.0.finish().is_ok()
    }
}

#[test]
fn a_decoder_that_panics_is_found_out() {
    let found = hunt(&strings(), 30_000, check::<Trusting>).expect("it panics");
    assert_eq!(found.why, "it panicked");
}
