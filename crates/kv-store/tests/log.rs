//! The log's side: every entry counts, whatever it holds.

mod support;

use kv_proto::{Error, Limits};
use kv_store::Store;

use support::{Fed, entry};

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

#[test]
#[should_panic(expected = "in order, without gaps")]
fn an_entry_that_was_left_out_stops_the_store() {
    let _ = Store::new(Limits::default()).apply(entry(2), b"");
}

#[test]
#[should_panic(expected = "in order, without gaps")]
fn an_entry_that_comes_again_stops_the_store() {
    let mut store = Store::new(Limits::default());
    let _ = store.skip(entry(1));
    let _ = store.skip(entry(1));
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
