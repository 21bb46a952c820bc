//! The rules of snapshots (`src/snapshot.rs`), one by one: how far a log is cut, which snapshots
//! are installed, and that nothing moves meanwhile.

use std::sync::Arc;
use std::time::Duration;

use raft_core::{
    Action, Body, Boot, ClusterConfig, Config, HardState, Index, Input, Message, PeerState,
    Position, Raft, Snapshot, Term, Time,
};

use crate::cluster::{Cluster, n, show};

const HEARTBEAT: Duration = Duration::from_millis(50);

fn at(index: u64) -> Position {
    Position::new(Term::new(1), Index::new(index))
}

fn of_leader(to: u64, body: Body) -> Message {
    Message { from: n(1), to: n(to), term: Term::new(1), body }
}

fn snapshot(end: Position) -> Body {
    let cluster = Arc::new(ClusterConfig::of_voters([1, 2, 3].map(n)));
    Body::Snapshot(Snapshot { at: end, cluster })
}

/// Three nodes led by n1, which committed an entry of its own and three commands, up to index 4.
fn with_three_commands() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.propose(n(1), &["a", "b", "c"]);
    cluster.settle();
    cluster
}

#[test]
fn a_log_is_cut_as_far_as_the_state_is_saved_but_for_what_is_to_be_kept() {
    for (upto, keep, start) in [(2, 0, 2), (4, 0, 4), (99, 0, 4), (4, 1, 3), (2, 1, 2), (4, 9, 0)] {
        let mut cluster = with_three_commands();
        cluster.save(n(1));
        cluster.step(n(1), Input::Compact { upto: Index::new(upto), keep });
        assert_eq!(cluster.status(n(1)).start.index, Index::new(start), "{upto}, keep {keep}");
    }
}

#[test]
fn what_was_not_handed_out_is_not_cut() {
    // It starts with four committed entries, and has yet to read them back.
    let boot = Boot {
        hard_state: HardState { term: Term::new(1), vote: None, boots: 1, recovering: false },
        term_starts: vec![at(1)],
        last: at(4),
        commit: Index::new(4),
        ..Boot::new(ClusterConfig::of_voters([n(1), n(2)]))
    };
    let mut raft = Raft::restore(Config::new(n(1)), boot, Time::ZERO).expect("it holds together");
    let mut actions = Vec::new();
    for input in [Input::Wake, Input::Compact { upto: Index::new(4), keep: 0 }] {
        raft.step(Time::ZERO, input, &mut actions);
    }
    let is_cut = |action: &Action| matches!(action, Action::Compact(_));
    assert!(!actions.iter().any(is_cut), "{actions:?}");
    assert_eq!(raft.status().start, Position::ORIGIN);
}

/// A log that holds the end of a snapshot holds all of it: the state machine goes on as it is.
#[test]
fn a_snapshot_that_brings_no_news_is_not_installed() {
    for (known, end) in [(4, at(2)), (4, at(4)), (1, at(4))] {
        let mut cluster = with_three_commands();
        if known == 4 {
            cluster.run(HEARTBEAT);
        }
        assert_eq!(cluster.status(n(2)).commit, Index::new(known));
        cluster.receive(of_leader(2, snapshot(end)));
        let status = cluster.status(n(2));
        assert_eq!((status.installing, status.last), (None, at(4)));
        assert_eq!(status.commit, end.index.max(Index::new(known)), "what it covers is committed");
        let answer = cluster.network.queued((n(2), n(1))).last().cloned().expect("an answer");
        assert_eq!(answer.body, Body::Appended { matched: end.index });
    }
}

/// From the order to install until the answer, the node is as it was. If that is no, it goes on.
#[test]
fn nothing_moves_while_a_snapshot_is_installed() {
    let mut cluster = with_three_commands();
    cluster.run(HEARTBEAT);
    cluster.propose(n(1), &["d"]);
    cluster.deliver((n(1), n(3)), 0);
    cluster.settle_among(&[n(1), n(2)]);
    cluster.propose(n(1), &["e"]);
    cluster.deliver((n(1), n(3)), 0);
    // n3 knows that d is committed, and has neither d nor e on its disk.
    let writes: Vec<_> = cluster.nodes[&n(3)].disk.pending.iter().map(|write| write.id).collect();
    let before = cluster.status(n(3));
    assert_eq!((before.commit, before.handed_out), (Index::new(5), Index::new(4)));

    let mut raft = cluster.nodes[&n(3)].raft.clone().expect("it is up");
    let mut step = |input| -> Vec<String> {
        let mut actions = Vec::new();
        raft.step(cluster.now, input, &mut actions);
        actions.iter().map(show::action).collect()
    };
    let ordered = step(Input::Message(of_leader(3, snapshot(at(9)))));
    assert_eq!(ordered, ["install the snapshot at=1/9 {n1 n2 n3}"]);
    let append =
        Body::Append { prev: at(6), entries: [].into_iter().collect(), commit: at(6).index };
    let heartbeat = Body::Heartbeat { commit: at(6).index, round: 99 };
    for body in [append, heartbeat, snapshot(at(12))] {
        let answered = step(Input::Message(of_leader(3, body)));
        assert!(answered.iter().all(|action| action.contains("HeartbeatReply")), "{answered:?}");
    }
    assert_eq!(step(Input::Campaign), [""; 0], "it has no whole log to lead with");
    for write in writes {
        let told = step(Input::Persisted(write));
        assert!(!told.iter().any(|action| action.starts_with("apply")), "{told:?}");
    }
    assert_eq!(step(Input::SnapshotInstalled(false)), ["apply [1/5 'd']"]);
    let after = raft.status();
    assert_eq!((after.commit, after.last, after.installing), (before.commit, before.last, None));
}

/// A driver that says that a snapshot arrived which the leader's log does not know of is not
/// believed: the follower is asked again.
#[test]
fn a_snapshot_of_another_log_counts_as_not_arrived() {
    for strange in [at(99), Position::new(Term::new(7), Index::new(4)), at(1)] {
        let mut cluster = Cluster::new(3);
        cluster.elect(n(1));
        cluster.crash(n(3), 0);
        cluster.propose(n(1), &["a", "b", "c"]);
        cluster.settle();
        cluster.compact(n(1), 0);
        cluster.restart(n(3));
        cluster.persist(n(3), usize::MAX);
        cluster.advance(HEARTBEAT);
        for kind in ["Heartbeat", "HeartbeatReply", "Append", "AppendRejected"] {
            cluster.deliver_kind(kind);
        }
        assert_eq!(cluster.transfers(), [(n(1), n(3), false)]);
        cluster.step(n(1), Input::SnapshotSent { to: n(3), arrived: Some(strange) });
        let status = cluster.status(n(1));
        let peer = status.peers.iter().find(|peer| peer.id == n(3)).expect("a member");
        assert!(peer.state == PeerState::Probing && peer.next <= status.last.index.next());
        let is_append = |message: &Message| show::kind(&message.body) == "Append";
        assert_eq!(cluster.network.find((n(1), n(3)), is_append), None, "nothing to append to");
    }
}

#[test]
fn a_snapshot_that_cannot_be_is_dropped() {
    let of = |term, index| snapshot(Position::new(Term::new(term), Index::new(index)));
    let nobody = Snapshot { at: at(9), cluster: Arc::default() };
    for body in [of(0, 9), of(2, 9), of(1, u64::MAX), Body::Snapshot(nobody)] {
        let mut cluster = with_three_commands();
        cluster.receive(of_leader(2, body));
        let status = cluster.status(n(2));
        assert_eq!((status.installing, status.dropped_messages), (None, 1));
        assert_eq!((status.last, status.commit), (at(4), Index::new(1)));
    }
}
