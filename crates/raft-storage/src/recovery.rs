//! [`Recovered`]: what a log held when it was opened.

use std::sync::Arc;

use raft_core::{Boot, ClusterConfig, HardState, Index, Position, Term};

use crate::damage::Damage;
use crate::disk::Disk;
use crate::index::LogIndex;
use crate::record::{EntryMeta, Header, KindMeta};
use crate::sector::{Place, offset_bytes};
use crate::segment::{SegmentHeader, file_name};
use crate::walk::{Visitor, Walked};
use crate::witness::{self, Testimony};

/// What a log held when it was opened: all of it durable, unless it is damaged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The latest durable term, vote and count of starts.
    pub hard_state: HardState,
    /// The position before the first entry.
    pub start: Position,
    /// The first position of every term, in order.
    pub term_starts: Vec<Position>,
    /// The position of the last entry; `start` if there is none.
    pub last: Position,
    /// The configurations in the log, in order.
    pub configs: Vec<(Index, Arc<ClusterConfig>)>,
    /// An index known to be committed; at least `start`.
    pub commit: Index,
    /// A write that a crash cut short was removed from the end. Nobody had been told of it.
    pub torn: Option<Torn>,
    /// What is wrong with the log. The rest of this then describes what lies before the damage:
    /// entries that this node had acknowledged may be missing. [`repair`](crate::repair()) makes
    /// it a log that can be written, for a node that has others to get those entries from.
    pub damage: Option<Damage>,
}

/// A write that was not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The file, with its directory.
    pub file: String,
    /// Where it began, in bytes.
    pub offset_bytes: u64,
    /// How far it reached, in bytes from there.
    pub length_bytes: u64,
}

impl Recovered {
    /// What the core needs to start from an undamaged log, with these members as of `start` and
    /// with a state machine that holds everything up to `applied`.
    pub fn boot(&self, cluster: ClusterConfig, applied: Position) -> Boot {
        Boot {
            cluster,
            hard_state: self.hard_state,
            start: self.start,
            term_starts: self.term_starts.clone(),
            last: self.last,
            configs: self.configs.clone(),
            commit: self.commit,
            applied,
        }
    }
}

/// Collects the shape of the log while it is walked.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    pub(crate) index: LogIndex,
    configs: Vec<(Index, Arc<ClusterConfig>)>,
    has_begun: bool,
}

impl Visitor for Collector {
    fn segment(&mut self, header: &SegmentHeader) {
        if !self.has_begun {
            self.index = LogIndex::starting_after(header.tip.last);
            self.has_begun = true;
        }
        self.index.begin_segment(header.number);
    }

    fn record(
        &mut self,
        place: Place,
        header: &Header,
        metas: &[EntryMeta],
    ) -> Result<(), &'static str> {
        if header.is_reset {
            self.index.reset(header.prev);
            self.configs.clear();
        } else if !self.index.continues(header.prev) {
            return Err("the entry before its first one is of another term");
        }
        if metas.is_empty() {
            return Ok(());
        }
        let terms = metas.iter().map(|meta| Term::new(meta.term));
        self.index.extend(header.prev, terms, place);
        let kept = self.configs.partition_point(|(index, _)| *index <= header.prev.index);
        self.configs.truncate(kept);
        for (nth, meta) in (1..).zip(metas) {
            if let KindMeta::Config(config) = &meta.kind {
                self.configs.push((header.prev.index.plus(nth), Arc::new(config.config())));
            }
        }
        Ok(())
    }
}

impl Collector {
    /// What there is to tell after the walk.
    pub(crate) fn recovered<D: Disk>(
        &self,
        disk: &D,
        walked: &Walked,
        said: Option<Testimony>,
    ) -> Recovered {
        let start = self.index.start();
        let in_log = |(index, _): &&(Index, _)| *index > start.index;
        Recovered {
            hard_state: witness::latest(
                walked.tip.hard_state,
                said.map(|said| said.hard_state).unwrap_or_default(),
            ),
            start,
            term_starts: self.index.term_starts().to_vec(),
            last: self.index.last(),
            configs: self.configs.iter().filter(in_log).cloned().collect(),
            // A segment is removed only when it is committed, though the hint may lag behind.
            commit: walked.tip.commit.max(start.index),
            torn: torn(disk, walked),
            damage: walked.damage.clone(),
        }
    }
}

fn torn<D: Disk>(disk: &D, walked: &Walked) -> Option<Torn> {
    let until = walked.torn_until.filter(|_| walked.damage.is_none())?;
    let begin = walked.end.offset_bytes();
    let file = disk.path(&file_name(walked.end.segment));
    Some(Torn { file, offset_bytes: begin, length_bytes: offset_bytes(until) - begin })
}

#[cfg(test)]
mod tests {
    use raft_core::HardState;

    use super::*;
    use crate::tip::Tip;

    fn position(term: u64, index: u64) -> Position {
        Position::new(Term::new(term), Index::new(index))
    }

    fn meta(term: u64) -> EntryMeta {
        EntryMeta { term, kind: KindMeta::Noop }
    }

    /// A record of these terms after `prev`. The tip lets it pass: it looks at the end of the log
    /// alone, and not at the term of an entry in the middle.
    fn record(
        collector: &mut Collector,
        prev: Position,
        terms: &[u64],
    ) -> Result<(), &'static str> {
        let last_term = terms.last().map_or(prev.term, |term| Term::new(*term));
        let header = Header {
            sequence: 1,
            durable: 0,
            previous: 0,
            payload_bytes: 0,
            rest: 0,
            entries: u32::try_from(terms.len()).expect("a few"),
            is_reset: false,
            prev,
            last_term,
            hard_state: HardState::default(),
            commit: Index::ZERO,
        };
        let metas: Vec<EntryMeta> = terms.iter().map(|term| meta(*term)).collect();
        collector.record(Place::new(1, 1), &header, &metas)
    }

    #[test]
    fn a_record_must_continue_the_term_of_the_very_entry_before_it() {
        let mut collector = Collector::default();
        collector.segment(&SegmentHeader { number: 1, sectors: 8, tip: Tip::default() });
        record(&mut collector, position(0, 0), &[1, 1, 2, 3]).expect("the first entries");
        // Entry 3 is of term 2, as the log has it, and entry 2 of term 1.
        record(&mut collector, position(2, 3), &[3]).expect("it replaces entry 4");
        let refused =
            record(&mut collector, position(1, 3), &[3]).expect_err("entry 3 is of term 2");
        assert_eq!(refused, "the entry before its first one is of another term");
        record(&mut collector, position(2, 2), &[2]).expect_err("entry 2 is of term 1");
        record(&mut collector, position(3, 5), &[3]).expect_err("there is no entry 5");
        assert_eq!(collector.index.last(), position(3, 4), "nothing was taken in");
        record(&mut collector, position(1, 2), &[4]).expect("it replaces entry 3");
        assert_eq!(collector.index.last(), position(4, 3));
    }
}
