//! Changes of membership: chapter 4 of the thesis section by section, then bugs that other
//! implementations have had with it.

use std::collections::BTreeSet;
use std::time::Duration;

use raft_core::{
    Body, ClusterConfig, Config, ConfigChange, Entries, Entry, Index, Message, NodeId, Outcome,
    Payload, Position, Rejection, RoleKind, Term,
};

use crate::cluster::{Cluster, Disk, hard_state, ids, n, show};

const SECOND: Duration = Duration::from_secs(1);
const ELECTION_TIMEOUT_MAX: Duration = Duration::from_millis(300);

fn at(term: u64, index: u64) -> Position {
    Position::new(Term::new(term), Index::new(index))
}

fn message(from: u64, to: u64, term: u64, body: Body) -> Message {
    Message { from: n(from), to: n(to), term: Term::new(term), body }
}

fn joint(voters: &[u64], outgoing: &[u64]) -> ClusterConfig {
    let (voters, outgoing) = (ids(voters), Some(ids(outgoing)));
    ClusterConfig { voters, outgoing, learners: BTreeSet::new() }
}

fn voters(numbers: &[u64]) -> ClusterConfig {
    ClusterConfig::of_voters(ids(numbers))
}

fn replace(numbers: &[u64]) -> ConfigChange {
    ConfigChange::Replace { voters: ids(numbers), learners: BTreeSet::new() }
}

fn is_committed(cluster: &Cluster, ticket: raft_core::Ticket) -> bool {
    matches!(cluster.outcome(ticket), Some(Outcome::Committed(_)))
}

/// A disk whose log is a first entry of term 1 and this configuration, then `more` of term 1.
fn disk_with(config: &ClusterConfig, more: u64) -> Disk {
    let payload = |index| match index {
        2 => Payload::Config(config.clone().into()),
        _ => Payload::Noop,
    };
    let entries = (1..=2 + more).map(|index| Entry { at: at(1, index), payload: payload(index) });
    Disk::with(hard_state(1, None), entries.collect())
}

// 4.1 Safety

#[test]
fn thesis_4_1_a_configuration_is_in_force_from_when_it_is_in_the_log() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.elect(n(1));
    let ticket = cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    assert_eq!(cluster.outcome(ticket), None, "it is not committed");
    assert!(cluster.members(n(1)).learners.contains(&n(4)), "and the leader sends to n4");
    assert!(!cluster.members(n(2)).is_member(n(4)));
    cluster.deliver((n(1), n(2)), 0);
    assert!(cluster.members(n(2)).is_member(n(4)), "it is not even durable there");
    cluster.settle();
    assert!(is_committed(&cluster, ticket));
}

#[test]
fn thesis_4_1_a_configuration_that_leaves_the_log_is_out_of_force() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.elect(n(1));
    cluster.isolate(n(1));
    let ticket = cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    cluster.settle();
    cluster.elect(n(2));
    cluster.heal();
    cluster.record();
    cluster.run(SECOND);
    for node in 1..=3 {
        assert_eq!(*cluster.members(n(node)), voters(&[1, 2, 3]));
    }
    let transcript = cluster.take_transcript();
    assert!(transcript.contains("n1 has the members {n1 n2 n3}\n"), "the driver is told");
    assert_eq!(cluster.outcome(ticket), Some(Outcome::Overwritten));
}

#[test]
fn thesis_4_1_there_is_one_change_at_a_time() {
    let mut cluster = Cluster::with_joining(3, 2);
    cluster.elect(n(1));
    let first = cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    let second = cluster.change(n(1), ConfigChange::AddLearner(n(5)));
    assert_eq!(cluster.rejection(second), Some(Rejection::ChangeUnderWay));
    cluster.settle();
    assert!(is_committed(&cluster, first));
    let second = cluster.change(n(1), ConfigChange::AddLearner(n(5)));
    cluster.settle();
    assert!(is_committed(&cluster, second));
}

#[test]
fn thesis_4_1_every_change_of_one_voter_is_one_step() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.elect(n(1));
    cluster.record();
    cluster.join(n(1), n(4));
    for change in [ConfigChange::Demote(n(4)), ConfigChange::Promote(n(4)), replace(&[1, 2, 3])] {
        let ticket = cluster.change(n(1), change);
        cluster.settle();
        assert!(is_committed(&cluster, ticket));
    }
    assert_eq!(*cluster.members(n(1)), voters(&[1, 2, 3]));
    assert!(!cluster.take_transcript().contains("from {"), "none of them needs to be joint");
}

// 4.2.1 Catching up new servers

#[test]
fn thesis_4_2_1_a_learner_receives_everything_and_decides_nothing() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.elect(n(1));
    cluster.propose(n(1), &["a"]);
    cluster.settle();
    cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    cluster.settle();
    assert_eq!(cluster.status(n(4)).last, cluster.status(n(1)).last);
    // With two voters away, the learner makes no majority.
    cluster.cut_between(&[2, 3], &[1, 4]);
    let ticket = cluster.propose(n(1), &["b"])[0];
    cluster.settle();
    assert_eq!(cluster.status(n(4)).last, cluster.status(n(1)).last);
    assert_eq!(cluster.outcome(ticket), None);
    // Nor does it keep the leader in office, or stand for election itself.
    cluster.run(3 * SECOND);
    assert_ne!(cluster.status(n(1)).role, RoleKind::Leader);
    assert_eq!(cluster.status(n(4)).role, RoleKind::Follower);
    assert_eq!(cluster.status(n(4)).term, Term::new(1));
    cluster.campaign(n(4));
    assert_eq!(cluster.status(n(4)).role, RoleKind::Follower, "not even when told to");
}

#[test]
fn thesis_4_2_1_a_learner_serves_reads() {
    let mut cluster = Cluster::with_joining(1, 1);
    cluster.run(Duration::from_millis(10));
    cluster.change(n(1), ConfigChange::AddLearner(n(2)));
    cluster.run(SECOND);
    let read = cluster.read(n(2));
    cluster.settle();
    assert!(matches!(cluster.outcome(read), Some(Outcome::ReadAt(_))));
}

/// A learner whose leader had gone went on asking it for ever: its reads were never answered, and
/// when a question and the election timeout fell due together, it wanted to be woken at once, again
/// and again.
#[test]
fn thesis_4_2_1_a_learner_gives_up_a_leader_that_is_silent() {
    let mut cluster = Cluster::with_joining(1, 1);
    cluster.run(Duration::from_millis(10));
    cluster.change(n(1), ConfigChange::AddLearner(n(2)));
    cluster.run(SECOND);
    cluster.crash(n(1), 0);
    let read = cluster.read(n(2));
    cluster.run(SECOND);
    assert_eq!(cluster.rejection(read), Some(Rejection::NotLeader { leader: None }));
    assert_eq!(cluster.status(n(2)).leader, None);
}

#[test]
fn thesis_4_2_1_a_node_that_has_not_caught_up_gets_no_vote() {
    let mut cluster = Cluster::with_joining(3, 2);
    cluster.elect(n(1));
    cluster.propose(n(1), &["a", "b", "c"]);
    cluster.settle();
    let refused = |cluster: &mut Cluster| {
        let ticket = cluster.change(n(1), ConfigChange::Promote(n(4)));
        cluster.rejection(ticket)
    };
    let behind = |entries| Some(Rejection::NotCaughtUp { node: n(4), behind: entries });
    assert_eq!(refused(&mut cluster), Some(Rejection::UnknownMember { node: n(4) }));
    // It is down when it is added.
    cluster.crash(n(4), 0);
    cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    cluster.settle();
    assert_eq!(refused(&mut cluster), behind(5), "nothing of it is known");
    cluster.restart(n(4));
    cluster.run(SECOND);
    // It has everything, and dies.
    cluster.crash(n(4), 0);
    cluster.run(SECOND);
    assert_eq!(refused(&mut cluster), behind(0), "it is silent");
    cluster.propose(n(1), &["d", "e"]);
    cluster.settle();
    assert_eq!(refused(&mut cluster), behind(2), "and two entries behind");
    cluster.restart(n(4));
    cluster.run(SECOND);
    assert_eq!(refused(&mut cluster), None);
    cluster.settle();
    assert_eq!(*cluster.members(n(4)), voters(&[1, 2, 3, 4]));
    // The same for a replacement: its new voters must be learners that caught up.
    let ticket = cluster.change(n(1), replace(&[1, 2, 5]));
    let why = Rejection::NotCaughtUp { node: n(5), behind: 8 };
    assert_eq!(cluster.rejection(ticket), Some(why));
}

#[test]
fn thesis_4_2_1_a_cluster_of_one_grows_and_shrinks_again() {
    let mut cluster = Cluster::with_joining(1, 2);
    cluster.run(Duration::from_millis(10));
    cluster.join(n(1), n(2));
    cluster.join(n(1), n(3));
    cluster.crash(n(1), 0);
    cluster.run(SECOND);
    let leader = cluster.leader().expect("two of three go on");
    for id in [n(1), if leader == n(2) { n(3) } else { n(2) }] {
        let ticket = cluster.change(leader, ConfigChange::Remove(id));
        cluster.settle();
        assert!(is_committed(&cluster, ticket), "{id} goes");
    }
    let ticket = cluster.propose(leader, &["alone"])[0];
    cluster.settle();
    assert!(is_committed(&cluster, ticket));
}

// 4.2.2 Removing the current leader

#[test]
fn thesis_4_2_2_a_removed_leader_goes_on_until_that_is_committed() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    let ticket = cluster.change(n(1), ConfigChange::Remove(n(1)));
    cluster.persist(n(1), usize::MAX);
    cluster.deliver((n(1), n(2)), 0);
    cluster.persist(n(2), usize::MAX);
    cluster.deliver((n(2), n(1)), 0);
    assert_eq!(cluster.status(n(1)).role, RoleKind::Leader);
    assert_eq!(cluster.outcome(ticket), None, "of n2 and n3 one is no majority: n1 counts no more");
    cluster.settle();
    assert!(is_committed(&cluster, ticket));
    assert_eq!(cluster.status(n(1)).role, RoleKind::Follower);
    // Nobody had to wait for that: the time is still the same.
    let leader = cluster.leader().expect("one of the others took over at once");
    assert_ne!(leader, n(1));
    cluster.run(5 * SECOND);
    assert_eq!(cluster.leader(), Some(leader));
    assert_eq!(cluster.status(n(1)).role, RoleKind::Follower);
}

#[test]
fn thesis_4_2_2_a_leader_that_loses_its_vote_leaves_no_ticket_open() {
    for change in [ConfigChange::Remove(n(1)), ConfigChange::Demote(n(1)), replace(&[2, 3])] {
        let mut cluster = Cluster::new(3);
        cluster.elect(n(1));
        let before = cluster.propose(n(1), &["before"])[0];
        let ticket = cluster.change(n(1), change);
        let after = cluster.propose(n(1), &["after"])[0];
        assert_eq!(cluster.rejection(after), Some(Rejection::Leaving));
        cluster.settle();
        assert!(is_committed(&cluster, before) && is_committed(&cluster, ticket));
        assert_eq!(cluster.witness.open().count(), 0);
        assert_ne!(cluster.leader(), Some(n(1)));
    }
}

/// A leader that removed itself from a cluster of two died before the other had the entry. The
/// other needed its vote, which a log that ends earlier does not get; and the one with the entry,
/// having no vote in it, never campaigned: the cluster stood still for ever.
#[test]
fn thesis_4_2_2_the_leaver_of_two_nodes_is_elected_when_only_it_knows_that_it_leaves() {
    for change in [ConfigChange::Remove(n(1)), ConfigChange::Demote(n(1))] {
        let mut cluster = Cluster::new(2);
        cluster.elect(n(1));
        cluster.cut((n(1), n(2)));
        cluster.change(n(1), change);
        cluster.settle();
        cluster.run(SECOND);
        assert_eq!(cluster.leader(), None, "n1 has lost its quorum, n2 cannot win");
        cluster.heal();
        cluster.run(3 * SECOND);
        assert_eq!(cluster.leader(), Some(n(2)));
        assert_eq!(cluster.members(n(2)).voters, ids(&[2]));
        assert_eq!(cluster.witness.leaders().len(), 3, "n1, n1 for a moment, n2");
    }
}

#[test]
fn thesis_4_2_2_whoever_has_left_for_good_does_not_campaign() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::Remove(n(1)));
    cluster.settle();
    cluster.crash(n(2), 0);
    cluster.crash(n(3), 0);
    cluster.record();
    cluster.run(SECOND);
    cluster.campaign(n(1));
    assert!(!cluster.take_transcript().contains("PreVote"));
}

// 4.2.3 Disruptive servers

#[test]
fn thesis_4_2_3_a_removed_node_disturbs_nobody() {
    let mut cluster = Cluster::new(4);
    cluster.elect(n(1));
    let ticket = cluster.change(n(1), ConfigChange::Remove(n(4)));
    cluster.settle();
    assert!(is_committed(&cluster, ticket));
    assert!(cluster.members(n(4)).is_voter(n(4)), "nobody told it");
    cluster.run(5 * SECOND);
    assert_eq!(cluster.leader(), Some(n(1)));
    assert_eq!(cluster.status(n(1)).term, Term::new(1));
    // It restarts, and another leader is elected while it campaigns.
    cluster.crash(n(4), 0);
    cluster.restart(n(4));
    cluster.crash(n(1), 0);
    cluster.run(5 * SECOND);
    let leader = cluster.leader().expect("two of three");
    assert_ne!(leader, n(4));
    assert_eq!(cluster.witness.leaders().len(), 2, "it takes one election, with n4 or without");
}

#[test]
fn thesis_4_2_3_a_removed_node_that_returns_with_a_higher_term_does_no_harm() {
    let mut cluster = Cluster::new(4);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::Remove(n(4)));
    cluster.run(SECOND);
    let before = cluster.status(n(1));
    let last = at(40, 99);
    for to in 1..=3 {
        cluster.receive(message(4, to, 41, Body::PreVote { last }));
        cluster.receive(message(4, to, 41, Body::Vote { last }));
        // And it claims that a leader wants it so.
        cluster.receive(message(4, to, 41, Body::TransferVote { last }));
    }
    cluster.run(SECOND);
    assert_eq!(cluster.status(n(1)).term, before.term);
    assert_eq!(cluster.leader(), Some(n(1)));
}

#[test]
fn thesis_4_2_3_a_removed_node_may_start_again() {
    let mut cluster = Cluster::new(2);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::Demote(n(2)));
    cluster.settle();
    let ticket = cluster.change(n(1), ConfigChange::Remove(n(2)));
    cluster.settle();
    assert!(is_committed(&cluster, ticket));
    cluster.crash(n(2), 0);
    cluster.restart(n(2));
    cluster.run(SECOND);
    assert_eq!(cluster.status(n(2)).role, RoleKind::Follower);
    // It may also come back, with the disk it has.
    cluster.join(n(1), n(2));
    assert_eq!(cluster.status(n(2)).last, cluster.status(n(1)).last);
}

// 4.3 Arbitrary configuration changes using joint consensus

#[test]
fn thesis_4_3_between_configurations_both_majorities_commit() {
    for away in [[5, 6], [2, 3]] {
        let mut cluster = Cluster::with_joining(3, 3);
        cluster.elect(n(1));
        for id in 4..=6 {
            cluster.change(n(1), ConfigChange::AddLearner(n(id)));
            cluster.settle();
        }
        away.iter().for_each(|id| cluster.isolate(n(*id)));
        let ticket = cluster.change(n(1), replace(&[4, 5, 6]));
        cluster.settle();
        assert_eq!(cluster.outcome(ticket), None, "one majority alone, without {away:?}");
        assert_eq!(*cluster.members(n(4)), joint(&[4, 5, 6], &[1, 2, 3]));
        cluster.heal();
        cluster.run(SECOND);
        assert!(is_committed(&cluster, ticket));
        let leader = cluster.leader().expect("one of the new");
        assert_eq!(*cluster.members(leader), voters(&[4, 5, 6]));
        assert!(ids(&[4, 5, 6]).contains(&leader));
    }
}

#[test]
fn thesis_4_3_between_configurations_both_majorities_elect() {
    for (away, wins) in [(vec![2, 3], false), (vec![5, 6], false), (vec![3, 6], true)] {
        let disk = |_| disk_with(&joint(&[4, 5, 6], &[1, 2, 3]), 0);
        let mut cluster = Cluster::with_disks(6, |_| {}, disk);
        cluster.settle();
        away.iter().for_each(|id| cluster.isolate(n(*id)));
        cluster.run(2 * SECOND);
        assert_eq!(cluster.leader().is_some(), wins, "without {away:?}");
    }
}

#[test]
fn thesis_4_3_a_voter_of_the_old_configuration_alone_can_lead_through() {
    let disk = |_| disk_with(&joint(&[3, 4, 5], &[1, 2, 3]), 0);
    let mut cluster = Cluster::with_disks(5, |_| {}, disk);
    cluster.settle();
    cluster.time_out(n(1));
    cluster.settle();
    assert!(cluster.witness.leaders().values().any(|leader| *leader == n(1)), "it led");
    assert_eq!(cluster.status(n(1)).role, RoleKind::Follower, "and has left");
    let leader = cluster.leader().expect("one of the new");
    assert_eq!(*cluster.members(leader), voters(&[3, 4, 5]));
}

#[test]
fn thesis_4_3_a_replaced_voter_may_stay_as_a_learner() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    cluster.settle();
    let change = ConfigChange::Replace { voters: ids(&[1, 2, 4]), learners: ids(&[3, 4]) };
    let ticket = cluster.change(n(1), change);
    cluster.settle();
    assert!(is_committed(&cluster, ticket));
    let expected = ClusterConfig { learners: ids(&[3]), ..voters(&[1, 2, 4]) };
    assert_eq!(*cluster.members(n(3)), expected);
}

// Bugs that others had

/// Two leaders of different terms each make a one-voter change to the configuration that both
/// know. Their majorities do not overlap, unless the second must first commit something of its own
/// term: then the first can no longer win.
#[test]
fn one_server_changes_across_terms_do_not_elect_two_leaders() {
    let by_first = [ConfigChange::Promote(n(5)), ConfigChange::Remove(n(4))];
    let by_second = [ConfigChange::Promote(n(6)), ConfigChange::Remove(n(1))];
    for first in &by_first {
        for second in &by_second {
            let mut cluster = Cluster::with_joining(4, 2);
            cluster.elect(n(1));
            for learner in [5, 6] {
                cluster.change(n(1), ConfigChange::AddLearner(n(learner)));
                cluster.settle();
            }
            cluster.run(Duration::from_millis(50));
            // n1's change reaches n5 alone.
            cluster.cut_between(&[1, 5], &[2, 3, 4, 6]);
            cluster.change(n(1), first.clone());
            cluster.settle();
            // n2 is elected by n3 and n4, and begins a change in the same step in which it can.
            cluster.now = cluster.now + ELECTION_TIMEOUT_MAX;
            cluster.time_out(n(2));
            while cluster.status(n(2)).role != RoleKind::Leader {
                for kind in ["PreVote", "PreVoteReply", "Vote", "VoteReply"] {
                    cluster.deliver_kind(kind);
                    cluster.persist_everywhere();
                }
            }
            let early = cluster.change(n(2), second.clone());
            assert_eq!(cluster.rejection(early), Some(Rejection::NotReady));
            cluster.run(2 * Duration::from_millis(50));
            let ticket = cluster.change(n(2), second.clone());
            cluster.settle();
            assert!(is_committed(&cluster, ticket), "{second:?}: {:?}", cluster.outcome(ticket));
            // n1 tries what it can, with n5 and whoever would listen.
            cluster.isolate(n(2));
            cluster.network.heal();
            cluster.isolate(n(2));
            cluster.now = cluster.now + ELECTION_TIMEOUT_MAX;
            for _ in 0..5 {
                cluster.time_out(n(1));
                cluster.settle_among(&[n(1), n(3), n(4), n(5)]);
                assert_ne!(cluster.status(n(1)).role, RoleKind::Leader);
            }
            cluster.heal();
            cluster.run(3 * SECOND);
            assert!(cluster.leader().is_some(), "{first:?}, then {second:?}");
        }
    }
}

#[test]
fn a_configuration_that_is_committed_and_not_applied_decides_an_election() {
    // Everyone restarts; nobody has applied anything yet. n3 was removed, and that is committed.
    let disk = |_| disk_with(&voters(&[1, 2]), 1);
    let mut cluster = Cluster::with_disks(3, |_| {}, disk);
    cluster.crash(n(2), 0);
    cluster.settle();
    cluster.run(2 * SECOND);
    assert_eq!(cluster.leader(), None, "n1 and n3 are two of the old three, one of the new two");
    cluster.restart(n(2));
    cluster.run(SECOND);
    assert!(matches!(cluster.leader(), Some(leader) if leader != n(3)));
}

#[test]
fn a_joint_configuration_is_left_once_however_often_the_leader_changes() {
    let mut cluster = Cluster::with_joining(3, 2);
    cluster.elect(n(1));
    for id in [4, 5] {
        cluster.change(n(1), ConfigChange::AddLearner(n(id)));
        cluster.settle();
    }
    // The joint configuration is committed at n1, which dies before anybody has the next one.
    cluster.change(n(1), replace(&[3, 4, 5]));
    cluster.deliver_kind("Append");
    cluster.persist_everywhere();
    cluster.deliver_kind("Appended");
    assert_eq!(*cluster.members(n(1)), voters(&[3, 4, 5]));
    cluster.network.lose_all_to(n(2));
    cluster.crash(n(1), 0);
    let mut leaders = vec![];
    for _ in 0..3 {
        cluster.run(2 * SECOND);
        let leader = cluster.leader().expect("three of each");
        leaders.push(leader);
        cluster.isolate(leader);
        cluster.run(2 * SECOND);
        cluster.heal();
    }
    cluster.run(SECOND);
    cluster.restart(n(1));
    cluster.run(2 * SECOND);
    let is_config = |entry: &&Entry| matches!(entry.payload, Payload::Config(_));
    let configs = cluster.witness.committed().iter().filter(is_config).count();
    assert_eq!(configs, 4, "two learners, one joint, one left; led by {leaders:?}");
    assert_eq!(*cluster.witness.members(), voters(&[3, 4, 5]));
}

#[test]
fn a_recovered_leader_leaves_a_joint_configuration_only_when_it_is_committed() {
    // Only n1 has the joint configuration. It leads again, and must first commit it.
    let joint = joint(&[2, 3, 4], &[1, 2, 3]);
    let disk = |id| if id == n(1) { disk_with(&joint, 0) } else { Disk::default() };
    let mut cluster = Cluster::with_disks(4, |_| {}, disk);
    cluster.settle();
    cluster.time_out(n(1));
    while cluster.status(n(1)).role != RoleKind::Leader {
        for kind in ["PreVote", "PreVoteReply", "Vote", "VoteReply"] {
            cluster.deliver_kind(kind);
            cluster.persist_everywhere();
        }
    }
    assert_eq!(*cluster.members(n(1)), joint);
    cluster.persist_everywhere();
    assert_eq!(*cluster.members(n(1)), joint, "its own disk is no majority");
    cluster.settle();
    assert_eq!(*cluster.members(n(1)), voters(&[2, 3, 4]));
}

#[test]
fn a_promoted_learner_votes_though_it_does_not_know_that_it_may() {
    let mut cluster = Cluster::with_joining(2, 1);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::AddLearner(n(3)));
    cluster.run(SECOND);
    // n3 does not hear that it was promoted.
    cluster.cut((n(1), n(3)));
    let ticket = cluster.change(n(1), ConfigChange::Promote(n(3)));
    cluster.settle();
    assert!(is_committed(&cluster, ticket));
    assert!(!cluster.members(n(3)).is_voter(n(3)));
    // n1 dies. Of the three voters, n2 and n3 are left.
    cluster.crash(n(1), 0);
    cluster.run(2 * SECOND);
    assert_eq!(cluster.leader(), Some(n(2)));
    assert!(cluster.members(n(3)).is_voter(n(3)));
}

#[test]
fn a_change_that_cannot_be_made_is_refused_and_never_silently_nothing() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    cluster.settle();
    let crowd: BTreeSet<NodeId> = (10..300_000).map(n).collect();
    let unknown = |id| Rejection::UnknownMember { node: n(id) };
    let cases = [
        (ConfigChange::AddLearner(n(4)), Rejection::NoChange),
        (ConfigChange::AddLearner(n(2)), Rejection::NoChange),
        (ConfigChange::Promote(n(2)), Rejection::NoChange),
        (ConfigChange::Demote(n(4)), Rejection::NoChange),
        (replace(&[]), Rejection::NoVoters),
        (ConfigChange::Promote(n(9)), unknown(9)),
        (ConfigChange::Demote(n(9)), unknown(9)),
        (ConfigChange::Remove(n(9)), unknown(9)),
        (
            ConfigChange::Replace { voters: ids(&[1, 2, 3]), learners: ids(&[4]) },
            Rejection::NoChange,
        ),
        (
            ConfigChange::Replace { voters: ids(&[1, 2, 3]), learners: crowd },
            Rejection::TooLarge { size_bytes: 32 + 8 * 299_993, limit_bytes: 2 << 20 },
        ),
    ];
    for (change, why) in cases {
        let ticket = cluster.change(n(1), change);
        assert_eq!(cluster.rejection(ticket), Some(why));
    }
    let elsewhere = cluster.change(n(2), ConfigChange::Remove(n(4)));
    let why = Rejection::NotLeader { leader: Some(n(1)) };
    assert_eq!(cluster.rejection(elsewhere), Some(why));
    let mut alone = Cluster::new(1);
    alone.run(SECOND);
    for change in [ConfigChange::Remove(n(1)), ConfigChange::Demote(n(1))] {
        let ticket = alone.change(n(1), change);
        assert_eq!(alone.rejection(ticket), Some(Rejection::NoVoters));
    }
}

#[test]
fn a_node_that_is_down_can_be_removed() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.crash(n(3), 0);
    let ticket = cluster.change(n(1), ConfigChange::Remove(n(3)));
    cluster.settle();
    assert!(is_committed(&cluster, ticket));
    // It is back, knows of nothing, and is not listened to.
    cluster.restart(n(3));
    cluster.run(3 * SECOND);
    assert_eq!(cluster.leader(), Some(n(1)));
    assert_eq!(cluster.status(n(1)).term, Term::new(1));
}

#[test]
fn a_dead_node_of_two_cannot_be_removed_and_the_leader_gives_way() {
    // Of two, both must agree to the last change that both decide; here it is decided by one.
    let mut cluster = Cluster::new(2);
    cluster.elect(n(1));
    cluster.crash(n(2), 0);
    let ticket = cluster.change(n(1), ConfigChange::Remove(n(2)));
    cluster.settle();
    assert!(is_committed(&cluster, ticket), "the new configuration decides: n1 alone");
    cluster.restart(n(2));
    cluster.run(3 * SECOND);
    assert_eq!(cluster.leader(), Some(n(1)));
}

/// A joint configuration of one voter each was taken for a cluster of one: its leader believed that
/// nobody else could lead, and held on to its office with a disk that stood still.
#[test]
fn one_voter_coming_and_one_going_are_two() {
    let disk = |_| disk_with(&joint(&[1], &[2]), 0);
    let mut cluster = Cluster::with_disks(2, |_| {}, disk);
    assert_eq!(cluster.status(n(1)).role, RoleKind::Follower, "it waits like any other");
    cluster.settle();
    cluster.time_out(n(1));
    assert_eq!(cluster.status(n(1)).role, RoleKind::PreCandidate, "it needs n2");
    cluster.settle();
    assert_eq!(cluster.leader(), Some(n(1)));
}

// Nodes that come later

#[test]
fn a_joining_node_waits_without_a_vote() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.run(2 * SECOND);
    let status = cluster.status(n(4));
    assert_eq!((status.role, status.term), (RoleKind::Follower, Term::ZERO));
    cluster.campaign(n(4));
    let ticket = cluster.propose(n(4), &["a"])[0];
    assert_eq!(cluster.rejection(ticket), Some(Rejection::NotLeader { leader: None }));
    assert_eq!(cluster.status(n(4)).role, RoleKind::Follower);
}

/// A node that joined, and stopped before it had received the entry that names the members, was
/// refused when it started again: "there is nobody who votes".
#[test]
fn a_joining_node_may_stop_before_it_knows_the_members() {
    let mut cluster = Cluster::configured(1, |config| config.limits.max_append_bytes = 50);
    cluster.run(Duration::from_millis(10));
    cluster.propose(n(1), &["a", "b", "c"]);
    cluster.settle();
    let mut config = Config::new(n(2));
    config.limits.max_append_bytes = 50;
    cluster.add_joining(config);
    cluster.restart(n(2));
    cluster.change(n(1), ConfigChange::AddLearner(n(2)));
    while cluster.status(n(2)).last == Position::ORIGIN {
        let link = cluster.network.busy_links().first().copied();
        link.into_iter().for_each(|link| cluster.deliver(link, 0));
        cluster.persist_everywhere();
    }
    assert_eq!(cluster.members(n(2)).members().count(), 0);
    cluster.crash(n(2), usize::MAX);
    cluster.restart(n(2));
    cluster.run(SECOND);
    assert_eq!(cluster.members(n(2)).learners, ids(&[2]));
    assert_eq!(cluster.status(n(2)).last, cluster.status(n(1)).last);
}

#[test]
fn a_node_that_was_added_and_removed_in_one_term_is_followed_afresh() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    cluster.settle();
    // What was in flight to it when it was removed no longer counts.
    cluster.isolate(n(4));
    cluster.propose(n(1), &["a", "b"]);
    cluster.settle();
    cluster.change(n(1), ConfigChange::Remove(n(4)));
    cluster.settle();
    assert_eq!(cluster.status(n(1)).peers.len(), 2);
    cluster.heal();
    cluster.join(n(1), n(4));
    let status = cluster.status(n(1));
    let peer = status.peers.iter().find(|peer| peer.id == n(4)).expect("it is back");
    assert_eq!((peer.matched, peer.inflight_messages), (status.last.index, 0));
}

#[test]
fn entries_that_are_read_back_for_a_node_that_left_are_not_sent() {
    let mut cluster = Cluster::with_joining(1, 1);
    cluster.run(Duration::from_millis(10));
    let link = |cluster: &Cluster| cluster.network.queued((n(1), n(2))).count();
    cluster.change(n(1), ConfigChange::AddLearner(n(2)));
    cluster.settle();
    cluster.crash(n(2), 0);
    let ticket = cluster.change(n(1), ConfigChange::Remove(n(2)));
    cluster.settle();
    assert!(is_committed(&cluster, ticket));
    let body = Body::HeartbeatReply { round: 1 };
    cluster.receive(message(2, 1, 1, body));
    cluster.run(SECOND);
    assert_eq!(link(&cluster), 0);
    assert_eq!(cluster.status(n(1)).dropped_messages, 1, "it is a stranger now");
}

#[test]
fn members_that_a_message_brings_are_shown_as_they_are() {
    // What a leader sends decides; the receiver only reads it.
    let mut cluster = Cluster::new(3);
    cluster.settle();
    let config = ClusterConfig { learners: ids(&[7]), ..joint(&[1, 2, 5], &[1, 2, 3]) };
    let entry = Entry { at: at(1, 1), payload: Payload::Config(config.clone().into()) };
    let entries = Entries::from(vec![entry]);
    let append = Body::Append { prev: at(0, 0), entries, commit: Index::ZERO };
    cluster.receive(message(2, 1, 1, append));
    assert_eq!(*cluster.members(n(1)), config);
    assert_eq!(show::members(&config), "{n1 n2 n5} from {n1 n2 n3} learners {n7}");
}
