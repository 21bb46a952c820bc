//! [`Counters`]: what a node did so far, in numbers, counted from its actions.
//!
//! They are not part of the node: whoever wants them folds the actions into them, and whoever does
//! not pays nothing. [`Status`](crate::Status) is the other half of what metrics need: how things
//! stand at one moment.

use crate::api::{Action, Event, Outcome, RoleChange, VoteAnswer};
use crate::entry::Entries;
use crate::message::{Body, Message};
use crate::status::RoleKind;

/// What a node did since these were made. Show it each [`Action`], before or after it is carried
/// out; the order does not matter but for those of one kind.
///
/// All only grow, by less than can overflow. Sizes are those of [`Entry::size_bytes`].
///
/// ```
/// # use raft_core::{Boot, ClusterConfig, Config, Counters, Input, NodeId, Raft, Time};
/// # let me = NodeId::new(1);
/// # let boot = Boot::new(ClusterConfig::of_voters([me]));
/// # let mut raft = Raft::restore(Config::new(me), boot, Time::ZERO)?;
/// # let mut actions = Vec::new();
/// let mut counters = Counters::default();
/// raft.step(Time::ZERO, Input::Wake, &mut actions);
/// for action in &actions {
///     counters.count(action);
/// }
/// assert_eq!(counters.campaigns, 1);
/// # Ok::<(), raft_core::BootError>(())
/// ```
///
/// [`Entry::size_bytes`]: crate::Entry::size_bytes
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Counters {
    /// Election timeouts, each of which asked round for pre-votes.
    pub election_timeouts: u64,
    /// Campaigns that were begun: terms entered as a candidate.
    pub campaigns: u64,
    /// Elections won.
    pub elections_won: u64,
    /// Leaderships that ended, for whatever reason.
    pub leaderships_ended: u64,
    /// Of those: no majority was heard of for an election timeout.
    pub quorums_lost: u64,
    /// Of those: the own disk stood still for an election timeout.
    pub disks_stalled: u64,
    /// How often another node than before, or none, was known to lead.
    pub leader_changes: u64,
    /// Votes given to others, pre-votes not counted.
    pub votes_granted: u64,
    /// Votes refused to others, pre-votes not counted.
    pub votes_refused: u64,
    /// Changes of the members that came into force, those that were undone included.
    pub config_changes: u64,

    /// Messages handed to the network.
    pub messages_sent: u64,
    /// Entries in them, once for each receiver.
    pub entries_sent: u64,
    /// The size of those entries in bytes.
    pub entry_bytes_sent: u64,
    /// Messages dropped because they made no sense.
    pub messages_dropped: u64,
    /// How often a follower's log did not match, and an earlier place was tried.
    pub backtracks: u64,
    /// How often entries of this log were removed because they conflicted with the leader's.
    pub truncations: u64,

    /// Writes handed to the disk.
    pub writes: u64,
    /// Entries in them.
    pub entries_written: u64,
    /// The size of those entries in bytes.
    pub entry_bytes_written: u64,
    /// Requests to read entries back from the log.
    pub log_reads: u64,
    /// Entries handed out to be applied.
    pub entries_applied: u64,
    /// The size of those entries in bytes.
    pub entry_bytes_applied: u64,

    /// Snapshots that followers needed.
    pub snapshots_needed: u64,
    /// Snapshots that took the place of this node's state.
    pub snapshots_installed: u64,

    /// Tickets answered with [`Outcome::Committed`].
    pub committed: u64,
    /// Tickets answered with [`Outcome::ReadAt`].
    pub reads: u64,
    /// Tickets answered with [`Outcome::Transferred`].
    pub transfers: u64,
    /// Tickets answered with [`Outcome::Rejected`].
    pub rejected: u64,
    /// Tickets answered with [`Outcome::Overwritten`].
    pub overwritten: u64,
    /// Tickets answered with [`Outcome::Unknown`].
    pub unknown: u64,

    /// The latest change that was seen.
    latest: Option<RoleChange>,
}

impl Counters {
    /// Counts what there is to count in one action.
    pub fn count(&mut self, action: &Action) {
        match action {
            Action::Send(message) => self.count_message(message),
            Action::Persist(write) => {
                self.writes += 1;
                add(&mut self.entries_written, &mut self.entry_bytes_written, &write.entries);
            }
            Action::Apply(entries) => {
                add(&mut self.entries_applied, &mut self.entry_bytes_applied, entries);
            }
            Action::ReadLog(_) => self.log_reads += 1,
            Action::Resolved(_, outcome) => self.count_outcome(*outcome),
            Action::RoleChanged(change) => self.count_role(*change),
            Action::ConfigChanged(_) => self.config_changes += 1,
            Action::Trace(event) => self.count_event(event),
            Action::SendSnapshot(_) | Action::InstallSnapshot(_) | Action::Compact(_) => {}
        }
    }

    fn count_message(&mut self, message: &Message) {
        self.messages_sent += 1;
        if let Body::Append { entries, .. } = &message.body {
            add(&mut self.entries_sent, &mut self.entry_bytes_sent, entries);
        }
    }

    fn count_outcome(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Committed(_) => &mut self.committed,
            Outcome::Transferred => &mut self.transfers,
            Outcome::ReadAt(_) => &mut self.reads,
            Outcome::Rejected(_) => &mut self.rejected,
            Outcome::Overwritten => &mut self.overwritten,
            Outcome::Unknown => &mut self.unknown,
        } += 1;
    }

    fn count_role(&mut self, now: RoleChange) {
        let before = self.latest.replace(now);
        let has_led = before.is_some_and(|before| before.role == RoleKind::Leader);
        let is_other_term = before.is_some_and(|before| before.term != now.term);
        if has_led && (is_other_term || now.role != RoleKind::Leader) {
            self.leaderships_ended += 1;
        }
        if before.and_then(|before| before.leader) != now.leader {
            self.leader_changes += 1;
        }
    }

    fn count_event(&mut self, event: &Event) {
        *match event {
            Event::ElectionTimeout { .. } => &mut self.election_timeouts,
            Event::Campaign { .. } => &mut self.campaigns,
            Event::Elected { .. } => &mut self.elections_won,
            Event::QuorumLost { .. } => &mut self.quorums_lost,
            Event::DiskStalled { .. } => &mut self.disks_stalled,
            Event::VoteAsked { pre: false, answer: VoteAnswer::Granted, .. } => {
                &mut self.votes_granted
            }
            Event::VoteAsked { pre: false, .. } => &mut self.votes_refused,
            Event::Truncated { .. } => &mut self.truncations,
            Event::Backtracked { .. } => &mut self.backtracks,
            Event::MessageDropped { .. } => &mut self.messages_dropped,
            Event::SnapshotNeeded { .. } => &mut self.snapshots_needed,
            Event::SnapshotInstalled { .. } => &mut self.snapshots_installed,
            Event::VoteAsked { pre: true, .. }
            | Event::AskedToLead { .. }
            | Event::LeftOut { .. }
            | Event::Recovered { .. } => return,
        } += 1;
    }
}

fn add(count: &mut u64, size_bytes: &mut u64, entries: &Entries) {
    *count += entries.len() as u64;
    *size_bytes += entries.size_bytes() as u64;
}
