//! What must hold, and who says whether it does.

/// A rule, named by what holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// [`raft_core::invariants`] hold from each state of a node to the next.
    OwnInvariants,
    /// Election Safety (paper figure 3), over the whole past.
    OneLeaderATerm,
    /// Log Matching.
    LogsMatch,
    /// Leader Completeness, of leaders that are and those to come.
    LeadersAreComplete,
    /// State Machine Safety: what one node takes for committed, or applies, no other contradicts.
    OneHistory,
    /// A quorum of the configuration in force had it on disk when it was committed. A node that
    /// recovers counts for what it lost, because it gives no vote that would go against it.
    CommittedIsDurable,
    /// Votes and acknowledgements that leave a node are on its disk.
    PromisedIsDurable,
    /// Neither its term nor its vote in that term is changed by a crash.
    VotesOutliveCrashes,
    /// "Committed" means so, and what is said to be dead stays dead.
    OutcomesAreTrue,
    /// No node finds nonsense in what the others say, as long as the members stay the same. (One
    /// that was removed is a stranger.)
    NothingIsDropped,
    /// What a node has written it can start with.
    NodesStartAgain,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::OwnInvariants,
        Self::OneLeaderATerm,
        Self::LogsMatch,
        Self::LeadersAreComplete,
        Self::OneHistory,
        Self::CommittedIsDurable,
        Self::PromisedIsDurable,
        Self::VotesOutliveCrashes,
        Self::OutcomesAreTrue,
        Self::NothingIsDropped,
        Self::NodesStartAgain,
    ];

    /// What holds.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OwnInvariants => "every node keeps its own rules",
            Self::OneLeaderATerm => "a term has one leader",
            Self::LogsMatch => "logs that share a position are equal up to it",
            Self::LeadersAreComplete => "a leader has all that was committed before",
            Self::OneHistory => "nodes agree on what is committed",
            Self::CommittedIsDurable => "what is committed is durable on a quorum",
            Self::PromisedIsDurable => "what is promised is durable",
            Self::VotesOutliveCrashes => "no crash changes a vote",
            Self::OutcomesAreTrue => "every outcome is true",
            Self::NothingIsDropped => "no message of a member is nonsense",
            Self::NodesStartAgain => "a node can start with what it wrote",
        }
    }
}

/// Notes the first rule that is broken, of those that are watched.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    watched: &'a [Rule],
    broken: Option<Rule>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(watched: &'a [Rule]) -> Self {
        Self { watched, broken: None }
    }

    pub(crate) fn require(&mut self, holds: bool, rule: Rule) {
        if !holds && self.broken.is_none() && self.watched.contains(&rule) {
            self.broken = Some(rule);
        }
    }

    pub(crate) fn broken(&self) -> Option<Rule> {
        self.broken
    }
}
