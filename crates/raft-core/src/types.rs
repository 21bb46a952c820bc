//! The identities of the protocol: nodes, terms, indexes, positions, tickets and time.
//!
//! Each is a newtype with a private field, so that a term cannot be passed for an index and a
//! missing node is `None`, never zero.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

/// The name of one server, unique in its cluster for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NodeId(u64);

impl NodeId {
    /// Every value is a valid name.
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// The number it was made from.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// A period with at most one leader; the logical clock of Raft (paper §5.1).
///
/// Term 0 is the time before the first election: no entry but the origin of the log has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Term(u64);

impl Term {
    /// The term before the first election.
    pub const ZERO: Self = Self(0);

    /// The term with this number.
    pub const fn new(term: u64) -> Self {
        Self(term)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The term after this one, at which a candidate campaigns. The last term has no successor
    /// and is returned unchanged: 2^64 elections do not happen, a forged message does.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The place of an entry in the log. The first entry has index 1; index 0 is the origin, before
/// the first entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Index(u64);

impl Index {
    /// The origin of the log: the place before the first entry.
    pub const ZERO: Self = Self(0);

    /// The index with this number.
    pub const fn new(index: u64) -> Self {
        Self(index)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The index after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The index before this one; the origin is before itself.
    #[must_use]
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The index `count` places further.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// Whether a log may reach this far: there is room for more entries than there will ever be.
    /// Without a bound, a forged message could bring a log to the last index there is.
    pub(crate) const fn leaves_room(self) -> bool {
        self.0 < u64::MAX / 2
    }

    /// How many entries lie after `earlier`, up to and including this one; 0 if there are none.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// An index and the term of the entry there. By Log Matching (paper §5.3), two logs that hold the
/// same position are equal up to it.
///
/// Its order *is* the voting rule of paper §5.4.1: a log is at least as up to date as another when
/// the position of its last entry is not the smaller one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Position {
    // The order of the fields is the order of the comparison.
    /// The term of the entry.
    pub term: Term,
    /// The index of the entry.
    pub index: Index,
}

impl Position {
    /// The origin: before the first entry of every log.
    pub const ORIGIN: Self = Self { term: Term::ZERO, index: Index::ZERO };

    /// The position of the entry at `index` that was made in `term`.
    pub const fn new(term: Term, index: Index) -> Self {
        Self { term, index }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.term, self.index)
    }
}

/// The caller's name for one proposal or one read. The core hands it back, exactly once, in
/// [`Action::Resolved`](crate::Action::Resolved); it gives it no meaning and needs no uniqueness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Ticket(u64);

impl Ticket {
    /// A ticket with this number.
    pub const fn new(ticket: u64) -> Self {
        Self(ticket)
    }

    /// The number it was made from.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The number of one [`Write`](crate::Write). Numbers grow by one in the order of the writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PersistId(u64);

impl PersistId {
    /// Before the first write.
    pub const ZERO: Self = Self(0);

    /// The write with this number.
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The number it has when the writes after `origin` are counted from 1; 0 if it is not one of
    /// them.
    pub(crate) const fn counted_from(self, origin: Self) -> Self {
        Self(self.0.saturating_sub(origin.0))
    }
}

/// A moment on a monotonic clock whose origin the caller chooses, in nanoseconds. The core never
/// reads a clock: it knows the time only from its inputs, and a time that goes back is taken as
/// the latest one seen. Adding and subtracting stop at the ends, 0 and 2^64 - 1 (584 years).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Time(u64);

impl Time {
    /// The origin of the caller's clock.
    pub const ZERO: Self = Self(0);

    /// So many nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// So many milliseconds after the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time that passed since `earlier`; zero if none did.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(nanos))
    }
}
