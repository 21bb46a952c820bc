//! What a range finds.

use kv_proto::span::Span;
use kv_proto::{Bytes, Direction, Error, KeyValue, Range, RangeReply, Revision, SortBy};

use crate::draft::{ByValue, Draft, Missing, PageLimits, directed, first_of};
use crate::error::Failure;
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
        let found = self.find(range)?.complete();
        found.map_err(|error| Error::Internal { reason: error.to_string() })
    }

    /// As [`range`](Self::range), but without waiting for the disk: the values that are not in
    /// memory are missing. It is settled what they are, whatever is applied from here on. Whoever
    /// [completes](Draft::complete) the draft waits for them, on any thread, and sorts them if they
    /// are asked for in their own order.
    ///
    /// # Errors
    ///
    /// As [`range`](Self::range).
    pub fn find(&self, range: &Range) -> Result<Draft, Error> {
        self.draft(range).map_err(|failure| match failure {
            Failure::Refused(error) => error,
            Failure::Broken(error) => Error::Internal { reason: error.to_string() },
        })
    }

    fn draft(&self, range: &Range) -> Result<Draft, Failure> {
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
            return Ok(Draft::of(RangeReply { count, ..RangeReply::default() }));
        }
        let limits = PageLimits {
            max_pairs: options.max_pairs(&self.limits).max(1),
            max_bytes: options.max_bytes(&self.limits),
            keys_only: options.keys_only,
        };
        let page = |limits| Page::new(count, limits, self.values.reader());
        let mut draft = match (options.sort_by, options.direction) {
            (SortBy::Key, Direction::Ascending) => page(limits).fill(found),
            (SortBy::Key, Direction::Descending) => page(limits).fill(found.rev()),
            (SortBy::Value, direction) => {
                check_sortable(self.index.live_at(span, revision, &self.past))?;
                let by_value = ByValue { direction, limits };
                page(PageLimits::NONE).fill(found).map(|all| all.in_order(by_value))
            }
            (sort_by, direction) => {
                let ranked = found.map(|found| (rank(&found, sort_by), found)).collect();
                let compare = |(one, a): &(u64, Found<'_>), (other, b): &(u64, Found<'_>)| {
                    directed(direction, one.cmp(other)).then_with(|| a.key.cmp(b.key))
                };
                let first = first_of(ranked, limits.max_pairs, compare);
                page(limits).fill(first.into_iter().map(|(_, found)| found))
            }
        }?;
        if !options.is_by_key_ascending() {
            draft.reply.next_key = None;
        }
        Ok(draft)
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
    limits: PageLimits,
    values: Reader<'a>,
    kvs: Vec<KeyValue>,
    /// Of keys and values.
    bytes: usize,
    /// Of those, what is not in memory.
    missing: Vec<Missing>,
}

impl<'v> Page<'v> {
    fn new(count: u64, limits: PageLimits, values: Reader<'v>) -> Self {
        Self { count, limits, values, kvs: Vec::new(), bytes: 0, missing: Vec::new() }
    }

    /// Takes pairs until a limit is met. The key it first left out goes into `next_key`.
    fn fill<'a>(mut self, mut found: impl Iterator<Item = Found<'a>>) -> Result<Draft, Failure> {
        let left_out = found.find(|next| !self.take(next));
        let reply = RangeReply {
            count: self.count,
            kvs: self.kvs,
            more: left_out.is_some(),
            next_key: left_out.map(|found| Bytes::from(found.key)),
        };
        let is_whole = self.missing.is_empty();
        let file = if is_whole { None } else { self.values.open_file()? };
        Ok(Draft { reply, size_bytes: self.bytes, missing: self.missing, file, by_value: None })
    }

    /// Takes one more pair, if it fits.
    fn take(&mut self, found: &Found<'_>) -> bool {
        let keys_only = self.limits.keys_only;
        let bytes = self.bytes + found.size_bytes(keys_only);
        if !self.limits.admit(self.kvs.len(), bytes) {
            return false;
        }
        let in_memory = || found.value_in_memory(&self.values);
        let value = if keys_only { Some(Bytes::default()) } else { in_memory() };
        if value.is_none() {
            self.missing.push(Missing { at: self.kvs.len(), seq: found.seq });
        }
        self.bytes = bytes;
        self.kvs.push(found.to_key_value(value.unwrap_or_default()));
        true
    }
}

/// What stands before a key in this order; nothing, where it is that of the keys.
fn rank(found: &Found<'_>, sort_by: SortBy) -> u64 {
    match sort_by {
        // Values are sorted when they are there.
        SortBy::Key | SortBy::Value => 0,
        SortBy::Version => found.live.version,
        SortBy::CreateRevision => found.live.created.get(),
        SortBy::ModRevision => found.modified.get(),
    }
}

/// Whether the values of all that was found may be held in memory to be sorted.
fn check_sortable<'a>(found: impl Iterator<Item = Found<'a>>) -> Result<(), Error> {
    let mut bytes = 0;
    for found in found {
        bytes += u64::from(found.live.value_bytes);
        if bytes > MAX_SORT_BYTES {
            let reason = format!(
                "more than {MAX_SORT_BYTES} bytes of values would have to be sorted: sort a \
                 smaller range, or by something else"
            );
            return Err(Error::InvalidOptions { reason });
        }
    }
    Ok(())
}
