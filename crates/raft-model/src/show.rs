//! Actions and messages in the words of a transcript.

use std::fmt::{self, Write as _};

use raft_core::{Body, Entries, Message, Payload};

use crate::model::Action;

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Campaign(id) => write!(f, "{id} has heard of no leader for long"),
            Self::Deliver(message) => f.write_str(&show(message)),
            Self::Repeat(message) => write!(f, "{}, and will again", show(message)),
            Self::Persist(id) => write!(f, "{id} completes a write"),
            Self::Crash(id) => write!(f, "{id} crashes and starts again"),
            Self::Damage(id, keep) => {
                write!(f, "{id} crashes and starts again with {keep} entries, and recovers")
            }
            Self::Heartbeat(id) => write!(f, "{id} sends heartbeats"),
            Self::StepDown(id) => write!(f, "{id} has not heard of a quorum for long"),
            Self::Propose(id) => write!(f, "{id} is asked to append a command"),
            Self::Change(id) => write!(f, "{id} is asked to change the members"),
        }
    }
}

fn show(message: &Message) -> String {
    let Message { from, to, term, body } = message;
    let what = match body {
        Body::PreVote { last } => format!("would you vote for me? log {last}"),
        Body::Vote { last } => format!("vote for me, log {last}"),
        Body::TransferVote { last } => format!("vote for me, the leader agrees, log {last}"),
        Body::PreVoteReply { granted } => format!("I would vote for you: {granted}"),
        Body::VoteReply { granted } => format!("I vote for you: {granted}"),
        Body::Append { prev, entries, commit } => {
            format!("append after {prev}:{}; commit {commit}", show_entries(entries))
        }
        Body::Appended { matched } => format!("appended up to {matched}"),
        Body::AppendRejected { prev, hint } => format!("rejected after {prev}, try {hint}"),
        Body::Heartbeat { commit, round } => format!("heartbeat {round}, commit {commit}"),
        Body::HeartbeatReply { round } => format!("heard heartbeat {round}"),
        Body::TimeoutNow { last } => format!("take over, log {last}"),
        Body::Recover { last, .. } => format!("I lost what came after {last}: where do you end?"),
        Body::RecoverReply { last, .. } => format!("my log ends at {last}"),
        other => format!("{other:?}"),
    };
    format!("{to} hears from {from} in term {term}: {what}")
}

fn show_entries(entries: &Entries) -> String {
    let mut shown = String::new();
    for entry in entries.iter() {
        let what = match &entry.payload {
            Payload::Noop => "nothing".into(),
            Payload::Command(bytes) => format!("command {bytes:?}"),
            Payload::Config(config) => {
                let ids = |ids: &std::collections::BTreeSet<raft_core::NodeId>| -> Vec<u64> {
                    ids.iter().map(|id| id.get()).collect()
                };
                let (voters, outgoing) = (ids(&config.voters), config.outgoing.as_ref().map(ids));
                format!("voters {voters:?}, outgoing {outgoing:?}")
            }
        };
        // Writing to a string cannot fail.
        let _ = write!(shown, " {} {what},", entry.at);
    }
    shown
}
