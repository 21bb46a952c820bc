//! Mistakes that can be planted in this crate, one at a time, so that its tests can show that they
//! would find them.
//!
//! Only the feature `planted-bugs` makes it possible, and no product ever has that. Without it,
//! [`Planted::has`] is the constant `false`, and nothing of this is left in the program. Where a
//! mistake would be made, one line asks for it by name:
//!
//! ```text
//! if self.planted.has(Bug::VoteUnsaved) { .. }
//! ```

macro_rules! bugs {
    ($($bug:ident: $what:literal,)*) => {
        /// A mistake that some implementation of Raft has made, or could.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Bug {
            $(#[doc = $what] $bug,)*
        }

        #[cfg(feature = "planted-bugs")]
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
    OldTermCommit: "an entry of an earlier term is committed by counting replicas (figure 8)",
}

/// What is planted in a node: nothing, unless a test wants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Planted {
    #[cfg(feature = "planted-bugs")]
    bug: Option<Bug>,
}

impl Planted {
    #[cfg(feature = "planted-bugs")]
    pub(crate) const fn new(bug: Bug) -> Self {
        Self { bug: Some(bug) }
    }

    /// Whether this mistake is to be made.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn has(self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Whether this mistake is to be made: never.
    #[cfg(not(feature = "planted-bugs"))]
    #[expect(clippy::unused_self, reason = "the other build looks at itself")]
    pub(crate) const fn has(self, _: Bug) -> bool {
        false
    }
}
