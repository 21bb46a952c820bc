//! What a key is, and the way back to what it was.
//!
//! The newest version of a key stands in its history; the older ones stand in the queue of
//! [`Past`], in the order in which they were superseded, each with the number of the one before
//! it. Forgetting takes them from the front of that queue and need not look for their key: a
//! number that leads to before the front leads nowhere.

use kv_proto::{LeaseId, Revision};

use crate::disk::Record;
use crate::retention::{NoteNumber, Past};

/// One state of a key, and since when it was so.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    /// The revision that made it so.
    pub(crate) modified: Revision,
    /// The number of its record: where its value is found.
    pub(crate) seq: u64,
    /// What the key was from then on.
    pub(crate) state: State,
}

/// What a key is.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// It exists.
    Live(Live),
    /// It was deleted.
    Deleted,
}

/// What a key that exists carries.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    /// The revision of its first put since it last did not exist.
    pub(crate) created: Revision,
    /// How many puts it had since then, that one included.
    pub(crate) version: u64,
    /// The lease it is attached to.
    pub(crate) lease: Option<LeaseId>,
    /// How long its value is, in bytes.
    pub(crate) value_bytes: u32,
}

/// The retained versions of one key. A history without versions belongs to no key.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// The newest version.
    pub(crate) latest: Option<Version>,
    /// The newest of those before it that were superseded: a deletion never is, it just ends.
    pub(crate) before: NoteNumber,
}

impl History {
    /// What the key is now, with the version that it is, if it exists.
    pub(crate) fn live(&self) -> Option<(&Version, &Live)> {
        self.latest.as_ref().and_then(Version::live)
    }

    /// What the key was at `revision`, with the version that it was, if it existed.
    ///
    /// Takes as long as there are versions after `revision`. Over any number of keys, that is at
    /// most as long as there are versions in `past`.
    pub(crate) fn live_at<'a>(
        &'a self,
        revision: Revision,
        past: &'a Past,
    ) -> Option<(&'a Version, &'a Live)> {
        let latest = self.latest.as_ref()?;
        if latest.modified <= revision {
            return latest.live();
        }
        let mut number = self.before;
        loop {
            let note = past.get(number)?;
            if note.at <= revision {
                // It ended before `revision`, and what follows it began later: the key was deleted.
                return None;
            }
            if note.superseded.modified <= revision {
                return note.superseded.live();
            }
            number = note.before;
        }
    }
}

impl Version {
    /// The version that the record `seq` makes.
    pub(crate) fn of(record: &Record<'_>, seq: u64) -> Self {
        let state = record.put.map_or(State::Deleted, |put| {
            State::Live(Live {
                created: put.created,
                version: put.version,
                lease: put.lease,
                // No value is longer than a request.
                value_bytes: u32::try_from(put.value.len()).unwrap_or(u32::MAX),
            })
        });
        Self { modified: record.modified, seq, state }
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.state, State::Live(_))
    }

    /// How long its value is; 0 for a deletion.
    pub(crate) fn value_bytes(&self) -> usize {
        match &self.state {
            State::Live(live) => live.value_bytes as usize,
            State::Deleted => 0,
        }
    }

    fn live(&self) -> Option<(&Self, &Live)> {
        match &self.state {
            State::Live(live) => Some((self, live)),
            State::Deleted => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Index;
    use crate::retention::Retention;

    fn put(modified: u64) -> Version {
        let live =
            Live { created: Revision::new(modified), version: 1, lease: None, value_bytes: 5 };
        Version { modified: Revision::new(modified), seq: modified, state: State::Live(live) }
    }

    fn deletion(modified: u64) -> Version {
        Version { modified: Revision::new(modified), seq: modified, state: State::Deleted }
    }

    /// One key, and everything that it was.
    struct Life {
        index: Index,
        past: Past,
    }

    impl Life {
        fn of(versions: impl IntoIterator<Item = Version>) -> Self {
            let past = Past::new(Retention { revisions: 0, history_bytes: u64::MAX });
            let mut life = Self { index: Index::default(), past };
            for version in versions {
                let id = life.index.find_or_insert(b"key", None);
                life.index.make(id, b"key", version, &mut life.past);
            }
            life
        }

        /// Which version is seen at each revision from 1 to 9; 0 for none.
        fn seen(&self) -> [u64; 9] {
            std::array::from_fn(|place| {
                let at = Revision::new(place as u64 + 1);
                let id = self.index.find(b"key");
                let live = id.and_then(|id| self.index.history(id).live_at(at, &self.past));
                live.map_or(0, |(version, _)| version.modified.get())
            })
        }

        /// Makes `oldest` the oldest revision that can be read; returns the records that died.
        fn forget_before(&mut self, oldest: u64) -> Vec<u64> {
            self.past.advance(Revision::new(oldest));
            let mut dead = Vec::new();
            while let Some(note) = self.past.pop(Revision::new(oldest)) {
                dead.push(note.superseded.seq);
                dead.extend(note.deletion.as_ref().map(|deletion| deletion.seq));
                self.index.forget(note);
            }
            dead
        }
    }

    #[test]
    fn a_revision_sees_the_latest_version_at_or_before_it() {
        assert_eq!(Life::of([]).seen(), [0; 9]);
        assert_eq!(Life::of([put(3)]).seen(), [0, 0, 3, 3, 3, 3, 3, 3, 3]);
        let rich = Life::of([put(2), put(4), deletion(6), put(8)]);
        assert_eq!(rich.seen(), [0, 2, 2, 4, 4, 0, 0, 8, 8]);
        let twice = Life::of([put(2), deletion(3), put(4), deletion(5), put(7)]);
        assert_eq!(twice.seen(), [0, 2, 0, 4, 0, 0, 7, 7, 7]);
    }

    #[test]
    fn what_is_left_after_forgetting_reads_as_before() {
        let mut life = Life::of([put(2), put(4), deletion(6), put(8)]);
        assert_eq!(life.forget_before(5), [2]);
        assert_eq!(life.seen()[4..], [4, 0, 0, 8, 8]);
        assert_eq!(life.forget_before(7), [4, 6], "a deletion goes with what it deleted");
        assert_eq!(life.seen()[6..], [0, 8, 8]);
        assert_eq!(life.forget_before(9), [], "a version that lives is never forgotten");
        assert_eq!(life.seen()[8..], [8]);
    }

    #[test]
    fn nothing_is_left_of_a_key_whose_deletion_is_forgotten() {
        let mut life = Life::of([put(2), deletion(3)]);
        assert_eq!(life.forget_before(4), [2, 3]);
        assert_eq!(life.index.find(b"key"), None);
    }

    #[test]
    fn a_history_is_a_line_of_the_processors_cache() {
        assert_eq!(size_of::<History>(), 64);
    }
}
