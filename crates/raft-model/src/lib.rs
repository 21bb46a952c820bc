//! Every state that a small Raft cluster can reach, each of them looked at.
//!
//! A test looks at the courses of events that somebody thought of, a simulation at those that
//! chance brings. Here, within bounds that are told, it is all of them: every order in which
//! messages arrive, every one that is lost, every moment at which the power fails. What runs is the
//! real `raft-core`, not a model of it. [stateright](https://docs.rs/stateright) goes through the
//! states; this crate says what they are.
//!
//! ```text
//! cargo xtask model                                   the scenarios
//! cargo xtask model grow                              all states of one of them
//! cargo xtask model grow --max-term 3 --minutes 60    with other bounds
//! ```
//!
//! # What can happen
//!
//! * Any message under way arrives. None has to: a lost message is one that never arrives. If the
//!   scenario says so, some arrive twice.
//! * Any node that does not lead campaigns.
//! * Any node loses power, and what was not yet on its disk. It starts again with the rest.
//! * The same, and the end of its log is damaged: it starts as a node that recovers.
//! * The oldest write of any disk becomes durable (if disks take their time).
//! * A leader is asked to append a command or to change the members, sends heartbeats, or finds
//!   that it has not heard of a quorum for long.
//!
//! What comes from outside has a budget, and terms have a bound: so there is an end to it.
//!
//! # What is looked at
//!
//! After each step of a node: its own invariants, and the rules of [`Rule`], over all nodes and
//! over what happened before. And so that nobody looks at nothing: that leaders change, commands
//! are committed, crashes happen and members change *somewhere* in what was looked at.
//! [`Mischief`] shows that what is wrong is found.
//!
//! # What makes it finite, and what that costs
//!
//! * **Time is taken out** ([`Raft::normalise`](raft_core::Raft::normalise)): before each step,
//!   everything happened just now. A request for a vote always arrives when the voter has not heard
//!   of a leader for long, and the answer to a heartbeat when the leader takes what it sent before
//!   for lost; otherwise, such a message could as well be lost. What leases promise for a time
//!   cannot be judged here.
//! * **Pre-votes arrive at once**, unless the scenario says otherwise: they change nothing at those
//!   who answer. What is left out are answers that are out of date when they arrive.
//! * **A copy is no news**: a second message that says what one under way says is dropped, and so
//!   is one of a term that both its ends have left for good. The receiver meets such messages, as
//!   long as the sender may learn something from its answer.
//! * **Nodes are alike** (symmetry): where they differ by their numbers alone, they come into play
//!   in the order of those. In a cluster of three that are all alike, this leaves about a fifth of
//!   the states, and needs none to be rewritten. Only where the core itself goes by the number of a
//!   node, to choose the heir of a leader that steps down, is one choice of two equal ones looked
//!   at.
//!
//! # Reading order
//!
//! `scenario` has the clusters and their bounds. `model` has the actions, `drive` what one of them
//! leads to; `rules` says what must hold, `past` finds out whether it does. A `state` has `node`s
//! with a `disk`, and a `network`; `start` makes the first one. `explore` goes through them, `show`
//! tells what happened, `fingerprint` recognises what was seen, `mischief` plants mistakes.
//!
//! # What it does not do
//!
//! Nothing here says that something good happens in the end: that is the simulator's. There are no
//! reads, hand-overs on request or snapshots, and entries never leave the memory of
//! a node that has not crashed.

mod disk;
mod drive;
mod explore;
mod fingerprint;
mod mischief;
mod model;
mod network;
mod node;
mod past;
mod rules;
mod scenario;
mod show;
mod start;
mod state;

pub use crate::explore::{Limits, Report, explore};
pub use crate::mischief::Mischief;
pub use crate::model::{Action, ClusterModel};
pub use crate::rules::Rule;
pub use crate::scenario::{Budget, Scenario, Start};
pub use crate::state::State;
