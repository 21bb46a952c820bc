//! The Raft consensus algorithm as a pure state machine: events in, actions out.
//!
//! A group of servers keeps one log in the same order on all of them, and goes on for as long as a
//! majority of them can talk to each other. This crate decides what each server says, stores and
//! applies to that end. It opens no socket and no file, starts no thread, reads no clock, draws no
//! random number and logs nothing: whoever drives it does all that, or a test does, or a simulator.
//!
//! # The contract
//!
//! **Every action may be carried out the moment it is seen, and on any thread.** What must wait for
//! a disk (a vote, an acknowledgement, the leader counting itself) waits inside, until
//! [`Input::Persisted`] releases it. To send before what is sent is durable, to apply before the
//! commit: such mistakes cannot be made from outside. Only the order of the writes among
//! themselves, and of the applied entries among themselves, is up to the driver to keep.
//!
//! In return the driver owes it five things:
//! 1. It answers a [`Write`] with [`Input::Persisted`] only when a loss of power would not undo it,
//!    and stops the process when a write fails.
//! 2. It answers every [`ReadLog`], if only with no entries.
//! 3. It calls [`Raft::step`] with [`Input::Wake`] no later than [`Raft::deadline`].
//! 4. It starts a node again with all that was durable ([`Boot`]), or not at all.
//! 5. It lets nobody but the members of the cluster speak to it. (A stranger cannot make it panic
//!    or break its own rules, but a liar among the members can lie.)
//!
//! # How to drive it
//!
//! A whole server of a cluster of one, with a `Vec` for its disk:
//!
//! ```
//! use raft_core::{
//!     Action, Boot, ClusterConfig, Config, Entry, Input, NodeId, Outcome, Payload, Raft, Ticket,
//!     Time,
//! };
//!
//! let me = NodeId::new(1);
//! let now = Time::ZERO; // nanoseconds of a monotonic clock
//! let mut raft = Raft::restore(Config::new(me), Boot::new(ClusterConfig::of_voters([me])), now)?;
//! let mut disk: Vec<Entry> = Vec::new();
//! let mut state: Vec<u8> = Vec::new();
//! let mut outcomes = Vec::new();
//!
//! let mut inputs = vec![Input::ProposeOne(Ticket::new(7), b"hello".into())];
//! inputs.push(Input::Wake); // comes first: it makes the node lead
//! let mut actions = Vec::new();
//! while let Some(input) = inputs.pop() {
//!     raft.step(now, input, &mut actions);
//!     for action in actions.drain(..) {
//!         match action {
//!             Action::Persist(write) => {
//!                 if let Some(first) = write.entries.first() {
//!                     disk.retain(|entry| entry.at.index < first.at.index);
//!                 }
//!                 disk.extend(write.entries.iter().cloned());
//!                 // Here a real disk is synced. The answer may come later, from another thread.
//!                 inputs.push(Input::Persisted(write.id));
//!             }
//!             Action::Apply(entries) => {
//!                 for entry in entries.iter() {
//!                     if let Payload::Command(command) = &entry.payload {
//!                         state.extend_from_slice(command);
//!                     }
//!                 }
//!             }
//!             Action::Resolved(ticket, outcome) => outcomes.push((ticket, outcome)),
//!             Action::Send(_) => unreachable!("there is nobody to send to"),
//!             Action::ReadLog(_) => unreachable!("so little stays in memory"),
//!             Action::SendSnapshot(_) | Action::InstallSnapshot(_) | Action::Compact(_) => {
//!                 unreachable!("the log is never cut")
//!             }
//!             Action::RoleChanged(_) | Action::ConfigChanged(_) | Action::Trace(_) => {}
//!         }
//!     }
//! }
//!
//! assert_eq!(state, b"hello");
//! assert_eq!(disk.len(), 2); // the leader's first entry, and ours
//! assert!(matches!(outcomes[..], [(ticket, Outcome::Committed(_))] if ticket == Ticket::new(7)));
//! # Ok::<(), raft_core::BootError>(())
//! ```
//!
//! With more nodes, [`Action::Send`] goes to the network, [`Input::Message`] comes from it, and the
//! loop waits for the next of a message, a disk, a client and the deadline. The example `counter`
//! is three nodes on threads, to copy from; `election` tells step by step how they choose a leader.
//!
//! # What is promised
//!
//! * Safety, whatever messages are lost, repeated, delayed or reordered, whenever nodes stop and
//!   start, and whatever their clocks do: one leader a term, one log, nothing that was acknowledged
//!   is ever lost (paper figure 3).
//! * Every [`Ticket`] gets exactly one [`Outcome`], and it is true. One that cannot be known yet
//!   comes when it can: after a change of leader, a proposal is open until its place in the log is
//!   settled. Who does not want to wait so long tells the client "unknown".
//! * Reads are linearizable, on any member, without writing to the log. Those who opt in may have
//!   them without a message, as long as clocks keep within a stated drift ([`ReadMode::Lease`]).
//! * Everything is bounded ([`Limits`]): what is in memory, in flight and pending.
//! * It is deterministic: the same inputs give the same actions, bit for bit.
//!
//! # Members and leaders
//!
//! The members of a cluster change while it runs ([`Input::ChangeConfig`]). A new node starts with
//! [`Boot::joining`] and waits; [`ConfigChange::AddLearner`] makes the leader send it the log;
//! [`ConfigChange::Promote`] gives it a vote once it has caught up. More than one voter at a time
//! is changed by [`ConfigChange::Replace`], which passes through a joint configuration by itself
//! (paper §6). A node that is removed is not told; it may be stopped, it may run on or start again,
//! and it disturbs nobody. [`Action::ConfigChanged`] says whom to be connected to.
//!
//! Leadership goes to another voter on request ([`Input::TransferLeadership`]), within a few
//! message delays. A leader that is removed, or whose disk has not finished a write for an election
//! timeout, or is behind those of the others for four, gives way by itself, and asks one that has
//! everything to take over. So the election timeout should be longer than any pause that a healthy
//! disk makes.
//!
//! # Snapshots, and a log that was damaged
//!
//! The driver says from time to time how much of the log its state machine durably holds
//! ([`Input::Compact`]), and is told what may be cut off. When a follower needs what was cut, it is
//! told to send a snapshot ([`Action::SendSnapshot`]): the content on whatever way suits it, and
//! [`Body::Snapshot`] when the content has arrived. The receiver is told whether to install it
//! ([`Action::InstallSnapshot`]). A driver that never says [`Input::Compact`] meets none of this.
//!
//! A node whose log turns out to be damaged starts with what is left of it, and with
//! [`HardState::recovering`] set: it neither votes nor campaigns until it has got back from the
//! leader all that it can have acknowledged. A cluster of which a majority is sound then loses
//! nothing, whatever one disk forgets.
//!
//! The rules that tie a node's own fields to each other are written down and checked in
//! [`invariants`]; tests run [`invariants::check`] after every step.
//!
//! # Watching it
//!
//! [`Raft::status`] says how things stand, for each follower too; [`Counters`] count what happened,
//! from the actions; [`Event`]s tell a person why. All are plain data.
//!
//! # Reading order
//!
//! `types`, `entry`, `message`, `config` and `api` are the words. `node` is the state and the frame
//! of a step. Then the paper's own order: `receive` (what every message goes through, §5.1),
//! `role`, `election` (§5.2, §5.4.1), `propose` and `replication` (§5.3, §5.4.2) with `progress`,
//! what a leader knows of a follower; `membership` (§6, thesis §4) and `transfer` (thesis §3.10);
//! `snapshot` (§7) and `recovery`; `reads`, `read_index` and `lease` (§8, thesis §6.4). Below them
//! lie `log`, which knows what of the log is where, and keeps the end of it in pieces (`chunk`);
//! `held`, where promises wait for the disk; `apply`, what is handed out; `proposals`, whose fate
//! is open; `quorum`, the arithmetic of majorities; and `timer`, when to campaign. `status` shows
//! it all, `counters` counts it, `sentences` puts refusals into words, `invariants` says what must
//! hold, and `normal_form` lets a model checker compare nodes.
//!
//! # Features
//!
//! None is on by default, and there is no other dependency.
//!
//! * `serde`: the public types of data implement `Serialize` and `Deserialize`, for traces, metrics
//!   and tests. Names and shapes are those of the Rust types and change with them, so write down a
//!   format of your own for what has to outlive a version. [`Entries`] are checked when they are
//!   read.
//!
//! # What it does not do
//!
//! * No storage, network, time, threads or logging, and no traits for them.
//! * No content of snapshots: it says when one is needed, and where it must end.
//! * No choice of its own who should be a member: that is for people, or a program above it.
//! * No sessions: a proposal that is made twice is applied twice. The state machine must tell.
//! * No defence against members that lie (Byzantine faults).
#![no_std]

extern crate alloc;

/// The code in the README is compiled and run, like every example here.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod api;
mod apply;
mod chunk;
mod command;
mod config;
mod counters;
mod election;
#[cfg(feature = "serde")]
mod entries_serde;
mod entry;
mod held;
pub mod invariants;
mod lease;
mod log;
mod membership;
mod message;
mod node;
mod normal_form;
#[cfg(feature = "planted-bugs")]
pub mod planted;
#[cfg(not(feature = "planted-bugs"))]
#[expect(unreachable_pub, reason = "it is public in the other build")]
mod planted;
mod progress;
mod proposals;
mod propose;
mod quorum;
mod read_index;
mod reads;
mod receive;
mod recovery;
mod replication;
mod role;
mod sentences;
mod snapshot;
mod status;
mod timer;
mod transfer;
mod types;

pub use api::{
    Action, DropReason, Event, HardState, Input, LogRead, Outcome, ReadLog, ReadMode, ReadPurpose,
    Rejection, RoleChange, VoteAnswer, Write,
};
pub use command::Command;
pub use config::{Boot, BootError, ClusterConfig, Config, ConfigChange, ConfigError, Limits};
pub use counters::Counters;
pub use entry::{Entries, Entry, Payload};
pub use message::{Body, Message};
pub use node::Raft;
pub use snapshot::{SendSnapshot, Snapshot};
pub use status::{PeerState, PeerStatus, RoleKind, Status};
pub use types::{Index, NodeId, PersistId, Position, Term, Ticket, Time};
