//! What a node is told when it starts: its configuration, the cluster's members, and what its
//! disk held.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::api::HardState;
use crate::types::{Index, NodeId, Position, Term};

/// How this node behaves. The same on every node, but for `id` and `seed`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Config {
    /// Which member this node is.
    pub id: NodeId,
    /// Time between two heartbeats of a leader (paper §5.2). Less than half of
    /// `election_timeout_min`.
    pub heartbeat_interval: Duration,
    /// The shortest time without a leader after which a node campaigns (paper §5.2). A node that
    /// heard from a leader more recently votes for nobody else (thesis §4.2.3).
    pub election_timeout_min: Duration,
    /// The longest such time; each wait is drawn between the two. A leader that has not heard from
    /// a majority for this long (check-quorum, thesis §6.2), or whose disk has not finished a
    /// write, steps down: it should be longer than any pause that a healthy disk makes.
    pub election_timeout_max: Duration,
    /// How much longer than others this node waits before it campaigns: zero for the nodes that
    /// should lead, a second, say, for one that should lead only if nobody else can. Elections are
    /// as safe as ever. (Why some may suit better: thesis §3.10.)
    pub campaign_delay: Duration,
    /// Opts in to [`ReadMode::Lease`](crate::ReadMode::Lease) (thesis §6.4.1): the most by which
    /// the clocks of two nodes may come to differ within `election_timeout_min`, including the time
    /// that passes between reading the clock and [`Raft::step`](crate::Raft::step). Less than
    /// `election_timeout_min`. `None`: no read relies on a clock. The same on every node. Clocks
    /// must go on while a machine sleeps.
    pub lease_drift: Option<Duration>,
    /// Seed of the randomised timeouts (paper §5.2). Two nodes with one seed campaign together:
    /// give each its own.
    pub seed: u64,
    /// Bounds on memory and on what is in flight.
    pub limits: Limits,
}

/// Bounds on memory and on what is in flight. Sizes count as in
/// [`Entry::size_bytes`](crate::Entry::size_bytes). None may be 0 but `max_cached_bytes`.
///
/// The network must be able to carry one message whose entries have the larger of
/// `max_append_bytes` and `max_proposal_bytes`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Limits {
    /// The most one append message carries. At least one entry is always sent. As every entry
    /// counts at least 32 bytes, this also bounds the entries of a message. 1 MiB unless changed.
    pub max_append_bytes: usize,
    /// The most one proposal may have; beyond it, it is rejected as
    /// [`TooLarge`](crate::Rejection::TooLarge). 2 MiB unless changed.
    pub max_proposal_bytes: usize,
    /// The most append messages with entries that a follower has not answered (pipelining, thesis
    /// §10.2.2). 128 unless changed.
    pub max_inflight_messages: usize,
    /// The most bytes in such messages. One message may always be in flight. 8 MiB unless changed.
    pub max_inflight_bytes: usize,
    /// The most a leader holds uncommitted; beyond it proposals are rejected as
    /// [`Busy`](crate::Rejection::Busy). One proposal is always taken. 64 MiB unless changed.
    pub max_uncommitted_bytes: usize,
    /// The most reads that wait for their outcome; beyond it they are rejected as
    /// [`Busy`](crate::Rejection::Busy). 65,536 unless changed.
    pub max_pending_reads: usize,
    /// How much of the log's end stays in memory for followers that do not have it yet. Entries
    /// that are not yet durable or not yet handed out for applying stay in any case; of those that
    /// nobody lacks, the last 64 KiB at most. 8 MiB unless changed.
    pub max_cached_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_append_bytes: 1 << 20,
            max_proposal_bytes: 2 << 20,
            max_inflight_messages: 128,
            max_inflight_bytes: 8 << 20,
            max_uncommitted_bytes: 64 << 20,
            max_pending_reads: 1 << 16,
            max_cached_bytes: 8 << 20,
        }
    }
}

impl Config {
    /// Timing of the `fast` preset: heartbeats every 50 ms, elections after 150 to 300 ms.
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            heartbeat_interval: Duration::from_millis(50),
            election_timeout_min: Duration::from_millis(150),
            election_timeout_max: Duration::from_millis(300),
            campaign_delay: Duration::ZERO,
            lease_drift: None,
            seed: id.get(),
            limits: Limits::default(),
        }
    }

    /// Whether the values fit each other.
    ///
    /// # Errors
    ///
    /// The bound that is broken, with the values that break it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (min, max) = (self.election_timeout_min, self.election_timeout_max);
        if self.heartbeat_interval.is_zero() {
            return Err(ConfigError::ZeroHeartbeat);
        }
        if self.heartbeat_interval >= min / 2 {
            let heartbeat = self.heartbeat_interval;
            return Err(ConfigError::HeartbeatTooSlow { heartbeat, election_timeout_min: min });
        }
        if min >= max {
            return Err(ConfigError::EmptyElectionRange { min, max });
        }
        if let Some(drift) = self.lease_drift.filter(|drift| *drift >= min) {
            return Err(ConfigError::NoLease { drift, election_timeout_min: min });
        }
        let limits = &self.limits;
        let sizes = [
            ("max_append_bytes", limits.max_append_bytes),
            ("max_proposal_bytes", limits.max_proposal_bytes),
            ("max_inflight_messages", limits.max_inflight_messages),
            ("max_inflight_bytes", limits.max_inflight_bytes),
            ("max_uncommitted_bytes", limits.max_uncommitted_bytes),
            ("max_pending_reads", limits.max_pending_reads),
        ];
        match sizes.iter().find(|(_, size)| *size == 0) {
            Some((name, _)) => Err(ConfigError::ZeroLimit { name }),
            None => Ok(()),
        }
    }
}

/// A [`Config`] whose values do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The heartbeat interval is zero.
    ZeroHeartbeat,
    /// Followers would campaign against a leader that is alive.
    HeartbeatTooSlow {
        /// The interval given.
        heartbeat: Duration,
        /// The timeout given; the interval must be below half of it.
        election_timeout_min: Duration,
    },
    /// There is nothing to draw election timeouts from.
    EmptyElectionRange {
        /// The lower bound given.
        min: Duration,
        /// The upper bound given; it must be above the lower one.
        max: Duration,
    },
    /// With so much drift, a lease would be over before it began.
    NoLease {
        /// The drift given.
        drift: Duration,
        /// The timeout given; the drift must be below it.
        election_timeout_min: Duration,
    },
    /// A limit that would stop all work.
    ZeroLimit {
        /// Which field of [`Limits`].
        name: &'static str,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroHeartbeat => write!(f, "the heartbeat interval is zero: give it a duration"),
            Self::HeartbeatTooSlow { heartbeat, election_timeout_min } => write!(
                f,
                "the heartbeat interval ({heartbeat:?}) must be below half of the minimum election \
                 timeout ({election_timeout_min:?}), or followers campaign against a live leader"
            ),
            Self::EmptyElectionRange { min, max } => write!(
                f,
                "the minimum election timeout ({min:?}) must be below the maximum ({max:?}), so \
                 that nodes do not all campaign at the same moment"
            ),
            Self::NoLease { drift, election_timeout_min } => write!(
                f,
                "the drift of clocks ({drift:?}) must be below the minimum election timeout \
                 ({election_timeout_min:?}), or no lease would ever run"
            ),
            Self::ZeroLimit { name } => write!(f, "the limit {name} is zero: nothing could move"),
        }
    }
}

impl core::error::Error for ConfigError {}

/// The members of a cluster. While `outgoing` is there, the cluster is between two
/// configurations, and every decision needs a majority of both (joint consensus, paper §6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ClusterConfig {
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// Who voted before, while a change is under way.
    pub outgoing: Option<BTreeSet<NodeId>>,
    /// Who receives the log without a vote.
    pub learners: BTreeSet<NodeId>,
}

impl ClusterConfig {
    /// A cluster of these voters, with no change under way.
    pub fn of_voters(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self { voters: voters.into_iter().collect(), outgoing: None, learners: BTreeSet::new() }
    }

    /// Whether this node votes.
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.voters.contains(&id) || self.outgoing.as_ref().is_some_and(|old| old.contains(&id))
    }

    /// Whether this node belongs to the cluster.
    pub fn is_member(&self, id: NodeId) -> bool {
        self.is_voter(id) || self.learners.contains(&id)
    }

    /// What it counts against budgets in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        8 * self.members().count()
    }

    /// Every member once, in order.
    pub fn members(&self) -> impl Iterator<Item = NodeId> + '_ {
        let old = self.outgoing.iter().flatten().filter(|id| !self.voters.contains(id));
        let learners = self.learners.iter().filter(|id| !self.is_voter(**id));
        self.voters.iter().chain(old).chain(learners).copied()
    }
}

/// A change of the cluster's members. See [`Input::ChangeConfig`](crate::Input::ChangeConfig).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ConfigChange {
    /// Let this node receive the log, without a vote (thesis §4.2.1). The first step for every new
    /// node.
    AddLearner(NodeId),
    /// Give this learner a vote. It must have caught up.
    Promote(NodeId),
    /// Take this voter's vote, and let it go on receiving the log. A leader steps down when this
    /// is committed.
    Demote(NodeId),
    /// Take this node out of the cluster. It is not told, and may be stopped once this is
    /// committed. A leader steps down then (thesis §4.2.2).
    Remove(NodeId),
    /// Let the cluster consist of exactly these. New voters must be learners that have caught up.
    /// If more than one voter comes or goes, the cluster passes through a joint configuration
    /// (thesis §4.3).
    Replace {
        /// Who votes. Not empty.
        voters: BTreeSet<NodeId>,
        /// Who else receives the log; those that vote are passed over.
        learners: BTreeSet<NodeId>,
    },
}

/// What the disk held when the node started (paper figure 2, "persistent state"; thesis §3.8). A
/// new node starts with [`Boot::new`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Boot {
    /// The members as of `applied`: as the state machine was told last
    /// ([`Payload::Config`](crate::Payload::Config), [`Snapshot`](crate::Snapshot)), or else those
    /// that the cluster was founded with; none on a node that joined later. (An earlier
    /// configuration will do if the log holds all that followed.)
    pub cluster: ClusterConfig,
    /// The latest durable term and vote. If the log was found damaged, its
    /// [`recovering`](HardState::recovering) is set, and the log below is what is left of it, from
    /// its beginning up to the damage. The term and the vote themselves must never be lost. (The
    /// only voter of a cluster would wait for ever: nobody else has what it lost. What is left of
    /// the log cannot tell, because members may have joined since; the driver may know.)
    pub hard_state: HardState,
    /// The position before the first retained entry: [`Position::ORIGIN`], or up to where the log
    /// was cut.
    pub start: Position,
    /// The first position of every term in the retained log, in order.
    pub term_starts: Vec<Position>,
    /// The last position of the log; `start` if it is empty.
    pub last: Position,
    /// Configurations in the retained log, in order.
    pub configs: Vec<(Index, Arc<ClusterConfig>)>,
    /// An index known to be committed ([`Write::commit`](crate::Write)); at least `start`.
    pub commit: Index,
    /// The last position that the state machine has durably applied; at least `start`. If the log
    /// does not hold it, a snapshot was installed right before the node stopped, and takes the
    /// place of the log.
    pub applied: Position,
}

impl Boot {
    /// A node with an empty disk that joins a cluster which runs already. It waits, without a vote,
    /// until the leader of that cluster is told to add it. What it receives tells it who the
    /// members are, so when it starts again its [`cluster`](Boot::cluster) is still empty.
    pub fn joining() -> Self {
        Self::new(ClusterConfig::default())
    }

    /// A node with an empty disk, in a cluster founded with these members.
    pub fn new(cluster: ClusterConfig) -> Self {
        Self {
            cluster,
            hard_state: HardState::default(),
            start: Position::ORIGIN,
            term_starts: Vec::new(),
            last: Position::ORIGIN,
            configs: Vec::new(),
            commit: Index::ZERO,
            applied: Position::ORIGIN,
        }
    }
}

/// What [`Raft::restore`](crate::Raft::restore) checks first.
impl Boot {
    /// Whether node `id` can start with this.
    pub(crate) fn check(&self, id: NodeId) -> Result<(), BootError> {
        let cluster = self.configs.last().map_or(&self.cluster, |(_, cluster)| cluster);
        // It may have received a part of the log that does not yet tell who the members are.
        let is_joining = cluster.members().next().is_none();
        if cluster.voters.is_empty() && !is_joining {
            return Err(BootError::NoVoters);
        }
        // A node that was removed may start again: the change may yet be undone.
        let is_new = self.last == Position::ORIGIN && self.applied == Position::ORIGIN;
        if is_new && !is_joining && !cluster.is_member(id) {
            return Err(BootError::NotAMember { id });
        }
        let log_end = self.term_starts.last().unwrap_or(&self.start);
        let rules = [
            (self.terms_grow(), "terms grow along the log"),
            (self.entries_have_terms(), "every entry has a term"),
            (self.last.term == log_end.term, "the last entry is of the last term"),
            (self.last.index >= log_end.index, "the log ends after its last term began"),
            (self.hard_state.term >= self.last.term, "no entry is of a later term than the node"),
            (self.start <= self.applied, "the state covers what the log no longer holds"),
            (self.hard_state.term >= self.applied.term, "nothing of a later term was applied"),
            (self.applied.index.leaves_room(), "the state has room for more entries"),
            (self.commit <= self.last.index, "nothing beyond the log is committed"),
            (self.configs_lie_in_the_log(), "configurations are in order, within the log"),
            (self.last.index.leaves_room(), "the log has room for more entries"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(BootError::Inconsistent { rule }),
            None => Ok(()),
        }
    }

    fn terms_grow(&self) -> bool {
        let goes_on = |first: &Position| {
            first.term > self.start.term && first.index > self.start.index
                || first.term == self.start.term && first.index == self.start.index.next()
        };
        self.term_starts.is_sorted_by(|a, b| a.term < b.term && a.index < b.index)
            && self.term_starts.first().is_none_or(goes_on)
    }

    /// Entries before the first of `term_starts` have the term of `start`, which at the origin is
    /// none.
    fn entries_have_terms(&self) -> bool {
        let begins_at_once =
            |first: &Position| first.term > Term::ZERO && first.index == self.start.index.next();
        self.start.term > Term::ZERO
            || self.last == self.start
            || self.term_starts.first().is_some_and(begins_at_once)
    }

    fn configs_lie_in_the_log(&self) -> bool {
        let is_inside = |index: Index| self.start.index < index && index <= self.last.index;
        self.configs.is_sorted_by(|a, b| a.0 < b.0)
            && self.configs.iter().all(|(index, _)| is_inside(*index))
    }
}

/// Why [`Raft::restore`](crate::Raft::restore) refused to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootError {
    /// The configuration does not hold together.
    Config(ConfigError),
    /// This node has an empty disk and is not among the founders.
    NotAMember {
        /// This node.
        id: NodeId,
    },
    /// There is a cluster, and nobody in it can vote.
    NoVoters,
    /// The parts of [`Boot`] contradict each other: they do not come from one log.
    Inconsistent {
        /// Which rule is broken.
        rule: &'static str,
    },
}

impl From<ConfigError> for BootError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::NotAMember { id } => {
                write!(
                    f,
                    "node {id} is not among the founders of the cluster: name it there, or start \
                     it as a node that joins"
                )
            }
            Self::NoVoters => write!(f, "the cluster has no voters"),
            Self::Inconsistent { rule } => {
                write!(f, "the recovered log contradicts itself: {rule}")
            }
        }
    }
}

impl core::error::Error for BootError {}
