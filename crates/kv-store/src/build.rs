//! The index of a whole state file, made at once.
//!
//! Adding a million keys one by one takes longer than reading them. So they are collected as they
//! come, sorted, and put into leaves that are right from the start. The records of a key, which
//! come from anywhere in the file, meet in the sorting.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::iter::Peekable;

use kv_proto::Revision;

use crate::disk::{Record, State, Taker};
use crate::history::{History, Version};
use crate::index::{Index, KeyId};
use crate::key::Key;
use crate::keys::KeysBuilder;
use crate::order::order;
use crate::retention::{Deletion, Note, NoteNumber, Past};
use crate::turns::{Turn, Turns};

/// Some of the records of a file, in the order of their numbers. Each has a place.
#[derive(Debug, Default)]
pub(crate) struct Part {
    keys: Vec<Key>,
    /// Of those of one key, one is used in the end.
    histories: Vec<History>,
    /// Whether each is a put.
    puts: Vec<bool>,
    /// The places in the order of the keys, once there are all of them.
    order: Vec<KeyId>,
    /// With the numbers of the records that made them.
    turns: Vec<(u64, Turn)>,
}

impl Taker for Part {
    fn take(&mut self, state: &State, seq: u64, record: &Record<'_>) -> Result<(), &'static str> {
        if record.modified <= Revision::FRESH || record.modified > state.mark.revision {
            return Err("is of a revision that the state does not have");
        }
        let came = record.put.as_ref().map(|put| put.version == 1);
        if record.modified > state.mark.compacted && came != Some(false) {
            let turn = Turn { at: record.modified, key: record.key.into(), came: came.is_some() };
            self.turns.push((seq, turn));
        }
        self.keys.push(record.key.into());
        let latest = Some(Version::of(record, seq));
        self.histories.push(History { latest, before: NoteNumber::NONE });
        self.puts.push(record.put.is_some());
        Ok(())
    }

    fn finish(&mut self) {
        self.order = order(&self.keys);
    }
}

/// The keys with their places, in order, where so many other places come before.
fn in_order(
    mut keys: Vec<Key>,
    order: Vec<KeyId>,
    moved: usize,
) -> Peekable<impl Iterator<Item = (Key, KeyId)>> {
    let pairs = order.into_iter().map(move |id| (keys[id.place()].take(), id.moved_by(moved)));
    pairs.peekable()
}

/// An index of all keys, and how many of them exist.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) index: Index,
    pub(crate) live_keys: u64,
    pub(crate) turns: Turns,
}

/// Makes the index of all that the parts took in, and notes in `past`, which is empty, what was
/// superseded.
///
/// # Errors
///
/// The number of a record that cannot be, and what is wrong with it.
pub(crate) fn build(parts: [Part; 2], past: &mut Past) -> Result<Built, (u64, &'static str)> {
    let [mut all, mut other] = parts;
    let moved = all.histories.len();
    all.histories.append(&mut other.histories);
    all.puts.append(&mut other.puts);
    all.turns.append(&mut other.turns);
    let Part { histories, puts, mut turns, .. } = all;
    let mut builder =
        Builder { histories, puts, free: Vec::new(), live_keys: 0, superseded: Vec::new() };
    let mut keys = KeysBuilder::default();
    let mut first = in_order(all.keys, all.order, 0);
    let mut second = in_order(other.keys, other.order, moved);
    loop {
        let is_first = match (first.peek(), second.peek()) {
            (Some(left), Some(right)) => builder.compare(left, right).is_lt(),
            (left, _) => left.is_some(),
        };
        let next = if is_first { first.next() } else { second.next() };
        let Some((key, id)) = next else { break };
        match keys.last() {
            Some((last, home)) if *last == key => builder.add_version(home, &key, id)?,
            _ => {
                builder.add_key(id)?;
                keys.push(key, id);
            }
        }
    }
    let gone = builder.note_all(past);
    turns.sort_unstable_by_key(|(seq, _)| *seq);
    let turns = Turns::new(gone, turns.into_iter().map(|(_, turn)| turn).collect());
    let Builder { histories, free, live_keys, .. } = builder;
    let index = Index::from_parts(keys.finish(), histories, free);
    Ok(Built { index, live_keys, turns })
}

struct Builder {
    histories: Vec<History>,
    /// Whether the record at each place is a put. The histories themselves are too far apart in
    /// memory to be looked at for each key.
    puts: Vec<bool>,
    free: Vec<KeyId>,
    live_keys: u64,
    /// With the number of the record that superseded each: the order in which they go.
    superseded: Vec<(u64, Note)>,
}

impl Builder {
    /// By key, and the records of a key by their numbers.
    fn compare(&self, (left, a): &(Key, KeyId), (right, b): &(Key, KeyId)) -> Ordering {
        let seq = |id: KeyId| self.histories[id.place()].latest.as_ref().map(|latest| latest.seq);
        left.cmp(right).then_with(|| seq(*a).cmp(&seq(*b)))
    }

    /// The first version of a key.
    fn add_key(&mut self, id: KeyId) -> Result<(), (u64, &'static str)> {
        if self.puts[id.place()] {
            self.live_keys += 1;
            return Ok(());
        }
        let seq = self.histories[id.place()].latest.as_ref().map_or(0, |version| version.seq);
        Err((seq, "deletes what is not there"))
    }

    /// A later version of the key whose place is `home`; it stands at `id`, which is not needed.
    fn add_version(
        &mut self,
        home: KeyId,
        key: &Key,
        id: KeyId,
    ) -> Result<(), (u64, &'static str)> {
        let Some(version) = self.histories[id.place()].latest.take() else { return Ok(()) };
        self.free.push(id);
        let (at, seq, is_live) = (version.modified, version.seq, version.is_live());
        let Some(old) = self.histories[home.place()].latest.replace(version) else { return Ok(()) };
        if old.modified >= at {
            return Err((seq, "is older than the one before it"));
        }
        if !old.is_live() {
            self.live_keys += u64::from(is_live);
            return if is_live { Ok(()) } else { Err((seq, "deletes what is not there")) };
        }
        self.live_keys -= u64::from(!is_live);
        let deletion = (!is_live).then(|| Deletion { seq, key: key.clone() });
        self.superseded.push((seq, Note::new(at, home, key.as_slice(), old, deletion)));
        Ok(())
    }

    /// Notes what was superseded, in the order in which it was. Returns the keys that do not exist
    /// any more.
    fn note_all(&mut self, past: &mut Past) -> BTreeSet<Key> {
        let mut gone = BTreeSet::new();
        self.superseded.sort_unstable_by_key(|(seq, _)| *seq);
        for (_, mut note) in std::mem::take(&mut self.superseded) {
            let history = &mut self.histories[note.id.place()];
            note.before = history.before;
            if let (Some(deletion), Some(latest)) = (&note.deletion, &history.latest)
                && deletion.seq == latest.seq
            {
                gone.insert(deletion.key.clone());
            }
            history.before = past.push(note);
        }
        gone
    }
}
