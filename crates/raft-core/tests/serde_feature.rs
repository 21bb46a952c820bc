//! The feature `serde`: what is written can be read back, and what could never have been written
//! is refused with a sentence that says why.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use raft_core::{
    Action, Body, Boot, ClusterConfig, Config, ConfigChange, Counters, DropReason, Entries, Entry,
    Event, Index, Input, LogRead, Message, NodeId, Outcome, Payload, PersistId, Position, Raft,
    ReadMode, ReadPurpose, Rejection, RoleKind, Snapshot, Status, Term, Ticket, Time, VoteAnswer,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

/// Nothing is lost on the way through a format that describes itself.
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let written = serde_json::to_string(value).expect("it can be written");
    let read: T = serde_json::from_str(&written).expect("what was written can be read");
    assert_eq!(&read, value, "{written}");
}

fn at(term: u64, index: u64) -> Position {
    Position::new(Term::new(term), Index::new(index))
}

fn ids(ids: impl IntoIterator<Item = u64>) -> BTreeSet<NodeId> {
    ids.into_iter().map(NodeId::new).collect()
}

fn joint() -> ClusterConfig {
    ClusterConfig { voters: ids([1, 2]), outgoing: Some(ids([1, 2, 3])), learners: ids([4]) }
}

/// One entry of every kind.
fn entries() -> Entries {
    let payloads =
        [Payload::Noop, Payload::Command([0, 255].into()), Payload::Config(Arc::new(joint()))];
    let entry = |(index, payload)| Entry { at: at(2, index), payload };
    (7..).zip(payloads).map(entry).collect()
}

#[test]
fn every_kind_of_message_comes_back() {
    let (last, index) = (at(2, 9), Index::new(9));
    let bodies = [
        Body::PreVote { last },
        Body::PreVoteReply { granted: true },
        Body::Vote { last },
        Body::VoteReply { granted: false },
        Body::Append { prev: at(1, 6), entries: entries(), commit: index },
        Body::Appended { matched: index },
        Body::AppendRejected { prev: index, hint: last },
        Body::Heartbeat { commit: index, round: u64::MAX },
        Body::HeartbeatReply { round: 3 },
        Body::TimeoutNow { last },
        Body::TransferVote { last },
        Body::ReadIndex { id: 5, mode: ReadMode::Lease },
        Body::Snapshot(Snapshot { at: last, cluster: Arc::new(joint()) }),
        Body::Recover { id: 5, last },
        Body::RecoverReply { id: 5, last },
        Body::ReadIndexReply { id: 5, index },
    ];
    for body in bodies {
        let (from, to, term) = (NodeId::new(1), NodeId::new(2), Term::new(3));
        comes_back(&Message { from, to, term, body });
    }
}

#[test]
fn every_kind_of_input_comes_back() {
    let (ticket, node) = (Ticket::new(1), NodeId::new(3));
    let replace = ConfigChange::Replace { voters: ids([1, 4]), learners: ids([2]) };
    let read =
        LogRead { purpose: ReadPurpose::Replicate(node), first: Index::new(7), entries: entries() };
    let inputs = [
        Input::Wake,
        Input::Propose(vec![(ticket, b"a command".as_slice().into())]),
        Input::ProposeOne(ticket, b"a command".as_slice().into()),
        Input::ChangeConfig(ticket, replace),
        Input::TransferLeadership(ticket, node),
        Input::Campaign,
        Input::Compact { upto: Index::new(3), keep: 1 },
        Input::SnapshotSent { to: node, arrived: Some(at(2, 9)) },
        Input::SnapshotInstalled(true),
        Input::Persisted(PersistId::new(8)),
        Input::LogRead(read),
        Input::Unreachable(node),
    ];
    for input in inputs {
        comes_back(&input);
    }
}

#[test]
fn all_that_a_node_says_and_does_comes_back() {
    let me = NodeId::new(1);
    let (config, boot) = (Config::new(me), Boot::new(ClusterConfig::of_voters([me])));
    comes_back(&config);
    comes_back(&boot);
    let mut raft = Raft::restore(config, boot, Time::ZERO).expect("it fits");
    let proposal = (Ticket::new(1), b"hello".as_slice().into());
    let mut inputs = vec![Input::Propose(vec![proposal]), Input::Wake];
    let (mut actions, mut counters, mut is_applied) = (Vec::new(), Counters::default(), false);
    while let Some(input) = inputs.pop() {
        raft.step(Time::ZERO, input, &mut actions);
        comes_back(&raft.status());
        for action in actions.drain(..) {
            counters.count(&action);
            comes_back(&action);
            comes_back(&counters);
            match action {
                Action::Persist(write) => inputs.push(Input::Persisted(write.id)),
                Action::Apply(entries) => is_applied |= entries.len() == 1,
                _ => {}
            }
        }
    }
    assert!(is_applied, "the command went all the way");
}

#[test]
fn rare_outcomes_and_events_come_back() {
    comes_back(&Outcome::Overwritten);
    comes_back(&Outcome::Rejected(Rejection::NotLeader { leader: Some(NodeId::new(2)) }));
    comes_back(&Outcome::Rejected(Rejection::TooLarge { size_bytes: 9, limit_bytes: 8 }));
    let (candidate, term) = (NodeId::new(2), Term::new(4));
    comes_back(&Event::VoteAsked { candidate, term, pre: true, answer: VoteAnswer::LeaderAlive });
    comes_back(&Event::MessageDropped { from: candidate, reason: DropReason::SecondLeader });
}

#[test]
fn numbers_are_numbers_and_entries_are_a_sequence() {
    let run = entries().slice(0..2);
    let expected = json!([
        { "at": { "term": 2, "index": 7 }, "payload": "Noop" },
        { "at": { "term": 2, "index": 8 }, "payload": { "Command": [0, 255] } },
    ]);
    assert_eq!(serde_json::to_value(&run).expect("it can be written"), expected);
    let role = serde_json::to_value(RoleKind::PreCandidate).expect("it can be written");
    assert_eq!(role, json!("PreCandidate"));
}

#[test]
fn entries_that_do_not_follow_each_other_are_refused() {
    let refusal = |second: Position| {
        let run = [at(2, 7), second].map(|at| Entry { at, payload: Payload::Noop });
        let written = serde_json::to_string(&run[..]).expect("it can be written");
        serde_json::from_str::<Entries>(&written).expect_err("no such run exists").to_string()
    };
    for wrong in [at(2, 9), at(2, 7), at(2, 6), at(1, 8)] {
        let expected = format!("the entry at {wrong} cannot stand right after the one at 2/7");
        assert!(refusal(wrong).starts_with(&expected), "{}", refusal(wrong));
    }
}

#[test]
fn what_is_missing_is_named() {
    let error = serde_json::from_str::<Status>("{}").expect_err("a status is more than that");
    assert!(error.to_string().contains("missing field `id`"), "{error}");
}
