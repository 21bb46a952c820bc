//! The states that one key has been in.

use std::collections::VecDeque;

use kv_proto::{LeaseId, Revision};

use crate::disk::Record;

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

/// The retained versions of one key, oldest first.
///
/// Most keys have one, and it stands here without an allocation of its own. A history without
/// versions belongs to no key.
#[derive(Clone, Debug)]
pub(crate) enum History {
    One(Version),
    /// Zero of them, or two and more.
    Many(VecDeque<Version>),
}

impl Default for History {
    fn default() -> Self {
        Self::Many(VecDeque::new())
    }
}

impl History {
    /// The newest version.
    pub(crate) fn latest(&self) -> Option<&Version> {
        match self {
            Self::One(version) => Some(version),
            Self::Many(versions) => versions.back(),
        }
    }

    /// What the key is now, with the version that it is, if it exists.
    pub(crate) fn live(&self) -> Option<(&Version, &Live)> {
        self.latest().and_then(Version::live)
    }

    /// What the key was at `revision`, with the version that it was, if it existed.
    pub(crate) fn live_at(&self, revision: Revision) -> Option<(&Version, &Live)> {
        let latest = self.latest()?;
        let version = match self {
            _ if latest.modified <= revision => latest,
            Self::One(_) => return None,
            Self::Many(versions) => {
                let newer = versions.partition_point(|version| version.modified <= revision);
                versions.get(newer.checked_sub(1)?)?
            }
        };
        version.live()
    }

    /// Adds a version that is newer than every other.
    pub(crate) fn push(&mut self, version: Version) {
        debug_assert!(self.latest().is_none_or(|latest| latest.modified < version.modified));
        *self = match std::mem::take(self) {
            Self::One(first) => Self::Many(VecDeque::from([first, version])),
            Self::Many(versions) if versions.is_empty() => Self::One(version),
            Self::Many(mut versions) => {
                versions.push_back(version);
                Self::Many(versions)
            }
        };
    }

    /// Drops what nobody can ask for once everything before `revision` is forgotten, and the
    /// deletion made by `revision` itself, if it was one. Whatever is left can still be read.
    /// `dropped` hears of every version that goes.
    ///
    /// Takes as long as there are versions to drop: at most two, when called for each superseding
    /// revision in turn.
    pub(crate) fn forget_until(&mut self, revision: Revision, mut dropped: impl FnMut(&Version)) {
        let is_past = |version: &Version| {
            let is_deletion = matches!(version.state, State::Deleted);
            version.modified < revision || (version.modified == revision && is_deletion)
        };
        *self = match std::mem::take(self) {
            Self::One(version) if is_past(&version) => {
                dropped(&version);
                Self::default()
            }
            Self::One(version) => Self::One(version),
            Self::Many(mut versions) => {
                while let Some(version) = versions.pop_front_if(|version| is_past(version)) {
                    dropped(&version);
                }
                match versions.len() {
                    1 => versions.pop_front().map_or_else(Self::default, Self::One),
                    _ => Self::Many(versions),
                }
            }
        };
    }

    /// Whether nothing is left of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.latest().is_none()
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

    fn put(modified: u64) -> Version {
        let live =
            Live { created: Revision::new(modified), version: 1, lease: None, value_bytes: 5 };
        Version { modified: Revision::new(modified), seq: modified, state: State::Live(live) }
    }

    fn deletion(modified: u64) -> Version {
        Version { modified: Revision::new(modified), seq: modified, state: State::Deleted }
    }

    fn history(versions: impl IntoIterator<Item = Version>) -> History {
        let mut history = History::default();
        for version in versions {
            history.push(version);
        }
        history
    }

    /// Which version is seen at each revision from 1 to 9; 0 for none.
    fn seen(history: &History) -> [u64; 9] {
        std::array::from_fn(|index| {
            let at = Revision::new(index as u64 + 1);
            history.live_at(at).map_or(0, |(version, _)| version.modified.get())
        })
    }

    #[test]
    fn a_revision_sees_the_latest_version_at_or_before_it() {
        assert_eq!(seen(&history([])), [0; 9]);
        assert_eq!(seen(&history([put(3)])), [0, 0, 3, 3, 3, 3, 3, 3, 3]);
        let rich = history([put(2), put(4), deletion(6), put(8)]);
        assert_eq!(seen(&rich), [0, 2, 2, 4, 4, 0, 0, 8, 8]);
    }

    #[test]
    fn what_is_left_after_forgetting_reads_as_before() {
        let mut history = history([put(2), put(4), deletion(6), put(8)]);
        let mut dropped = Vec::new();
        history.forget_until(Revision::new(4), |version| dropped.push(version.seq));
        assert_eq!(seen(&history)[3..], [4, 4, 0, 0, 8, 8]);
        assert_eq!(dropped, [2]);
        history.forget_until(Revision::new(6), |version| dropped.push(version.seq));
        assert_eq!(dropped, [2, 4, 6], "a deletion goes with what it deleted");
        assert_eq!(seen(&history)[5..], [0, 0, 8, 8]);
        assert!(matches!(history, History::One(_)), "a single version needs no queue");
        history.forget_until(Revision::new(8), |version| panic!("{version:?} can be read"));
        assert_eq!(seen(&history)[7..], [8, 8], "a version that lives is never forgotten");
    }

    #[test]
    fn nothing_is_left_of_a_key_whose_deletion_is_forgotten() {
        let mut history = history([put(2), deletion(3)]);
        history.forget_until(Revision::new(3), |_| ());
        assert!(history.is_empty());
    }

    #[test]
    fn a_history_is_slim() {
        assert_eq!(size_of::<History>(), 56);
    }
}
