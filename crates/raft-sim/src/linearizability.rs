//! Whether a history of registers is linearizable (Herlihy and Wing): whether each operation can
//! be given one moment between its question and its answer, such that all answers are what a
//! single copy would have said.
//!
//! Linearizability is local, so each key is judged by itself, by the search of Wing and Gong with
//! Lowe's memory of what was tried. An operation without an answer may have happened at any moment
//! after its question, or never; it is called open.
//!
//! What makes the search short:
//!
//! 1. No two puts have one value, so a register holds each value once. It is not replaced while
//!    anything is left that has seen it.
//! 2. If the value of an open put was never seen, neither by a read nor as what another write
//!    replaced, the put can be left out: in any valid order, what comes right after it must be
//!    another open write, which does not care.
//! 3. For the same reason, no open write needs to come right after another one.
//! 4. Open deletes are all alike: of those that were asked for, the earliest may stand for any.
//!    One that finds nothing to delete can be left out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

pub use crate::machine::Value;

/// One operation of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Which register.
    pub key: u8,
    /// What was asked.
    pub call: Call,
    /// When it was asked.
    pub invoked: u64,
    /// What was answered; none if nobody knows what became of it. An operation that certainly did
    /// nothing does not belong into a history.
    pub answer: Option<Answer>,
}

/// What can be asked of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// What it holds.
    Read,
    /// To hold this from now on. No two puts of a history have the same value.
    Write(Value),
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When. An operation that was asked at this very moment counts as concurrent.
    pub at: u64,
    /// What a read found, or what a write replaced.
    pub value: Value,
}

/// Why a history was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no valid order.
    NotLinearizable {
        /// The register.
        key: u8,
        /// The longest valid beginning that was found, by places in the history.
        order: Vec<usize>,
    },
    /// So many steps were not enough to find out.
    GaveUp {
        /// The register.
        key: u8,
        /// How many.
        steps: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLinearizable { key, order } => write!(
                f,
                "the history of key {key} has no valid order; the longest beginning found is \
                 {order:?}"
            ),
            Self::GaveUp { key, steps } => {
                write!(f, "{steps} steps were not enough to judge the history of key {key}")
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// A search that takes more steps than this gives up. Correct histories take a few per operation.
const MAX_STEPS: u64 = 1_000_000;

/// Judges a history.
///
/// # Errors
///
/// The first key whose operations have no valid order, or were too many to tell.
pub fn check(history: &[Operation]) -> Result<(), Refusal> {
    let mut keys: BTreeMap<u8, Vec<(usize, Operation)>> = BTreeMap::new();
    for (place, operation) in history.iter().enumerate() {
        keys.entry(operation.key).or_default().push((place, *operation));
    }
    keys.into_iter().try_for_each(|(key, operations)| Search::new(key, relevant(operations)).run())
}

/// The operations that can make a difference.
fn relevant(operations: Vec<(usize, Operation)>) -> Vec<(usize, Operation)> {
    let answers = operations.iter().filter_map(|(_, operation)| operation.answer);
    let seen: HashSet<Value> = answers.map(|answer| answer.value).collect();
    let matters = |operation: &Operation| match (operation.call, operation.answer) {
        (_, Some(_)) => true,
        (Call::Read, None) => false,
        (Call::Write(value), None) => seen.contains(&value),
    };
    operations.into_iter().filter(|(_, operation)| matters(operation)).collect()
}

/// A question or an answer, in a list ordered by time from which operations are taken out and put
/// back (Lowe's "dancing" list).
#[derive(Clone, Copy, Debug)]
struct Node {
    operation: usize,
    is_answer: bool,
    prev: usize,
    next: usize,
}

/// The place before the first and behind the last node.
const ENDS: usize = 0;

struct Search {
    key: u8,
    /// With their places in the history, for people.
    operations: Vec<(usize, Operation)>,
    /// Node 0 is both ends of the list.
    list: Vec<Node>,
    /// For each operation, where its question and its answer are in the list.
    places: Vec<(usize, Option<usize>)>,
    /// In the order in which they were asked for.
    open_deletes: Vec<usize>,
    /// How many operations that are not done have seen each value.
    unseen: HashMap<Value, u32>,
    /// Whether a register may hold nothing more than once.
    has_deletes: bool,
    state: Value,
    done: Vec<u64>,
    /// Operations in the order that is being tried, each with the state before it.
    order: Vec<(usize, Value)>,
    /// What was done, with which state after it, and whether an open write came last.
    tried: HashSet<(Vec<u64>, Value, bool)>,
    longest: Vec<usize>,
    steps: u64,
}

impl Search {
    fn new(key: u8, operations: Vec<(usize, Operation)>) -> Self {
        // At one moment, questions come before answers: the two are concurrent.
        let mut moments: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * operations.len());
        for (number, (_, operation)) in operations.iter().enumerate() {
            moments.push((operation.invoked, false, number));
            moments.extend(operation.answer.map(|answer| (answer.at, true, number)));
        }
        moments.sort_unstable();
        let ends = Node { operation: usize::MAX, is_answer: false, prev: moments.len(), next: 1 };
        let mut list = vec![ends];
        let mut places = vec![(ENDS, None); operations.len()];
        for (before, (_, is_answer, operation)) in moments.into_iter().enumerate() {
            list.push(Node { operation, is_answer, prev: before, next: before + 2 });
            if is_answer {
                places[operation].1 = Some(before + 1);
            } else {
                places[operation].0 = before + 1;
            }
        }
        if let Some(final_node) = list.last_mut() {
            final_node.next = ENDS;
        }
        let is_open_delete = |node: &Node| match operations.get(node.operation) {
            Some((_, Operation { call, answer, .. })) => {
                answer.is_none() && *call == Call::Write(None)
            }
            None => false,
        };
        let open_deletes = list.iter().filter(|node| is_open_delete(node));
        let open_deletes = open_deletes.map(|node| node.operation).collect();
        let mut unseen = HashMap::new();
        for answer in operations.iter().filter_map(|(_, operation)| operation.answer) {
            *unseen.entry(answer.value).or_default() += 1;
        }
        let is_delete = |(_, it): &(usize, Operation)| it.call == Call::Write(None);
        let has_deletes = operations.iter().any(is_delete);
        Self {
            key,
            done: vec![0; operations.len().div_ceil(64)],
            operations,
            list,
            places,
            open_deletes,
            unseen,
            has_deletes,
            state: None,
            order: Vec::new(),
            tried: HashSet::new(),
            longest: Vec::new(),
            steps: 0,
        }
    }

    fn run(mut self) -> Result<(), Refusal> {
        let mut at = self.list[ENDS].next;
        let mut open_answers = self.places.iter().filter(|(_, answer)| answer.is_some()).count();
        while open_answers > 0 {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err(Refusal::GaveUp { key: self.key, steps: self.steps });
            }
            let Node { operation, is_answer, next, .. } = self.list[at];
            if !is_answer && at != ENDS {
                at = if self.take(operation) {
                    open_answers -= usize::from(self.places[operation].1.is_some());
                    self.list[ENDS].next
                } else {
                    next
                };
                continue;
            }
            // This answer must come before anything that has not been tried: go back.
            let Some(undone) = self.put_back() else {
                return Err(self.refusal());
            };
            open_answers += usize::from(self.places[undone].1.is_some());
            at = self.list[self.places[undone].0].next;
        }
        Ok(())
    }

    /// Tries this operation next; whether that is possible and new.
    fn take(&mut self, operation: usize) -> bool {
        let Operation { call, answer, .. } = self.operations[operation].1;
        let after = match call {
            Call::Read => self.state,
            Call::Write(value) => value,
        };
        let is_possible = if let Some(answer) = answer {
            answer.value == self.state
        } else {
            let is_new = after.is_some() || self.is_first_delete(operation);
            is_new && after != self.state && !self.is_after_open_write()
        };
        if !is_possible || (matches!(call, Call::Write(_)) && !self.may_replace(answer.is_some())) {
            return false;
        }
        let (word, bit) = (operation / 64, 1 << (operation % 64));
        self.done[word] |= bit;
        if !self.tried.insert((self.done.clone(), after, answer.is_none())) {
            self.done[word] &= !bit;
            return false;
        }
        self.order.push((operation, self.state));
        if self.order.len() > self.longest.len() {
            self.longest = self.order.iter().map(|(operation, _)| *operation).collect();
        }
        self.count_unseen(operation, u32::wrapping_sub);
        self.state = after;
        let (question, answer) = self.places[operation];
        self.unlink(question);
        if let Some(answer) = answer {
            self.unlink(answer);
        }
        true
    }

    /// Whether nothing is left that has seen the state, but for the write that replaces it if that
    /// has.
    fn may_replace(&self, by_one_that_saw_it: bool) -> bool {
        let left = self.unseen.get(&self.state).copied().unwrap_or(0);
        let may_return = self.state.is_none() && self.has_deletes;
        may_return || left == u32::from(by_one_that_saw_it)
    }

    fn count_unseen(&mut self, operation: usize, change: fn(u32, u32) -> u32) {
        if let Some(answer) = self.operations[operation].1.answer {
            let count = self.unseen.entry(answer.value).or_default();
            *count = change(*count, 1);
        }
    }

    fn is_after_open_write(&self) -> bool {
        let latest = self.order.last().map(|(latest, _)| self.operations[*latest].1);
        latest.is_some_and(|latest| latest.answer.is_none())
    }

    /// Whether all open deletes that were asked for before this one are used up.
    fn is_first_delete(&self, operation: usize) -> bool {
        let is_done = |other: &usize| self.done[other / 64] >> (other % 64) & 1 == 1;
        self.open_deletes.iter().find(|other| !is_done(other)) == Some(&operation)
    }

    /// Undoes the latest choice; returns which operation it was.
    fn put_back(&mut self) -> Option<usize> {
        let (operation, state) = self.order.pop()?;
        self.state = state;
        self.done[operation / 64] &= !(1 << (operation % 64));
        self.count_unseen(operation, u32::wrapping_add);
        let (question, answer) = self.places[operation];
        if let Some(answer) = answer {
            self.link(answer);
        }
        self.link(question);
        Some(operation)
    }

    fn unlink(&mut self, at: usize) {
        let Node { prev, next, .. } = self.list[at];
        self.list[prev].next = next;
        self.list[next].prev = prev;
    }

    /// Puts back what was taken out last.
    fn link(&mut self, at: usize) {
        let Node { prev, next, .. } = self.list[at];
        self.list[prev].next = at;
        self.list[next].prev = at;
    }

    fn refusal(&self) -> Refusal {
        let place = |operation: &usize| self.operations[*operation].0;
        let order = self.longest.iter().map(place).collect();
        Refusal::NotLinearizable { key: self.key, order }
    }
}
