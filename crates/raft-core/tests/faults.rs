//! Bugs that other implementations of Raft have had, each as a named scenario. (Figures 7 and 8,
//! and a late heartbeat reply, are among the scripts.)

use std::time::Duration;

use raft_core::{
    Body, Boot, ClusterConfig, Config, Entries, HardState, Index, Input, LogRead, Message, Outcome,
    PeerState, PersistId, Position, Raft, ReadMode, ReadPurpose, Rejection, RoleKind, Term, Ticket,
    Time,
};

use crate::cluster::{Cluster, Disk, hard_state, log_of_terms, n, show};

fn at(term: u64, index: u64) -> Position {
    Position::new(Term::new(term), Index::new(index))
}

fn message(from: u64, to: u64, term: u64, body: Body) -> Message {
    Message { from: n(from), to: n(to), term: Term::new(term), body }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn pre_votes_do_not_deadlock_between_a_later_term_and_a_longer_log() {
    // n1 must win, for its log, but it is terms behind; n3 is terms ahead and cannot win.
    for terms in [[1, 1, 9], [1, 9, 9], [1, 5, 9], [9, 1, 1]] {
        let disk = |id: raft_core::NodeId| {
            let place = usize::try_from(id.get()).expect("a small number") - 1;
            let log: &[u64] = if id == n(1) { &[1, 1, 1] } else { &[1] };
            Disk::with(hard_state(terms[place], None), log_of_terms(log))
        };
        let mut cluster = Cluster::with_disks(3, |_| {}, disk);
        cluster.crash(n(2), 0);
        cluster.run(3 * SECOND);
        assert_eq!(cluster.leader(), Some(n(1)), "from terms {terms:?}");
    }
}

#[test]
fn a_follower_that_lost_its_tail_does_not_hurt_the_leader() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.propose(n(1), &["a", "b", "c"]);
    cluster.settle();
    // n3 says that it has nothing of what it acknowledged, then acknowledges less.
    let term = 1;
    for prev in [4, 3, 2, 1] {
        let body = Body::AppendRejected { prev: Index::new(prev), hint: Position::ORIGIN };
        cluster.receive(message(3, 1, term, body));
    }
    cluster.receive(message(3, 1, term, Body::Appended { matched: Index::ZERO }));
    cluster.receive(message(3, 1, term, Body::Appended { matched: Index::new(2) }));
    let status = cluster.status(n(1));
    assert_eq!((status.role, status.commit), (RoleKind::Leader, Index::new(4)));
    assert_eq!(status.peers[1].matched, Index::new(4));
}

#[test]
fn a_follower_commits_only_what_the_message_proved() {
    let disk = |_| Disk::with(hard_state(2, None), log_of_terms(&[1, 1, 1]));
    let mut cluster = Cluster::with_disks(3, |_| {}, disk);
    cluster.settle();
    let mut raft = cluster.nodes[&n(2)].raft.clone().expect("it is up");
    let empty = Body::Append { prev: at(1, 1), entries: Entries::empty(), commit: Index::new(3) };
    raft.step(cluster.now, Input::Message(message(1, 2, 2, empty)), &mut Vec::new());
    assert_eq!(raft.status().commit, Index::new(1), "what is behind may be stale");

    // And a heartbeat tells a follower no more than what is known to match.
    cluster.isolate(n(3));
    cluster.elect(n(1));
    cluster.heal();
    cluster.time_out(n(1));
    let heartbeats = cluster.network.queued((n(1), n(3)));
    let commits: Vec<_> = heartbeats
        .filter_map(|message| match message.body {
            Body::Heartbeat { commit, .. } => Some(commit),
            _ => None,
        })
        .collect();
    assert_eq!(commits, [Index::ZERO]);
    assert_eq!(cluster.status(n(1)).commit, Index::new(4));
}

#[test]
fn a_delayed_append_does_not_remove_what_came_after_it() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.propose(n(1), &["a"]);
    let first = cluster.network.queued((n(1), n(2))).next().cloned().expect("an append");
    cluster.propose(n(1), &["b", "c"]);
    cluster.deliver_kind("Append");
    cluster.persist(n(2), usize::MAX);
    assert_eq!(cluster.status(n(2)).last, at(1, 4));
    cluster.receive(first);
    assert_eq!(cluster.status(n(2)).last, at(1, 4));
    assert_eq!(cluster.status(n(2)).durable, Index::new(4));
}

#[test]
fn the_entry_before_the_retained_log_keeps_its_term() {
    // Everything up to 10 is in a snapshot; the first append is right after it.
    let boot = Boot {
        start: at(3, 10),
        last: at(3, 10),
        applied: at(3, 10),
        hard_state: HardState { term: Term::new(3), vote: None, boots: 1, recovering: false },
        ..Boot::new(ClusterConfig::of_voters([n(1), n(2)]))
    };
    let mut raft = Raft::restore(Config::new(n(1)), boot, Time::ZERO).expect("it fits");
    let mut actions = Vec::new();
    let now = Time::from_millis(400);
    raft.step(now, Input::Wake, &mut actions);
    raft.step(now, Input::Persisted(PersistId::new(1)), &mut actions);
    let grant = |term, body| Input::Message(message(2, 1, term, body));
    raft.step(now, grant(4, Body::PreVoteReply { granted: true }), &mut actions);
    raft.step(now, Input::Persisted(PersistId::new(2)), &mut actions);
    raft.step(now, grant(4, Body::VoteReply { granted: true }), &mut actions);
    let shown: Vec<_> = actions.iter().map(show::action).collect();
    let append = "n1 -> n2 Append t4 prev=3/10 [4/11 noop] commit=10".to_owned();
    assert!(shown.contains(&append), "{shown:#?}");
}

#[test]
fn windows_do_not_leak_whatever_is_lost() {
    let change = |config: &mut Config| {
        config.limits.max_inflight_messages = 2;
        config.limits.max_inflight_bytes = 100;
    };
    let mut cluster = Cluster::configured(3, change);
    cluster.elect(n(1));
    for round in 0..200 {
        cluster.propose(n(1), &[&format!("{round}")]);
        // Every other append to n3 is lost, and every third answer.
        if round % 2 == 0 {
            cluster.network.lose_all_to(n(3));
        }
        cluster.settle_among(&[n(1), n(2)]);
        cluster.deliver((n(1), n(3)), 0);
        cluster.persist(n(3), usize::MAX);
        if round % 3 == 0 {
            cluster.network.take((n(3), n(1)), 0);
        }
        cluster.run(Duration::from_millis(20));
    }
    cluster.run(SECOND);
    for peer in cluster.status(n(1)).peers {
        assert_eq!((peer.inflight_messages, peer.matched), (0, Index::new(201)));
        assert_eq!((peer.state, peer.next), (PeerState::Replicating, Index::new(202)));
    }
}

#[test]
fn acknowledgements_out_of_order_count_for_the_best_of_them() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    for command in ["a", "b", "c"] {
        cluster.propose(n(1), &[command]);
    }
    for matched in [4, 2, 3] {
        cluster.receive(message(2, 1, 1, Body::Appended { matched: Index::new(matched) }));
        assert_eq!(cluster.status(n(1)).peers[0].matched, Index::new(4));
    }
}

#[test]
fn a_write_that_was_replaced_while_under_way_acknowledges_nothing() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.propose(n(1), &["x", "y"]);
    cluster.deliver((n(1), n(3)), 0);
    // The write with x and y is under way when the leader of term 3 replaces them.
    let entry = raft_core::Entry { at: at(3, 2), payload: raft_core::Payload::Noop };
    let entries = Entries::from(vec![entry]);
    let append = Body::Append { prev: at(1, 1), entries, commit: Index::new(1) };
    let mut raft = cluster.nodes[&n(3)].raft.clone().expect("it is up");
    let mut actions = Vec::new();
    let now = cluster.now;
    raft.step(now, Input::Message(message(2, 3, 3, append)), &mut actions);
    assert_eq!(raft.status().durable, Index::new(1));
    actions.clear();
    let pending: Vec<_> = cluster.nodes[&n(3)].disk.pending.iter().map(|write| write.id).collect();
    for id in pending {
        raft.step(now, Input::Persisted(id), &mut actions);
    }
    assert_eq!(raft.status().durable, Index::new(1), "x was durable, but x is no longer there");
    let appended = |action: &raft_core::Action| show::action(action).contains("Appended");
    assert!(!actions.iter().any(appended), "{actions:?}");
}

#[test]
fn an_acknowledgement_from_before_the_log_was_rewritten_makes_no_quorum() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.propose(n(1), &["x"]);
    cluster.deliver((n(1), n(3)), 0);
    cluster.persist(n(3), usize::MAX);
    let late = cluster.network.take((n(3), n(1)), 0).expect("the acknowledgement of x");
    cluster.settle();
    cluster.elect(n(2));
    cluster.elect(n(1));
    let before = cluster.status(n(1));
    cluster.receive(late);
    assert_eq!(cluster.status(n(1)), before, "it is of a term that is over");
}

#[test]
fn a_vote_and_a_log_reach_the_disk_in_one_order() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.propose(n(1), &["x"]);
    cluster.deliver((n(1), n(3)), 0);
    cluster.now = cluster.now + Duration::from_millis(300);
    cluster.receive(message(2, 3, 2, Body::Vote { last: at(1, 9) }));
    // The vote is in a later write than x: a disk with the vote has x as well.
    cluster.persist(n(3), 1);
    assert_eq!(cluster.nodes[&n(3)].disk.durable.last(), at(1, 2));
    assert_eq!(cluster.nodes[&n(3)].disk.durable.hard_state.term, Term::new(1));
    let said = |kind| cluster.network.find((n(3), n(2)), |it| show::kind(&it.body) == kind);
    assert_eq!(said("VoteReply"), None);
}

#[test]
fn an_answer_to_an_earlier_run_is_not_taken_for_one_to_this_run() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.run(Duration::from_millis(50));
    cluster.read(n(3));
    cluster.deliver_kind("ReadIndex");
    cluster.deliver_kind("Heartbeat");
    cluster.deliver_kind("HeartbeatReply");
    let late = cluster.network.take((n(1), n(3)), 0).expect("the answer");
    assert_eq!(show::kind(&late.body), "ReadIndexReply");
    cluster.crash(n(3), 0);
    cluster.propose(n(1), &["x"]);
    cluster.settle();
    cluster.restart(n(3));
    cluster.run(Duration::from_millis(50));
    let read = cluster.read(n(3));
    cluster.receive(late);
    assert_eq!(cluster.outcome(read), None);
    cluster.settle();
    assert_eq!(cluster.outcome(read), Some(Outcome::ReadAt(Index::new(2))));
}

#[test]
fn a_leader_that_was_paused_does_not_answer_reads_from_the_past() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    // n1 stands still. The others elect another leader, which commits a write.
    cluster.now = cluster.now + Duration::from_millis(300);
    cluster.time_out(n(2));
    cluster.settle_among(&[n(2), n(3)]);
    cluster.propose(n(2), &["x"]);
    cluster.settle_among(&[n(2), n(3)]);
    assert_eq!(cluster.witness.commit(), Index::new(3));
    cluster.now = cluster.now + 10 * SECOND;
    // n1 goes on, and the first thing it does is to read.
    let read = cluster.read(n(1));
    cluster.settle();
    let outcome = cluster.outcome(read);
    assert!(matches!(outcome, Some(Outcome::Rejected(_))), "{outcome:?}");
}

#[test]
fn a_single_voter_waits_for_its_own_disk() {
    let mut cluster = Cluster::new(1);
    cluster.settle();
    let ticket = cluster.propose(n(1), &["x"])[0];
    assert_eq!(cluster.outcome(ticket), None);
    cluster.persist(n(1), 1);
    assert_eq!(cluster.outcome(ticket), Some(Outcome::Committed(at(1, 2))));
}

#[test]
fn a_leader_that_can_send_but_not_receive_gives_way() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.cut((n(2), n(1)));
    cluster.cut((n(3), n(1)));
    cluster.run(2 * SECOND);
    let leader = cluster.leader().expect("another leads");
    assert_ne!(leader, n(1));
    let ticket = cluster.propose(leader, &["x"])[0];
    cluster.settle();
    assert!(matches!(cluster.outcome(ticket), Some(Outcome::Committed(_))));
    assert!(cluster.witness.leaders().len() <= 3, "{:?}", cluster.witness.leaders());
}

#[test]
fn a_leader_that_can_receive_but_not_send_gives_way() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.cut((n(1), n(2)));
    cluster.cut((n(1), n(3)));
    cluster.run(2 * SECOND);
    let leader = cluster.leader().expect("another leads");
    assert_ne!(leader, n(1));
    assert_eq!(cluster.status(n(1)).leader, Some(leader), "it hears its successor");
    assert!(cluster.witness.leaders().len() <= 3, "{:?}", cluster.witness.leaders());
}

#[test]
fn a_clock_that_jumps_back_does_no_harm() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    let now = cluster.now;
    for jump in [Time::ZERO, now, Time::ZERO] {
        cluster.now = jump;
        let mut raft = cluster.nodes[&n(1)].raft.clone().expect("it is up");
        raft.step(jump, Input::Read(Ticket::new(999), ReadMode::Confirmed), &mut Vec::new());
        assert!(raft.deadline() >= now);
    }
}

#[test]
fn what_was_read_from_a_log_that_is_no_more_is_not_used() {
    let boot = Boot {
        hard_state: HardState { term: Term::new(3), vote: None, boots: 1, recovering: false },
        term_starts: vec![at(2, 1)],
        last: at(2, 2),
        commit: Index::new(2),
        ..Boot::new(ClusterConfig::of_voters([n(1), n(2)]))
    };
    let mut raft = Raft::restore(Config::new(n(1)), boot, Time::ZERO).expect("it fits");
    let step = |raft: &mut Raft, now, input| -> Vec<String> {
        let mut actions = Vec::new();
        raft.step(now, input, &mut actions);
        actions.iter().map(show::action).collect()
    };
    assert_eq!(step(&mut raft, Time::ZERO, Input::Wake)[0], "read log 1..=2 to apply");
    let answer = |terms: &[u64]| {
        let entries = log_of_terms(terms).into_iter().collect();
        Input::LogRead(LogRead { purpose: ReadPurpose::Apply, first: Index::new(1), entries })
    };
    assert!(step(&mut raft, Time::ZERO, answer(&[1, 1])).is_empty());
    // It asks again, but not in a loop.
    assert!(step(&mut raft, Time::ZERO, Input::Wake).is_empty());
    let later = raft.deadline();
    assert_eq!(later, Time::from_millis(50), "long before an election is due");
    assert_eq!(step(&mut raft, later, Input::Wake)[0], "read log 1..=2 to apply");
    assert_eq!(step(&mut raft, later, answer(&[2, 2])), ["apply [2/1 'old', 2/2 'old']"]);
}

/// A leader that lost its quorum had its uncommitted bytes forgotten with its role: elected again,
/// it took in as much once more, and so on, without bound.
#[test]
fn a_leader_that_is_elected_again_counts_what_it_took_in_before() {
    let mut cluster = Cluster::configured(3, |config| config.limits.max_uncommitted_bytes = 100);
    cluster.elect(n(1));
    cluster.isolate(n(1));
    cluster.cut_between(&[2], &[3]);
    cluster.propose(n(1), &["a command that nobody else ever gets, of so many bytes"]);
    cluster.run(Duration::from_millis(700));
    assert_ne!(cluster.status(n(1)).role, RoleKind::Leader);
    cluster.heal();
    cluster.time_out(n(1));
    for kind in ["PreVote", "PreVoteReply", "Vote", "VoteReply"] {
        cluster.persist_everywhere();
        cluster.deliver_kind(kind);
    }
    assert_eq!(cluster.status(n(1)).role, RoleKind::Leader);
    let refused = cluster.propose(n(1), &["another one, which would be too much at once"])[0];
    assert_eq!(cluster.outcome(refused), Some(Outcome::Rejected(Rejection::Busy)));
    cluster.settle();
    let taken = cluster.propose(n(1), &["the same again, when the first is committed"])[0];
    cluster.settle();
    assert!(matches!(cluster.outcome(taken), Some(Outcome::Committed(_))));
}

/// A node that heard from the leader a moment ago said no to everybody else, and yes to itself: on
/// request it campaigned, won with the vote of a node that the leader does not reach, and wrote,
/// while the old leader went on answering reads by its lease.
#[test]
fn a_node_that_a_lease_rests_on_does_not_campaign_on_request() {
    let drift = Duration::from_millis(10);
    let mut cluster = Cluster::configured(3, |config| config.lease_drift = Some(drift));
    cluster.elect(n(1));
    cluster.cut_between(&[1], &[3]);
    cluster.run(Duration::from_millis(500));
    cluster.step(n(2), Input::Campaign);
    cluster.settle();
    assert_eq!(cluster.status(n(2)).role, RoleKind::Follower);
    assert_eq!(cluster.leader(), Some(n(1)));
}
