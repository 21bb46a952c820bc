//! What every call means: one story or more for each rule of the data model, in its order.

mod support;

use kv_proto::{
    Command, Delete, Direction, Error, LeaseChange, LeaseId, Limits, Part, Put, Range, Revision,
    SortBy,
};

use support::{Fed, at, encode, text};

#[test]
fn rule_01_a_fresh_store_is_at_revision_1_and_its_first_write_makes_2() {
    let mut fed = Fed::new();
    assert_eq!(fed.revision(), 1);
    assert_eq!(fed.put("a", "1"), 2);
    assert_eq!(fed.put("b", "1"), 3);
}

#[test]
fn rule_01_a_command_makes_one_revision_however_many_keys_it_changes() {
    let mut fed = Fed::new();
    for key in ["a", "b", "c"] {
        fed.put(key, "1");
    }
    assert_eq!(fed.delete("a", "z"), 3);
    assert_eq!(fed.revision(), 5);
}

#[test]
fn rule_02_a_delete_that_removes_nothing_does_not_advance_the_revision() {
    let mut fed = Fed::new();
    fed.put("a", "1");
    assert_eq!(fed.delete("b", ""), 0);
    assert_eq!(fed.delete("b", "z"), 0);
    assert_eq!(fed.delete("a", ""), 1);
    assert_eq!(fed.delete("a", ""), 0, "it is gone already");
    assert_eq!(fed.revision(), 3);
}

#[test]
fn rule_03_a_key_tells_its_revisions_and_how_often_it_was_put() {
    let mut fed = Fed::new();
    fed.put("other", "x");
    fed.put("a", "1");
    fed.put("a", "2");
    let kv = fed.get("a").expect("it exists");
    assert_eq!((kv.create_revision, kv.mod_revision), (Revision::new(3), Revision::new(4)));
    assert_eq!((kv.version, kv.lease, text(&kv.value)), (2, None, "2".into()));
}

#[test]
fn rule_03_a_put_after_a_delete_starts_again_at_version_1() {
    let mut fed = Fed::new();
    fed.put("a", "1");
    fed.put("a", "2");
    fed.delete("a", "");
    fed.put("a", "3");
    let kv = fed.get("a").expect("it exists again");
    assert_eq!((kv.version, kv.create_revision.get(), kv.mod_revision.get()), (1, 5, 5));
}

#[test]
fn rule_04_the_header_has_the_current_revision_whatever_the_command_did() {
    let mut fed = Fed::new();
    assert_eq!(fed.apply(Command::Put(Put::new(b"a", b"1"))).revision.get(), 2);
    assert_eq!(fed.apply(Command::Delete(Delete::key(b"none"))).revision.get(), 2);
    assert_eq!(fed.apply(Command::Put(Put::new(b"", b"1"))).revision.get(), 2);
    fed.range(&at(Range::key("a"), 1));
    assert_eq!(fed.revision(), 2, "reading an old revision does not go back to it");
}

#[test]
fn rule_05_a_read_at_an_old_revision_sees_the_store_as_it_was() {
    let mut fed = Fed::new();
    fed.put("a", "1");
    fed.put("a", "2");
    fed.delete("a", "");
    fed.put("a", "3");
    let seen: Vec<_> = (1..=5).map(|revision| fed.value_at("a", revision)).collect();
    let value = |value: &str| Ok(Some(value.to_owned()));
    assert_eq!(seen, [Ok(None), value("1"), value("2"), Ok(None), value("3")]);
}

#[test]
fn rule_05_a_read_in_the_future_is_an_error_that_tells_the_current_revision() {
    let mut fed = Fed::new();
    fed.put("a", "1");
    let (asked, current) = (Revision::new(3), Revision::new(2));
    assert_eq!(fed.value_at("a", 3), Err(Error::FutureRevision { asked, current }));
}

#[test]
fn rule_05_a_read_below_the_compacted_revision_is_an_error_and_at_it_is_legal() {
    let mut fed = Fed::with_retention(2, u64::MAX);
    assert_eq!(fed.value_at("a", 1), Ok(None), "a fresh store can be read at its start");
    for value in ["1", "2", "3", "4"] {
        fed.put("a", value);
    }
    let compacted = Revision::new(3);
    assert_eq!((fed.revision(), fed.store.compacted_revision()), (5, compacted));
    assert_eq!(fed.value_at("a", 3), Ok(Some("2".into())));
    for asked in [2, 1, 0] {
        let error = Error::Compacted { asked: Revision::new(asked), compacted };
        assert_eq!(fed.value_at("a", asked), Err(error));
    }
}

/// A store in which each of these keys has itself as its value.
fn with_keys(keys: &[&str]) -> Fed {
    let mut fed = Fed::new();
    for key in keys {
        fed.put(key, key);
    }
    fed
}

fn range(key: &str, range_end: &str) -> Range {
    Range::new(key.into(), range_end.into())
}

#[test]
fn rule_07_a_range_end_says_which_keys_are_meant() {
    let fed = with_keys(&["a", "ab", "b", "c"]);
    assert_eq!(fed.keys(&range("a", "")), ["a"]);
    assert_eq!(fed.keys(&range("a", "b")), ["a", "ab"]);
    assert_eq!(fed.keys(&range("ab", "\0")), ["ab", "b", "c"]);
    assert_eq!(fed.keys(&range("\0", "\0")), ["a", "ab", "b", "c"]);
    assert!(fed.keys(&range("c", "a")).is_empty(), "an end before the start is no error");
}

#[test]
fn rule_07_a_prefix_is_the_key_and_its_successor() {
    let mut fed = with_keys(&["a", "ab", "abc", "ac"]);
    fed.try_put(Put::new(b"a\xff\xff", b"")).expect("bytes need not be text");
    assert_eq!(fed.keys(&Range::prefix(b"ab")), ["ab", "abc"]);
    assert_eq!(fed.range(&Range::prefix(b"a\xff")).count, 1);
    assert_eq!(fed.range(&Range::prefix(b"\xff")).count, 0);
    assert_eq!(fed.range(&Range::prefix(b"")).count, 5);
}

#[test]
fn rule_07_an_empty_key_is_an_error() {
    let mut fed = Fed::new();
    assert_eq!(fed.store.range(&range("", "")), Err(Error::EmptyKey));
    assert_eq!(fed.store.range(&range("", "\0")), Err(Error::EmptyKey));
    assert_eq!(fed.try_put(Put::new(b"", b"1")), Err(Error::EmptyKey));
    assert_eq!(fed.try_delete(Delete::key(b"")), Err(Error::EmptyKey));
    let everything = Delete { key: b"", range_end: b"\0", prev: false };
    assert_eq!(fed.try_delete(everything), Err(Error::EmptyKey));
    assert_eq!(fed.revision(), 1);
}

#[test]
fn rule_08_the_count_ignores_the_limit_and_a_continuation_resumes_at_the_same_revision() {
    let mut fed = with_keys(&["a", "b", "c", "d", "e"]);
    let revision = fed.revision();
    let mut page = at(range("a", "\0"), revision);
    page.options.limit = Some(2);
    let mut keys = Vec::new();
    for left in [5, 3, 1] {
        let reply = fed.range(&page);
        assert_eq!((reply.count, reply.more), (left, left > 2));
        keys.extend(reply.kvs.iter().map(|kv| text(&kv.key)));
        match reply.next_key {
            Some(next) => page.key = next.to_vec(),
            None => assert_eq!(left, 1, "only the last page has no continuation"),
        }
        // Neither of these is part of what is being read.
        fed.put("cc", "new");
        fed.delete("d", "");
    }
    assert_eq!(keys, ["a", "b", "c", "d", "e"]);
}

#[test]
fn rule_08_a_limit_in_bytes_cuts_the_answer_but_never_before_the_first_pair() {
    let fed = with_keys(&["a", "b", "c"]);
    let mut page = range("a", "\0");
    for (max_bytes, expected) in [(0, 1), (3, 1), (4, 2), (5, 2), (6, 3)] {
        page.options.max_bytes = Some(max_bytes);
        let reply = fed.range(&page);
        assert_eq!((reply.kvs.len(), reply.count), (expected, 3), "{max_bytes} bytes");
        assert_eq!(reply.more, expected < 3);
        let left_out = ["b", "c"].get(expected - 1).copied();
        assert_eq!(reply.next_key.as_deref().map(text).as_deref(), left_out);
    }
    page.options.max_bytes = Some(3);
    page.options.keys_only = true;
    assert_eq!(fed.range(&page).kvs.len(), 3, "values that are not sent do not count");
}

#[test]
fn rule_08_the_servers_own_limits_cut_an_answer_too() {
    let limits = Limits { max_reply_pairs: 2, ..Limits::default() };
    let mut fed = Fed::with_limits(limits);
    for key in ["a", "b", "c"] {
        fed.put(key, "");
    }
    let mut page = range("a", "\0");
    page.options.limit = Some(3);
    let reply = fed.range(&page);
    assert_eq!((reply.kvs.len(), reply.count, reply.more), (2, 3, true));
}

#[test]
fn rule_08_a_limit_of_zero_is_an_error_that_says_what_to_do() {
    let mut page = range("a", "\0");
    page.options.limit = Some(0);
    let error = Fed::new().store.range(&page).expect_err("nothing could be returned");
    assert!(error.to_string().contains("count"), "{error}");
}

/// The keys in this order.
fn ordered(fed: &Fed, sort_by: SortBy, direction: Direction) -> String {
    let mut all = range("\0", "\0");
    all.options.sort_by = sort_by;
    all.options.direction = direction;
    fed.keys(&all).concat()
}

#[test]
fn rule_09_order_is_by_key_unless_asked_otherwise() {
    use Direction::{Ascending, Descending};
    let mut fed = Fed::new();
    for (key, value) in [("c", "1"), ("b", "3"), ("a", "2"), ("d", "3"), ("c", "1")] {
        fed.put(key, value);
    }
    assert_eq!(fed.keys(&range("\0", "\0")).concat(), "abcd");
    assert_eq!(ordered(&fed, SortBy::Key, Descending), "dcba");
    assert_eq!(ordered(&fed, SortBy::CreateRevision, Ascending), "cbad");
    assert_eq!(ordered(&fed, SortBy::CreateRevision, Descending), "dabc");
    assert_eq!(ordered(&fed, SortBy::ModRevision, Ascending), "badc");
    assert_eq!(ordered(&fed, SortBy::Value, Ascending), "cabd");
    // Equal ones are in the order of their keys, in either direction.
    assert_eq!(ordered(&fed, SortBy::Value, Descending), "bdac");
    assert_eq!(ordered(&fed, SortBy::Version, Ascending), "abdc");
    assert_eq!(ordered(&fed, SortBy::Version, Descending), "cabd");
}

#[test]
fn rule_09_an_order_chooses_before_the_limit_cuts() {
    let fed = with_keys(&["b", "a", "c"]);
    let mut newest = range("\0", "\0");
    newest.options.sort_by = SortBy::ModRevision;
    newest.options.direction = Direction::Descending;
    newest.options.limit = Some(1);
    let reply = fed.range(&newest);
    assert_eq!(text(&reply.kvs[0].key), "c");
    assert_eq!((reply.count, reply.more), (3, true));
    assert_eq!(reply.next_key, None, "only the order of the keys can be continued");
}

#[test]
fn rule_09_keys_only_leaves_out_values_and_count_only_everything() {
    let fed = with_keys(&["a", "b"]);
    let mut keys = range("a", "\0");
    keys.options.keys_only = true;
    let reply = fed.range(&keys);
    assert_eq!(reply.kvs.len(), 2);
    assert!(reply.kvs.iter().all(|kv| kv.value.is_empty() && kv.version == 1));
    let mut count = range("a", "\0");
    count.options.count_only = true;
    let reply = fed.range(&count);
    assert_eq!((reply.count, reply.kvs.len(), reply.more), (2, 0, false));
}

#[test]
fn rule_11_keep_value_keeps_it_and_counts_as_a_put() {
    let mut fed = Fed::new();
    fed.put("a", "1");
    let kept = Put { value: None, ..Put::new(b"a", b"") };
    fed.try_put(kept).expect("there is a value to keep");
    let kv = fed.get("a").expect("it exists");
    assert_eq!((text(&kv.value), kv.version, kv.mod_revision.get()), ("1".into(), 2, 3));
}

#[test]
fn rule_11_keep_options_are_errors_on_a_missing_key_and_change_nothing() {
    let mut fed = Fed::new();
    fed.put("deleted", "1");
    fed.delete("deleted", "");
    let before = (fed.revision(), fed.store.stats());
    for key in [b"missing".as_slice(), b"deleted"] {
        let keep_value = Put { value: None, ..Put::new(key, b"") };
        let keep_lease = Put { lease: LeaseChange::Keep, ..Put::new(key, b"1") };
        assert_eq!(fed.try_put(keep_value), Err(Error::KeyNotFound));
        assert_eq!(fed.try_put(keep_lease), Err(Error::KeyNotFound));
    }
    assert_eq!((fed.revision(), fed.store.stats()), before);
    assert_eq!(fed.range(&Range::prefix(b"")).count, 0);
}

#[test]
fn rule_11_keep_value_together_with_a_value_is_an_error() {
    let mut fed = Fed::new();
    fed.put("a", "1");
    let keep = Put { value: None, ..Put::new(b"a", b"") };
    let mut both = encode(&Command::Put(keep));
    both.extend_from_slice(b"a value behind the key");
    let applied = fed.apply_bytes(&both);
    assert!(matches!(applied.result, Err(Error::InvalidOptions { .. })), "{applied:?}");
    assert_eq!(fed.get("a").map(|kv| kv.version), Some(1));
}

#[test]
fn rule_11_keep_lease_of_a_key_without_one_leaves_it_without_one() {
    let mut fed = Fed::new();
    fed.put("a", "1");
    let keep = Put { lease: LeaseChange::Keep, ..Put::new(b"a", b"2") };
    fed.try_put(keep).expect("the key exists");
    let kv = fed.get("a").expect("it exists");
    assert_eq!((kv.lease, text(&kv.value)), (None, "2".into()));
}

#[test]
fn rule_12_prev_returns_the_pair_as_it_was_before() {
    let mut fed = Fed::new();
    let put = Put { prev: true, ..Put::new(b"a", b"1") };
    assert_eq!(fed.try_put(put).map(|reply| reply.prev), Ok(None));
    let before = fed.get("a");
    let put = Put { prev: true, ..Put::new(b"a", b"2") };
    assert_eq!(fed.try_put(put).map(|reply| reply.prev), Ok(before));
    let put = Put::new(b"a", b"3");
    assert_eq!(fed.try_put(put).map(|reply| reply.prev), Ok(None), "nobody asked");
}

#[test]
fn rule_12_prev_of_a_delete_returns_every_pair_in_the_order_of_the_keys() {
    let mut fed = with_keys(&["b", "a", "c"]);
    let before = fed.range(&range("a", "c")).kvs;
    let delete = Delete { key: b"a", range_end: b"c", prev: true };
    let reply = fed.try_delete(delete).expect("it fits a reply");
    assert_eq!((reply.deleted, reply.prev), (2, before));
    assert_eq!(fed.keys(&range("\0", "\0")), ["c"]);
}

#[test]
fn rule_12_a_delete_that_cannot_return_what_it_removes_removes_nothing() {
    let limits = Limits { max_reply_bytes: 5, max_reply_pairs: 2, ..Limits::default() };
    let mut fed = Fed::with_limits(limits);
    fed.put("a", "long value");
    let one = Delete { key: b"a", range_end: b"\0", prev: true };
    assert_eq!(fed.try_delete(one).map(|reply| reply.deleted), Ok(1), "one always fits");

    fed.put("a", "12");
    fed.put("b", "12");
    let error = fed.try_delete(one).expect_err("six bytes");
    let part = Part::PreviousPairs;
    assert_eq!(error, Error::TooLarge { part, size_bytes: 6, limit_bytes: 5 });

    for key in ["a", "b", "c"] {
        fed.put(key, "");
    }
    let error = fed.try_delete(one).expect_err("three pairs");
    assert!(error.to_string().contains("3 pairs"), "{error}");
    assert_eq!(fed.range(&range("a", "\0")).count, 3);
    assert_eq!(fed.delete("a", "\0"), 3, "without asking for them it goes");
}

#[test]
fn rule_12_a_put_with_an_unknown_lease_fails_and_changes_nothing() {
    let mut fed = Fed::new();
    fed.put("a", "1");
    let before = (fed.revision(), fed.get("a"), fed.store.stats());
    let lease = LeaseId::new(7);
    for key in [b"a".as_slice(), b"new"] {
        let put = Put { lease: LeaseChange::Attach(lease), ..Put::new(key, b"2") };
        assert_eq!(fed.try_put(put), Err(Error::LeaseNotFound { lease }));
    }
    assert_eq!((fed.revision(), fed.get("a"), fed.store.stats()), before);
    assert_eq!(fed.get("new"), None);
}

#[test]
fn rule_13_sizes_up_to_the_limits_are_taken_and_beyond_them_named() {
    let mut fed = Fed::new();
    let (key, value) = (vec![b'k'; 4 << 10], vec![b'v'; 1 << 20]);
    fed.try_put(Put::new(&key, &value)).expect("exactly the limits");
    assert_eq!(fed.range(&Range::key(key.clone())).kvs[0].value.len(), 1 << 20);

    let too_large =
        |part, size_bytes, limit_bytes| Some(Error::TooLarge { part, size_bytes, limit_bytes });
    let long_key = [&key[..], b"k"].concat();
    let put = Put::new(&long_key, b"");
    assert_eq!(fed.try_put(put).err(), too_large(Part::Key, 4097, 4096));
    let long_value = [&value[..], b"v"].concat();
    let put = Put::new(b"a", &long_value);
    assert_eq!(fed.try_put(put).err(), too_large(Part::Value, (1 << 20) + 1, 1 << 20));
    let long_end = [&long_key[..], b"k"].concat();
    let delete = Delete { key: &key, range_end: &long_end, prev: false };
    assert_eq!(fed.try_delete(delete).err(), too_large(Part::RangeEnd, 4098, 4097));
    assert_eq!(fed.revision(), 2);
}

#[test]
fn rule_13_a_request_beyond_its_limit_is_not_even_looked_into() {
    let mut fed = Fed::new();
    let applied = fed.apply_bytes(&vec![0; (3 << 19) + 1]);
    let (size_bytes, limit_bytes) = ((3 << 19) + 1, 3 << 19);
    let error = Error::TooLarge { part: Part::Request, size_bytes, limit_bytes };
    assert_eq!(applied.result, Err(error));
}
