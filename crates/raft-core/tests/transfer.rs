//! Handing over leadership (thesis §3.10), campaigning on request, and leaders whose own disk
//! stands still.

use std::time::Duration;

use raft_core::{
    Body, Config, ConfigChange, Index, Message, Outcome, Position, Rejection, RoleKind, Term,
};

use crate::cluster::{Cluster, ids, n, show};

const SECOND: Duration = Duration::from_secs(1);
const HEARTBEAT: Duration = Duration::from_millis(50);
const ELECTION_TIMEOUT_MAX: Duration = Duration::from_millis(300);

fn at(term: u64, index: u64) -> Position {
    Position::new(Term::new(term), Index::new(index))
}

fn message(from: u64, to: u64, term: u64, body: Body) -> Message {
    Message { from: n(from), to: n(to), term: Term::new(term), body }
}

fn failed(leader: u64) -> Rejection {
    Rejection::TransferFailed { leader: Some(n(leader)) }
}

/// Whether a message of this kind is under way on the link.
fn says(cluster: &Cluster, from: u64, to: u64, kind: &str) -> bool {
    let is_kind = |message: &Message| show::kind(&message.body) == kind;
    cluster.network.find((n(from), n(to)), is_kind).is_some()
}

fn led_by_1(size: u64) -> Cluster {
    let mut cluster = Cluster::new(size);
    cluster.elect(n(1));
    cluster.run(HEARTBEAT);
    cluster
}

#[test]
fn thesis_3_10_the_target_takes_over_without_waiting_for_a_timeout() {
    let mut cluster = led_by_1(3);
    let before = cluster.now;
    let ticket = cluster.transfer(n(1), n(2));
    cluster.settle();
    assert_eq!(cluster.outcome(ticket), Some(Outcome::Transferred));
    assert_eq!((cluster.leader(), cluster.now), (Some(n(2)), before));
    assert_eq!(cluster.status(n(1)).leader, Some(n(2)));
}

#[test]
fn thesis_3_10_the_target_is_brought_up_to_date_first() {
    let mut cluster = led_by_1(3);
    cluster.isolate(n(2));
    cluster.propose(n(1), &["a", "b"]);
    cluster.settle();
    cluster.heal();
    let ticket = cluster.transfer(n(1), n(2));
    assert!(!says(&cluster, 1, 2, "TimeoutNow"), "it lacks two entries");
    cluster.run(3 * HEARTBEAT);
    assert_eq!(cluster.outcome(ticket), Some(Outcome::Transferred));
}

#[test]
fn thesis_3_10_nothing_is_taken_in_while_leadership_is_handed_over() {
    let mut cluster = led_by_1(3);
    let open = cluster.propose(n(1), &["before"])[0];
    let ticket = cluster.transfer(n(1), n(2));
    let proposal = cluster.propose(n(1), &["meanwhile"])[0];
    let change = cluster.change(n(1), ConfigChange::Remove(n(3)));
    let second = cluster.transfer(n(1), n(3));
    let same = cluster.transfer(n(1), n(2));
    let back = cluster.transfer(n(1), n(1));
    for refused in [proposal, change, second, same, back] {
        assert_eq!(cluster.rejection(refused), Some(Rejection::TransferUnderWay { to: n(2) }));
    }
    cluster.settle();
    assert_eq!(cluster.outcome(ticket), Some(Outcome::Transferred));
    cluster.run(HEARTBEAT);
    assert!(cluster.is_committed(open), "what was under way is carried on");
}

#[test]
fn thesis_3_10_a_transfer_that_comes_to_nothing_ends_after_an_election_timeout() {
    let mut cluster = led_by_1(3);
    cluster.crash(n(2), 0);
    let ticket = cluster.transfer(n(1), n(2));
    cluster.run(Duration::from_millis(299));
    assert_eq!(cluster.outcome(ticket), None);
    cluster.run(Duration::from_millis(2));
    assert_eq!(cluster.rejection(ticket), Some(failed(1)));
    // The leader goes on as before.
    let proposal = cluster.propose(n(1), &["after"])[0];
    cluster.settle();
    assert!(cluster.is_committed(proposal));
    assert_eq!(cluster.status(n(1)).term, Term::new(1));
}

#[test]
fn thesis_3_10_the_leader_says_it_again_if_it_was_lost() {
    let mut cluster = led_by_1(3);
    let ticket = cluster.transfer(n(1), n(2));
    cluster.network.lose_all_to(n(2));
    cluster.run(2 * HEARTBEAT);
    assert_eq!(cluster.outcome(ticket), Some(Outcome::Transferred));
}

#[test]
fn leadership_goes_to_voters_only_and_from_the_leader_only() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    cluster.settle();
    let to = |cluster: &mut Cluster, from, to| {
        let ticket = cluster.transfer(n(from), n(to));
        cluster.outcome(ticket)
    };
    let unknown = |id| Some(Outcome::Rejected(Rejection::UnknownMember { node: n(id) }));
    assert_eq!(to(&mut cluster, 1, 4), unknown(4), "a learner");
    assert_eq!(to(&mut cluster, 1, 9), unknown(9), "a stranger");
    assert_eq!(to(&mut cluster, 1, 1), Some(Outcome::Transferred), "it leads already");
    let why = Rejection::NotLeader { leader: Some(n(1)) };
    assert_eq!(to(&mut cluster, 2, 3), Some(Outcome::Rejected(why)));
}

#[test]
fn a_node_that_is_just_being_made_a_voter_takes_over_only_with_the_entry_that_makes_it_one() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    cluster.run(HEARTBEAT);
    let change = cluster.change(n(1), ConfigChange::Promote(n(4)));
    let ticket = cluster.transfer(n(1), n(4));
    assert!(!says(&cluster, 1, 4, "TimeoutNow"));
    cluster.settle();
    assert_eq!(cluster.outcome(ticket), Some(Outcome::Transferred));
    assert_eq!(cluster.leader(), Some(n(4)));
    cluster.run(HEARTBEAT);
    assert!(cluster.is_committed(change));
}

#[test]
fn a_transfer_fails_at_once_when_the_target_loses_its_vote() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    cluster.run(HEARTBEAT);
    cluster.isolate(n(3));
    let voters = ids(&[1, 2, 4]);
    cluster.change(n(1), ConfigChange::Replace { voters, learners: ids(&[]) });
    let ticket = cluster.transfer(n(1), n(3));
    cluster.settle();
    assert_eq!(cluster.rejection(ticket), Some(failed(1)), "the joint configuration was left");
}

/// A leader left while it was handing over: the configuration without it was appended by itself. It
/// asked one node to take over because it was told to, and then another of its own choice.
#[test]
fn a_leader_that_leaves_asks_the_node_that_it_was_told_to_ask() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    cluster.run(HEARTBEAT);
    let voters = ids(&[2, 3, 4]);
    cluster.change(n(1), ConfigChange::Replace { voters, learners: ids(&[1]) });
    let ticket = cluster.transfer(n(1), n(2));
    // The joint configuration is committed, and left, before n2 confirms that it has it.
    cluster.deliver_kind("Append");
    cluster.persist_everywhere();
    for id in [3, 4, 2] {
        cluster.deliver((n(id), n(1)), 0);
    }
    assert!(!cluster.members(n(1)).is_voter(n(1)), "n1 is leaving");
    assert!(!says(&cluster, 1, 2, "TimeoutNow"), "n2 lacks the latest entry");
    cluster.deliver_kind("Append");
    cluster.persist_everywhere();
    cluster.deliver_kind("Appended");
    assert_eq!(cluster.status(n(1)).role, RoleKind::Follower);
    let asked: Vec<_> = (2..=4).filter(|id| says(&cluster, 1, *id, "TimeoutNow")).collect();
    assert_eq!(asked, [2]);
    cluster.settle();
    assert_eq!(cluster.leader(), Some(n(2)));
    assert_eq!(cluster.outcome(ticket), Some(Outcome::Transferred));
}

#[test]
fn a_leader_that_leaves_hands_over_by_itself() {
    let mut cluster = led_by_1(3);
    cluster.change(n(1), ConfigChange::Remove(n(1)));
    let ticket = cluster.transfer(n(1), n(2));
    assert_eq!(cluster.rejection(ticket), Some(Rejection::Leaving));
}

#[test]
fn a_transfer_ends_when_another_node_is_elected() {
    let mut cluster = led_by_1(3);
    cluster.isolate(n(1));
    let ticket = cluster.transfer(n(1), n(2));
    cluster.elect(n(3));
    cluster.heal();
    let heartbeat = Body::Heartbeat { commit: Index::ZERO, round: 9 };
    let term = cluster.status(n(3)).term.get();
    cluster.receive(message(3, 1, term, heartbeat));
    assert_eq!(cluster.rejection(ticket), Some(failed(3)));
}

/// A hand-over that was under way when its leader was deposed lived on: elected again before its
/// time was up, the leader refused proposals and pushed the target to campaign once more.
#[test]
fn a_transfer_does_not_outlive_its_term() {
    let mut cluster = led_by_1(3);
    cluster.crash(n(2), 0);
    let ticket = cluster.transfer(n(1), n(2));
    // n3 enters term 2, and loses: n1 is elected again in term 3, within the same timeout.
    let body = Body::HeartbeatReply { round: 0 };
    cluster.receive(message(3, 1, 2, body));
    assert_eq!((cluster.leader(), cluster.outcome(ticket)), (None, None));
    cluster.campaign(n(1));
    cluster.receive(message(3, 1, 3, Body::PreVoteReply { granted: true }));
    cluster.persist(n(1), usize::MAX);
    cluster.receive(message(3, 1, 3, Body::VoteReply { granted: true }));
    assert_eq!(cluster.status(n(1)).role, RoleKind::Leader);
    assert_eq!(cluster.rejection(ticket), Some(failed(1)));
    let proposal = cluster.propose(n(1), &["x"])[0];
    assert_eq!(cluster.outcome(proposal), None, "it is taken in");
}

#[test]
fn a_transfer_whose_target_dies_while_it_campaigns_is_rejected_in_the_end() {
    let mut cluster = led_by_1(3);
    let ticket = cluster.transfer(n(1), n(2));
    cluster.deliver_kind("TimeoutNow");
    cluster.persist(n(2), usize::MAX);
    cluster.deliver_kind("TransferVote");
    cluster.crash(n(2), 0);
    assert_eq!(cluster.status(n(1)).role, RoleKind::Follower);
    cluster.run(ELECTION_TIMEOUT_MAX);
    let why = cluster.rejection(ticket);
    assert!(matches!(why, Some(Rejection::TransferFailed { .. })), "{why:?}");
    cluster.run(SECOND);
    assert!(cluster.leader().is_some());
}

#[test]
fn the_word_to_take_over_counts_only_from_the_leader_and_only_as_long_as_it_is_true() {
    let mut cluster = led_by_1(3);
    let last = cluster.status(n(2)).last;
    // From a node that does not lead, in this term and from an old one.
    cluster.receive(message(3, 2, 1, Body::TimeoutNow { last }));
    cluster.receive(message(3, 2, 0, Body::TimeoutNow { last }));
    cluster.receive(message(9, 2, 1, Body::TimeoutNow { last }));
    assert_eq!(cluster.status(n(2)).role, RoleKind::Follower);
    assert_eq!(cluster.status(n(2)).dropped_messages, 2, "both claim to lead the term of n1");
    // To the leader itself.
    cluster.receive(message(2, 1, 1, Body::TimeoutNow { last }));
    assert_eq!(cluster.status(n(1)).role, RoleKind::Leader);
    // From the leader, of a transfer that it gave up since.
    let ticket = cluster.transfer(n(1), n(2));
    let late = cluster.network.take((n(1), n(2)), 0).expect("the word");
    assert_eq!(show::kind(&late.body), "TimeoutNow");
    cluster.isolate(n(2));
    cluster.run(ELECTION_TIMEOUT_MAX);
    assert_eq!(cluster.rejection(ticket), Some(failed(1)));
    cluster.heal();
    cluster.propose(n(1), &["a"]);
    cluster.run(HEARTBEAT);
    let before = cluster.status(n(2));
    cluster.receive(late);
    assert_eq!(cluster.status(n(2)).role, before.role, "the log has gone on since");
    assert_eq!(cluster.leader(), Some(n(1)));
}

#[test]
fn the_word_to_take_over_twice_makes_one_campaign() {
    let mut cluster = led_by_1(3);
    cluster.transfer(n(1), n(2));
    cluster.network.duplicate((n(1), n(2)), 0);
    cluster.deliver_kind("TimeoutNow");
    assert_eq!(cluster.status(n(2)).term, Term::new(2));
    cluster.settle();
    assert_eq!((cluster.leader(), cluster.witness.leaders().len()), (Some(n(2)), 2));
}

#[test]
fn a_vote_on_behalf_of_the_leader_needs_the_whole_log_like_any_other() {
    let mut cluster = led_by_1(3);
    cluster.propose(n(1), &["a"]);
    cluster.settle();
    cluster.receive(message(2, 3, 2, Body::TransferVote { last: at(1, 1) }));
    cluster.settle();
    let reply = |message: &Message| show::message(message);
    let to_2: Vec<_> = cluster.network.queued((n(3), n(2))).map(reply).collect();
    assert_eq!(cluster.status(n(3)).vote, None, "{to_2:?}");
}

#[test]
fn proposals_under_load_are_each_answered_once_through_ten_transfers() {
    let mut cluster = led_by_1(3);
    let mut tickets = Vec::new();
    for round in 0..10_u64 {
        let leader = cluster.leader().expect("a leader");
        let to = n(1 + leader.get() % 3);
        for half in ["before", "after"] {
            let commands: Vec<_> = (0..5).map(|at| format!("{round} {half} {at}")).collect();
            let commands: Vec<_> = commands.iter().map(String::as_str).collect();
            tickets.extend(cluster.propose(leader, &commands));
            if half == "before" {
                tickets.push(cluster.transfer(leader, to));
            }
        }
        cluster.settle();
        assert_eq!(cluster.leader(), Some(to));
        cluster.run(HEARTBEAT);
    }
    assert!(tickets.iter().all(|ticket| cluster.outcome(*ticket).is_some()));
    assert_eq!(cluster.witness.leaders().len(), 11);
}

/// Whoever hands over must not serve reads from memory: its successor may be at work already.
#[test]
fn a_read_while_leadership_is_handed_over_is_not_of_the_past() {
    let mut cluster = led_by_1(3);
    let ticket = cluster.transfer(n(1), n(2));
    cluster.deliver_kind("TimeoutNow");
    cluster.isolate(n(1));
    cluster.settle_among(&[n(2), n(3)]);
    cluster.propose(n(2), &["x"]);
    cluster.settle_among(&[n(2), n(3)]);
    assert_eq!((cluster.leader(), cluster.witness.commit()), (Some(n(2)), Index::new(3)));
    assert_eq!(cluster.status(n(1)).role, RoleKind::Leader, "it does not know yet");
    let read = cluster.read(n(1));
    cluster.settle();
    assert_eq!(cluster.outcome(read), None);
    cluster.heal();
    cluster.run(2 * HEARTBEAT);
    assert_eq!(cluster.outcome(ticket), Some(Outcome::Transferred));
    assert_eq!(cluster.rejection(read), Some(Rejection::NotLeader { leader: Some(n(2)) }));
}

// Campaigning on request

#[test]
fn a_node_campaigns_when_told_to_and_others_still_prefer_a_leader_that_works() {
    let mut cluster = led_by_1(3);
    cluster.campaign(n(2));
    cluster.settle();
    cluster.run(HEARTBEAT);
    assert_eq!(cluster.leader(), Some(n(1)), "the others hear from it");
    assert_eq!(cluster.status(n(2)).leader, Some(n(1)));
    cluster.crash(n(1), 0);
    cluster.now = cluster.now + Duration::from_millis(150);
    cluster.campaign(n(2));
    cluster.settle();
    assert_eq!(cluster.leader(), Some(n(2)), "sooner than its own timeout");
    cluster.campaign(n(2));
    assert_eq!(cluster.status(n(2)).role, RoleKind::Leader, "a leader ignores it");
}

// Slow disks

/// A leader whose own disk stands still can go on committing with the disks of the others, but it
/// applies nothing, and answers nobody.
#[test]
fn a_leader_whose_disk_stands_still_gives_way_to_one_that_has_everything() {
    let mut cluster = led_by_1(3);
    let others = [n(2), n(3)];
    cluster.propose(n(1), &["a"]);
    let end = cluster.now + ELECTION_TIMEOUT_MAX + 2 * HEARTBEAT;
    while cluster.now < end {
        cluster.now = cluster.now + HEARTBEAT;
        cluster.wake_due();
        settle_with_disks(&mut cluster, [0, usize::MAX, usize::MAX]);
    }
    let leader = cluster.leader().expect("one of the others");
    assert!(others.contains(&leader), "{leader}");
    assert_eq!(cluster.marks["disk stalled"], 1);
    assert_eq!(cluster.marks["asked to lead"], 1, "it was asked, and did not wait");
    // They work; n1 does not stand for election, however long it takes.
    let ticket = cluster.propose(leader, &["b"])[0];
    for _ in 0..100 {
        cluster.now = cluster.now + HEARTBEAT;
        cluster.wake_due();
        settle_with_disks(&mut cluster, [0, usize::MAX, usize::MAX]);
    }
    assert!(cluster.is_committed(ticket));
    assert_eq!(cluster.witness.leaders().len(), 2, "no election storm");
    cluster.campaign(n(1));
    assert_eq!(cluster.status(n(1)).role, RoleKind::Follower);
    // Its disk is back, and it with it.
    cluster.run(SECOND);
    assert_eq!(cluster.status(n(1)).commit, cluster.status(leader).commit);
    let back = cluster.transfer(leader, n(1));
    cluster.settle();
    assert_eq!(cluster.outcome(back), Some(Outcome::Transferred));
}

/// A thousand requests of 64 KiB cost a leader its leadership once: they waited for their turn at
/// the disk for longer than an election timeout. But the disk wrote all the time, and that of the
/// next leader had as much to do.
#[test]
fn a_leader_whose_disk_has_much_to_do_goes_on_leading() {
    let mut cluster = led_by_1(3);
    let tickets: Vec<_> = (0..20).map(|_| cluster.propose(n(1), &["a"])[0]).collect();
    let began_at = cluster.now;
    while !cluster.is_committed(tickets[19]) {
        cluster.now = cluster.now + HEARTBEAT;
        cluster.wake_due();
        settle_with_disks(&mut cluster, [1, 1, 1]);
        assert_eq!(cluster.leader(), Some(n(1)));
    }
    assert!(cluster.now.since(began_at) > 2 * ELECTION_TIMEOUT_MAX, "the last waited for long");
    assert!(!cluster.marks.contains_key("disk stalled"));
}

/// A disk that always does something, but a tenth of what those of the others do, falls behind for
/// ever; and what is not durable on the leader is not answered.
#[test]
fn a_leader_whose_disk_falls_behind_the_others_gives_way() {
    let mut cluster = led_by_1(3);
    let mut beats = 0;
    while cluster.leader() == Some(n(1)) {
        assert!(beats < 100, "it gives way some day");
        for _ in 0..10 {
            cluster.propose(n(1), &["a"]);
        }
        cluster.now = cluster.now + HEARTBEAT;
        cluster.wake_due();
        settle_with_disks(&mut cluster, [1, usize::MAX, usize::MAX]);
        beats += 1;
    }
    assert!(beats * HEARTBEAT > 4 * ELECTION_TIMEOUT_MAX, "not at once");
    assert_eq!(cluster.marks["disk stalled"], 1);
}

/// With a thousand requests of 64 KiB under way, on disks that had half a second to do, a leader
/// was once behind the others for a little more than an election timeout, and gave up. It would
/// have caught up, and who came next had as much to do.
#[test]
fn a_leader_whose_disk_catches_up_with_the_others_goes_on_leading() {
    let mut cluster = led_by_1(3);
    let began_at = cluster.now;
    for _ in 0..20 {
        cluster.propose(n(1), &["a"]);
    }
    let last = cluster.status(n(1)).last.index;
    while cluster.status(n(1)).durable < last {
        cluster.now = cluster.now + HEARTBEAT;
        cluster.wake_due();
        settle_with_disks(&mut cluster, [1, usize::MAX, usize::MAX]);
        assert_eq!(cluster.status(n(1)).commit, last, "the others do without it");
        assert_eq!(cluster.leader(), Some(n(1)));
    }
    let waited = cluster.now.since(began_at);
    assert!(waited > 2 * ELECTION_TIMEOUT_MAX, "{waited:?}");
    assert!(waited < 4 * ELECTION_TIMEOUT_MAX, "{waited:?}");
    assert!(!cluster.marks.contains_key("disk stalled"));
}

/// The patience with its disk was a product of this, and overflowed.
#[test]
fn a_leader_that_never_loses_patience_with_its_disk_goes_on_leading() {
    let mut cluster = Cluster::configured(1, |config: &mut Config| {
        config.election_timeout_max = Duration::MAX;
    });
    cluster.campaign(n(1));
    cluster.settle();
    cluster.run(SECOND);
    assert_eq!(cluster.leader(), Some(n(1)));
}

/// Everything that needs no time, while each node finishes so many writes.
fn settle_with_disks(cluster: &mut Cluster, mut writes: [usize; 3]) {
    for _ in 0..10_000 {
        for (node, writes) in (1..).zip(&mut writes) {
            let count = core::mem::take(writes);
            cluster.persist(n(node), count);
            *writes = if count == usize::MAX { count } else { 0 };
        }
        match cluster.network.busy_links().first() {
            Some(link) => cluster.deliver(*link, 0),
            None => return,
        }
    }
    panic!("the cluster never settles");
}

#[test]
fn a_target_whose_disk_stands_still_does_not_take_over() {
    let mut cluster = led_by_1(3);
    cluster.propose(n(1), &["a"]);
    cluster.settle();
    // A later write of n2 hangs: its vote in a term that came to nothing.
    let body = Body::HeartbeatReply { round: 0 };
    cluster.receive(message(3, 2, 2, body));
    cluster.now = cluster.now + Duration::from_millis(301);
    let last = cluster.status(n(2)).last;
    cluster.receive(message(1, 2, 2, Body::TimeoutNow { last }));
    assert_eq!(cluster.status(n(2)).role, RoleKind::Follower);
    assert_eq!(cluster.status(n(2)).term, Term::new(2));
}

#[test]
fn a_single_voter_with_a_slow_disk_goes_on() {
    let mut cluster = Cluster::new(1);
    cluster.run(Duration::from_millis(10));
    let ticket = cluster.propose(n(1), &["x"])[0];
    cluster.advance(10 * SECOND);
    assert_eq!(cluster.status(n(1)).role, RoleKind::Leader);
    cluster.settle();
    assert!(cluster.is_committed(ticket));
    assert_eq!(cluster.witness.leaders().len(), 1);
}

#[test]
fn a_single_voter_is_elected_on_a_disk_slower_than_its_timeouts() {
    let mut cluster = Cluster::configured(1, |config: &mut Config| config.seed = 7);
    for _ in 0..10 {
        cluster.advance(SECOND);
        cluster.persist(n(1), usize::MAX);
    }
    assert_eq!(cluster.status(n(1)).role, RoleKind::Leader);
    assert!(cluster.status(n(1)).term <= Term::new(5), "{}", cluster.status(n(1)).term);
}
