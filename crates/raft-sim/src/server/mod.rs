//! Whole clusters of servers on one thread from one seed: what a client of the real server is told.
//!
//! The real [`Replica`](kv_server::replica::Replica) and
//! [`Machine`](kv_server::machine::Machine), the real log with what its thread does
//! ([`LogWork`](raft_storage::LogWork)), and the real store with its file. Each node has one
//! simulated disk for all of it, which can be full. What the server has threads and sockets for is
//! a step or a message here.
//!
//! ```text
//! cargo xtask sim --server                 two hundred seeds, until one breaks a rule
//! cargo xtask sim --server --seed 42       one of them, with all that happens in it
//! cargo xtask sim --server --planted       mistakes, and how many seeds it takes to find each
//! ```
//!
//! # What can happen
//!
//! Messages are lost, repeated, overtaken and late; links are cut; power fails, processes are
//! killed, servers are asked to stop; disks are slow, and disks have hardly any room, or none: of
//! one node, of a majority, of all. Logs are cut so soon that nodes need snapshots.
//!
//! # What is checked
//!
//! 1. Every request is answered, once, with an outcome of a kind that was promised, and that is
//!    true: what was refused never takes effect, and what was done did just that (`clients`).
//! 2. All nodes apply one log, and have equal digests at equal indexes, also after a restart and
//!    after a snapshot (`ledger`).
//! 3. Every read, a stale one too, shows one state that there was; and the history of the others
//!    is linearizable.
//! 4. Whatever is left on a disk, a node starts with it where there is room.
//! 5. Full disks do not stop what can be done without them, and once all trouble is over,
//!    everything is as good as new within a bounded time (`mending`).
//!
//! # The way through the code
//!
//! [`Plan`] is what a seed draws, `world` the loop. `node` starts and ends processes; `threads` is
//! what they do, `snapshots` how they send each other their state. `asked` and `clients` ask,
//! `ledger` and `mending` judge; `trouble` is what goes wrong, and [`Mistake`] what could be
//! done wrong. [`campaign`] runs many seeds.
//!
//! What it does not do: sockets, and the threads themselves. The writer of a store has a thread,
//! because a database cannot be left in the middle of a commit; it moves only when it is told to.
//! Damaged logs, changes of members and clocks that go wrong are the business of the simulation
//! without servers.

mod agenda;
mod asked;
pub mod campaign;
mod clients;
mod ledger;
mod mending;
mod node;
mod plan;
mod slips;
mod snapshots;
mod tally;
mod threads;
mod trouble;
mod world;

pub use self::plan::{Plan, Sizes, Workload};
pub use self::slips::{Mistake, Slip};
pub use self::tally::Tally;
pub use self::trouble::Trouble;

use self::world::World;
use crate::violation::{Violation, catch_panics};

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The rule that was broken, if one was.
    pub result: Result<(), Violation>,
    /// How many things happened.
    pub steps: u64,
    /// How many requests there were.
    pub requests: usize,
    /// What was reached.
    pub tally: Tally,
    /// What happened, line by line, if that was wanted.
    pub trace: Vec<String>,
}

/// Runs a plan.
pub fn run(plan: &Plan, is_traced: bool) -> Report {
    let mut world = World::new(plan, is_traced);
    let result = catch_panics(|| world.run());
    Report {
        result,
        steps: world.steps,
        requests: world.clients.asked(),
        tally: std::mem::take(&mut world.tally),
        trace: std::mem::take(&mut world.trace).into_lines(),
    }
}
