//! Inputs and actions as one compact line each, for transcripts.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use raft_core::{
    Action, Body, ClusterConfig, ConfigChange, Entry, Event, Message, NodeId, Outcome, Payload,
    PeerState, PeerStatus, Position, ReadLog, ReadMode, ReadPurpose, Rejection, RoleChange,
    RoleKind, SendSnapshot, Snapshot, Status, VoteAnswer, Write,
};

pub(crate) fn message(message: &Message) -> String {
    let Message { from, to, term, body } = message;
    format!("{from} -> {to} {} t{term}{}", kind(body), details(body))
}

/// The name of a message, as scripts use it in filters.
pub(crate) fn kind(body: &Body) -> &'static str {
    match body {
        Body::PreVote { .. } => "PreVote",
        Body::PreVoteReply { .. } => "PreVoteReply",
        Body::Vote { .. } => "Vote",
        Body::VoteReply { .. } => "VoteReply",
        Body::Append { .. } => "Append",
        Body::Appended { .. } => "Appended",
        Body::AppendRejected { .. } => "AppendRejected",
        Body::Heartbeat { .. } => "Heartbeat",
        Body::HeartbeatReply { .. } => "HeartbeatReply",
        Body::ReadIndex { .. } => "ReadIndex",
        Body::ReadIndexReply { .. } => "ReadIndexReply",
        Body::TimeoutNow { .. } => "TimeoutNow",
        Body::TransferVote { .. } => "TransferVote",
        Body::Snapshot(_) => "Snapshot",
        Body::Recover { .. } => "Recover",
        Body::RecoverReply { .. } => "RecoverReply",
    }
}

fn details(body: &Body) -> String {
    match body {
        Body::PreVote { last }
        | Body::Vote { last }
        | Body::TimeoutNow { last }
        | Body::TransferVote { last } => format!(" last={last}"),
        Body::PreVoteReply { granted } | Body::VoteReply { granted } => yes_or_no(*granted),
        Body::Append { prev, entries: run, commit } => {
            format!(" prev={prev} {} commit={commit}", entries(run))
        }
        Body::Appended { matched } => format!(" matched={matched}"),
        Body::AppendRejected { prev, hint } => format!(" prev={prev} hint={hint}"),
        Body::Heartbeat { commit, round } => format!(" round={round} commit={commit}"),
        Body::HeartbeatReply { round } => format!(" round={round}"),
        Body::ReadIndex { id, mode: ReadMode::Confirmed } => format!(" id={}", name(*id)),
        Body::ReadIndex { id, mode: ReadMode::Lease } => format!(" id={} by lease", name(*id)),
        Body::ReadIndexReply { id, index } => format!(" id={} index={index}", name(*id)),
        Body::Snapshot(shown) => format!(" {}", snapshot(shown)),
        Body::Recover { id, last } | Body::RecoverReply { id, last } => {
            format!(" id={} last={last}", name(*id))
        }
    }
}

/// The name of a question: the number of the start, and that of the question within.
fn name(id: u64) -> String {
    format!("{}.{}", id >> 44, id & ((1 << 44) - 1))
}

fn snapshot(snapshot: &Snapshot) -> String {
    format!("at={} {}", snapshot.at, members(&snapshot.cluster))
}

fn yes_or_no(granted: bool) -> String {
    let word = if granted { " yes" } else { " no" };
    word.to_owned()
}

pub(crate) fn entries(entries: &[Entry]) -> String {
    let shown: Vec<_> = entries.iter().map(entry).collect();
    format!("[{}]", shown.join(", "))
}

pub(crate) fn entry(entry: &Entry) -> String {
    let payload = match &entry.payload {
        Payload::Noop => "noop".to_owned(),
        Payload::Command(bytes) => format!("'{}'", String::from_utf8_lossy(bytes)),
        Payload::Config(cluster) => members(cluster),
    };
    format!("{} {payload}", entry.at)
}

/// What the node `id` does, without the name of the node where the action names it itself.
pub(crate) fn action(action: &Action) -> String {
    match action {
        Action::Send(sent) => message(sent),
        Action::Persist(write) => persist(write),
        Action::Apply(applied) => format!("apply {}", entries(applied)),
        Action::ReadLog(ReadLog { purpose, first, last, .. }) => match purpose {
            ReadPurpose::Apply => format!("read log {first}..={last} to apply"),
            ReadPurpose::Replicate(peer) => format!("read log {first}..={last} for {peer}"),
        },
        Action::Resolved(ticket, outcome) => {
            format!("ticket {} {}", ticket.get(), self::outcome(outcome))
        }
        Action::SendSnapshot(SendSnapshot { to, at_least, .. }) => {
            format!("send {to} a snapshot of {at_least} or later")
        }
        Action::InstallSnapshot(received) => format!("install the snapshot {}", snapshot(received)),
        Action::Compact(upto) => format!("cut the log up to {upto}"),
        Action::RoleChanged(change) => role(change),
        Action::ConfigChanged(cluster) => format!("has the members {}", members(cluster)),
        Action::Trace(event) => format!("({})", self::event(event)),
    }
}

/// Voters, `from` whom if it is joint, and learners.
pub(crate) fn members(cluster: &ClusterConfig) -> String {
    let list = |ids: &BTreeSet<NodeId>| {
        let ids: Vec<_> = ids.iter().map(NodeId::to_string).collect();
        format!("{{{}}}", ids.join(" "))
    };
    let mut text = list(&cluster.voters);
    if let Some(outgoing) = &cluster.outgoing {
        let _ = write!(text, " from {}", list(outgoing));
    }
    if !cluster.learners.is_empty() {
        let _ = write!(text, " learners {}", list(&cluster.learners));
    }
    text
}

/// A change as scripts say it.
pub(crate) fn change(change: &ConfigChange) -> String {
    match change {
        ConfigChange::AddLearner(id) => format!("add {id}"),
        ConfigChange::Promote(id) => format!("promote {id}"),
        ConfigChange::Demote(id) => format!("demote {id}"),
        ConfigChange::Remove(id) => format!("remove {id}"),
        ConfigChange::Replace { voters, learners } => {
            let (voters, learners) = (voters.clone(), learners.clone());
            let target = ClusterConfig { voters, outgoing: None, learners };
            format!("replace by {}", members(&target))
        }
    }
}

fn persist(write: &Write) -> String {
    let vote = write.hard_state.vote.map_or("none".to_owned(), |vote| vote.to_string());
    let (id, term, commit) = (write.id.get(), write.hard_state.term, write.commit);
    let reset = write.reset.map_or(String::new(), |at| format!("log after {at} "));
    let recovering = if write.hard_state.recovering { "recovering " } else { "" };
    format!(
        "persist #{id} t{term} vote={vote} {recovering}commit={commit} {reset}{}",
        entries(&write.entries)
    )
}

pub(crate) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Committed(at) => format!("committed at {at}"),
        Outcome::ReadAt(index) => format!("may read at {index}"),
        Outcome::Overwritten => "overwritten".to_owned(),
        Outcome::Unknown => "unknown".to_owned(),
        Outcome::Transferred => "transferred".to_owned(),
        Outcome::Rejected(why) => format!("rejected: {}", rejection(why)),
    }
}

fn rejection(why: &Rejection) -> String {
    match why {
        Rejection::Busy => "busy".to_owned(),
        Rejection::TooLarge { size_bytes, limit_bytes } => {
            format!("{size_bytes} bytes, the limit is {limit_bytes}")
        }
        Rejection::NotLeader { leader: Some(leader) } => format!("{leader} leads"),
        Rejection::NotLeader { leader: None } => "no leader known".to_owned(),
        Rejection::ChangeUnderWay => "a change is under way".to_owned(),
        Rejection::NotReady => "nothing of this term is committed yet".to_owned(),
        Rejection::NotCaughtUp { node, behind: 0 } => format!("{node} is silent"),
        Rejection::NotCaughtUp { node, behind } => format!("{node} is {behind} entries behind"),
        Rejection::UnknownMember { node } => format!("{node} is not one of the members it takes"),
        Rejection::NoVoters => "nobody would be left to vote".to_owned(),
        Rejection::NoChange => "the cluster is like that already".to_owned(),
        Rejection::TransferUnderWay { to } => format!("leadership is being handed to {to}"),
        Rejection::Leaving => "the leader is leaving".to_owned(),
        Rejection::TransferFailed { leader: Some(leader) } => {
            format!("not handed over, {leader} leads")
        }
        Rejection::TransferFailed { leader: None } => "not handed over, no leader known".to_owned(),
    }
}

fn role(change: &RoleChange) -> String {
    let RoleChange { role, term, leader } = change;
    match (role, leader) {
        (RoleKind::Leader, _) => format!("leads t{term}"),
        (RoleKind::Candidate, _) => format!("is a candidate in t{term}"),
        (RoleKind::PreCandidate, _) => format!("is a pre-candidate in t{term}"),
        (RoleKind::Follower, Some(leader)) => format!("follows {leader} in t{term}"),
        (RoleKind::Follower, None) => format!("follows nobody in t{term}"),
    }
}

fn event(event: &Event) -> String {
    match event {
        Event::ElectionTimeout { next_term } => format!("election timeout before t{next_term}"),
        Event::Campaign { term } => format!("campaigns for t{term}"),
        Event::VoteAsked { candidate, term, pre, answer } => {
            let what = if *pre { "pre-vote" } else { "vote" };
            format!("{candidate} asks for a {what} in t{term}: {}", self::answer(*answer))
        }
        Event::Elected { term } => format!("elected in t{term}"),
        Event::QuorumLost { term } => format!("lost its quorum in t{term}"),
        Event::AskedToLead { by } => format!("asked by {by} to lead"),
        Event::DiskStalled { term } => format!("its disk stands still in t{term}"),
        Event::LeftOut { term } => format!("has no vote any more in t{term}"),
        Event::Truncated { from } => format!("truncates its log from {from} on"),
        Event::Backtracked { peer, next } => format!("goes back to {next} for {peer}"),
        Event::SnapshotNeeded { peer, next } => format!("{peer} needs {next}, which is cut off"),
        Event::SnapshotInstalled { at } => format!("has the snapshot of {at}"),
        Event::Recovered { last } => format!("has its log back up to {last}"),
        Event::MessageDropped { from, reason } => {
            format!("drops a message from {from}: {reason:?}")
        }
    }
}

fn answer(answer: VoteAnswer) -> &'static str {
    match answer {
        VoteAnswer::Granted => "granted",
        VoteAnswer::LogBehind => "no, its log is behind",
        VoteAnswer::AlreadyVoted => "no, voted already",
        VoteAnswer::LeaderAlive => "no, a leader is alive",
        VoteAnswer::OldTerm => "no, that term is over",
        VoteAnswer::Recovering => "no, its own log is not whole",
    }
}

/// A log as its last position and the terms of its entries, and what they follow if it was cut.
pub(crate) fn log(start: Position, entries: &[Entry]) -> String {
    let terms: Vec<_> = entries.iter().map(|entry| entry.at.term.to_string()).collect();
    let last = entries.last().map_or(start, |entry| entry.at);
    let cut = if start == Position::ORIGIN { String::new() } else { format!("after {start} ") };
    format!("{last} {cut}[{}]", terms.join(" "))
}

/// What a node says of itself, in one line.
pub(crate) fn status(status: &Status) -> String {
    let Status { role, term, vote, leader, last, durable, commit, handed_out, .. } = status;
    let name = |id: &Option<NodeId>| id.map_or("nobody".to_owned(), |id| id.to_string());
    let mut text = format!(
        "{role:?} t{term} vote={} leader={} last={last} durable={durable} commit={commit} \
         applied={handed_out}",
        name(vote),
        name(leader)
    );
    if status.recovering {
        text.push_str(" recovering");
    }
    if let Some(at) = status.installing {
        let _ = write!(text, " installing={at}");
    }
    for peer in &status.peers {
        let mode = match peer.state {
            PeerState::Probing => "probing",
            PeerState::AwaitingSnapshot => "awaits a snapshot",
            PeerState::Replicating => "replicating",
        };
        let PeerStatus { id, matched, next, inflight_messages, .. } = peer;
        let _ = write!(
            text,
            "\n  {id} {mode} matched={matched} next={next} inflight={inflight_messages}"
        );
    }
    text
}
