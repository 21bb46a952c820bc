//! The log's side: every entry counts, whatever it holds.

mod support;

use kv_proto::{Command, Error, Put};
use kv_store::StoreError;

use support::{Fed, encode, entry};

#[test]
fn every_entry_moves_the_applied_index_by_one() {
    let mut fed = Fed::new();
    assert_eq!(fed.store.applied_index(), 0);
    fed.skip();
    fed.put("a", "1");
    assert!(fed.apply_bytes(b"garbage").result.is_err());
    assert_eq!(fed.store.applied_index(), 3);
    assert_eq!(fed.store.digest().0, 3);
}

#[test]
fn bytes_that_are_no_command_are_refused_and_change_nothing() {
    let mut fed = Fed::new();
    fed.put("a", "1");
    for bytes in [b"".as_slice(), b"\0", b"\x01", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
        let applied = fed.apply_bytes(bytes);
        assert!(matches!(applied.result, Err(Error::Malformed { .. })), "{applied:?}");
        assert_eq!(applied.revision.get(), 2);
    }
}

/// Whatever lost or repeated an entry on the way from the log, the state after it is not the one
/// that the others have; so the store says which entry is due, and stays at the one before it.
#[test]
fn an_entry_that_was_left_out_or_comes_again_is_refused_and_changes_nothing() {
    let mut fed = Fed::new();
    fed.put("a", "1");
    fed.skip();
    let before = fed.store.digest();
    for wrong in [0, 1, 2, 4, u64::MAX] {
        let put = encode(&Command::Put(Put::new(b"a", b"2")));
        let refusals = [
            fed.store.apply(entry(wrong), &put).map(|_| ()),
            fed.store.skip(entry(wrong)),
            fed.store.set_members(entry(wrong), b"members"),
        ];
        for refusal in refusals {
            let error = refusal.expect_err("out of order");
            assert!(
                matches!(error, StoreError::OutOfOrder { due: 3, came } if came == wrong),
                "{error}"
            );
        }
    }
    assert_eq!(fed.store.digest(), before);
    assert_eq!(fed.store.members(), b"");
    fed.put("a", "2");
}

#[test]
fn the_digest_tells_apart_what_a_read_would_tell_apart_and_more() {
    let stories: [fn(&mut Fed); 7] = [
        |_| (),
        |fed| fed.skip(),
        |fed| _ = fed.put("a", "1"),
        |fed| _ = fed.put("a", "2"),
        |fed| _ = fed.put("b", "1"),
        |fed| _ = fed.delete("a", ""),
        |fed| _ = fed.apply_bytes(b"garbage"),
    ];
    let mut digests: Vec<u64> = stories
        .iter()
        .map(|story| {
            let mut fed = Fed::new();
            story(&mut fed);
            fed.store.digest().1
        })
        .collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), stories.len(), "two stories have one digest");
}
