//! Names for what is rare, so that a test can count how often it was reached.

use raft_core::{Action, DropReason, Event, Outcome, ReadPurpose, Rejection, VoteAnswer};

/// The name of what this action shows to have happened, if it is worth counting.
pub(crate) fn of(action: &Action) -> Option<&'static str> {
    match action {
        Action::ReadLog(request) => match request.purpose {
            ReadPurpose::Apply => Some("log read to apply"),
            ReadPurpose::Replicate(_) => Some("log read for a follower"),
        },
        Action::Resolved(_, outcome) => match outcome {
            Outcome::Committed(_) => Some("committed"),
            Outcome::Overwritten => Some("overwritten"),
            Outcome::Unknown => Some("unknown"),
            Outcome::ReadAt(_) => Some("read"),
            Outcome::Transferred => Some("transferred"),
            Outcome::Rejected(why) => Some(of_rejection(why)),
        },
        Action::ConfigChanged(cluster) if cluster.outgoing.is_some() => Some("joint"),
        Action::ConfigChanged(_) => Some("members changed"),
        Action::Trace(event) => match event {
            Event::Elected { .. } => Some("elected"),
            Event::QuorumLost { .. } => Some("quorum lost"),
            Event::LeftOut { .. } => Some("left out"),
            Event::DiskStalled { .. } => Some("disk stalled"),
            Event::AskedToLead { .. } => Some("asked to lead"),
            Event::Truncated { .. } => Some("truncated"),
            Event::Backtracked { .. } => Some("backtracked"),
            Event::SnapshotNeeded { .. } => Some("snapshot needed"),
            Event::SnapshotInstalled { .. } => Some("snapshot installed"),
            Event::Recovered { .. } => Some("recovered"),
            Event::VoteAsked { answer: VoteAnswer::AlreadyVoted, .. } => Some("voted already"),
            Event::VoteAsked { answer: VoteAnswer::LogBehind, .. } => Some("log behind"),
            Event::VoteAsked { answer: VoteAnswer::Recovering, .. } => Some("recovering"),
            Event::VoteAsked { answer: VoteAnswer::LeaderAlive, .. } => Some("leader alive"),
            // To a former member, or of one: nobody else is a stranger to a correct node.
            Event::MessageDropped { reason: DropReason::UnknownSender, .. } => {
                Some("dropped a stranger's")
            }
            Event::MessageDropped { .. } => Some("dropped"),
            _ => None,
        },
        _ => None,
    }
}

fn of_rejection(why: &Rejection) -> &'static str {
    match why {
        Rejection::Busy => "busy",
        Rejection::TooLarge { .. } => "too large",
        Rejection::NotLeader { .. } => "not the leader",
        Rejection::ChangeUnderWay => "change under way",
        Rejection::NotReady => "not ready",
        Rejection::NotCaughtUp { .. } => "not caught up",
        Rejection::UnknownMember { .. } => "unknown member",
        Rejection::NoVoters => "no voters",
        Rejection::NoChange => "no change",
        Rejection::TransferUnderWay { .. } => "transfer under way",
        Rejection::TransferFailed { .. } => "transfer failed",
        Rejection::Leaving => "leaving",
    }
}
