//! [`Mending`]: all trouble ends, and within a bounded time the cluster has to be as good as new.
//!
//! It ends in two parts. At first some disks stay full, where a seed wants it:
//!
//! 1. Clients go on for some seconds, so that what can be stuck is. Then, if most nodes have room,
//!    a write is accepted; if not, a linearizable read is answered.
//! 2. When all have room again: a write is accepted, every node answers a linearizable read, every
//!    request has its answer, and all nodes have the same log, all of it applied, and know that
//!    their disks are in order.

use std::time::Duration;

use kv_proto::Consistency;
use raft_core::Time;
use raft_storage::Room;

use super::agenda::Happening;
use super::asked::What;
use super::clients::Fate;
use super::node::Node;
use super::world::World;
use crate::violation::{Checked, Violation, check};

/// How long each part may take. A leader without room asks others to lead at most a minute after it
/// asked last; nothing else has pauses like that.
const LIMIT: Duration = Duration::from_secs(90);

/// How long clients go on where disks stay full.
const LOAD: Duration = Duration::from_secs(4);

/// How often it is looked.
const LOOK_AFTER: Duration = Duration::from_millis(50);

/// How far it is.
#[derive(Debug)]
pub(super) struct Mending {
    since: Time,
    part: Part,
    /// The question that is open, and how many were asked before.
    question: Option<usize>,
    tries: usize,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Clients go on while these nodes have no room.
    Loaded(Vec<usize>),
    /// These nodes have no room, and the others show what they can do.
    LeftFull(Vec<usize>),
    /// A write by whoever leads.
    Write,
    /// A read of each node, from this one on.
    Read(usize),
    /// That everything is equal and quiet.
    Quiet,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
enum Wish {
    /// To write, of whoever leads.
    Write,
    /// To read, of this node or of anybody.
    Read(Option<usize>),
}

impl Mending {
    /// Whether this node is to have no room yet.
    pub(super) fn leaves_full(&self, at: usize) -> bool {
        matches!(&self.part, Part::Loaded(full) | Part::LeftFull(full) if full.contains(&at))
    }

    /// Whether clients go on.
    pub(super) fn is_loaded(&self) -> bool {
        matches!(self.part, Part::Loaded(_))
    }
}

impl World {
    /// All trouble ends but for full disks.
    pub(super) fn begin_mending(&mut self) -> Checked {
        let first = self.dice.place(self.nodes.len());
        let count = self.plan.left_full;
        let full = (0..count).map(|nth| (first + nth) % self.nodes.len()).collect::<Vec<_>>();
        self.note(|| format!("all trouble is over, but nodes {full:?} (from 0) have no room"));
        self.network.calm_down();
        self.network.lose_nothing();
        for at in 0..self.nodes.len() {
            self.nodes[at].is_slow = false;
            let room = if full.contains(&at) { Some(0) } else { self.some_room() };
            self.nodes[at].set_room(room);
            // One that is down may need room to start.
            if self.nodes[at].process.is_none() {
                self.nodes[at].set_room(None);
                self.start(at)?;
            }
        }
        let part = if full.is_empty() { Part::Write } else { Part::Loaded(full) };
        self.mending = Some(Mending { since: self.now, part, question: None, tries: 0 });
        self.later(LOOK_AFTER, Happening::Probe);
        Ok(())
    }

    /// Looks how far it is; `true` when nothing is left to be waited for.
    pub(super) fn probe(&mut self) -> Result<bool, Violation> {
        let Some(mut mending) = self.mending.take() else { return Ok(false) };
        let since = mending.since;
        let part = mending.part.clone();
        check(self.now.since(since) < LIMIT, rule(&part), || self.describe(&part))?;
        let is_reached = match &part {
            Part::Loaded(_) => self.now.since(since) >= LOAD,
            Part::LeftFull(full) => {
                let has_majority = 2 * full.len() < self.nodes.len();
                self.asks(&mut mending, if has_majority { Wish::Write } else { Wish::Read(None) })?
            }
            Part::Write => self.asks(&mut mending, Wish::Write)?,
            Part::Read(at) => self.asks(&mut mending, Wish::Read(Some(*at)))?,
            Part::Quiet => self.is_quiet(),
        };
        if is_reached {
            mending.part = match part {
                Part::Loaded(full) => {
                    mending.since = self.now;
                    Part::LeftFull(full)
                }
                Part::LeftFull(full) => {
                    self.tally.reach("what can be done with full disks was done");
                    for at in full {
                        let room = self.some_room();
                        self.nodes[at].set_room(room);
                    }
                    mending.since = self.now;
                    Part::Write
                }
                Part::Write => Part::Read(0),
                Part::Read(at) if at + 1 < self.nodes.len() => Part::Read(at + 1),
                Part::Read(_) => Part::Quiet,
                Part::Quiet => return Ok(true),
            };
            self.note(|| format!("reached; now {:?}", mending.part));
        }
        self.mending = Some(mending);
        self.later(LOOK_AFTER, Happening::Probe);
        Ok(false)
    }

    /// Asks for a write, or for a read of this node or any; `true` once one was answered.
    fn asks(&mut self, mending: &mut Mending, wish: Wish) -> Result<bool, Violation> {
        if let Some(number) = mending.question {
            match self.clients.fate(number) {
                Fate::Open => return Ok(false),
                Fate::Answered { .. } => {
                    mending.question = None;
                    return Ok(true);
                }
                _ => {}
            }
        }
        mending.tries += 1;
        let somebody = mending.tries % self.nodes.len();
        let (at, what) = match wish {
            Wish::Write => {
                (self.leader().unwrap_or(somebody), What::Put { key: 0, value_bytes: 100 })
            }
            Wish::Read(at) => {
                let what = What::ReadAll { consistency: Consistency::Linearizable };
                (at.unwrap_or(somebody), what)
            }
        };
        mending.question = self.ask_of(at, what, Duration::from_secs(2), None)?;
        Ok(false)
    }

    /// Whether all nodes have and do the same, and nobody waits for anything.
    fn is_quiet(&self) -> bool {
        let len = self.ledger.len();
        let is_done = |node: &Node| {
            node.process.as_ref().is_some_and(|process| {
                let status = process.replica.raft().status();
                process.machine.store().durable().index == len
                    && status.commit.get() == len
                    && status.last.index.get() == len
                    && status.durable.get() == len
                    && process.log.told() == Room::Ample
                    && !process.state_waits
                    && !process.is_full
            })
        };
        self.nodes.iter().all(is_done) && self.clients.open() == 0
    }

    /// What every node is at, for whoever wonders why it does not go on.
    fn describe(&self, part: &Part) -> String {
        let of_node = |node: &Node| {
            let Some(process) = &node.process else { return format!("{} is down", node.id) };
            let status = process.replica.raft().status();
            format!(
                "{} is {:?} in {}, log {}..{} durable {} committed {} stored {}, log room {:?}, \
                 state waits {}, full {}",
                node.id,
                status.role,
                status.term,
                status.start,
                status.last,
                status.durable,
                status.commit,
                process.machine.store().durable().index,
                process.log.told(),
                process.state_waits,
                process.is_full,
            )
        };
        let nodes: Vec<String> = self.nodes.iter().map(of_node).collect();
        format!("{part:?}, {} open requests; {}", self.clients.open(), nodes.join("; "))
    }
}

fn rule(part: &Part) -> &'static str {
    match part {
        Part::Loaded(_) | Part::LeftFull(_) => {
            "full disks do not stop what can be done without them"
        }
        Part::Write => "writes are accepted once all trouble is over",
        Part::Read(_) => "every node answers reads once all trouble is over",
        Part::Quiet => "all nodes come to the same once all trouble is over",
    }
}
