//! Mistakes that can be planted in this crate, one at a time, so that its tests can show that they
//! would find them.
//!
//! Only the feature `planted-bugs` makes it possible, and no product ever has that. Without it,
//! [`Planted::has`] is the constant `false`, and nothing of this is left in the program. Where a
//! mistake would be made, one line asks for it by name:
//!
//! ```text
//! if self.planted.has(Bug::VoteUnsaved) { .. }
//! ```

macro_rules! bugs {
    ($($bug:ident: $what:literal,)*) => {
        /// A mistake that some implementation of Raft has made, or could.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Bug {
            $(#[doc = $what] $bug,)*
        }

        #[cfg(feature = "planted-bugs")]
        impl Bug {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$bug),*];

            /// What is done wrong.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$bug => $what,)* }
            }
        }
    };
}

bugs! {
    SentUnsaved: "a vote, and whatever else depends on the term, is sent before it is durable",
    TermUnsaved: "term and vote are never written",
    AcknowledgedUnsaved: "entries are acknowledged before they are durable",
    AcknowledgedUnproven: "the whole log is acknowledged, whatever the leader asked about",
    LeaderCountsUnsaved: "the leader counts itself before its own disk has finished",
    DurableKept: "what was durable still counts when other entries take its place",
    OldTermCommit: "an entry of an earlier term is committed by counting replicas (figure 8)",
    CommitBySent: "what was sent counts as what was stored",
    CommitUnproven: "a follower commits whatever lies behind what the message proved",
    HeartbeatUncapped: "a heartbeat commits what its receiver may not have",
    MatchedByRejection: "a rejection counts as an acknowledgement",
    HintBeyondPrev: "a rejected append may be tried again at the same place",
    TruncatedWithoutConflict: "an append removes what follows its entries, conflict or not",
    DoubleVote: "a node votes twice in a term",
    VoteByIndex: "the longer log wins, whatever its terms are",
    VoteByTerm: "the log with the later term wins, however short it is",
    HalfQuorumElects: "half of the votes are enough",
    PreVoteRaisesTerm: "a pre-vote raises the term of who is asked",
    NoCheckQuorum: "a leader that hears nobody goes on",
    CampaignWhileBound: "a node that hears from its leader campaigns when it is told to",
    CampaignWhileInstalling: "a node campaigns while a snapshot is installed",
    DisloyalVoter: "a node that hears from its leader votes for another",
    ReadUnproven: "a leader answers reads without asking whether it still leads",
    ReadBeforeCommit: "a leader answers reads before it has committed an entry of its term",
    ReadByOldRound: "an answer to an earlier heartbeat confirms a later read",
    QuestionReused: "a follower asks all its questions about reads under one name",
    LeaseWithoutDrift: "a lease does not allow for the drift of clocks",
    LeaseFromAnswer: "a lease counts from when a heartbeat was answered, not from when it left",
    LeaseByLatestRound: "an answer to any heartbeat makes a lease as long as one to the latest",
    LeaseByLongest: "a lease lasts for the longest election timeout",
    LeaseFromAnything: "whatever a follower answers makes a lease longer, also what it stored",
    LeaseWithoutVote: "a leader that has no vote any more has a lease",
    LeaseInTransfer: "a lease outlives the request that another should lead",
    LeaseAfterTransfer: "a lease comes back when a hand-over is given up",
    PromiseForgotten: "a restart forgets that a leader may have been promised a lease",
    AppliedUncommitted: "entries are applied before they are committed",
    AppliedUnsaved: "entries are applied before they are durable here",
    ChangeWhileOpen: "a change of members begins before the one before it is committed",
    ChangeTooEarly: "a change of members begins before the term's first commit",
    NeverJoint: "any number of voters is changed in one step",
    JointNewOnly: "in a joint configuration the outgoing voters are not waited for",
    JointKept: "a joint configuration is never left",
    ConfigKept: "a configuration stays in force when its entry is removed",
    PromotedTooEarly: "a node gets a vote before it has caught up",
    OverwrittenCommitted: "a proposal that was overwritten is told as committed",
    UnknownOverwritten: "a proposal of which nobody here can know is told as overwritten",
    StaleTakeover: "a node takes over with an older log than that of the leader who asks it to",
    ProposedInTransfer: "proposals are taken while leadership is handed over",
    CutTooFar: "the log is cut further than the driver allows",
    OldSnapshotInstalled: "a snapshot replaces a log that is further on",
    AppliedWhileInstalling: "entries are applied while a snapshot is installed",
    RecoveringVotes: "a node whose log is damaged votes",
    RecoveredAtOnce: "a damaged log counts as whole as soon as the node has started",
    RecoveredByAnswer: "a damaged log counts as whole as soon as the leader has answered",
    RecoveredByOldAnswer: "a damaged log believes an answer to a question of before the damage",
    LossForgotten: "a leader goes on counting what a damaged log has lost",
    RecoveringCommits: "a node whose log is damaged commits what a heartbeat says",
}

/// What is planted in a node: nothing, unless a test wants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Planted {
    #[cfg(feature = "planted-bugs")]
    bug: Option<Bug>,
}

impl Planted {
    #[cfg(feature = "planted-bugs")]
    pub(crate) const fn new(bug: Bug) -> Self {
        Self { bug: Some(bug) }
    }

    /// Whether this mistake is to be made.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn has(self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Whether this mistake is to be made: never.
    #[cfg(not(feature = "planted-bugs"))]
    #[expect(clippy::unused_self, reason = "the other build looks at itself")]
    pub(crate) const fn has(self, _: Bug) -> bool {
        false
    }
}
