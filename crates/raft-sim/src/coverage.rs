//! [`Coverage`]: how often a run reached each fault and each rare branch. A simulation that never
//! gets there proves nothing, so a test asks for every mark.

use std::fmt;

macro_rules! marks {
    ($($mark:ident => $name:literal,)*) => {
        /// Something worth reaching.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mark { $(#[doc = $name] $mark,)* }

        impl Mark {
            /// Every mark.
            pub const ALL: &'static [Self] = &[$(Self::$mark,)*];

            /// What it stands for.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$mark => $name,)* }
            }
        }
    };
}

marks! {
    Elected => "elections won",
    QuorumLost => "leaders that lost their quorum",
    AlreadyVoted => "votes refused: voted for another",
    LogBehind => "votes refused: log behind",
    LeaderAlive => "votes refused: leader alive",
    OldTerm => "votes refused: term over",
    VoteWithheld => "votes refused: log damaged",
    Truncated => "logs truncated",
    Backtracked => "followers backtracked",
    ReadLogToApply => "log read back to apply",
    ReadLogForPeer => "log read back for a follower",
    Written => "writes acknowledged",
    ReadOnLeader => "reads served by leaders",
    ReadOnFollower => "reads served by followers",
    NotLeader => "requests refused: not the leader",
    Busy => "requests refused: busy",
    TooLarge => "proposals refused: too large",
    ChangeUnderWay => "changes refused: another is under way",
    ChangeTooEarly => "changes refused: too early in the term",
    NotCaughtUp => "changes refused: not caught up",
    UnknownMember => "requests refused: no such member",
    NoVoters => "changes refused: nobody would vote",
    NoChange => "changes refused: nothing would change",
    TransferUnderWay => "requests refused: hand-over under way",
    LeaderLeaving => "requests refused: the leader leaves",
    TransferFailed => "hand-overs that failed",
    Transferred => "hand-overs done",
    MembersChanged => "changes of members done",
    ChangeOverwritten => "changes of members overwritten",
    JointEntered => "joint configurations committed",
    JointLeft => "joint configurations left",
    LeaderRemoved => "leaders left out",
    Joined => "members that joined an empty log",
    RemovedRestarted => "restarts of nodes that were removed",
    AskedToLead => "nodes asked to take over",
    DiskStalled => "leaders whose disk stalled",
    Compacted => "logs cut",
    SnapshotSent => "snapshots sent",
    SnapshotLost => "snapshots lost on their way",
    SnapshotInstalled => "snapshots installed",
    InstallFailed => "installs that failed",
    CrashedAfterInstall => "power losses between an install and the log",
    OutcomeOvertaken => "outcomes overtaken by a snapshot",
    LogDamaged => "logs damaged",
    BitFlipped => "bits flipped in log segments",
    SectorStrayed => "sectors in the place of others",
    SectorsZeroed => "sectors gone back to zeros",
    SegmentLost => "log segments lost",
    SegmentShort => "log segments too short",
    WitnessDamaged => "witness files damaged or lost",
    MetaDamaged => "meta files damaged or lost",
    LogAndWitnessDamaged => "logs damaged, and their witness as well",
    StartRefused => "damaged nodes that refused to start",
    LogRepaired => "real logs repaired, with entries missing",
    RepairCutShort => "repairs of logs cut short",
    DamagedAgain => "logs damaged once more, soon after",
    LogRecovered => "damaged logs recovered",
    TooManyDamaged => "clusters with too many damaged logs to go on",
    LeaseRead => "reads served by a lease",
    StrandedRead => "reads of somebody who reaches one leader alone",
    Overwritten => "proposals overwritten",
    LateOutcome => "outcomes after the client had left",
    UnknownOutcome => "operations whose outcome is unknown",
    MessageLost => "messages lost",
    MessageDuplicated => "messages duplicated",
    MessageOvertaken => "messages overtaken",
    MessageLate => "messages later than an election",
    MessageRepeated => "messages of before a start, heard again",
    MessageHeldBack => "messages held back while they could not arrive",
    LinkCut => "links cut",
    Partitioned => "partitions",
    LeaderIsolated => "leaders cut off from everybody",
    ElectedAndStruck => "leaders cut off or made to lag as soon as they were elected",
    OthersRestarted => "leaders cut off while all others start anew",
    LinksLagged => "nodes whose links took up to several elections",
    Disconnected => "connections broken",
    Crashed => "power losses",
    Killed => "processes killed",
    CrashedWhileWriting => "stops with a write under way",
    CrashedWithProposals => "stops with proposals pending",
    EveryoneDown => "moments with all nodes down",
    TornWrite => "torn writes removed",
    UntoldWriteSurvived => "writes that survived untold",
    RestartCutShort => "recoveries cut short",
    Restarted => "restarts",
    StateRestored => "restarts from a saved state",
    LeaderPaused => "leaders paused",
    FollowerPaused => "others paused",
    DeposedWhilePaused => "leaders deposed while paused",
    InboxFull => "messages beyond a paused inbox",
    SlowSync => "syncs longer than an election",
    WriteFailed => "disk writes failed",
    SegmentRolled => "log segments filled",
    ClockFast => "clocks run fast",
    ClockSlow => "clocks run slow",
    ClockForward => "clocks jumped forward",
    ClockBack => "clocks jumped back",
    RecoveredAll => "recoveries of all nodes",
    RecoveredMajority => "recoveries of a bare majority",
    RecoveredChanged => "recoveries of other members than the founders",
    HistoryChecked => "histories found linearizable",
}

/// How often each [`Mark`] was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage([u64; Mark::ALL.len()]);

impl Default for Coverage {
    fn default() -> Self {
        Self([0; Mark::ALL.len()])
    }
}

impl Coverage {
    /// Counts one more.
    pub(crate) fn reach(&mut self, mark: Mark) {
        self.0[mark as usize] += 1;
    }

    /// How often this mark was reached.
    pub const fn count(&self, mark: Mark) -> u64 {
        self.0[mark as usize]
    }

    /// Adds what another run reached.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(sum, count)| *sum += count);
    }

    /// The marks that were not reached.
    pub fn missing(&self) -> impl Iterator<Item = Mark> + '_ {
        Mark::ALL.iter().copied().filter(|mark| self.count(*mark) == 0)
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mark in Mark::ALL {
            writeln!(f, "{:>12}  {}", self.count(*mark), mark.name())?;
        }
        Ok(())
    }
}
