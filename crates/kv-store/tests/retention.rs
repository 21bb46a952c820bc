//! The past is forgotten: in bounded steps, without anybody's help, and alike everywhere.

mod support;

use kv_proto::{Command, Compact, CompactReply, Error, Range, Reply, Revision};
use kv_store::Retention;

use support::{Fed, at};

/// What a superseded version counts beyond its key and value.
const OVERHEAD_BYTES: u64 = 160;

#[test]
fn the_last_ten_thousand_revisions_can_be_read_by_default() {
    assert_eq!(Retention::default().revisions, 10_000);
    let mut fed = Fed::new();
    for number in 0..12_000 {
        fed.put("a", &number.to_string());
    }
    assert_eq!((fed.revision(), fed.store.compacted_revision().get()), (12_001, 2_001));
    assert_eq!(fed.value_at("a", 2_001), Ok(Some("1999".into())));
    assert!(matches!(fed.value_at("a", 2_000), Err(Error::Compacted { .. })));
    // The oldest readable revision needs the version that it sees, and none before.
    assert_eq!(fed.store.stats().superseded_versions, 10_001);
}

#[test]
fn a_key_that_is_never_put_again_is_never_forgotten() {
    let mut fed = Fed::with_retention(3, u64::MAX);
    fed.put("old", "and loved");
    for _ in 0..100 {
        fed.put("busy", "x");
    }
    assert_eq!(fed.get("old").map(|kv| kv.mod_revision), Some(Revision::new(2)));
    assert_eq!(fed.value_at("old", fed.revision() - 3), Ok(Some("and loved".into())));
}

#[test]
fn nothing_is_left_of_keys_that_came_and_went() {
    let mut fed = Fed::with_retention(10, u64::MAX);
    for number in 0..1_000 {
        let key = format!("key/{number}");
        fed.put(&key, "value");
        fed.delete(&key, "");
    }
    let stats = fed.store.stats();
    assert_eq!(stats.live_keys, 0);
    assert!(stats.superseded_versions <= 6, "five deletions in eleven revisions: {stats:?}");
    for _ in 0..20 {
        fed.put("another", "value");
    }
    assert_eq!(fed.store.stats().live_keys, 1);
}

#[test]
fn large_values_shorten_the_past_but_never_take_the_current_revision() {
    let value = "v".repeat(1_000);
    let each = 1 + 1_000 + OVERHEAD_BYTES;
    let mut fed = Fed::with_retention(u64::MAX, 5 * each);
    for _ in 0..100 {
        let revision = fed.put("a", &value);
        assert_eq!(fed.value_at("a", revision), Ok(Some(value.clone())));
        let stats = fed.store.stats();
        assert!(stats.superseded_bytes <= 5 * each, "{stats:?}");
    }
    assert_eq!(fed.store.stats().superseded_versions, 5);
    assert_eq!(fed.store.compacted_revision().get(), fed.revision() - 4);

    let mut greedy = Fed::with_retention(u64::MAX, 0);
    greedy.put("a", "1");
    greedy.delete("a", "");
    assert_eq!(greedy.value_at("a", 3), Ok(None));
    assert_eq!(greedy.store.compacted_revision().get(), 1, "nothing newer than 3 to read at");
    greedy.put("b", "1");
    assert_eq!(greedy.store.compacted_revision().get(), 4);
    assert_eq!(greedy.store.stats().superseded_versions, 0);
}

#[test]
fn a_great_delete_is_forgotten_little_by_little() {
    let mut fed = Fed::with_retention(1, u64::MAX);
    for number in 0..1_000 {
        fed.put(&format!("key/{number:04}"), "value");
    }
    assert_eq!(fed.delete("key/", "key0"), 1_000);
    let mut left = fed.store.stats().superseded_versions;
    assert_eq!(left, 1_000);
    let mut writes = 0;
    // What the last two revisions superseded stays.
    while left > 2 {
        fed.put("busy", "x");
        let now = fed.store.stats().superseded_versions;
        assert!(left.saturating_sub(now) <= 18, "{left} to {now} in one step");
        left = now;
        writes += 1;
        assert!(writes < 100, "the past is forgotten faster than it grows");
    }
    let deleted = fed.store.range(&at(Range::prefix(b"key/"), fed.revision()));
    assert_eq!(deleted.map(|reply| reply.count), Ok(0));
}

#[test]
fn commands_that_fail_and_entries_without_a_command_do_not_shorten_the_past() {
    let mut fed = Fed::with_retention(2, u64::MAX);
    fed.put("a", "1");
    fed.put("a", "2");
    for index in 3..100 {
        match index % 2 {
            0 => fed.skip(),
            _ => assert!(fed.apply_bytes(b"garbage").result.is_err()),
        }
    }
    assert_eq!(fed.value_at("a", 2), Ok(Some("1".into())));
}

fn compact(fed: &mut Fed, compact: Compact) -> Result<u64, Error> {
    match fed.apply(Command::Compact(compact)).result? {
        Reply::Compact(CompactReply { compacted, .. }) => Ok(compacted.get()),
        other => panic!("a compaction was answered with {other:?}"),
    }
}

#[test]
fn a_compaction_forgets_what_lies_before_the_revision_that_it_names() {
    let mut fed = Fed::new();
    for number in 0..100 {
        fed.put("a", &number.to_string());
    }
    assert_eq!(compact(&mut fed, Compact::Revision(Revision::new(51))), Ok(51));
    assert_eq!(fed.revision(), 101, "no revision of its own");
    assert_eq!(fed.value_at("a", 51), Ok(Some("49".into())), "legal at the compacted revision");
    assert!(matches!(fed.value_at("a", 50), Err(Error::Compacted { .. })));
    assert_eq!(fed.store.stats().superseded_versions, 51);
    let at = |revision| Compact::Revision(Revision::new(revision));
    assert!(matches!(compact(&mut fed, at(51)), Err(Error::Compacted { .. })), "done already");
    assert!(matches!(compact(&mut fed, at(102)), Err(Error::FutureRevision { .. })));
    assert_eq!(compact(&mut fed, Compact::Keep(10)), Ok(91));
    assert_eq!(compact(&mut fed, Compact::Keep(u64::MAX)), Ok(91), "there is nothing to do");
    assert_eq!(compact(&mut fed, Compact::Keep(0)), Ok(101));
    assert_eq!(fed.value_at("a", 101), Ok(Some("99".into())));
}

#[test]
fn a_compaction_takes_bounded_steps_and_the_rest_goes_with_what_follows() {
    let mut fed = Fed::with_retention(u64::MAX, u64::MAX);
    for number in 0..6_000 {
        fed.put("a", &number.to_string());
    }
    let answer = fed.apply(Command::Compact(Compact::Keep(0))).result;
    let overdue = fed.store.stats().overdue_versions;
    let compacted = Revision::new(6_001);
    assert_eq!(answer, Ok(Reply::Compact(CompactReply { compacted, overdue })));
    assert_eq!(overdue, 5_998 - 4_096, "the first put superseded nothing, the last is current");
    for _ in 0..overdue.div_ceil(16) {
        fed.skip();
    }
    assert_eq!(fed.store.stats().overdue_versions, overdue, "an empty entry forgets nothing");
    assert_eq!(compact(&mut fed, Compact::Keep(u64::MAX)), Ok(6_001));
    assert_eq!(fed.store.stats().overdue_versions, 0);
}

/// Nodes may keep different amounts of the past. A compaction that one of them has done already
/// was an error there and none elsewhere, which must not make their digests differ.
#[test]
fn replicas_that_keep_different_pasts_have_equal_digests() {
    let mut few = Fed::with_retention(5, u64::MAX);
    let mut many = Fed::with_retention(1_000, u64::MAX);
    for fed in [&mut few, &mut many] {
        for number in 0..20 {
            fed.put("a", &number.to_string());
        }
    }
    let asked = Compact::Revision(Revision::new(10));
    assert!(matches!(compact(&mut few, asked), Err(Error::Compacted { .. })));
    assert_eq!(compact(&mut many, asked), Ok(10));
    assert_eq!(few.store.digest(), many.store.digest());
}
