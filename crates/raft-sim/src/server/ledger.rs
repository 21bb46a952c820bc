//! [`Ledger`]: what the cluster has done, as a single copy would have done it, and what every node
//! and every answer is held to.

use std::collections::{BTreeMap, BTreeSet};

use kv_proto::{Command, Limits, RangeReply};
use kv_store::{Applied, Position, Retention, Store};
use raft_core::{Entries, Entry, Payload};

use super::asked::{self, KEYS, Value};
use crate::violation::{Checked, Violation, check};

/// The log as it was applied, and what came of it.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Applies every entry when the first node does.
    copy: Store,
    entries: Vec<Entry>,
    /// The digest after each of them.
    digests: Vec<u64>,
    /// What became of each command that can be told from the others.
    outcomes: BTreeMap<u64, Applied>,
    /// What each key held from which revision on.
    past: BTreeMap<u8, Vec<(u64, Value)>>,
    /// Commands of which somebody was told that they never take effect.
    dead: BTreeSet<u64>,
    /// Who led in which term.
    leaders: BTreeMap<u64, u64>,
}

impl Ledger {
    pub(super) fn new(revisions: u64) -> Self {
        let retention = Retention { revisions, ..Retention::default() };
        Self {
            copy: Store::with_retention(Limits::default(), retention),
            entries: Vec::new(),
            digests: Vec::new(),
            outcomes: BTreeMap::new(),
            past: BTreeMap::new(),
            dead: BTreeSet::new(),
            leaders: BTreeMap::new(),
        }
    }

    /// A node is about to apply these entries.
    pub(super) fn note(&mut self, node: usize, entries: &Entries) -> Checked {
        for entry in entries.iter() {
            let place = usize::try_from(entry.at.index.get() - 1).unwrap_or(usize::MAX);
            let Some(known) = self.entries.get(place) else {
                self.add(node, entry)?;
                continue;
            };
            let rule = "all nodes apply one log";
            check(known == entry, rule, || {
                format!("node {} applies {} for {}", node + 1, entry.at, known.at)
            })?;
        }
        Ok(())
    }

    fn add(&mut self, node: usize, entry: &Entry) -> Checked {
        let due = self.entries.len() as u64 + 1;
        check(entry.at.index.get() == due, "entries are applied one after the other", || {
            format!("node {} applies {}, and {due} comes next", node + 1, entry.at)
        })?;
        let at = Position { term: entry.at.term.get(), index: due };
        let broken = |error: kv_store::StoreError| Violation {
            rule: "a store in memory applies everything",
            detail: error.to_string(),
        };
        if let Payload::Command(bytes) = &entry.payload {
            let applied = self.copy.apply(at, bytes).map_err(broken)?;
            self.remember(&applied);
            let number = Command::decode(bytes).ok().and_then(|it| asked::number_of(&it));
            if let Some(number) = number {
                let is_dead = self.dead.contains(&number);
                check(!is_dead, "what was refused never takes effect", || {
                    format!("#{number} was refused, and node {} applies it at {due}", node + 1)
                })?;
                let before = self.outcomes.insert(number, applied);
                check(before.is_none(), "a command takes effect once", || format!("#{number}"))?;
            }
        } else {
            self.copy.skip(at).map_err(broken)?;
        }
        self.entries.push(entry.clone());
        self.digests.push(self.copy.digest().1);
        Ok(())
    }

    fn remember(&mut self, applied: &Applied) {
        for key in 0..KEYS {
            let range = self.copy.range(&asked::range_of(key)).ok();
            let now = range.as_ref().and_then(|range| asked::value_in(range, key));
            let past = self.past.entry(key).or_insert_with(|| vec![(1, None)]);
            if past.last().is_some_and(|(_, value)| *value != now) {
                past.push((applied.revision.get(), now));
            }
        }
    }

    /// How many entries were applied.
    pub(super) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// A node has applied everything up to `index`, with this digest.
    pub(super) fn check_digest(&self, node: usize, (index, digest): (u64, u64)) -> Checked {
        let place = usize::try_from(index).unwrap_or(usize::MAX).checked_sub(1);
        let known = place.and_then(|place| self.digests.get(place));
        check(index == 0 || known == Some(&digest), "equal indexes give equal states", || {
            format!("node {} has {digest:x} at {index}, others {known:x?}", node + 1)
        })
    }

    /// Somebody is told that this command never takes effect.
    pub(super) fn refuse(&mut self, number: u64) -> Checked {
        self.dead.insert(number);
        let applied = self.outcomes.get(&number);
        check(applied.is_none(), "what was refused never takes effect", || {
            format!("#{number} was refused, and had come to {applied:?}")
        })
    }

    /// What this command has come to, if it was applied.
    pub(super) fn outcome(&self, number: u64) -> Option<&Applied> {
        self.outcomes.get(&number)
    }

    /// A read of these keys was answered with this, at this revision.
    pub(super) fn check_range(&self, revision: u64, keys: &[u8], reply: &RangeReply) -> Checked {
        keys.iter()
            .try_for_each(|key| self.check_read(*key, revision, asked::value_in(reply, *key)))
    }

    fn check_read(&self, key: u8, revision: u64, found: Value) -> Checked {
        let past = self.past.get(&key).map(Vec::as_slice).unwrap_or_default();
        let upto = past.partition_point(|(from, _)| *from <= revision);
        let held = upto.checked_sub(1).and_then(|last| past[last].1);
        check(held == found, "a read shows one state that there was", || {
            format!("key {key} held {held:?} at revision {revision}, and {found:?} was found")
        })
    }

    /// A node leads from now on.
    pub(super) fn elect(&mut self, node: usize, term: u64) -> Checked {
        let id = node as u64 + 1;
        let leader = *self.leaders.entry(term).or_insert(id);
        check(leader == id, "a term has one leader", || {
            format!("node {id} and node {leader} lead in term {term}")
        })
    }
}
