//! [`Mistake`]: mistakes that are made on purpose, one at a time, to see that they are found.

use std::fmt;

macro_rules! slips {
    ($($slip:ident: $what:literal,)*) => {
        /// A mistake of whoever drives a replica.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Slip { $(#[doc = $what] $slip,)* }

        impl Slip {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$slip),*];

            /// What is done wrong.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$slip => $what,)* }
            }
        }
    };
}

slips! {
    AnsweredUnapplied: "a write is answered when it is committed, before it is applied",
    FailureUntold: "a request that fails when leadership is lost is not answered",
    StoppedUntold: "a server that stops does not answer those who still wait",
    StaleRead: "a linearizable read is served as a stale one",
    ReadOvertakes: "a read is served before the entries that were handed out before it",
    CutUnsaved: "the log is cut where the state is applied and not saved yet",
    RoomUnheard: "that the log has room again is not heard",
    StateRoomUnheard: "that the state file has room again is not heard",
    InstallForgotten: "a snapshot is told as installed, and the old state goes on",
    InstallUnsynced: "a snapshot takes its place in a directory that is not synced",
    StateUnsynced: "files are never synced",
    NamesUnsynced: "directories are never synced",
    AppliedTwice: "a restart believes that less is applied than the state holds",
}

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Of whoever drives a replica.
    Driver(Slip),
    /// Of the replica itself.
    #[cfg(feature = "planted-bugs")]
    Replica(kv_server::planted::Bug),
}

impl Mistake {
    /// Every one, those of the driver first.
    pub fn all() -> Vec<Self> {
        let all = Slip::ALL.iter().copied().map(Self::Driver);
        #[cfg(feature = "planted-bugs")]
        let all = all.chain(kv_server::planted::Bug::ALL.iter().copied().map(Self::Replica));
        all.collect()
    }

    /// The one of this name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|mistake| mistake.to_string() == name)
    }

    /// What is done wrong.
    pub fn what(self) -> &'static str {
        match self {
            Self::Driver(slip) => slip.what(),
            #[cfg(feature = "planted-bugs")]
            Self::Replica(bug) => bug.what(),
        }
    }
}

/// Its name on the command line: `stale-read` for `StaleRead`.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Driver(slip) => format!("{slip:?}"),
            #[cfg(feature = "planted-bugs")]
            Self::Replica(bug) => format!("{bug:?}"),
        };
        let words = name.char_indices().flat_map(|(at, letter)| {
            let hyphen = (at > 0 && letter.is_uppercase()).then_some('-');
            hyphen.into_iter().chain(letter.to_lowercase())
        });
        f.write_str(&words.collect::<String>())
    }
}
