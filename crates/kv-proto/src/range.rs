//! A read.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::ids::Revision;
use crate::limits::Limits;
use crate::span::{Span, TO_THE_END, prefix_end};

/// Asks for the pairs at some keys, as of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first key; with `range_end`, see [`Span::parse`].
    pub key: Vec<u8>,
    /// Where to stop; empty for the one key.
    pub range_end: Vec<u8>,
    /// How the pairs are chosen, ordered and cut.
    pub options: RangeOptions,
}

/// How the pairs of a [`Range`] are chosen, ordered and cut. The default is: as of now, by key,
/// keys and values, linearizable, as many as one reply takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeOptions {
    /// The revision to read at; `None` is the current one.
    pub revision: Option<Revision>,
    /// The most pairs to return; the server's own limit holds as well. Zero is an error: use
    /// `count_only`.
    pub limit: Option<u32>,
    /// The most bytes of keys and values to return; the server's own limit holds as well. At
    /// least one pair is always returned, so that going on makes progress.
    pub max_bytes: Option<u32>,
    /// What to order by.
    pub sort_by: SortBy,
    /// Which way.
    pub direction: Direction,
    /// Leave out the values: they come back empty.
    pub keys_only: bool,
    /// Return no pair, only how many there are.
    pub count_only: bool,
    /// How fresh the answer must be.
    pub consistency: Consistency,
}

/// What the pairs of a range are ordered by. Equal ones are ordered by key, ascending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortBy {
    /// The key's bytes.
    #[default]
    Key,
    /// How often the key was put since it was created.
    Version,
    /// The revision that created the key.
    CreateRevision,
    /// The revision that last changed it.
    ModRevision,
    /// The value's bytes.
    Value,
}

/// Which end of an order comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// The smallest first.
    #[default]
    Ascending,
    /// The largest first.
    Descending,
}

/// How fresh an answer must be. Any node serves any of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Consistency {
    /// Sees every write that was acknowledged before the read began (ReadIndex, thesis §6.4).
    #[default]
    Linearizable,
    /// The same, as long as clocks drift no more than the cluster is told (thesis §6.4.1).
    Lease,
    /// What this node has applied so far; at once, and perhaps out of date.
    Stale,
}

impl Range {
    /// The pair at one key.
    pub fn key(key: impl Into<Vec<u8>>) -> Self {
        Self::new(key.into(), Vec::new())
    }

    /// Every pair whose key begins with `prefix`; every pair there is, if that is empty.
    pub fn prefix(prefix: &[u8]) -> Self {
        let key = if prefix.is_empty() { TO_THE_END } else { prefix };
        Self::new(key.to_vec(), prefix_end(prefix))
    }

    /// The pairs that `key` and `range_end` mean together; see [`Span::parse`].
    pub fn new(key: Vec<u8>, range_end: Vec<u8>) -> Self {
        Self { key, range_end, options: RangeOptions::default() }
    }

    /// Which keys are meant.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyKey`].
    pub fn span(&self) -> Result<Span<'_>, Error> {
        Span::parse(&self.key, &self.range_end)
    }

    /// Checks everything that can be told without looking at the store.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyKey`], [`Error::TooLarge`], or [`Error::InvalidOptions`] for a limit of zero.
    pub fn validate(&self, limits: &Limits) -> Result<(), Error> {
        limits.check_key(&self.key)?;
        limits.check_range_end(&self.range_end)?;
        if self.options.limit == Some(0) {
            return Err(Error::InvalidOptions {
                reason: "a limit of 0 returns nothing: leave it out, or ask for the count only"
                    .into(),
            });
        }
        Ok(())
    }
}

impl RangeOptions {
    /// The most pairs to return: what was asked for, within the server's limits.
    pub fn max_pairs(&self, limits: &Limits) -> usize {
        let wanted = self.limit.unwrap_or(u32::MAX);
        wanted.min(limits.max_reply_pairs) as usize
    }

    /// The most bytes of keys and values to return after the first pair: what was asked for,
    /// within the server's limits.
    pub fn max_bytes(&self, limits: &Limits) -> usize {
        let wanted = self.max_bytes.unwrap_or(u32::MAX);
        wanted.min(limits.max_reply_bytes) as usize
    }

    /// Whether the pairs come in ascending order of their keys: the one order in which an answer
    /// that was cut short can be continued.
    pub fn is_by_key_ascending(&self) -> bool {
        self.sort_by == SortBy::Key && self.direction == Direction::Ascending
    }
}
