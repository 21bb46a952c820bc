//! Mistakes that can be planted where a log is opened and repaired, one at a time, so that tests
//! can show that they would find them.
//!
//! Only the feature `planted-repairs` makes it possible, and no product ever has that. Without it,
//! [`Options::has`] is the constant `false`, and nothing of this is left in the program.

use crate::options::Options;

macro_rules! bugs {
    ($($bug:ident: $what:literal,)*) => {
        /// A mistake in opening or repairing a log.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Bug {
            $(#[doc = $what] $bug,)*
        }

        #[cfg(feature = "planted-repairs")]
        impl Bug {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$bug),*];

            /// What is done wrong.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$bug => $what,)* }
            }
        }
    };
}

bugs! {
    WitnessUnheard: "a repair takes term and vote from what is left of the log alone",
    RepairUntold: "a repaired log does not say that it recovers",
    RepairToldLast: "a repair says that it recovers when everything else is done",
    TornWriteKept: "what a torn write left stays behind the end of the log",
    LastBatchTrusted: "what a killed process left is taken for durable",
}

impl Options {
    /// Whether this mistake is to be made.
    #[cfg(feature = "planted-repairs")]
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.planted == Some(bug)
    }

    /// Whether this mistake is to be made: never.
    #[cfg(not(feature = "planted-repairs"))]
    #[expect(clippy::unused_self, reason = "the other build looks at itself")]
    pub(crate) const fn has(&self, _: Bug) -> bool {
        false
    }
}
