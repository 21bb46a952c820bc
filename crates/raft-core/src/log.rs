//! What the core knows of its log: the term of every index, the end of it in memory, and how far
//! it is durable. It never holds the log as such.
//!
//! Invariants, checked by [`Log::check`] after every step of every test:
//! 1. `start <= durable <= written <= last`, as indexes.
//! 2. `term_starts` has the first position of each term after `start`, growing in both.
//! 3. `cache` is a gapless run that ends at `last`, unless it is empty.
//! 4. What is not durable is in `cache`.
//! 5. `pending` grows in id, and its last indexes do not exceed `written`.
//! 6. `configs` grows in index, to the end of the log. The first is committed.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::chunk::Chunk;
use crate::config::{Boot, ClusterConfig};
use crate::entry::{Entries, Entry, Payload};
use crate::invariants::rule;
use crate::planted::{Bug, Planted};
use crate::quorum::Voters;
use crate::types::{Index, PersistId, Position, Term, Time};

/// How many of the latest chunks are looked at one by one before the rest is searched.
const NEAR_THE_END: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Log {
    /// The position before the first retained entry.
    start: Position,
    /// The first position of every term that began after the start.
    term_starts: Vec<Position>,
    last: Position,
    cache: VecDeque<Chunk>,
    cached_bytes: usize,
    /// Everything up to here would survive a loss of power.
    durable: Index,
    /// Everything up to here has been handed out in writes.
    written: Index,
    /// Writes under way, and the last index that each makes durable.
    pending: VecDeque<PendingWrite>,
    /// A committed configuration, then every one that followed. Never empty.
    configs: Vec<Membership>,
    /// Whether the next write must empty the log on disk, so that it begins at the start.
    is_reset: bool,
    pub(crate) planted: Planted,
}

/// Who the members are from an index on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Membership {
    from: Index,
    cluster: Arc<ClusterConfig>,
    /// Those of `cluster`.
    voters: Voters,
}

impl Membership {
    fn new(from: Index, cluster: Arc<ClusterConfig>) -> Self {
        Self { from, voters: Voters::of(&cluster), cluster }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct PendingWrite {
    id: PersistId,
    last: Index,
    /// Since when the disk has done nothing else.
    waits_since: Time,
}

impl Log {
    /// The log that `boot` describes; the caller has checked that it holds together. One that does
    /// not reach what was applied was to be replaced by a snapshot when power failed.
    pub(crate) fn restore(boot: Boot) -> Self {
        let Boot { applied, cluster, configs, .. } = boot;
        let state_cluster = Arc::new(cluster);
        let before_state = configs.partition_point(|(index, _)| *index <= applied.index);
        let first = match configs[..before_state].last() {
            Some(config) => config.clone(),
            None => (applied.index, Arc::clone(&state_cluster)),
        };
        let configs_after = configs[before_state..].iter().cloned();
        let configs = core::iter::once(first).chain(configs_after);
        let mut term_starts = boot.term_starts;
        term_starts.retain(|first| first.term > boot.start.term);
        let mut log = Self {
            start: boot.start,
            term_starts,
            last: boot.last,
            cache: VecDeque::new(),
            cached_bytes: 0,
            durable: boot.last.index,
            written: boot.last.index,
            pending: VecDeque::new(),
            configs: configs.map(|(from, cluster)| Membership::new(from, cluster)).collect(),
            is_reset: false,
            planted: Planted::default(),
        };
        if !log.holds(applied) {
            // What such a log says of the members is older than what the state says.
            log.reset(applied, state_cluster);
        }
        log
    }

    pub(crate) fn start(&self) -> Position {
        self.start
    }

    pub(crate) fn last(&self) -> Position {
        self.last
    }

    pub(crate) fn durable(&self) -> Index {
        self.durable
    }

    pub(crate) fn cached_bytes(&self) -> usize {
        self.cached_bytes
    }

    /// What the entries after `index` count in bytes, as far as they are in memory.
    pub(crate) fn cached_bytes_after(&self, index: Index) -> usize {
        let later = self.cache.iter().rev().take_while(|chunk| chunk.last() > index);
        later.map(|chunk| chunk.starting_at(index.next()).size_bytes()).sum()
    }

    /// The members of the cluster: of the latest configuration in the log, committed or not
    /// (paper §6: "a server always uses the latest configuration in its log").
    pub(crate) fn cluster(&self) -> &Arc<ClusterConfig> {
        &self.membership().cluster
    }

    /// The voters among them.
    pub(crate) fn voters(&self) -> &Voters {
        &self.membership().voters
    }

    /// Where the latest configuration is.
    pub(crate) fn config_index(&self) -> Index {
        self.membership().from
    }

    fn membership(&self) -> &Membership {
        &self.configs[self.configs.len() - 1]
    }

    /// The configurations that are in force or may be so again: the last one up to `commit`, and
    /// those after it.
    pub(crate) fn configs_from(&self, commit: Index) -> impl Iterator<Item = &ClusterConfig> {
        let committed = self.configs.partition_point(|config| config.from <= commit);
        self.configs[committed.saturating_sub(1)..].iter().map(|config| &*config.cluster)
    }

    /// The term of the entry at `index`; `None` before the start and after the end.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        if index > self.last.index || index < self.start.index {
            return None;
        }
        let terms_begun = match self.term_starts.last() {
            Some(latest) if latest.index <= index => self.term_starts.len(),
            _ => self.term_starts.partition_point(|first| first.index <= index),
        };
        match terms_begun {
            0 => Some(self.start.term),
            count => Some(self.term_starts[count - 1].term),
        }
    }

    /// Whether this log has an entry (or its start) at exactly this position.
    #[inline]
    pub(crate) fn holds(&self, at: Position) -> bool {
        at == self.last || self.term_at(at.index) == Some(at.term)
    }

    /// The last position at or before `limit` both in index and in term: the only places at which
    /// this log can agree with one that has `limit` (the backtracking of paper §5.3).
    pub(crate) fn last_at_or_before(&self, limit: Position) -> Position {
        let newer = self.term_starts.partition_point(|first| first.term <= limit.term);
        let end_of_terms = match self.term_starts.get(newer) {
            Some(next_term) => next_term.index.prev(),
            None => self.last.index,
        };
        let index = end_of_terms.min(limit.index).max(self.start.index);
        Position::new(self.term_at(index).unwrap_or(self.start.term), index)
    }

    /// Appends `entries`, which must follow the last position.
    #[expect(clippy::inline_always, reason = "every entry is stored here, on every node")]
    #[inline(always)]
    pub(crate) fn append(&mut self, entries: Entries) {
        debug_assert!(entries.follows(self.last), "a gap in the log");
        let Some(chunk) = Chunk::new(entries) else { return };
        for entry in chunk.entries().iter() {
            if entry.at.term > self.last.term {
                self.term_starts.push(entry.at);
            }
            self.last = entry.at;
            if let Payload::Config(config) = &entry.payload {
                self.configs.push(Membership::new(entry.at.index, Arc::clone(config)));
            }
        }
        self.cached_bytes += chunk.bytes();
        self.cache.push_back(chunk);
    }

    /// Removes the entries from index `from` on, which must lie after the start. Writes under way
    /// that carry them will be followed by one that replaces them.
    pub(crate) fn truncate(&mut self, from: Index) {
        let keep = from.prev();
        debug_assert!(keep >= self.start.index, "truncation before the start");
        if keep >= self.last.index {
            return;
        }
        let term = self.term_at(keep).unwrap_or(self.start.term);
        self.last = Position::new(term, keep);
        self.term_starts.retain(|first| first.index <= keep);
        if !self.planted.has(Bug::ConfigKept) {
            self.configs.retain(|config| config.from <= keep);
        }
        while let Some(chunk) = self.cache.pop_back_if(|chunk| chunk.last() > keep) {
            self.cached_bytes -= chunk.bytes();
            if let Some(kept) = Chunk::new(chunk.entries().ending_before(from)) {
                self.cached_bytes += kept.bytes();
                self.cache.push_back(kept);
            }
        }
        if !self.planted.has(Bug::DurableKept) {
            self.durable = self.durable.min(keep);
        }
        self.written = self.written.min(keep);
        for write in &mut self.pending {
            write.last = write.last.min(keep);
        }
    }

    /// Forgets the entries up to `upto`, which must be durable.
    pub(crate) fn compact(&mut self, upto: Index) {
        let Some(term) = self.term_at(upto) else { return };
        debug_assert!(upto <= self.durable, "what is not durable is still needed");
        self.start = Position::new(term, upto);
        self.term_starts.retain(|first| first.index > upto);
        let settled = self.configs.partition_point(|config| config.from <= upto);
        self.configs.drain(..settled.saturating_sub(1));
        while let Some(chunk) = self.cache.pop_front_if(|chunk| chunk.first() <= upto) {
            self.cached_bytes -= chunk.bytes();
            if let Some(kept) = Chunk::new(chunk.starting_at(upto.next())) {
                self.cached_bytes += kept.bytes();
                self.cache.push_front(kept);
            }
        }
    }

    /// Forgets everything, and begins anew after `at`, which a snapshot ends at. That the state
    /// machine is durable makes everything up to there durable.
    pub(crate) fn reset(&mut self, at: Position, cluster: Arc<ClusterConfig>) {
        for write in &mut self.pending {
            write.last = write.last.min(at.index);
        }
        *self = Self {
            start: at,
            term_starts: Vec::new(),
            last: at,
            cache: VecDeque::new(),
            cached_bytes: 0,
            durable: at.index,
            written: at.index,
            pending: core::mem::take(&mut self.pending),
            configs: Vec::from([Membership::new(at.index, cluster)]),
            is_reset: true,
            planted: self.planted,
        };
    }

    /// Where the log on disk must begin anew, if it must; from now on, the write that is being
    /// made says so.
    pub(crate) fn take_reset(&mut self) -> Option<Position> {
        core::mem::take(&mut self.is_reset).then_some(self.start)
    }

    /// The next entries that no write carries yet, of those that came into the log together; from
    /// now on, write `id` does.
    #[inline]
    pub(crate) fn take_unwritten(&mut self, id: PersistId, now: Time) -> Entries {
        let (next, end) = (self.written.next(), self.last.index);
        let (entries, last) = if let Some(chunk) = self.recent_chunk(next, end) {
            (chunk.entries().clone(), chunk.last())
        } else {
            let entries = self.cached_run(next, end).unwrap_or_default();
            let last = entries.last_position().map_or(end, |last| last.index);
            (entries, last)
        };
        self.written = last;
        self.pending.push_back(PendingWrite { id, last, waits_since: now });
        entries
    }

    /// Notes that every write up to `id` is durable since `now`.
    pub(crate) fn persisted(&mut self, id: PersistId, now: Time) {
        while let Some(write) = self.pending.pop_front_if(|write| write.id <= id) {
            self.durable = self.durable.max(write.last);
        }
        if let Some(next) = self.pending.front_mut() {
            next.waits_since = now;
        }
    }

    /// Since when nothing has become durable; `None` if nothing is to.
    pub(crate) fn disk_stands_since(&self) -> Option<Time> {
        self.pending.front().map(|write| write.waits_since)
    }

    /// The write under way that makes `index` durable; `None` if it is durable, or not written.
    pub(crate) fn write_covering(&self, index: Index) -> Option<PersistId> {
        if index <= self.durable {
            return None;
        }
        self.pending.iter().find(|write| write.last >= index).map(|write| write.id)
    }

    /// Whether the entry at `index` has been handed out in a write.
    pub(crate) fn is_written(&self, index: Index) -> bool {
        index <= self.written
    }

    /// Everything up to here has been handed out in writes.
    pub(crate) fn written(&self) -> Index {
        self.written
    }

    /// Whether something has not been handed out in a write.
    pub(crate) fn has_unwritten(&self) -> bool {
        self.written < self.last.index || self.is_reset
    }

    /// The first index that is in memory; one past the end if none is.
    pub(crate) fn first_cached(&self) -> Index {
        self.cache.front().map_or(self.last.index.next(), Chunk::first)
    }

    /// Entries from `first` on, up to about `max_bytes` but at least one; `None` if `first` is
    /// not in memory. Nothing is copied while one chunk has them all.
    #[inline]
    pub(crate) fn cached(&self, first: Index, max_bytes: usize) -> Option<Entries> {
        match self.cache.back() {
            Some(newest) if newest.first() == first && newest.bytes() <= max_bytes => {
                Some(newest.entries().clone())
            }
            _ => self.cached_up_to(first, max_bytes),
        }
    }

    /// [`Log::cached`], where that is not all of the newest chunk.
    #[cold]
    fn cached_up_to(&self, first: Index, max_bytes: usize) -> Option<Entries> {
        let at = self.chunk_of(first)?;
        let chunk = &self.cache[at];
        let head = chunk.starting_at(first);
        let head_bytes = head.size_bytes();
        let next = self.cache.get(at + 1).map(|chunk| chunk.entries()[0].size_bytes());
        if next.is_none_or(|next_bytes| head_bytes.saturating_add(next_bytes) > max_bytes) {
            let is_whole = head_bytes <= max_bytes;
            let count = || fitting(head.iter().map(Entry::size_bytes), max_bytes);
            return Some(if is_whole { head } else { head.slice(0..count()) });
        }
        let rest = self.cache.range(at + 1..).flat_map(|chunk| chunk.entries().iter());
        let count = fitting(rest.clone().map(Entry::size_bytes), max_bytes - head_bytes);
        Some(head.iter().chain(rest.take(count)).cloned().collect())
    }

    /// The chunk that begins at `first` and ends no later than `last`, if it is one of the two
    /// newest: what a leader commits has mostly just come, and a follower learns of it together
    /// with what comes next.
    #[inline]
    pub(crate) fn recent_chunk(&self, first: Index, last: Index) -> Option<&Chunk> {
        let mut recent = self.cache.back()?;
        if recent.first() > first {
            recent = self.cache.get(self.cache.len().checked_sub(2)?)?;
        }
        (recent.first() == first && recent.last() <= last).then_some(recent)
    }

    /// The run of entries from `first` up to `last` that one chunk holds; `None` if `first` is not
    /// in memory.
    #[cold]
    pub(crate) fn cached_run(&self, first: Index, last: Index) -> Option<Entries> {
        let chunk = &self.cache[self.chunk_of(first)?];
        let entries = chunk.starting_at(first);
        Some(if chunk.last() <= last { entries } else { entries.ending_before(last.next()) })
    }

    /// The number of the chunk with the entry at `index`: nearly always the newest.
    #[inline]
    fn chunk_of(&self, index: Index) -> Option<usize> {
        match self.cache.back() {
            Some(newest) if newest.first() > index => self.older_chunk_of(index),
            Some(_) if index <= self.last.index => Some(self.cache.len() - 1),
            Some(_) | None => None,
        }
    }

    /// The rest mostly soon after they came. The cache may have very many chunks, and to search all
    /// of it would wake up memory that nobody has touched for long.
    #[cold]
    fn older_chunk_of(&self, index: Index) -> Option<usize> {
        let end = self.cache.len();
        let mut latest = (end.saturating_sub(NEAR_THE_END)..end).rev();
        if let Some(near) = latest.find(|at| self.cache[*at].first() <= index) {
            return Some(near);
        }
        let is_cached = index >= self.first_cached();
        is_cached.then(|| self.cache.partition_point(|chunk| chunk.last() < index))
    }

    /// Whether these entries, read back from disk, are the ones this log has there.
    pub(crate) fn agrees_with(&self, entries: &Entries) -> bool {
        entries.first().is_some_and(|first| entries.follows(first_prev(first.at)))
            && entries.iter().all(|entry| self.holds(entry.at))
    }

    /// Forgets the oldest cached entries while the cache is above `budget_bytes`, but none that is
    /// not durable or lies after `keep_after`.
    pub(crate) fn evict(&mut self, budget_bytes: usize, keep_after: Index) {
        let settled = self.durable.min(keep_after);
        while self.cached_bytes > budget_bytes {
            match self.cache.pop_front_if(|chunk| chunk.last() <= settled) {
                Some(chunk) => self.cached_bytes -= chunk.bytes(),
                None => break,
            }
        }
    }

    /// Counts the writes under way from `origin` on, takes them to have been given out at the
    /// origin of time, and joins what is in memory into one run.
    pub(crate) fn normalise(&mut self, origin: PersistId) {
        for write in &mut self.pending {
            (write.id, write.waits_since) = (write.id.counted_from(origin), Time::ZERO);
        }
        if self.cache.len() > 1 {
            let chunks = core::mem::take(&mut self.cache);
            let entries = chunks.iter().flat_map(|chunk| chunk.entries().iter().cloned()).collect();
            self.cache.extend(Chunk::new(entries));
        }
    }

    /// Checks the invariants at the head of this file.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        rule(self.start.index <= self.durable, "the start of the log is durable")?;
        rule(self.durable <= self.written, "what is durable was written")?;
        rule(self.written <= self.last.index, "what was written is in the log")?;
        let mut latest = self.start;
        for first in &self.term_starts {
            let grows = first.term > latest.term && first.index > latest.index;
            rule(grows, "terms and indexes grow along the log")?;
            latest = *first;
        }
        rule(latest.term == self.last.term, "the last entry is of the last term")?;
        let mut prev = self.first_cached().prev();
        for chunk in &self.cache {
            rule(chunk.first() == prev.next(), "the cache has no gap")?;
            rule(
                Chunk::new(chunk.entries().clone()).as_ref() == Some(chunk),
                "a chunk knows where it begins and ends",
            )?;
            let holds = chunk.entries().iter().all(|entry| self.holds(entry.at));
            rule(holds, "the cache and the terms agree")?;
            prev = chunk.last();
        }
        rule(prev == self.last.index, "the cache ends with the log")?;
        rule(self.first_cached() <= self.durable.next(), "what is not durable is in memory")?;
        let bytes = self.cache.iter().map(Chunk::bytes).sum::<usize>();
        rule(bytes == self.cached_bytes, "the size of the cache adds up")?;
        let configs_grow = self.configs.is_sorted_by(|a, b| a.from < b.from);
        let is_within = self.configs.iter().all(|config| config.from <= self.last.index);
        rule(configs_grow && is_within, "configurations are in order, within the log")?;
        let is_written = self.pending.iter().all(|write| write.last <= self.written);
        rule(is_written, "a write under way ends within what was written")?;
        rule(self.pending.iter().is_sorted_by(|a, b| a.id < b.id), "writes are in order")
    }
}

/// A position that `first` may follow.
fn first_prev(first: Position) -> Position {
    Position::new(first.term, first.index.prev())
}

/// How many of the sizes fit into `max_bytes`, but at least one.
pub(crate) fn fitting(sizes: impl Iterator<Item = usize>, max_bytes: usize) -> usize {
    let mut total = 0_usize;
    let fit = sizes.take_while(|size| {
        total = total.saturating_add(*size);
        total <= max_bytes
    });
    fit.count().max(1)
}
