//! [`LogQueue`]: what waits for a log, with reads ahead of the writes that do not concern them.
//!
//! A follower that has fallen behind is given, a piece at a time, what the leader reads back from
//! its log. Behind every write that waited, one piece of a mebibyte came in the time of all of
//! them, under a load of large values 0.4 s; so the follower never caught up as long as the load
//! went on.

use std::collections::VecDeque;

use raft_core::{ReadLog, Write};

use crate::thread::LogRequest;

/// Requests that wait for a log.
///
/// 1. They come out in the order in which they went in, but for reads that go first.
/// 2. A read goes first if no write that waits changes anything up to its last entry: so it sees
///    what it would have seen in its turn.
#[derive(Debug, Default)]
pub struct LogQueue {
    in_turn: VecDeque<LogRequest>,
    first: VecDeque<ReadLog>,
}

impl LogQueue {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty() && self.in_turn.is_empty()
    }

    /// Takes in one more request.
    pub fn push(&mut self, request: LogRequest) {
        match request {
            LogRequest::Read(read) if self.may_go_first(&read) => self.first.push_back(read),
            _ => self.in_turn.push_back(request),
        }
    }

    /// What is to be carried out next.
    pub fn pop(&mut self) -> Option<LogRequest> {
        let read = self.first.pop_front().map(LogRequest::Read);
        read.or_else(|| self.in_turn.pop_front())
    }

    fn may_go_first(&self, read: &ReadLog) -> bool {
        self.in_turn.iter().all(|request| match request {
            LogRequest::Write(write) => !concerns(write, read),
            LogRequest::Read(_) | LogRequest::Compact(_) | LogRequest::FreeRoom => true,
        })
    }
}

/// Whether the write may change what is read.
fn concerns(write: &Write, read: &ReadLog) -> bool {
    let begins_within = |first: &raft_core::Entry| first.at.index <= read.last;
    write.reset.is_some() || write.entries.first().is_some_and(begins_within)
}

#[cfg(test)]
mod tests {
    use raft_core::{
        Entries, Entry, HardState, Index, Payload, PersistId, Position, ReadPurpose, Term,
    };

    use super::*;

    fn write_at(index: u64) -> LogRequest {
        let at = Position::new(Term::new(1), Index::new(index));
        write(None, Entry { at, payload: Payload::Noop }.into())
    }

    fn write(reset: Option<Position>, entries: Entries) -> LogRequest {
        let (id, hard_state, commit) = (PersistId::new(1), HardState::default(), Index::ZERO);
        LogRequest::Write(Write { id, hard_state, commit, reset, entries })
    }

    fn read_to(last: u64) -> LogRequest {
        let (purpose, first, last) = (ReadPurpose::Apply, Index::new(1), Index::new(last));
        LogRequest::Read(ReadLog { purpose, first, last, max_bytes: 100 })
    }

    /// In which order these come out, by their numbers.
    fn order(requests: &[LogRequest]) -> Vec<usize> {
        let mut queue = LogQueue::default();
        requests.iter().cloned().for_each(|request| queue.push(request));
        let mut order = Vec::new();
        while let Some(request) = queue.pop() {
            order.extend(requests.iter().position(|it| *it == request));
        }
        assert!(queue.is_empty());
        order
    }

    #[test]
    fn a_read_goes_before_writes_behind_it_in_the_log() {
        assert_eq!(order(&[write_at(8), write_at(9), read_to(7)]), [2, 0, 1]);
        assert_eq!(order(&[write_at(8), read_to(7), write_at(9), read_to(6)]), [1, 3, 0, 2]);
        let compaction = LogRequest::Compact(Index::new(3));
        assert_eq!(order(&[compaction, LogRequest::FreeRoom, read_to(7)]), [2, 0, 1]);
        assert_eq!(order(&[write(None, Entries::empty()), read_to(7)]), [1, 0]);
    }

    #[test]
    fn a_read_waits_for_what_may_change_what_it_reads() {
        assert_eq!(order(&[write_at(8), write_at(7), read_to(7)]), [0, 1, 2]);
        let reset = write(Some(Position::ORIGIN), Entries::empty());
        assert_eq!(order(&[reset, read_to(7)]), [0, 1]);
    }
}
