//! [`Mistake`]: mistakes that are made on purpose, one at a time, to see that they are found.
//!
//! A simulator that finds nothing may be looking away. Each of these mistakes has been made in
//! some implementation of Raft, or in what drives one; each must be found within a stated number
//! of seeds, and one that is not shows a hole.

use std::fmt;

use raft_core::Raft;

use crate::scenario::{MediumKind, Scenario};

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Of whoever drives the core, or of the disk.
    Driver(Blunder),
    /// Of the core itself.
    #[cfg(feature = "planted-bugs")]
    Core(raft_core::planted::Bug),
    /// Of the real log, where it is opened and repaired.
    #[cfg(feature = "planted-bugs")]
    Log(raft_storage::planted::Bug),
}

impl Mistake {
    /// Every one, those of the driver first.
    pub fn all() -> Vec<Self> {
        let all: Vec<_> = Blunder::ALL.iter().copied().map(Self::Driver).collect();
        #[cfg(feature = "planted-bugs")]
        let all = {
            let core = raft_core::planted::Bug::ALL.iter().copied().map(Self::Core);
            let log = raft_storage::planted::Bug::ALL.iter().copied().map(Self::Log);
            all.into_iter().chain(core).chain(log).collect()
        };
        all
    }

    /// The one of this name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|mistake| mistake.to_string() == name)
    }

    /// What is done wrong.
    pub fn what(self) -> &'static str {
        match self {
            Self::Driver(blunder) => blunder.what(),
            #[cfg(feature = "planted-bugs")]
            Self::Core(bug) => bug.what(),
            #[cfg(feature = "planted-bugs")]
            Self::Log(bug) => bug.what(),
        }
    }

    /// What the logs have to be kept on for it to be made, if that matters.
    pub fn medium(self) -> Option<MediumKind> {
        match self {
            Self::Driver(blunder) => Some(blunder.medium()),
            // A model that is damaged loses its end; what is left of files may be older than that.
            #[cfg(feature = "planted-bugs")]
            Self::Core(raft_core::planted::Bug::RecoveringCommits) => Some(MediumKind::Disk),
            #[cfg(feature = "planted-bugs")]
            Self::Core(_) => None,
            #[cfg(feature = "planted-bugs")]
            Self::Log(_) => Some(MediumKind::Disk),
        }
    }
}

/// Its name on the command line: `early-persisted` for `EarlyPersisted`.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Driver(blunder) => format!("{blunder:?}"),
            #[cfg(feature = "planted-bugs")]
            Self::Core(bug) => format!("{bug:?}"),
            #[cfg(feature = "planted-bugs")]
            Self::Log(bug) => format!("{bug:?}"),
        };
        let words = name.char_indices().flat_map(|(at, letter)| {
            let hyphen = (at > 0 && letter.is_uppercase()).then_some('-');
            hyphen.into_iter().chain(letter.to_lowercase())
        });
        f.write_str(&words.collect::<String>())
    }
}

macro_rules! blunders {
    ($($blunder:ident: $what:literal,)*) => {
        /// A mistake of whoever drives the core, or of the disk.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Blunder {
            $(#[doc = $what] $blunder,)*
        }

        impl Blunder {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$blunder),*];

            /// What is done wrong.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$blunder => $what,)* }
            }
        }
    };
}

blunders! {
    EarlyPersisted: "a sync is taken to cover the writes that came in meanwhile",
    IgnoredSyncError: "a write that failed is told as durable",
    NoFileSync: "files are never synced",
    NoDirectorySync: "directories are never synced",
    SplitWrite: "of a write, the entries may survive without the term and the vote",
    UnansweredRead: "entries that cannot be read at once are never read",
    ForgottenVote: "a restart forgets the vote",
    ForgottenTerm: "a restart goes by the term of the last entry",
    ForgottenStarts: "a restart forgets how often there was one",
    ForgottenMembers: "a restart goes by the members that the node was first told of",
    LostTail: "a restart forgets an entry that was not committed",
    Amnesia: "a node may come back with an empty disk, under its old name",
    CommittedOnRestart: "a restart takes its whole log for committed",
    DamageUnmarked: "a restart takes what a damage has left for all there was",
    VoteDamaged: "a repair of a damaged log forgets the vote",
    DamagedRecordKept: "a repair keeps the first damaged record, as it is",
    StaleRead: "reads are answered from the local state at once",
    SkippedEntry: "a node leaves out one entry when it applies",
    CutUnsaved: "the log is cut where the state is not saved yet",
    SnapshotWithoutMembers: "a snapshot is sent with the members that the cluster began with",
    AppliedTwice: "a restart applies again what its state holds already",
}

impl Blunder {
    /// What the logs have to be kept on. Real logs would object to most of what models are made to
    /// forget; that they object to a vote taken back is what is to be seen.
    const fn medium(self) -> MediumKind {
        match self {
            Self::NoFileSync | Self::NoDirectorySync | Self::VoteDamaged => MediumKind::Disk,
            _ => MediumKind::Memory,
        }
    }
}

/// This node, with the mistake of the core that the scenario wants, if it does.
pub(crate) fn plant(raft: Raft, scenario: &Scenario) -> Raft {
    match scenario.planted {
        #[cfg(feature = "planted-bugs")]
        Some(Mistake::Core(bug)) => {
            let mut raft = raft;
            raft.plant(bug);
            raft
        }
        Some(_) | None => raft,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_found_by_its_name() {
        for mistake in Mistake::all() {
            assert_eq!(Mistake::named(&mistake.to_string()), Some(mistake));
        }
        let early = Mistake::Driver(Blunder::EarlyPersisted);
        assert_eq!(early.to_string(), "early-persisted");
        assert_eq!(Mistake::named("no-such-mistake"), None);
    }
}
