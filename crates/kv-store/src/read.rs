//! What a range finds.

use std::cmp::Ordering;

use kv_proto::span::Span;
use kv_proto::{Bytes, Direction, Error, KeyValue, Range, RangeReply, Revision, SortBy};

use crate::error::{Failure, StoreError};
use crate::index::Found;
use crate::store::Store;
use crate::values::Reader;

/// The most bytes of values that are held in memory to be sorted.
const MAX_SORT_BYTES: u64 = 64 << 20;

impl Store {
    /// The pairs that `range` asks for, at one revision. The header of the reply carries
    /// [`revision`](Self::revision), also if an older one was read.
    ///
    /// How fresh the answer is was settled before: it tells what has been applied here, whatever
    /// `range` says about consistency.
    ///
    /// It takes time in proportion to what is returned, and very little for each key that it only
    /// counts; any order but that of the keys takes time and memory for each.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyKey`], [`Error::TooLarge`] or [`Error::InvalidOptions`] as in
    /// [`Range::validate`]; [`Error::FutureRevision`] above the current revision and
    /// [`Error::Compacted`] below the compacted one. [`Error::InvalidOptions`] also if more than
    /// 64 MiB of values would have to be sorted. [`Error::Internal`] if a value cannot be read any
    /// more: then [`check`](Self::check) tells the same from now on.
    pub fn range(&self, range: &Range) -> Result<RangeReply, Error> {
        self.find(range).map_err(|failure| match failure {
            Failure::Refused(error) => error,
            Failure::Broken(error) => Error::Internal { reason: error.to_string() },
        })
    }

    fn find(&self, range: &Range) -> Result<RangeReply, Failure> {
        range.validate(&self.limits)?;
        let span = range.span()?;
        let options = &range.options;
        let revision = self.readable(options.revision)?;
        let found = self.index.live_at(span, revision, &self.past);
        let count = match span {
            Span::One(_) => self.index.live_at(span, revision, &self.past).count() as u64,
            span => self.turns.count(self.index.count(span), span, revision),
        };
        if options.count_only {
            return Ok(RangeReply { count, ..RangeReply::default() });
        }
        let page = Page {
            count,
            max_pairs: options.max_pairs(&self.limits).max(1),
            max_bytes: options.max_bytes(&self.limits),
            keys_only: options.keys_only,
            values: self.values.reader(),
            kvs: Vec::new(),
            bytes: 0,
        };
        let mut reply = match (options.sort_by, options.direction) {
            (SortBy::Key, Direction::Ascending) => page.fill(found),
            (SortBy::Key, Direction::Descending) => page.fill(found.rev()),
            (SortBy::Value, direction) => {
                let sorted = sorted_by_value(found, &page.values, direction)?;
                page.fill(sorted.into_iter())
            }
            (sort_by, direction) => page.fill(sorted(found, sort_by, direction).into_iter()),
        }?;
        if !options.is_by_key_ascending() {
            reply.next_key = None;
        }
        Ok(reply)
    }

    /// The revision to read at.
    fn readable(&self, asked: Option<Revision>) -> Result<Revision, Error> {
        let (current, compacted) = (self.revision, self.compacted_revision());
        match asked {
            None => Ok(current),
            Some(asked) if asked > current => Err(Error::FutureRevision { asked, current }),
            Some(asked) if asked < compacted => Err(Error::Compacted { asked, compacted }),
            Some(asked) => Ok(asked),
        }
    }
}

/// The part of an answer that fits one reply.
struct Page<'a> {
    /// Of what the range holds in all.
    count: u64,
    /// At least one.
    max_pairs: usize,
    /// Of keys and values. The first pair is taken whatever its size.
    max_bytes: usize,
    keys_only: bool,
    values: Reader<'a>,
    kvs: Vec<KeyValue>,
    bytes: usize,
}

impl Page<'_> {
    /// Takes pairs until a limit is met. The key it first left out goes into `next_key`.
    fn fill<'a>(mut self, found: impl Iterator<Item = Found<'a>>) -> Result<RangeReply, Failure> {
        let mut left_out = None;
        for next in found {
            if !self.take(next)? {
                left_out = Some(next);
                break;
            }
        }
        Ok(RangeReply {
            count: self.count,
            kvs: self.kvs,
            more: left_out.is_some(),
            next_key: left_out.map(|found| Bytes::from(found.key)),
        })
    }

    /// Takes one more pair, if it fits.
    fn take(&mut self, found: Found<'_>) -> Result<bool, StoreError> {
        let bytes = self.bytes + found.size_bytes(self.keys_only);
        let is_full = self.kvs.len() >= self.max_pairs || bytes > self.max_bytes;
        if is_full && !self.kvs.is_empty() {
            return Ok(false);
        }
        let value = if self.keys_only { Bytes::default() } else { found.value(&self.values)? };
        self.bytes = bytes;
        self.kvs.push(found.to_key_value(value));
        Ok(true)
    }
}

/// All that was found, in another order than that of the keys. What is equal in it stays in
/// ascending order of the keys, whatever the direction: the sort is stable.
fn sorted<'a>(
    found: impl Iterator<Item = Found<'a>>,
    sort_by: SortBy,
    direction: Direction,
) -> Vec<Found<'a>> {
    let mut found: Vec<_> = found.collect();
    found.sort_by(|a, b| directed(direction, compare(a, b, sort_by)));
    found
}

fn compare(a: &Found<'_>, b: &Found<'_>, sort_by: SortBy) -> Ordering {
    match sort_by {
        // Values are looked up by whoever sorts by them.
        SortBy::Key | SortBy::Value => a.key.cmp(b.key),
        SortBy::Version => a.live.version.cmp(&b.live.version),
        SortBy::CreateRevision => a.live.created.cmp(&b.live.created),
        SortBy::ModRevision => a.modified.cmp(&b.modified),
    }
}

/// The same in the order of the values, which have to be in memory for it, all at once.
fn sorted_by_value<'a>(
    found: impl Iterator<Item = Found<'a>>,
    values: &Reader<'_>,
    direction: Direction,
) -> Result<Vec<Found<'a>>, Failure> {
    let mut bytes = 0;
    let mut pairs = Vec::new();
    for found in found {
        bytes += u64::from(found.live.value_bytes);
        if bytes > MAX_SORT_BYTES {
            let reason = format!(
                "more than {MAX_SORT_BYTES} bytes of values would have to be sorted: sort a \
                 smaller range, or by something else"
            );
            return Err(Error::InvalidOptions { reason }.into());
        }
        pairs.push((found.value(values)?, found));
    }
    pairs.sort_by(|(a, _), (b, _)| directed(direction, a.cmp(b)));
    Ok(pairs.into_iter().map(|(_, found)| found).collect())
}

fn directed(direction: Direction, ordering: Ordering) -> Ordering {
    match direction {
        Direction::Ascending => ordering,
        Direction::Descending => ordering.reverse(),
    }
}
