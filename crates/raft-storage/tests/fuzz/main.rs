//! Records that no version of this program writes: see `target`. The corpus is in `tests/corpus`.
//!
//! With the feature `planted-bugs` the decoder of records makes a mistake, which has to be found.

#[path = "../common/mod.rs"]
mod common;
#[path = "../../../wire/tests/hunt/mod.rs"]
mod hunt;
mod target;

use std::path::{Path, PathBuf};

use hunt::{Found, corpus, corpus_has, hunt};
use target::check;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// Edits by name: sector, place, value.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let edit = |sector: u8, place: u16, value: u8| {
        let [low, high] = place.to_le_bytes();
        [sector, low, high, value]
    };
    vec![
        ("none", Vec::new()),
        ("header-of-segment", edit(0, 72, 9).to_vec()),
        ("size-of-segment", edit(0, 47, 1).to_vec()),
        ("smaller-than-its-records", edit(0, 44, 3).to_vec()),
        ("count-of-entries", edit(1, 36, 2).to_vec()),
        ("index-before", edit(3, 40, 1).to_vec()),
        ("flags", edit(2, 4, 4).to_vec()),
        ("length-of-payload", edit(4, 28, 3).to_vec()),
        ("term-of-entry", edit(1, 96, 7).to_vec()),
        ("kind-of-entry", edit(1, 104, 2).to_vec()),
        ("two", [edit(1, 108, 1), edit(5, 64, 200)].concat()),
    ]
}

fn hunted() -> Option<Found> {
    hunt(&corpus(&folder()), 6_000, check)
}

#[test]
fn the_corpus_has_an_edit_of_every_kind() {
    assert_eq!(corpus_has(&folder(), &seeds()), Ok(()));
}

#[test]
fn sealing_again_changes_nothing() {
    let (disk, _) = target::written();
    let log_id = disk.bytes("meta")[16..24].to_vec();
    let mut segment = disk.bytes("00000001.log");
    target::seal_all(&log_id, &mut segment);
    assert_eq!(segment, disk.bytes("00000001.log"), "the edits are sealed as the log seals");
}

#[cfg(not(feature = "planted-bugs"))]
#[test]
fn whatever_a_record_says_the_log_holds_together() {
    assert_eq!(hunted(), None);
}

#[cfg(feature = "planted-bugs")]
#[test]
fn a_decoder_that_believes_a_length_is_found_out() {
    let found = hunted().expect("the mistake is found");
    assert!(found.why.contains("the log should end at"), "{found:?}");
}
