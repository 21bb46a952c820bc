//! Whole Raft clusters on one thread from one seed.
//!
//! The real `raft-core` runs over simulated clocks, a simulated network, and either a model of a
//! log or the real log of `raft-storage` on a simulated disk. Everything random comes from one
//! number, so whatever happens once can be made to happen again, watched, and made simpler:
//!
//! ```text
//! cargo xtask sim                        a thousand seeds, until one breaks a rule
//! cargo xtask sim --minutes 60           as many as there is time for
//! cargo xtask sim --seed 42              one of them, with all that happens in it
//! cargo xtask sim --seed 42 --nodes 3 --faults loss,pauses --steps 812
//! cargo xtask sim --server               the same of whole servers: see [`server`]
//! ```
//!
//! # A run
//!
//! A seed draws a [`Scenario`](scenario::Scenario): how many nodes, which kinds of faults and how
//! often they strike, timing, limits, clients, and whether an operator changes the members, hands
//! leadership over or calls elections. Not everything goes wrong in every run (swarm testing): a
//! run in which nothing is ever lost reaches what one with all faults never does.
//!
//! Then one event after the other happens, each of them a step: a message arrives, a timer goes
//! off, a sync is done, a client asks, a fault strikes. When the steps are used up, the faults end
//! for a majority of the nodes, and the cluster has to recover: a write, a read on each of them,
//! and an outcome for every ticket. At the end the clients' history is judged.
//!
//! # What is checked
//!
//! 1. After each step of a node: the core's own invariants; that its disk was told what it says of
//!    itself; and everything that must hold between nodes, whoever its members are (`oracle`).
//! 2. With each message: that what it promises is durable (`oracle::promises`).
//! 3. With each restart: that a log holds what was acknowledged, and of what was not, a prefix.
//! 4. With each outcome: that a ticket has one, and that it is true.
//! 5. At the end: that the cluster recovers, and that the history is linearizable
//!    ([`linearizability`]).
//!
//! # The way through the code
//!
//! [`scenario`] and [`faults`] say what a seed draws. `world` has the loop and hands each event to
//! those whose it is: `drive` (one step of one node), `mischief` (what befalls it; `nemesis`
//! decides), `operator` (who changes it on purpose), `recovery`. A `node` has a `clock`, a
//! `storage` (with its `model`, and a `disk_log` on a `disk`, to which `harm` or `ruin` is done)
//! and a `machine`; between nodes there is the `network`, with its `echoes`; `clients` ask.
//! [`campaign`] runs many seeds, [`shrink`](mod@shrink) makes a failing one simpler, [`coverage`]
//! counts what was reached.
//!
//! To add a kind of fault: a variant in [`faults`], what it does in `nemesis`, how it is done in
//! `mischief`, and a [`Mark`](coverage::Mark), which a test will ask for. To add an action of the
//! core: `drive`. To add something that can be asked of a cluster: `clients`. A mistake planted in
//! the core is a feature of that crate; here, it is a campaign that has to fail.
//!
//! What this crate does not do: it knows no thread, no socket and no file; it does no harm to a
//! disk that no single machine can tell from a crash (`harm`); and it says nothing about speed.

mod asked;
pub mod campaign;
mod clients;
mod clock;
pub mod coverage;
mod dice;
mod disk;
mod disk_log;
mod drive;
mod echoes;
pub mod faults;
mod harm;
pub mod linearizability;
mod machine;
mod mischief;
mod model;
mod nemesis;
mod network;
mod node;
mod operator;
mod oracle;
pub mod planted;
mod queue;
mod recovery;
mod ruin;
mod run;
pub mod scenario;
pub mod server;
mod show;
pub mod shrink;
mod snapshots;
mod storage;
mod trace;
mod violation;
mod world;

pub use crate::run::{Report, run};
pub use crate::violation::Violation;
