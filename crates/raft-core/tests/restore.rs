//! What a node may be started with. The disk is checked by whoever reads it; what contradicts
//! itself even so is refused with the rule that it breaks, and never panics.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use raft_core::{
    Action, Body, Boot, BootError, ClusterConfig, Config, ConfigError, Entries, Entry, HardState,
    Index, Input, Message, Outcome, Payload, PersistId, Position, Raft, RoleKind, Term, Ticket,
    Time,
};

use crate::cluster::{Cluster, n};

fn at(term: u64, index: u64) -> Position {
    Position::new(Term::new(term), Index::new(index))
}

/// A log of ten entries of terms 1 and 3, of which four are applied.
fn boot() -> Boot {
    Boot {
        hard_state: HardState { term: Term::new(4), vote: None, boots: 2, recovering: false },
        term_starts: vec![at(1, 1), at(3, 6)],
        last: at(3, 10),
        commit: Index::new(5),
        applied: at(1, 4),
        ..Boot::new(ClusterConfig::of_voters([n(1), n(2), n(3)]))
    }
}

fn restore(change: impl Fn(&mut Boot)) -> Result<Raft, BootError> {
    let mut boot = boot();
    change(&mut boot);
    Raft::restore(Config::new(n(1)), boot, Time::ZERO)
}

#[test]
fn a_node_goes_on_where_its_disk_stopped() {
    let raft = restore(|_| {}).expect("it holds together");
    let status = raft.status();
    assert_eq!(status.last, at(3, 10));
    assert_eq!((status.durable, status.commit, status.handed_out).0, Index::new(10));
    assert_eq!((status.commit, status.handed_out), (Index::new(5), Index::new(4)));
    assert_eq!((status.term, status.vote), (Term::new(4), None));
}

#[test]
fn a_disk_that_contradicts_itself_is_refused() {
    let refused = |rule: &str, change: fn(&mut Boot)| match restore(change) {
        Err(BootError::Inconsistent { rule: broken }) => assert_eq!(broken, rule),
        other => panic!("expected {rule:?} to be broken: {other:?}"),
    };
    refused("terms grow along the log", |boot| boot.term_starts.swap(0, 1));
    refused("terms grow along the log", |boot| boot.term_starts[1] = at(3, 1));
    refused("every entry has a term", |boot| boot.term_starts[0] = at(1, 2));
    refused("every entry has a term", |boot| boot.term_starts[0] = at(0, 1));
    refused("every entry has a term", |boot| {
        boot.term_starts.clear();
        boot.last = at(0, 10);
    });
    refused("the last entry is of the last term", |boot| boot.last = at(4, 10));
    refused("the log ends after its last term began", |boot| boot.last = at(3, 5));
    refused("no entry is of a later term than the node", |boot| {
        boot.hard_state.term = Term::new(2);
    });
    refused("the state covers what the log no longer holds", |boot| {
        boot.start = at(1, 5);
        boot.term_starts.remove(0);
    });
    refused("nothing of a later term was applied", |boot| boot.applied = at(5, 10));
    refused("the state has room for more entries", |boot| boot.applied = at(3, u64::MAX));
    refused("nothing beyond the log is committed", |boot| boot.commit = Index::new(11));
    refused("configurations are in order, within the log", |boot| {
        boot.configs.push((Index::new(11), Arc::new(boot.cluster.clone())));
    });
    refused("the log has room for more entries", |boot| boot.last = at(3, u64::MAX));
}

#[test]
fn a_node_outside_its_cluster_is_refused() {
    let others = Boot::new(ClusterConfig::of_voters([n(2)]));
    let outside = Raft::restore(Config::new(n(1)), others, Time::ZERO);
    assert_eq!(outside, Err(BootError::NotAMember { id: n(1) }));
    let nobody = restore(|boot| {
        boot.cluster.voters.clear();
        boot.cluster.learners = BTreeSet::from([n(1)]);
    });
    assert_eq!(nobody, Err(BootError::NoVoters));
}

#[test]
fn a_node_that_was_removed_may_start_again() {
    let members = |cluster: Result<Raft, BootError>| cluster.map(|raft| raft.cluster().clone());
    let others = ClusterConfig::of_voters([n(2)]);
    let by_founders = restore(|boot| boot.cluster = ClusterConfig::of_voters([n(2)]));
    assert_eq!(members(by_founders), Ok(others.clone()));
    let by_log = restore(|boot| boot.configs = vec![(Index::new(7), Arc::new(others.clone()))]);
    assert_eq!(members(by_log), Ok(ClusterConfig::of_voters([n(2)])));
}

#[test]
fn a_node_that_joins_starts_without_knowing_the_members() {
    let joining = Raft::restore(Config::new(n(1)), Boot::joining(), Time::ZERO);
    assert_eq!(joining.map(|raft| raft.cluster().members().count()), Ok(0));
    let half_way = restore(|boot| boot.cluster = ClusterConfig::default());
    assert_eq!(half_way.map(|raft| raft.cluster().members().count()), Ok(0));
}

#[test]
fn timings_that_do_not_fit_are_refused_with_the_bound_they_break() {
    let error = |change: fn(&mut Config)| {
        let mut config = Config::new(n(1));
        change(&mut config);
        config.validate().expect_err("it does not fit").to_string()
    };
    let slow = error(|config| config.heartbeat_interval = Duration::from_millis(80));
    assert!(slow.contains("80ms") && slow.contains("150ms"), "{slow}");
    let empty = error(|config| config.election_timeout_max = config.election_timeout_min);
    assert!(empty.contains("150ms"), "{empty}");
    assert!(error(|config| config.limits.max_append_bytes = 0).contains("max_append_bytes"));
    let zero = Config { heartbeat_interval: Duration::ZERO, ..Config::new(n(1)) };
    assert_eq!(zero.validate(), Err(ConfigError::ZeroHeartbeat));
    let refused = Raft::restore(zero, boot(), Time::ZERO);
    assert_eq!(refused, Err(BootError::Config(ConfigError::ZeroHeartbeat)));
}

/// The number of starts was read from the disk and increased with no look at its size: the last
/// number there is stopped the node for ever.
#[test]
fn the_number_of_starts_has_no_end_that_hurts() {
    let mut raft = restore(|boot| boot.hard_state.boots = u64::MAX).expect("it starts");
    let mut actions = Vec::new();
    raft.step(Time::ZERO, Input::Wake, &mut actions);
    let wrote = |action: &Action| match action {
        Action::Persist(write) => Some((write.id, write.hard_state.boots)),
        _ => None,
    };
    assert_eq!(actions.iter().find_map(wrote), Some((PersistId::new(1), u64::MAX)));
}

#[test]
fn a_cluster_can_be_founded_on_the_state_of_something_else() {
    let brought = at(1, 1);
    let founder = |id| {
        let hard_state = HardState { term: brought.term, ..HardState::default() };
        let cluster = ClusterConfig::of_voters([n(1), n(2), n(3)]);
        let boot = Boot { hard_state, applied: brought, ..Boot::new(cluster) };
        Raft::restore(Config::new(n(id)), boot, Time::ZERO).expect("it holds together")
    };
    let mut nodes = [1, 2, 3].map(founder);
    let mut inputs = VecDeque::from([(n(1), Input::Campaign)]);
    let (mut actions, mut committed, mut applied) = (Vec::new(), None, Vec::new());
    while let Some((id, input)) = inputs.pop_front() {
        let Some(node) = nodes.iter_mut().find(|node| node.status().id == id) else { continue };
        node.step(Time::ZERO, input, &mut actions);
        for action in actions.drain(..) {
            match action {
                Action::Send(message) => inputs.push_back((message.to, Input::Message(message))),
                Action::Persist(write) => inputs.push_back((id, Input::Persisted(write.id))),
                Action::RoleChanged(change) if change.role == RoleKind::Leader => {
                    let proposal = (Ticket::new(1), b"more".as_slice().into());
                    inputs.push_back((id, Input::Propose(vec![proposal])));
                }
                Action::Resolved(_, Outcome::Committed(at)) => committed = Some(at),
                Action::Apply(entries) if id == n(1) => applied.extend(entries.iter().cloned()),
                _ => {}
            }
        }
    }
    assert_eq!(committed, Some(at(2, 3)), "the leader's first entry is at 2/2");
    let first = applied.first().map(|entry| entry.at);
    assert_eq!(first, Some(at(2, 2)), "what was brought along is not applied again");
}

/// A node whose log was damaged refused to start when what was left of it said that it was alone.
/// The simulator found one whose log had lost the entries by which the others joined.
#[test]
fn a_node_that_recovers_starts_even_if_its_old_log_says_that_it_is_alone() {
    let mut raft = restore(|boot| {
        boot.hard_state.recovering = true;
        boot.cluster = ClusterConfig::of_voters([n(1)]);
    })
    .expect("others may have joined since");
    let mut actions = Vec::new();
    raft.step(Time::ZERO, Input::Wake, &mut actions);
    raft.step(Time::ZERO, Input::Persisted(PersistId::new(1)), &mut actions);
    for _ in 0..5 {
        let due = raft.deadline();
        raft.step(due, Input::Wake, &mut actions);
        assert!(raft.deadline() > due, "it waits, and does not spin");
    }
    assert_eq!(raft.status().role, RoleKind::Follower, "it does not lead itself");
}

/// What a repair leaves is the log as it once was: it may end in entries that were replaced later.
/// The leader, which knew of the log before the damage, told the node by a heartbeat to commit that
/// far, and the node applied entries that were never committed. The simulator found it.
#[test]
fn a_node_that_recovers_commits_only_what_an_append_has_proven() {
    let mut raft = restore(|boot| boot.hard_state.recovering = true).expect("it holds together");
    let mut step = |body| {
        let message = Message { from: n(2), to: n(1), term: Term::new(4), body };
        let mut actions = Vec::new();
        raft.step(Time::ZERO, Input::Message(message), &mut actions);
        raft.status().commit
    };
    let commit = step(Body::Heartbeat { commit: Index::new(10), round: 1 });
    assert_eq!(commit, Index::new(5), "entries 6 to 10 may be other ones elsewhere");
    let entry = Entry { at: at(4, 7), payload: Payload::Noop };
    let entries = Entries::from(vec![entry]);
    let commit = step(Body::Append { prev: at(3, 6), entries, commit: Index::new(10) });
    assert_eq!(commit, Index::new(7), "these are the leader's");
}

/// An answer to a question asked before the restart may be older than the damage, and tell of a
/// shorter log than the one whose end this node acknowledged since.
#[test]
fn a_node_that_recovers_believes_no_answer_but_that_to_its_own_question() {
    let mut raft = restore(|boot| boot.hard_state.recovering = true).expect("it holds together");
    let mut actions = Vec::new();
    let mut step = |input| {
        actions.clear();
        raft.step(Time::ZERO, input, &mut actions);
        let asked = actions.iter().find_map(|action| match action {
            Action::Send(Message { body: Body::Recover { id, .. }, .. }) => Some(*id),
            _ => None,
        });
        (asked, raft.status().recovering)
    };
    let say = |body| Input::Message(Message { from: n(2), to: n(1), term: Term::new(4), body });
    step(Input::Wake);
    step(Input::Persisted(PersistId::new(1)));
    let (asked, _) = step(say(Body::Heartbeat { commit: Index::new(5), round: 1 }));
    let id = asked.expect("it asks the leader how far that one's log goes");
    let last = at(3, 10);
    for wrong in [id - 1, id + 1, 0] {
        let (_, recovering) = step(say(Body::RecoverReply { id: wrong, last }));
        assert!(recovering, "{wrong} is no question of this run, which is {id}");
    }
    let (_, recovering) = step(say(Body::RecoverReply { id, last }));
    assert!(!recovering, "its log reaches that far");
}

/// The power failed between the installation of a snapshot and the write that empties the log. The
/// node went by the members that its old log named, which were older than those of the snapshot.
#[test]
fn a_snapshot_right_before_the_crash_brings_its_members() {
    let old = ClusterConfig::of_voters([n(1), n(2), n(3)]);
    let new = ClusterConfig::of_voters([n(1), n(2)]);
    let restored = restore(|boot| {
        boot.configs = vec![(boot.last.index, Arc::new(old.clone()))];
        boot.applied = Position::new(boot.last.term, boot.last.index.plus(3));
        boot.cluster = new.clone();
    });
    assert_eq!(restored.map(|raft| raft.cluster().clone()), Ok(new));
}

/// What is left of a damaged log may be an older one, which ends in entries that were replaced: it
/// is not as long as it looks. A leader that took all of it for its own would count entries that
/// are not there, and never send them.
#[test]
fn a_leader_counts_only_what_a_damaged_log_shares_with_its_own() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.elect(n(2));
    cluster.propose(n(2), &["a", "b"]);
    cluster.settle();
    let matched = |cluster: &Cluster| {
        let status = cluster.status(n(2));
        status.peers.iter().find(|peer| peer.id == n(3)).map(|peer| peer.matched.get())
    };
    assert_eq!((cluster.status(n(2)).last, matched(&cluster)), (at(2, 4), Some(4)));
    let body = Body::Recover { id: 0, last: at(1, 3) };
    cluster.receive(Message { from: n(3), to: n(2), term: Term::new(2), body });
    assert_eq!(matched(&cluster), Some(1), "the rest of it is of term 1, and not here");
}
