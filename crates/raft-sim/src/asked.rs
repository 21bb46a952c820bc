//! [`Asked`]: one thing that somebody wanted of a node, and what became of it.

use raft_core::{Index, NodeId, Position};

use crate::linearizability::Answer;
use crate::machine::Command;

/// One operation. Its number, its ticket and its place in the list of all are the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) by: Asker,
    pub(crate) what: What,
    /// Where it was asked.
    pub(crate) node: NodeId,
    /// In which start of that node.
    pub(crate) start: u64,
    /// In which step.
    pub(crate) at: u64,
    /// Everything up to here was committed when it was asked.
    pub(crate) floor: Index,
    pub(crate) fate: Fate,
    /// Its entry is committed, whoever knows of it.
    pub(crate) is_committed: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// What this key holds.
    Read(u8),
    Write(Command),
    /// Other members: the [`ConfigChange`](raft_core::ConfigChange) is in the operator's book.
    Change,
    /// That this node leads.
    Transfer(NodeId),
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// This client, who waits.
    Client(usize),
    /// A client who waits no longer.
    Gone,
    /// Somebody who reaches one node alone, and asks it time and again without waiting.
    Stranded,
    /// The operator, who never waits.
    Operator,
    /// The simulator itself.
    Probe,
}

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing yet.
    Open,
    /// It is a committed write that is yet to be applied where it was asked.
    Committed(Position),
    Answered(Answer),
    /// It is a change of members or of leaders, and was made.
    Done,
    /// It was told that nothing happened, and nothing will.
    Refused,
    /// Whoever knew is gone.
    Lost,
}

impl Asked {
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.fate, Fate::Open | Fate::Committed(_))
    }
}

/// Where, and when, something is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occasion {
    pub(crate) node: NodeId,
    pub(crate) start: u64,
    pub(crate) at: u64,
    pub(crate) floor: Index,
}

impl Occasion {
    /// This, asked on this occasion.
    pub(crate) fn ask(self, by: Asker, what: What) -> Asked {
        let Self { node, start, at, floor } = self;
        Asked { by, what, node, start, at, floor, fate: Fate::Open, is_committed: false }
    }
}
