//! Mistakes that a driver can make, to see that the checker finds what comes of them.

/// One mistake, made whenever there is an opportunity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mischief {
    /// A write is reported as durable the moment it is given out.
    AnswersBeforeTheSync,
    /// A node that starts again has forgotten whom it voted for.
    ForgetsTheVote,
    /// A node that starts again takes the last entry of its log for a torn one.
    CutsTheTail,
    /// The driver of a follower acknowledges entries as soon as they arrive.
    AcknowledgesOnReceipt,
    /// A write that replaces entries leaves those behind its own in the log.
    KeepsReplacedEntries,
}

impl Mischief {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::AnswersBeforeTheSync,
        Self::ForgetsTheVote,
        Self::CutsTheTail,
        Self::AcknowledgesOnReceipt,
        Self::KeepsReplacedEntries,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AnswersBeforeTheSync => "answers-before-the-sync",
            Self::ForgetsTheVote => "forgets-the-vote",
            Self::CutsTheTail => "cuts-the-tail",
            Self::AcknowledgesOnReceipt => "acknowledges-on-receipt",
            Self::KeepsReplacedEntries => "keeps-replaced-entries",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mischief| mischief.name() == name)
    }
}
