//! [`Room`]: how much more a log can take before its disk is full.

use std::io;

/// How much more a log can take before its disk is full.
///
/// A log that finds no room for its next segment has promised nothing by that: it goes on with what
/// it has left, which is the rest of its segment and a reserve made long before
/// ([`Options::reserve_bytes`](crate::Options::reserve_bytes)). The node that it belongs to is to
/// keep that for what it cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Room {
    /// What comes next is ready, or nothing is known that speaks against making it.
    Ample,
    /// The disk is full. What is left is for what is under way: no new work should be taken on.
    Low,
    /// The disk is full, and of what was left less than half a reserve remains. That is for terms
    /// and votes, and the few entries without which nobody could lead.
    Scarce,
}

/// Whether an error says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
