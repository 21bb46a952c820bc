//! Names for what is rare, so that a test can count how often it was reached.

use raft_core::{Action, Event, Outcome, ReadPurpose, Rejection, VoteAnswer};

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
            Outcome::ReadAt(_) => Some("read"),
            Outcome::Rejected(Rejection::Busy) => Some("busy"),
            Outcome::Rejected(Rejection::TooLarge { .. }) => Some("too large"),
            Outcome::Rejected(Rejection::NotLeader { .. }) => Some("not the leader"),
        },
        Action::Trace(event) => match event {
            Event::Elected { .. } => Some("elected"),
            Event::QuorumLost { .. } => Some("quorum lost"),
            Event::Truncated { .. } => Some("truncated"),
            Event::Backtracked { .. } => Some("backtracked"),
            Event::VoteAsked { answer: VoteAnswer::AlreadyVoted, .. } => Some("voted already"),
            Event::VoteAsked { answer: VoteAnswer::LogBehind, .. } => Some("log behind"),
            Event::VoteAsked { answer: VoteAnswer::LeaderAlive, .. } => Some("leader alive"),
            Event::MessageDropped { .. } => Some("dropped"),
            _ => None,
        },
        _ => None,
    }
}
