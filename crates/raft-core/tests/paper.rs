//! What the paper ("In Search of an Understandable Consensus Algorithm", extended version) says,
//! section by section, and sections of the thesis where the paper leaves them out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use raft_core::{
    Action, Body, ClusterConfig, Config, Entries, Entry, HardState, Index, Input, Message, Outcome,
    Payload, Position, Raft, ReadMode, Rejection, RoleKind, Snapshot, Term, Time,
};

use crate::cluster::{Cluster, Disk, hard_state, log_of_terms, n, show};

const HEARTBEAT: Duration = Duration::from_millis(50);
const ELECTION_TIMEOUT_MAX: Duration = Duration::from_millis(300);

fn at(term: u64, index: u64) -> Position {
    Position::new(Term::new(term), Index::new(index))
}

/// A cluster whose disks hold logs of these terms, and whose nodes are in the term after them.
fn with_logs(logs: &[&[u64]], term: u64) -> Cluster {
    let disk = |id: raft_core::NodeId| {
        let place = usize::try_from(id.get()).expect("a small number") - 1;
        Disk::with(hard_state(term, None), log_of_terms(logs[place]))
    };
    let mut cluster = Cluster::with_disks(logs.len() as u64, |_| {}, disk);
    cluster.settle();
    cluster
}

fn message(from: u64, to: u64, term: u64, body: Body) -> Message {
    Message { from: n(from), to: n(to), term: Term::new(term), body }
}

/// Every message that a leader or a candidate or anybody else may send, with nothing in it.
fn all_bodies() -> Vec<Body> {
    let (last, index) = (Position::ORIGIN, Index::ZERO);
    vec![
        Body::PreVoteReply { granted: false },
        Body::Vote { last },
        Body::VoteReply { granted: true },
        Body::Append { prev: last, entries: Entries::empty(), commit: index },
        Body::Appended { matched: index },
        Body::AppendRejected { prev: index, hint: last },
        Body::Heartbeat { commit: index, round: 0 },
        Body::HeartbeatReply { round: 0 },
        Body::ReadIndex { id: 0, mode: ReadMode::Confirmed },
        Body::ReadIndexReply { id: 0, index },
        Body::TimeoutNow { last },
        Body::TransferVote { last },
        Body::Snapshot(Snapshot { at: last, cluster: Arc::default() }),
        Body::Recover { id: 0, last },
        Body::RecoverReply { id: 0, last },
    ]
}

// 5.1 Raft basics

#[test]
fn section_5_1_a_larger_term_replaces_the_own_and_makes_a_follower() {
    for body in all_bodies() {
        let mut cluster = Cluster::new(3);
        cluster.elect(n(1));
        cluster.now = cluster.now + ELECTION_TIMEOUT_MAX;
        let is_vote = matches!(body, Body::Vote { .. });
        cluster.receive(message(2, 1, 7, body));
        let status = cluster.status(n(1));
        // A leader that hears from its followers does not listen to candidates: thesis 4.2.3.
        let (term, role) = if is_vote { (1, RoleKind::Leader) } else { (7, RoleKind::Follower) };
        assert_eq!((status.term, status.role), (Term::new(term), role));
    }
}

#[test]
fn section_5_1_a_message_of_an_old_term_changes_nothing() {
    for body in all_bodies() {
        let mut cluster = with_logs(&[&[1, 2], &[1, 2], &[1, 2]], 5);
        cluster.elect(n(1));
        let before = cluster.status(n(2));
        cluster.receive(message(3, 2, 4, body));
        assert_eq!(cluster.status(n(2)), before);
    }
}

#[test]
fn section_5_1_the_sender_of_an_old_request_learns_of_the_term() {
    let mut cluster = with_logs(&[&[1], &[1], &[1]], 5);
    let requests = [
        Body::Vote { last: at(1, 1) },
        Body::Append { prev: at(1, 1), entries: Entries::empty(), commit: Index::ZERO },
        Body::Heartbeat { commit: Index::ZERO, round: 3 },
    ];
    for body in requests {
        cluster.receive(message(1, 2, 4, body));
        let answer = cluster.network.take((n(2), n(1)), 0).expect("an answer");
        assert_eq!(answer.term, Term::new(5));
    }
}

// 5.2 Leader election

#[test]
fn section_5_2_a_node_starts_as_a_follower_and_campaigns_when_it_hears_of_no_leader() {
    let mut cluster = Cluster::new(3);
    assert_eq!(cluster.status(n(1)).role, RoleKind::Follower);
    cluster.settle();
    cluster.advance(ELECTION_TIMEOUT_MAX);
    let campaigning = |id| cluster.status(n(id)).role == RoleKind::PreCandidate;
    assert!((1..=3).all(campaigning));
}

#[test]
fn section_5_2_election_timeouts_are_spread_over_their_range() {
    let mut drawn = BTreeSet::new();
    for seed in 0..200 {
        let change = |config: &mut Config| config.seed = seed;
        let cluster = Cluster::configured(2, change);
        let deadline = cluster.nodes[&n(1)].raft.as_ref().map(Raft::deadline).expect("it is up");
        // The first write is under way, so what is due next is the election.
        let millis = deadline.since(Time::ZERO).as_millis();
        assert!((150..300).contains(&millis), "{millis} ms");
        drawn.insert(millis);
    }
    assert!(drawn.len() > 80, "{} of 150 possible values", drawn.len());
}

#[test]
fn section_5_2_a_candidate_votes_for_itself_and_asks_all_others() {
    let mut cluster = Cluster::new(5);
    cluster.settle();
    cluster.time_out(n(1));
    cluster.deliver_kind("PreVote");
    cluster.deliver_kind("PreVoteReply");
    cluster.persist(n(1), 1);
    let status = cluster.status(n(1));
    assert_eq!((status.role, status.vote), (RoleKind::Candidate, Some(n(1))));
    let asked = (2..=5).filter(|id| cluster.network.queued((n(1), n(*id))).count() == 1);
    assert_eq!(asked.count(), 4);
}

#[test]
fn section_5_2_a_majority_of_votes_wins_and_less_does_not() {
    for (size, yes, no, role) in [
        (1, 0, 0, RoleKind::Leader),
        (2, 0, 0, RoleKind::Candidate),
        (2, 1, 0, RoleKind::Leader),
        (3, 0, 1, RoleKind::Candidate),
        (3, 0, 2, RoleKind::Follower),
        (3, 1, 0, RoleKind::Leader),
        (4, 1, 0, RoleKind::Candidate),
        (4, 1, 2, RoleKind::Follower),
        (5, 1, 2, RoleKind::Candidate),
        (5, 2, 0, RoleKind::Leader),
        (5, 1, 3, RoleKind::Follower),
    ] {
        let mut cluster = Cluster::new(size);
        cluster.settle();
        if size > 1 {
            cluster.time_out(n(1));
            cluster.deliver_kind("PreVote");
            cluster.deliver_kind("PreVoteReply");
            cluster.persist(n(1), 1);
        }
        for voter in 2..2 + yes + no {
            let granted = voter < 2 + yes;
            cluster.receive(message(voter, 1, 1, Body::VoteReply { granted }));
        }
        assert_eq!(cluster.status(n(1)).role, role, "{yes} yes and {no} no of {size}");
    }
}

#[test]
fn section_5_2_the_same_vote_counts_once() {
    let mut cluster = Cluster::new(5);
    cluster.settle();
    cluster.time_out(n(1));
    cluster.deliver_kind("PreVote");
    cluster.deliver_kind("PreVoteReply");
    cluster.persist(n(1), 1);
    for _ in 0..5 {
        cluster.receive(message(2, 1, 1, Body::VoteReply { granted: true }));
    }
    assert_eq!(cluster.status(n(1)).role, RoleKind::Candidate);
}

#[test]
fn section_5_2_the_own_vote_counts_when_it_is_durable() {
    let mut cluster = Cluster::new(1);
    cluster.settle();
    // A message of a later term ends its office; the write of that is still under way when it
    // campaigns again.
    cluster.receive(message(9, 1, 5, Body::HeartbeatReply { round: 0 }));
    cluster.time_out(n(1));
    cluster.persist(n(1), 1);
    assert_eq!(cluster.status(n(1)).role, RoleKind::Candidate);
    cluster.persist(n(1), 1);
    assert_eq!(cluster.status(n(1)).role, RoleKind::Leader);
    assert_eq!(cluster.status(n(1)).term, Term::new(6));
}

#[test]
fn section_5_2_a_node_votes_for_one_candidate_a_term_first_come_first_served() {
    let mut cluster = Cluster::new(3);
    cluster.settle();
    let last = Position::ORIGIN;
    cluster.receive(message(2, 1, 3, Body::Vote { last }));
    cluster.receive(message(3, 1, 3, Body::Vote { last }));
    cluster.receive(message(2, 1, 3, Body::Vote { last }));
    cluster.persist(n(1), 1);
    let answers = |to| -> Vec<_> {
        let replies = cluster.network.queued((n(1), n(to)));
        replies.map(|reply| reply.body == Body::VoteReply { granted: true }).collect()
    };
    assert_eq!(answers(2), [true, true], "asked again, it says the same again");
    assert_eq!(answers(3), [false]);
}

#[test]
fn section_5_2_a_candidate_that_hears_of_the_leader_of_its_term_follows() {
    let append = Body::Append { prev: at(0, 0), entries: Entries::empty(), commit: Index::ZERO };
    for body in [append, Body::Heartbeat { commit: Index::ZERO, round: 1 }] {
        let mut cluster = Cluster::new(3);
        cluster.settle();
        cluster.time_out(n(1));
        cluster.deliver_kind("PreVote");
        cluster.deliver_kind("PreVoteReply");
        cluster.receive(message(3, 1, 1, body));
        let status = cluster.status(n(1));
        assert_eq!((status.role, status.leader), (RoleKind::Follower, Some(n(3))));
        assert_eq!(status.term, Term::new(1));
    }
}

#[test]
fn section_5_2_a_leader_sends_heartbeats_and_they_prevent_elections() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.run(Duration::from_secs(10));
    assert_eq!(cluster.witness.leaders().len(), 1);
    assert_eq!(cluster.status(n(1)).term, Term::new(1));
    let before = cluster.now;
    cluster.time_out(n(1));
    assert!(cluster.now.since(before) <= HEARTBEAT);
    let heartbeat =
        |id| cluster.network.find((n(1), n(id)), |it| show::kind(&it.body) == "Heartbeat");
    assert!(heartbeat(2).is_some() && heartbeat(3).is_some());
}

// 5.3 Log replication

#[test]
fn section_5_3_an_entry_on_a_majority_is_committed_and_applied_in_order() {
    let mut cluster = Cluster::new(5);
    cluster.elect(n(1));
    cluster.cut_between(&[4, 5], &[1, 2, 3]);
    let tickets = cluster.propose(n(1), &["a", "b"]);
    cluster.settle();
    assert_eq!(cluster.outcome(tickets[0]), Some(Outcome::Committed(at(1, 2))));
    assert_eq!(cluster.outcome(tickets[1]), Some(Outcome::Committed(at(1, 3))));
    let applied: Vec<_> = cluster.nodes[&n(1)].applied.iter().map(|entry| entry.at).collect();
    assert_eq!(applied, [at(1, 1), at(1, 2), at(1, 3)]);
}

#[test]
fn section_5_3_a_minority_commits_nothing() {
    let mut cluster = Cluster::new(5);
    cluster.elect(n(1));
    cluster.cut_between(&[1, 2], &[3, 4, 5]);
    let ticket = cluster.propose(n(1), &["a"])[0];
    cluster.settle();
    assert_eq!(cluster.status(n(2)).last, at(1, 2));
    assert_eq!(cluster.status(n(1)).commit, Index::new(1));
    assert_eq!(cluster.outcome(ticket), None);
}

#[test]
fn section_5_3_followers_learn_of_the_commit_with_the_next_message() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.propose(n(1), &["a"]);
    cluster.settle();
    assert_eq!(cluster.status(n(2)).commit, Index::new(1));
    cluster.run(HEARTBEAT);
    assert_eq!(cluster.status(n(2)).commit, Index::new(2));
}

#[test]
fn section_5_3_a_follower_takes_entries_only_right_after_what_it_has() {
    let cases: [(&[u64], Position, bool); 5] = [
        (&[1, 1, 2], at(2, 3), true),
        (&[1, 1, 2], at(1, 2), true),
        (&[1, 1, 2], at(2, 4), false),
        (&[1, 1, 2], at(3, 3), false),
        (&[], at(0, 0), true),
    ];
    for (log, prev, matches) in cases {
        let mut cluster = with_logs(&[log, &[], &[]], 4);
        let entry =
            Entry { at: Position::new(Term::new(4), prev.index.next()), payload: Payload::Noop };
        let body =
            Body::Append { prev, entries: Entries::from(vec![entry.clone()]), commit: Index::ZERO };
        let mut raft = cluster.nodes[&n(1)].raft.clone().expect("it is up");
        raft.step(cluster.now, Input::Message(message(2, 1, 4, body)), &mut Vec::new());
        assert_eq!(raft.status().last == entry.at, matches, "{log:?} after {prev}");
        cluster.settle();
    }
}

#[test]
fn section_5_3_a_leader_finds_where_the_logs_agree_and_makes_the_follower_equal() {
    let leader: &[u64] = &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    let followers: [&[u64]; 6] = [
        &[1, 1, 1, 4, 4, 5, 5, 6, 6],
        &[1, 1, 1, 4],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        &[1, 1, 1, 4, 4, 4, 4],
        &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    ];
    for follower in followers {
        // With a third node like the leader, it is elected whatever the follower's log is.
        let mut cluster = with_logs(&[leader, follower, leader], 8);
        cluster.elect(n(1));
        cluster.run(2 * HEARTBEAT);
        assert_eq!(cluster.terms(n(2)), [leader, &[9]].concat(), "from {follower:?}");
        assert_eq!(cluster.status(n(2)).commit, Index::new(11));
    }
}

#[test]
fn section_5_3_a_follower_far_astray_is_found_within_one_probe_a_term() {
    let astray: Vec<u64> = [vec![1], vec![2; 300], vec![3; 300], vec![4; 300]].concat();
    let leader: Vec<u64> = [vec![1], vec![5; 1200]].concat();
    let mut cluster = with_logs(&[&leader, &astray, &leader], 5);
    cluster.record();
    cluster.elect(n(1));
    let transcript = cluster.take_transcript();
    let probes = transcript.lines().filter(|line| line.contains("goes back")).count();
    assert!(probes <= 4, "{probes} probes");
    assert_eq!(cluster.terms(n(2)).len(), leader.len() + 1);
}

#[test]
fn section_5_3_only_the_leader_takes_proposals_and_others_say_who_that_is() {
    let mut cluster = Cluster::new(3);
    cluster.settle();
    let early = cluster.propose(n(2), &["a"])[0];
    cluster.elect(n(1));
    let late = cluster.propose(n(2), &["b"])[0];
    let leader = |leader| Some(Outcome::Rejected(Rejection::NotLeader { leader }));
    assert_eq!(cluster.outcome(early), leader(None));
    assert_eq!(cluster.outcome(late), leader(Some(n(1))));
}

// 5.4.1 Election restriction

#[test]
fn section_5_4_1_a_vote_goes_only_to_a_log_at_least_as_up_to_date() {
    let cases: [(&[u64], Position, bool); 7] = [
        (&[1, 1], at(1, 2), true),
        (&[1, 1], at(1, 3), true),
        (&[1, 1], at(2, 1), true),
        (&[1, 1], at(1, 1), false),
        (&[1, 2], at(1, 9), false),
        (&[2], at(1, 2), false),
        (&[], at(0, 0), true),
    ];
    for (log, last, granted) in cases {
        for pre in [false, true] {
            let mut cluster = with_logs(&[log, &[], &[]], 3);
            let body = if pre { Body::PreVote { last } } else { Body::Vote { last } };
            cluster.receive(message(2, 1, 4, body));
            cluster.persist(n(1), 1);
            let reply = cluster.network.take((n(1), n(2)), 0).expect("an answer");
            let (Body::VoteReply { granted: answer } | Body::PreVoteReply { granted: answer }) =
                reply.body
            else {
                panic!("{reply:?} is no answer to a candidate");
            };
            assert_eq!(answer, granted, "{last} against {log:?}");
        }
    }
}

// 5.4.2 Committing entries from previous terms

#[test]
fn section_5_4_2_an_entry_of_an_earlier_term_is_not_committed_by_counting() {
    let mut cluster = with_logs(&[&[1, 2], &[1], &[1]], 3);
    cluster.time_out(n(1));
    while cluster.status(n(1)).role != RoleKind::Leader {
        for kind in ["PreVote", "PreVoteReply", "Vote", "VoteReply"] {
            cluster.deliver_kind(kind);
            cluster.persist_everywhere();
        }
    }
    cluster.receive(message(2, 1, 4, Body::Appended { matched: Index::new(2) }));
    cluster.receive(message(3, 1, 4, Body::Appended { matched: Index::new(2) }));
    assert_eq!(cluster.status(n(1)).commit, Index::ZERO);
}

// 5.5 Follower and candidate crashes

#[test]
fn section_5_5_a_repeated_append_changes_nothing() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.propose(n(1), &["a", "b"]);
    let append = cluster.network.queued((n(1), n(2))).next().cloned().expect("an append");
    cluster.settle();
    cluster.propose(n(1), &["c"]);
    cluster.settle();
    for _ in 0..3 {
        let before = cluster.status(n(2));
        cluster.receive(append.clone());
        cluster.settle();
        assert_eq!(cluster.status(n(2)), before);
    }
}

#[test]
fn section_5_5_a_crashed_follower_is_retried_until_it_is_back() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.crash(n(3), 0);
    cluster.propose(n(1), &["a"]);
    cluster.run(Duration::from_secs(1));
    cluster.restart(n(3));
    cluster.run(3 * HEARTBEAT);
    assert_eq!(cluster.status(n(3)).last, at(1, 2));
    assert_eq!(cluster.status(n(3)).commit, Index::new(2));
}

// 5.6 Timing and availability

#[test]
fn section_5_6_a_leader_that_crashes_is_replaced_within_two_election_timeouts() {
    for seed in 0..50 {
        let change = |config: &mut Config| config.seed = 10 * seed + config.id.get();
        let mut cluster = Cluster::configured(3, change);
        cluster.run(Duration::from_secs(1));
        let leader = cluster.leader().expect("a leader after a second");
        cluster.crash(leader, 0);
        cluster.run(2 * ELECTION_TIMEOUT_MAX);
        let next = cluster.leader().expect("a leader two election timeouts later");
        assert_ne!(next, leader);
    }
}

// 8 Client interaction

#[test]
fn section_8_a_new_leader_commits_an_entry_of_its_own_at_once() {
    let mut cluster = with_logs(&[&[1, 1], &[1, 1], &[1, 1]], 1);
    cluster.elect(n(1));
    assert_eq!(cluster.status(n(1)).commit, Index::new(3));
    assert_eq!(cluster.nodes[&n(1)].applied[2].payload, Payload::Noop);
}

#[test]
fn section_8_a_read_is_answered_after_a_majority_confirmed_the_leader() {
    let mut cluster = Cluster::new(5);
    cluster.elect(n(1));
    let read = cluster.read(n(1));
    cluster.deliver_kind("Heartbeat");
    cluster.deliver((n(2), n(1)), 0);
    assert_eq!(cluster.outcome(read), None, "two of five");
    cluster.deliver((n(3), n(1)), 0);
    assert_eq!(cluster.outcome(read), Some(Outcome::ReadAt(Index::new(1))));
}

// Thesis 4.2.3 and 6.2: disruptive servers, stale leaders

#[test]
fn thesis_4_2_3_a_node_that_hears_from_a_leader_votes_for_nobody_else() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.run(HEARTBEAT);
    let before = cluster.status(n(2));
    let last = at(9, 99);
    cluster.receive(message(3, 2, 9, Body::Vote { last }));
    cluster.receive(message(3, 2, 9, Body::PreVote { last }));
    assert_eq!(cluster.status(n(2)), before);
    let reply = cluster.network.take((n(2), n(3)), 0).expect("an answer to the pre-vote");
    assert_eq!(reply.body, Body::PreVoteReply { granted: false });
    // When its leader has been silent for an election timeout, it listens.
    cluster.now = cluster.now + Duration::from_millis(150);
    cluster.receive(message(3, 2, 9, Body::Vote { last }));
    assert_eq!(cluster.status(n(2)).vote, Some(n(3)));
}

#[test]
fn thesis_6_2_a_leader_that_hears_from_no_majority_steps_down() {
    let mut cluster = Cluster::new(5);
    cluster.elect(n(1));
    cluster.cut_between(&[1, 2], &[3, 4, 5]);
    cluster.run(ELECTION_TIMEOUT_MAX);
    assert_eq!(cluster.status(n(1)).role, RoleKind::Leader, "not before the timeout is over");
    cluster.run(2 * HEARTBEAT);
    assert_ne!(cluster.status(n(1)).role, RoleKind::Leader);
    assert_eq!(cluster.status(n(1)).term, Term::new(1), "in its own term");
}

// The contract of this crate: every action may be carried out when it is seen

#[test]
fn the_first_step_of_a_new_node_writes_that_it_started() {
    let boot = raft_core::Boot::new(ClusterConfig::of_voters([n(1), n(2), n(3)]));
    let mut raft = Raft::restore(Config::new(n(1)), boot, Time::ZERO).expect("it fits");
    assert_eq!(raft.deadline(), Time::ZERO, "there is something to do at once");
    let mut actions = Vec::new();
    raft.step(Time::ZERO, Input::Wake, &mut actions);
    let [Action::Persist(write)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(write.hard_state, HardState { boots: 1, ..HardState::default() });
    assert!(raft.deadline() >= Time::from_millis(150));
}
