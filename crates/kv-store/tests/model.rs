//! The store against a model so simple that it can be seen to be right: a list of everything that
//! ever happened, searched from one end to the other.

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use kv_proto::span::Span;
use kv_proto::{
    Command, Compact, CompactReply, Delete, DeleteReply, Direction, Error, KeyValue, LeaseChange,
    LeaseId, Limits, Put, PutReply, Range, RangeReply, Reply, Revision, SortBy,
};
use kv_store::snapshot::Restore;
use kv_store::{Options, Retention, Store};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use support::{encode, entry};

/// Everything that ever happened.
#[derive(Default)]
struct Model {
    /// A key, the revision that changed it, and what it was from then on.
    history: Vec<(Vec<u8>, u64, Option<KeyValue>)>,
    /// How many revisions were made after the first.
    made: u64,
}

impl Model {
    fn revision(&self) -> u64 {
        1 + self.made
    }

    fn get(&self, key: &[u8], revision: u64) -> Option<KeyValue> {
        let before = |at: u64| at <= revision;
        let mut newest_first = self.history.iter().rev();
        newest_first.find(|(k, at, _)| k == key && before(*at))?.2.clone()
    }

    /// The pairs that exist, in the order of their keys.
    fn pairs(&self, key: &[u8], range_end: &[u8], revision: u64) -> Vec<KeyValue> {
        let Ok(span) = Span::parse(key, range_end) else { return Vec::new() };
        let keys: BTreeSet<_> = self.history.iter().map(|(key, ..)| key.clone()).collect();
        let meant = keys.iter().filter(|key| span.contains(key));
        meant.filter_map(|key| self.get(key, revision)).collect()
    }

    fn apply(&mut self, write: &Write) -> Result<Reply, Error> {
        match write {
            Write::Put { key, value, lease, prev } => {
                self.put(key, value.as_deref(), *lease, *prev).map(Reply::Put)
            }
            Write::Delete { key, range_end, prev } => {
                self.delete(key, range_end, *prev).map(Reply::Delete)
            }
        }
    }

    fn put(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        lease: LeaseChange,
        prev: bool,
    ) -> Result<PutReply, Error> {
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
        if let LeaseChange::Attach(lease) = lease {
            return Err(Error::LeaseNotFound { lease });
        }
        let old = self.get(key, u64::MAX);
        if old.is_none() && (value.is_none() || lease == LeaseChange::Keep) {
            return Err(Error::KeyNotFound);
        }
        self.made += 1;
        let now = Revision::new(self.revision());
        let new = KeyValue {
            key: key.into(),
            value: match (value, &old) {
                (Some(value), _) => value.into(),
                (None, old) => old.as_ref().map(|old| old.value.clone()).unwrap_or_default(),
            },
            create_revision: old.as_ref().map_or(now, |old| old.create_revision),
            mod_revision: now,
            version: old.as_ref().map_or(1, |old| old.version + 1),
            lease: None,
        };
        self.history.push((key.to_vec(), now.get(), Some(new)));
        Ok(PutReply { prev: old.filter(|_| prev) })
    }

    fn delete(&mut self, key: &[u8], range_end: &[u8], prev: bool) -> Result<DeleteReply, Error> {
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
        let doomed = self.pairs(key, range_end, u64::MAX);
        self.made += u64::from(!doomed.is_empty());
        for kv in &doomed {
            self.history.push((kv.key.to_vec(), self.revision(), None));
        }
        let deleted = doomed.len() as u64;
        Ok(DeleteReply { deleted, prev: if prev { doomed } else { Vec::new() } })
    }

    fn range(&self, range: &Range, compacted: Revision) -> Result<RangeReply, Error> {
        let current = Revision::new(self.revision());
        let options = &range.options;
        let asked = options.revision.unwrap_or(current);
        if range.key.is_empty() {
            return Err(Error::EmptyKey);
        } else if asked > current {
            return Err(Error::FutureRevision { asked, current });
        } else if asked < compacted {
            return Err(Error::Compacted { asked, compacted });
        }
        let mut kvs = self.pairs(&range.key, &range.range_end, asked.get());
        let count = kvs.len() as u64;
        if options.count_only {
            return Ok(RangeReply { count, ..RangeReply::default() });
        }
        kvs.sort_by(|a, b| {
            let order = match options.sort_by {
                SortBy::Key => a.key.cmp(&b.key),
                SortBy::Version => a.version.cmp(&b.version),
                SortBy::CreateRevision => a.create_revision.cmp(&b.create_revision),
                SortBy::ModRevision => a.mod_revision.cmp(&b.mod_revision),
                SortBy::Value => a.value.cmp(&b.value),
            };
            match options.direction {
                Direction::Ascending => order.then(a.key.cmp(&b.key)),
                Direction::Descending => order.reverse().then(a.key.cmp(&b.key)),
            }
        });
        if options.keys_only {
            for kv in &mut kvs {
                kv.value = [].into();
            }
        }
        let size = |kv: &KeyValue| kv.key.len() + kv.value.len();
        let fits = |count: &usize| {
            let few = options.limit.is_none_or(|limit| *count <= limit as usize);
            let bytes: usize = kvs[..*count].iter().map(size).sum();
            few && options.max_bytes.is_none_or(|max| bytes <= max as usize)
        };
        let taken = (0..=kvs.len()).take_while(fits).last().unwrap_or(0);
        let left_out = kvs.split_off(taken.max(1).min(kvs.len()));
        let next = left_out.first().filter(|_| options.is_by_key_ascending());
        Ok(RangeReply {
            kvs,
            count,
            more: !left_out.is_empty(),
            next_key: next.map(|kv| kv.key.clone()),
        })
    }
}

#[derive(Clone, Debug)]
enum Write {
    Put { key: Vec<u8>, value: Option<Vec<u8>>, lease: LeaseChange, prev: bool },
    Delete { key: Vec<u8>, range_end: Vec<u8>, prev: bool },
}

impl Write {
    fn encode(&self) -> Vec<u8> {
        encode(&match self {
            Self::Put { key, value, lease, prev } => {
                Command::Put(Put { key, value: value.as_deref(), lease: *lease, prev: *prev })
            }
            Self::Delete { key, range_end, prev } => {
                Command::Delete(Delete { key, range_end, prev: *prev })
            }
        })
    }
}

/// Few enough that they meet often; some are empty, and some too long to stand in the index.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        12 => vec(prop_oneof![Just(0), Just(b'a'), Just(b'b'), Just(0xff)], 0..3),
        1 => Just(b"a key that is longer than most".to_vec()),
    ]
}

fn lease() -> impl Strategy<Value = LeaseChange> {
    prop_oneof![
        8 => Just(LeaseChange::Detach),
        2 => Just(LeaseChange::Keep),
        1 => Just(LeaseChange::Attach(LeaseId::new(1))),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    let value = option::weighted(0.9, vec(any::<u8>(), 0..4));
    prop_oneof![
        5 => (key(), value, lease(), any::<bool>())
            .prop_map(|(key, value, lease, prev)| Write::Put { key, value, lease, prev }),
        2 => (key(), key(), any::<bool>())
            .prop_map(|(key, range_end, prev)| Write::Delete { key, range_end, prev }),
    ]
}

fn range() -> impl Strategy<Value = Range> {
    let sort_by = prop_oneof![
        3 => Just(SortBy::Key),
        1 => Just(SortBy::Version),
        1 => Just(SortBy::CreateRevision),
        1 => Just(SortBy::ModRevision),
        1 => Just(SortBy::Value),
    ];
    let direction = prop_oneof![Just(Direction::Ascending), Just(Direction::Descending)];
    let (limit, max_bytes) = (option::of(1..5u32), option::of(0..20u32));
    let revision = option::of((0..70u64).prop_map(Revision::new));
    let only = (any::<bool>(), proptest::bool::weighted(0.2));
    (key(), key(), revision, limit, max_bytes, sort_by, direction, only).prop_map(
        |(key, range_end, revision, limit, max_bytes, sort_by, direction, only)| {
            let mut range = Range::new(key, range_end);
            range.options.revision = revision;
            range.options.limit = limit;
            range.options.max_bytes = max_bytes;
            range.options.sort_by = sort_by;
            range.options.direction = direction;
            (range.options.keys_only, range.options.count_only) = only;
            range
        },
    )
}

fn retention() -> impl Strategy<Value = Retention> {
    let revisions = prop_oneof![Just(10_000), 0..20u64];
    let history_bytes = prop_oneof![Just(u64::MAX), 0..2_000u64];
    (revisions, history_bytes)
        .prop_map(|(revisions, history_bytes)| Retention { revisions, history_bytes })
}

/// Every pair there is, at each revision that can be read.
fn assert_every_revision_reads_as_it_was(store: &Store, model: &Model) {
    for revision in store.compacted_revision().get()..=model.revision() {
        let range = support::at(Range::prefix(b""), revision);
        let reply = store.range(&range).expect("it can be read");
        assert_eq!(reply.kvs, model.pairs(b"\0", b"\0", revision), "at revision {revision}");
    }
}

proptest! {
    #[test]
    fn the_store_does_what_the_model_does(
        steps in vec((write(), range()), 1..60),
        retention in retention(),
    ) {
        let mut store = Store::with_retention(Limits::default(), retention);
        let mut model = Model::default();
        for (index, (write, range)) in (1..).zip(&steps) {
            let compacted = store.compacted_revision();
            let applied = store.apply(entry(index), &write.encode()).expect("no disk");
            prop_assert_eq!(&applied.result, &model.apply(write), "{:?}", write);
            prop_assert_eq!(applied.revision.get(), model.revision());
            prop_assert!(compacted <= store.compacted_revision());
            prop_assert!(store.compacted_revision() <= store.revision());
            let expected = model.range(range, store.compacted_revision());
            prop_assert_eq!(store.range(range), expected, "{:?}", range);
            let live_keys = model.pairs(b"\0", b"\0", u64::MAX).len() as u64;
            prop_assert_eq!(store.stats().live_keys, live_keys);
        }
        assert_every_revision_reads_as_it_was(&store, &model);
    }

    /// One of them is told what comes next now and then, not always rightly.
    #[test]
    fn replicas_that_applied_the_same_log_are_the_same(
        log in vec((option::weighted(0.9, prop_oneof![
            9 => write().prop_map(|write| write.encode()),
            1 => vec(any::<u8>(), 0..40),
        ]), option::weighted(0.3, (0..2_usize, 0..8_usize))), 1..80),
    ) {
        let mut replicas = [Store::new(Limits::default()), Store::new(Limits::default())];
        for (at, (entry, ahead)) in log.iter().enumerate() {
            let index = at as u64 + 1;
            if let Some((after, count)) = ahead {
                let next = log.iter().skip(at + after).take(*count);
                replicas[0].look_ahead(next.filter_map(|(command, _)| command.as_deref()));
            }
            let [left, right] = replicas.each_mut().map(|store| {
                let at = support::entry(index);
                let applied = match entry {
                    Some(command) => store.apply(at, command).map(Some),
                    None => store.skip(at).map(|()| None),
                };
                let applied = applied.expect("no disk");
                (applied, store.digest(), store.stats())
            });
            prop_assert_eq!(left, right);
        }
        let everything = Range::prefix(b"");
        let [left, right] = replicas.map(|store| store.range(&everything));
        prop_assert_eq!(left, right);
    }

    #[test]
    fn no_bytes_make_it_panic(commands in vec(vec(any::<u8>(), 0..80), 1..20)) {
        let mut store = Store::new(Limits::default());
        for (index, command) in (1..).zip(&commands) {
            store.apply(entry(index), command).expect("no disk");
        }
        prop_assert_eq!(store.applied_index(), commands.len() as u64);
    }

    #[test]
    fn no_damaged_command_makes_it_panic(
        write in write(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = write.encode();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let mut store = Store::new(Limits::default());
        store.apply(entry(1), &bytes).expect("no disk");
        store.apply(entry(2), &bytes[..cut.index(bytes.len())]).expect("no disk");
    }
}

/// What happens to a store on a disk.
#[derive(Clone, Debug)]
enum Step {
    Write(Write),
    Read(Range),
    Compact(Compact),
    /// Everything is written, and the file opened again.
    Reopen,
    /// A snapshot is taken, and the store goes on as what was made of it.
    Copy,
}

fn step() -> impl Strategy<Value = Step> {
    let compact = prop_oneof![
        (0..70u64).prop_map(|revision| Compact::Revision(Revision::new(revision))),
        (0..20u64).prop_map(Compact::Keep),
    ];
    prop_oneof![
        20 => write().prop_map(Step::Write),
        10 => range().prop_map(Step::Read),
        2 => compact.prop_map(Step::Compact),
        1 => Just(Step::Reopen),
        1 => Just(Step::Copy),
    ]
}

/// A store made of a snapshot of `store`, beside it.
fn copy(store: &Store, path: &Path, options: &Options) -> Store {
    store.flush().expect("the disk works");
    let mut snapshot = store.snapshot().expect("the disk works").expect("it has a file");
    let mut restore = Restore::begin(path).expect("the disk works");
    while let Some(piece) = snapshot.next_piece().expect("the disk works") {
        restore.take(&piece).expect("it is whole");
    }
    restore.finish().expect("it is whole").put_in_place().expect("the disk works");
    let copy = Store::open(path, options).expect("it was just made");
    assert_eq!(copy.digest(), store.digest());
    copy
}

/// The compacted revision after it.
fn expected_of(compact: Compact, store: &Store) -> Result<Revision, Error> {
    let (current, compacted) = (store.revision(), store.compacted_revision());
    let asked = match compact {
        Compact::Revision(asked) if asked > current => {
            return Err(Error::FutureRevision { asked, current });
        }
        Compact::Revision(asked) if asked <= compacted => {
            return Err(Error::Compacted { asked, compacted });
        }
        Compact::Revision(asked) => asked,
        Compact::Keep(count) => Revision::new(current.get().saturating_sub(count)),
    };
    Ok(asked.max(compacted))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_store_on_a_disk_does_what_the_model_does_through_restarts_and_snapshots(
        steps in vec(step(), 1..120),
        retention in retention(),
    ) {
        let dir = tempfile::tempdir().expect("a directory for tests");
        let (cache_bytes, read_cache_bytes) = (0, 0);
        let options = Options { retention, cache_bytes, read_cache_bytes, ..Options::default() };
        let mut path = dir.path().join("0");
        let mut store = Store::open(&path, &options).expect("it is empty");
        let mut model = Model::default();
        for (number, step) in (1..).zip(&steps) {
            let next = entry(store.applied_index() + 1);
            match step {
                Step::Write(write) => {
                    let applied = store.apply(next, &write.encode()).expect("the disk works");
                    prop_assert_eq!(&applied.result, &model.apply(write), "{:?}", write);
                }
                Step::Read(range) => {
                    let expected = model.range(range, store.compacted_revision());
                    prop_assert_eq!(store.range(range), expected, "{:?}", range);
                }
                Step::Compact(compact) => {
                    let expected = expected_of(*compact, &store);
                    let command = encode(&Command::Compact(*compact));
                    let applied = store.apply(next, &command).expect("the disk works");
                    let overdue = store.stats().overdue_versions;
                    let expected = expected.map(|compacted| CompactReply { compacted, overdue });
                    prop_assert_eq!(applied.result, expected.map(Reply::Compact), "{:?}", compact);
                }
                Step::Reopen => {
                    let digest = store.digest();
                    drop(store);
                    store = Store::open(&path, &options).expect("it was closed in order");
                    prop_assert_eq!(store.digest(), digest);
                }
                Step::Copy => {
                    path = dir.path().join(number.to_string());
                    store = copy(&store, &path, &options);
                }
            }
            let live_keys = model.pairs(b"\0", b"\0", u64::MAX).len() as u64;
            prop_assert_eq!(store.stats().live_keys, live_keys);
        }
        assert_every_revision_reads_as_it_was(&store, &model);
    }
}
