//! The identities of the data model: revisions and leases.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The version of the whole store. Every command that changed something made a new one.
///
/// A fresh store is at revision 1, and its first write makes revision 2.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Revision(u64);

impl Revision {
    /// Before every revision: what a key that does not exist has.
    pub const ZERO: Self = Self(0);

    /// The revision of a store in which nothing was ever written.
    pub const FRESH: Self = Self(1);

    /// The revision with this number.
    pub const fn new(revision: u64) -> Self {
        Self(revision)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The revision after this one. The last number is its own successor: 2^64 writes do not
    /// happen.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a lease. Keys attached to it go when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseId(u64);

impl LeaseId {
    /// The lease with this number.
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
