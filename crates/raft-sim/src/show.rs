//! Messages and actions as one compact line each.

use raft_core::{Action, Body, Entry, Input, LogRead, Message, Payload, ReadPurpose, Write};

use crate::machine::Command;

pub(crate) fn message(message: &Message) -> String {
    let Message { from, to, term, body } = message;
    let said = match body {
        Body::PreVote { last } => format!("pre-vote? last {last}"),
        Body::PreVoteReply { granted } => format!("pre-vote {}", yes_or_no(*granted)),
        Body::Vote { last } => format!("vote? last {last}"),
        Body::VoteReply { granted } => format!("vote {}", yes_or_no(*granted)),
        Body::Append { prev, entries: run, commit } => {
            format!("append after {prev} [{}] commit {commit}", entries(run))
        }
        Body::Appended { matched } => format!("appended up to {matched}"),
        Body::AppendRejected { prev, hint } => format!("rejected after {prev}, try {hint}"),
        Body::Heartbeat { commit, round } => format!("heartbeat {round} commit {commit}"),
        Body::HeartbeatReply { round } => format!("heartbeat reply {round}"),
        Body::TimeoutNow { last } => format!("campaign now, at {last}"),
        Body::TransferVote { last } => format!("vote, for the leader? last {last}"),
        Body::ReadIndex { id, mode } => format!("read? {id:x} {mode:?}"),
        Body::Snapshot(snapshot) => format!("snapshot {snapshot:?}"),
        Body::Recover { id, last } => format!("recovers {id:x} from {last}"),
        Body::RecoverReply { id, last } => format!("recover {id:x} up to {last}"),
        Body::ReadIndexReply { id, index } => format!("read {id:x} at {index}"),
    };
    format!("{from} -> {to} t{term} {said}")
}

fn yes_or_no(granted: bool) -> &'static str {
    if granted { "yes" } else { "no" }
}

fn entries(run: &[Entry]) -> String {
    run.iter().map(entry).collect::<Vec<_>>().join(", ")
}

fn entry(entry: &Entry) -> String {
    let payload = match &entry.payload {
        Payload::Command(bytes) => match Command::decode(bytes) {
            Some(command) => format!("#{} put k{}", command.number, command.key),
            None => "?".to_owned(),
        },
        Payload::Noop => "noop".to_owned(),
        Payload::Config(config) => format!("{config:?}"),
    };
    format!("{} {payload}", entry.at)
}

/// What an input is, for one that is not told of otherwise.
pub(crate) fn input(input: &Input) -> String {
    match input {
        Input::Message(received) => format!("<- {}", message(received)),
        Input::Propose(proposals) => {
            let tickets = proposals.iter().map(|(ticket, _)| format!("#{}", ticket.get()));
            format!("propose {}", tickets.collect::<Vec<_>>().join(" "))
        }
        Input::ProposeOne(ticket, _) => format!("propose #{}", ticket.get()),
        Input::Read(ticket, mode) => format!("read #{} {mode:?}", ticket.get()),
        Input::Persisted(id) => format!("durable up to write {}", id.get()),
        Input::LogRead(LogRead { first, entries: run, .. }) => {
            format!("log read from {first}: [{}]", entries(run))
        }
        other => format!("{other:?}"),
    }
}

pub(crate) fn action(action: &Action) -> String {
    match action {
        Action::Send(sent) => message(sent),
        Action::Persist(Write { id, hard_state, commit, entries: run, .. }) => {
            let vote = hard_state.vote.map_or("nobody".to_owned(), |vote| vote.to_string());
            let (id, term) = (id.get(), hard_state.term);
            format!("write {id}: t{term} vote {vote} commit {commit} [{}]", entries(run))
        }
        Action::Apply(run) => format!("apply [{}]", entries(run)),
        Action::ReadLog(read) => {
            let whom = match read.purpose {
                ReadPurpose::Apply => "to apply".to_owned(),
                ReadPurpose::Replicate(peer) => format!("for {peer}"),
            };
            format!("read log {} to {} {whom}", read.first, read.last)
        }
        Action::Resolved(ticket, outcome) => format!("#{} is {outcome:?}", ticket.get()),
        Action::SendSnapshot(_) | Action::InstallSnapshot(_) | Action::Compact(_) => {
            format!("{action:?}")
        }
        Action::RoleChanged(change) => {
            let leader = change.leader.map_or("nobody".to_owned(), |leader| leader.to_string());
            format!("{:?} in t{}, leader {leader}", change.role, change.term)
        }
        Action::ConfigChanged(members) => format!("members {members:?}"),
        Action::Trace(event) => format!("({event:?})"),
    }
}
