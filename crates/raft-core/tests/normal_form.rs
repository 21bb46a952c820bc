//! What a model checker relies on: nodes that differ only in when and in how many steps they came
//! to where they are become equal, and go on as before.

use raft_core::{
    Action, Body, Boot, ClusterConfig, Config, Index, Input, Message, PersistId, Position, Raft,
    Term, Time,
};

use crate::cluster::n;

fn node() -> Raft {
    let boot = Boot::new(ClusterConfig::of_voters([n(1), n(2), n(3)]));
    Raft::restore(Config::new(n(1)), boot, Time::ZERO).expect("a founder")
}

fn step(raft: &mut Raft, millis: u64, input: Input) -> Vec<Action> {
    let mut actions = Vec::new();
    raft.step(Time::from_millis(millis), input, &mut actions);
    actions
}

fn message(term: u64, body: Body) -> Input {
    Input::Message(Message { from: n(2), to: n(1), term: Term::new(term), body })
}

fn heartbeat(term: u64) -> Input {
    message(term, Body::Heartbeat { commit: Index::ZERO, round: 1 })
}

fn vote(term: u64) -> Input {
    message(term, Body::Vote { last: Position::ORIGIN })
}

#[test]
fn when_things_happened_and_in_how_many_writes_is_forgotten() {
    let (mut one, mut other) = (node(), node());
    step(&mut one, 0, Input::Wake);
    step(&mut one, 10, heartbeat(1));
    step(&mut one, 11, Input::Persisted(PersistId::new(2)));
    step(&mut other, 400, heartbeat(1));
    step(&mut other, 500, Input::Persisted(PersistId::new(1)));
    step(&mut other, 510, heartbeat(1));
    assert_ne!(one, other);
    one.normalise();
    other.normalise();
    assert_eq!(one, other);
}

#[test]
fn what_waits_for_a_write_goes_on_waiting_for_it() {
    let mut raft = node();
    step(&mut raft, 0, Input::Wake);
    step(&mut raft, 1, vote(1));
    step(&mut raft, 2, Input::Persisted(PersistId::new(1)));
    raft.normalise();
    let is_sent = |actions: Vec<Action>| {
        let granted = Body::VoteReply { granted: true };
        actions.iter().any(|action| matches!(action, Action::Send(sent) if sent.body == granted))
    };
    assert!(!is_sent(step(&mut raft, 0, Input::Persisted(PersistId::new(2)))), "never given out");
    assert!(is_sent(step(&mut raft, 0, Input::Persisted(PersistId::new(1)))));
}

#[test]
fn whoever_lets_time_pass_finds_everything_long_ago() {
    let mut raft = node();
    step(&mut raft, 0, Input::Wake);
    step(&mut raft, 1, heartbeat(1));
    raft.normalise();
    let term = raft.term();
    step(&mut raft, 0, vote(2));
    assert_eq!(raft.term(), term, "it has just heard from a leader");
    step(&mut raft, 10_000, vote(2));
    assert_eq!(raft.term(), Term::new(2));
}
