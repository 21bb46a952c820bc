//! Mistakes that can be planted in a replica, one at a time, so that a simulation can show that it
//! would find them.
//!
//! Only the feature `planted-bugs` makes it possible, and no product ever has that. Without it,
//! [`Planted::has`] is the constant `false`, and nothing of this is left in the program.

#[cfg(feature = "planted-bugs")]
use crate::replica::Replica;

macro_rules! bugs {
    ($($bug:ident: $what:literal,)*) => {
        /// A mistake that a server could make where disks are full.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    AllowanceUncounted: "what is taken without room is not counted",
    LeadsOn: "a leader without room asks nobody to lead",
}

/// What is planted in a replica: nothing, unless a test wants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Planted {
    #[cfg(feature = "planted-bugs")]
    bug: Option<Bug>,
}

impl Planted {
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

#[cfg(feature = "planted-bugs")]
impl Replica {
    /// Has it make this mistake from now on.
    pub fn plant(&mut self, bug: Bug) {
        self.disk.planted = Planted { bug: Some(bug) };
    }
}
