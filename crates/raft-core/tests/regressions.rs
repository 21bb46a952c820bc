//! Bugs that were found and mended, each with its story. None may come back.

use std::sync::Arc;
use std::time::Duration;

use raft_core::{
    Action, Body, ClusterConfig, ConfigChange, Entries, Entry, Index, Input, Message, Outcome,
    Payload, PersistId, Position, ReadMode, Rejection, RoleKind, Snapshot, Term,
};

use crate::cluster::{Cluster, n, show};

/// A pre-vote speaks of the term after its sender's. While the sender's first write was still on
/// its way to the disk, its pre-votes for term 1 were held; it then entered term 1 by voting for
/// another, and the pre-votes left after all, because "said in term 1" was taken for "said in the
/// term we are in". They asked for a term that had a leader already.
#[test]
fn a_held_pre_vote_is_forgotten_when_its_term_begins() {
    let mut cluster = Cluster::new(3);
    cluster.time_out(n(3));
    assert!(cluster.network.busy_links().is_empty(), "its first write is not durable");
    cluster.settle_among(&[n(1), n(2)]);
    cluster.time_out(n(1));
    cluster.settle_among(&[n(1), n(2)]);
    // n3 learns of the leader of term 1 before its disk is done.
    assert_eq!(cluster.leader(), Some(n(1)));
    cluster.advance(Duration::from_millis(50));
    cluster.deliver_kind("Heartbeat");
    cluster.persist(n(3), usize::MAX);
    let is_pre_vote = |message: &Message| show::kind(&message.body) == "PreVote";
    assert!(!cluster.network.queued((n(3), n(1))).any(is_pre_vote));
}

/// A proposal was reported as overwritten, "definitely not done", as soon as its entry left the
/// proposer's own log. But an entry that was removed here may still be held elsewhere, and the
/// leader that replaced it may vanish before its own entry is committed. Then the next leader may
/// be one that has it, and it is committed after all: a client that had been told "not done" and
/// wrote again would have written twice.
#[test]
fn a_removed_proposal_is_not_called_dead_while_another_node_may_bring_it_back() {
    let mut cluster = Cluster::new(5);
    cluster.elect(n(1));
    cluster.cut_between(&[1, 2], &[3, 4, 5]);
    let ticket = cluster.propose(n(1), &["x"])[0];
    cluster.settle();

    // n3 leads term 2 without having seen x, and reaches nobody but n1, where it replaces x.
    cluster.heal();
    cluster.isolate(n(2));
    cluster.now = cluster.now + Duration::from_millis(300);
    cluster.time_out(n(3));
    cluster.deliver_kind("PreVote");
    cluster.deliver_kind("PreVoteReply");
    cluster.persist_everywhere();
    cluster.deliver_kind("Vote");
    cluster.persist_everywhere();
    cluster.deliver_kind("VoteReply");
    assert_eq!(cluster.status(n(3)).role, RoleKind::Leader);
    cluster.isolate(n(4));
    cluster.isolate(n(5));
    cluster.deliver_kind("Append");
    cluster.persist_everywhere();
    assert_eq!(cluster.terms(n(1)), [1, 2]);
    assert_eq!(cluster.outcome(ticket), None);

    // n3 is gone. n2 has x, and n4 and n5 have nothing newer.
    cluster.crash(n(3), 0);
    cluster.heal();
    cluster.elect(n(2));
    cluster.run(Duration::from_millis(100));
    assert_eq!(cluster.terms(n(1)), [1, 1, 3]);
    let x = Position::new(Term::new(1), Index::new(2));
    assert_eq!(cluster.outcome(ticket), Some(Outcome::Committed(x)));
}

/// A read waits for a heartbeat round that starts after it. The rounds that the clock started were
/// counted as proven only when a follower answered them, so in a cluster of one, where nobody
/// answers, every read after the first heartbeat waited for ever.
#[test]
fn a_single_node_answers_reads_after_its_first_heartbeat() {
    let mut cluster = Cluster::new(1);
    cluster.run(Duration::from_millis(500));
    let ticket = cluster.read(n(1));
    assert_eq!(cluster.outcome(ticket), Some(Outcome::ReadAt(Index::new(1))));
}

/// Reads on a follower that came while a question to the leader was open waited for the next
/// question, but nothing asked it: the answer to the open one did not, and the deadline did not
/// say that anything was due. They waited until somebody else read.
#[test]
fn a_read_that_comes_while_a_question_is_open_is_asked_about_next() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    let first = cluster.read(n(2));
    let second = cluster.read(n(2));
    cluster.settle();
    assert_eq!(cluster.outcome(first), Some(Outcome::ReadAt(Index::new(1))));
    assert_eq!(cluster.outcome(second), Some(Outcome::ReadAt(Index::new(1))));
}

/// A follower that had waited two heartbeat intervals asked again, and from then on ignored the
/// answer to its first question. Where a round trip took longer than that, it asked for ever and
/// never listened.
#[test]
fn a_follower_reads_through_a_network_slower_than_its_patience() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.run(Duration::from_millis(50));
    let ticket = cluster.read(n(2));
    let late = cluster.network.take((n(2), n(1)), 0).expect("its first question");
    let mut times_asked_again = 0;
    for _ in 0..3 {
        cluster.advance(Duration::from_millis(60));
        cluster.deliver_kind("Heartbeat");
        cluster.deliver_kind("HeartbeatReply");
        times_asked_again += cluster.network.queued((n(2), n(1))).count();
        cluster.network.lose_all_to(n(1));
    }
    assert_eq!(times_asked_again, 1);
    cluster.receive(late);
    cluster.settle();
    assert_eq!(cluster.outcome(ticket), Some(Outcome::ReadAt(Index::new(1))));
}

/// A candidate whose disk was slow held its requests for votes. Meanwhile another won the term and
/// replaced the end of its log; when the disk was done, the requests left and told of entries that
/// were no longer there.
#[test]
fn requests_for_votes_end_with_the_campaign() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    // n3 and n1 campaign for term 2 together. n3's disk is slow, n1's is not.
    cluster.now = cluster.now + Duration::from_millis(300);
    cluster.crash(n(1), 0);
    cluster.restart(n(1));
    cluster.persist(n(1), 1);
    for id in [3, 1] {
        cluster.time_out(n(id));
        cluster.deliver_kind("PreVote");
    }
    cluster.deliver_kind("PreVoteReply");
    assert_eq!(cluster.status(n(3)).role, RoleKind::Candidate);
    cluster.settle_among(&[n(1), n(2)]);
    assert_eq!(cluster.leader(), Some(n(1)));
    cluster.deliver_kind("Append");
    assert_eq!(cluster.status(n(3)).leader, Some(n(1)));

    cluster.persist(n(3), usize::MAX);
    let is_vote = |message: &Message| show::kind(&message.body) == "Vote";
    assert!(!cluster.network.queued((n(3), n(2))).any(is_vote));
}

/// A node that asked round for pre-votes and then voted for another in its own term kept counting
/// the answers to its own question. When they were enough it campaigned for the next term, against
/// the leader that it had just helped into office.
#[test]
fn a_node_that_votes_for_another_gives_up_its_own_pre_vote() {
    let mut cluster = Cluster::new(3);
    cluster.settle();
    // n1 campaigns for term 1. Its requests are delayed, but n2 hears of the term from a refusal.
    cluster.time_out(n(1));
    cluster.deliver_kind("PreVote");
    cluster.deliver((n(3), n(1)), 0);
    cluster.network.lose_all_to(n(1));
    cluster.persist_everywhere();
    cluster.time_out(n(2));
    cluster.deliver((n(2), n(1)), 0);
    cluster.deliver((n(1), n(2)), 1);
    assert_eq!(cluster.status(n(2)).term, Term::new(1));
    cluster.persist_everywhere();
    cluster.network.lose_all_to(n(3));

    // n2 asks whether it could win term 2, votes for n1 in term 1, and then hears that it could.
    cluster.time_out(n(2));
    assert_eq!(cluster.status(n(2)).role, RoleKind::PreCandidate);
    cluster.deliver((n(1), n(2)), 0);
    assert_eq!(cluster.status(n(2)).vote, Some(n(1)));
    cluster.deliver((n(2), n(3)), 0);
    cluster.deliver((n(3), n(2)), 0);
    assert_eq!(cluster.status(n(2)).role, RoleKind::Follower);
    cluster.settle();
    assert_eq!(cluster.status(n(1)).role, RoleKind::Leader);
    assert_eq!(cluster.status(n(1)).term, Term::new(1));
}

/// A follower that has lost what it had acknowledged (somebody emptied its disk) rejects a probe
/// right after what it had matched. The leader probed at the same place again at once, and the two
/// kept each other busy as fast as the network could carry it.
#[test]
fn a_follower_that_forgot_what_it_acknowledged_is_not_probed_in_a_loop() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.unreachable(n(1), n(3));
    cluster.propose(n(1), &["x"]);
    assert!(cluster.network.take((n(1), n(3)), 0).is_some(), "the probe");
    for _ in 0..3 {
        let hint = Position::ORIGIN;
        let body = Body::AppendRejected { prev: Index::new(1), hint };
        cluster.receive(Message { from: n(3), to: n(1), term: Term::new(1), body });
    }
    assert_eq!(cluster.network.queued((n(1), n(3))).count(), 0);
}

/// Entries for a far-behind follower were read back while an acknowledgement moved it on. What was
/// read was of no use then, and nothing more was sent until the next heartbeat was answered.
#[test]
fn entries_read_back_in_vain_do_not_stop_replication() {
    let mut cluster = Cluster::configured(3, |config| {
        config.limits.max_cached_bytes = 0;
        config.limits.max_append_bytes = 120;
    });
    cluster.elect(n(1));
    cluster.isolate(n(3));
    cluster.propose(n(1), &["a", "b", "c", "d", "e", "f"]);
    cluster.settle();
    cluster.heal();
    cluster.run(Duration::from_millis(60));
    assert_eq!(cluster.status(n(3)).last, cluster.status(n(1)).last);

    // The connection breaks, with the acknowledgement of more still under way.
    cluster.propose(n(1), &["g", "h"]);
    cluster.deliver((n(1), n(3)), 0);
    cluster.settle_among(&[n(1), n(2)]);
    cluster.persist(n(3), usize::MAX);
    cluster.unreachable(n(1), n(3));
    cluster.propose(n(1), &["i"]);
    assert!(!cluster.nodes[&n(1)].log_reads.is_empty(), "g is read back");
    cluster.deliver((n(3), n(1)), 0);
    cluster.answer_log_read(n(1), usize::MAX);
    cluster.settle();
    assert_eq!(cluster.status(n(3)).last, cluster.status(n(1)).last);
}

/// The votes of an election were kept for whoever sent one, so a stranger that made up senders
/// could fill the memory of a candidate.
#[test]
fn only_members_are_counted_in_an_election() {
    let mut cluster = Cluster::new(3);
    cluster.settle();
    cluster.time_out(n(1));
    let stranger = |body, term| Message { from: n(9), to: n(1), term: Term::new(term), body };
    cluster.receive(stranger(Body::PreVoteReply { granted: true }, 1));
    cluster.receive(stranger(Body::PreVoteReply { granted: false }, 0));
    assert_eq!(cluster.status(n(1)).dropped_messages, 2);
    cluster.deliver_kind("PreVote");
    cluster.deliver_kind("PreVoteReply");
    assert_eq!(cluster.status(n(1)).role, RoleKind::Candidate);
    cluster.receive(stranger(Body::VoteReply { granted: true }, 1));
    assert_eq!(cluster.status(n(1)).dropped_messages, 3);
}

/// Reads whose index was known, but not yet applied, did not count as pending: while a log was
/// being read back, any number of them piled up.
#[test]
fn reads_that_wait_to_be_applied_count_as_pending() {
    let mut cluster = Cluster::configured(1, |config| {
        config.limits.max_pending_reads = 2;
        config.limits.max_cached_bytes = 0;
    });
    cluster.run(Duration::from_millis(10));
    cluster.propose(n(1), &["a"]);
    cluster.settle();
    cluster.crash(n(1), 0);
    cluster.restart(n(1));
    while !cluster.nodes[&n(1)].disk.pending.is_empty() {
        cluster.persist(n(1), 1);
    }
    let reads: Vec<_> = (0..3).map(|_| cluster.read(n(1))).collect();
    assert_eq!(cluster.status(n(1)).pending_reads, 2);
    assert_eq!(cluster.outcome(reads[2]), Some(Outcome::Rejected(Rejection::Busy)));
    cluster.settle();
    assert_eq!(cluster.outcome(reads[0]), Some(Outcome::ReadAt(Index::new(3))));
}

/// While a disk stands still, what must wait for it waits in memory. A peer that kept asking made
/// that grow for as long as the disk stood still.
#[test]
fn what_waits_for_a_disk_is_bounded() {
    let mut cluster = Cluster::new(3);
    for _ in 0..5000 {
        let body = Body::PreVote { last: Position::ORIGIN };
        cluster.receive(Message { from: n(2), to: n(1), term: Term::new(1), body });
    }
    let mut raft = cluster.nodes[&n(1)].raft.clone().expect("it is up");
    let mut actions = Vec::new();
    raft.step(cluster.now, Input::Persisted(PersistId::new(1)), &mut actions);
    let is_send = |action: &&Action| matches!(action, Action::Send(_));
    assert_eq!(actions.iter().filter(is_send).count(), 1024);
}

/// A leader asks a follower whose disk is slow, at every heartbeat, whether its appends arrived.
/// Each question left an acknowledgement waiting for the disk, all of them with the same words.
#[test]
fn acknowledgements_that_wait_for_one_write_are_one() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.propose(n(1), &["x"]);
    cluster.deliver_kind("Append");
    for _ in 0..5 {
        cluster.advance(Duration::from_millis(50));
        cluster.deliver_kind("Heartbeat");
        cluster.deliver_kind("HeartbeatReply");
        assert_eq!(cluster.deliver_kind("Append"), 2, "asked again");
    }
    cluster.persist(n(3), usize::MAX);
    assert_eq!(cluster.network.queued((n(3), n(1))).count(), 1);
}

/// Reads that came before the first commit of the term went on one by one: the first started a
/// round, and all others had to wait for another one after it, though all had come before it.
#[test]
fn reads_before_the_first_commit_share_one_round() {
    let mut cluster = Cluster::new(3);
    cluster.settle();
    cluster.time_out(n(1));
    while cluster.status(n(1)).role != RoleKind::Leader {
        if let Some(link) = cluster.network.busy_links().first().copied() {
            cluster.deliver(link, 0);
        }
        cluster.persist_everywhere();
    }
    let reads = [cluster.read(n(1)), cluster.read(n(1)), cluster.read(n(1))];
    cluster.deliver_kind("Append");
    cluster.persist_everywhere();
    cluster.deliver_kind("Appended");
    cluster.deliver_kind("Heartbeat");
    cluster.deliver_kind("HeartbeatReply");
    for read in reads {
        assert_eq!(cluster.outcome(read), Some(Outcome::ReadAt(Index::new(1))));
    }
}

/// A probe that began within what was committed at the follower was answered with its commit index
/// and thrown away, although the entries at its end were news.
#[test]
fn an_append_that_begins_within_the_committed_is_used_from_there_on() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.propose(n(1), &["a"]);
    cluster.settle();
    cluster.run(Duration::from_millis(60));
    // n1 hears none of n3's answers, so it goes on from where it last did.
    cluster.cut((n(3), n(1)));
    cluster.propose(n(1), &["b"]);
    cluster.settle();
    cluster.run(Duration::from_millis(60));
    assert_eq!(cluster.status(n(3)).commit, Index::new(2), "as far as n1 knows that it has it");
    cluster.propose(n(1), &["c"]);
    cluster.settle();
    assert_eq!(cluster.status(n(3)).commit, Index::new(3));
    cluster.unreachable(n(1), n(3));
    cluster.propose(n(1), &["d"]);
    cluster.settle();
    assert_eq!(cluster.status(n(3)).last.index, Index::new(5));
}

/// A leader that lost its office while entries were being read back for a follower, and regained
/// it, asked for them a second time, though one read of each purpose at a time was the promise.
#[test]
fn a_leader_that_returns_waits_for_the_log_read_of_its_last_term() {
    let mut cluster = Cluster::configured(3, |config| config.limits.max_cached_bytes = 0);
    cluster.elect(n(1));
    cluster.isolate(n(3));
    cluster.propose(n(1), &["a"]);
    cluster.settle();
    cluster.heal();
    cluster.advance(Duration::from_millis(50));
    while cluster.nodes[&n(1)].log_reads.is_empty() {
        let link = cluster.network.busy_links()[0];
        cluster.deliver(link, 0);
    }
    // n1 steps down and leads again with the question still open.
    let body = Body::HeartbeatReply { round: 0 };
    cluster.receive(Message { from: n(2), to: n(1), term: Term::new(5), body });
    cluster.network.lose_all_to(n(3));
    cluster.now = cluster.now + Duration::from_millis(300);
    cluster.persist_everywhere();
    cluster.time_out(n(1));
    for _ in 0..20 {
        if let Some(link) = cluster.network.busy_links().first().copied() {
            cluster.deliver(link, 0);
        }
        cluster.persist_everywhere();
    }
    assert_eq!(cluster.status(n(1)).term, Term::new(6));
    assert_eq!(cluster.nodes[&n(1)].log_reads.len(), 1);
    cluster.settle();
    assert_eq!(cluster.status(n(3)).last, cluster.status(n(1)).last);
}

/// One message with a term just below the last one there is, from whoever reached a node's port,
/// was taken at its word, made durable, and passed on. Nobody could campaign in a higher term any
/// more: the cluster never elected a leader again.
#[test]
fn a_forged_term_does_not_use_up_all_terms() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    let body = Body::Heartbeat { commit: Index::ZERO, round: 1 };
    for term in [u64::MAX - 1, u64::MAX / 2, 1 << 40] {
        let term = Term::new(term);
        cluster.receive(Message { from: n(2), to: n(3), term, body: body.clone() });
    }
    assert_eq!(cluster.status(n(3)).dropped_messages, 3);
    assert_eq!(cluster.status(n(3)).term, Term::new(1));
    // Far ahead, but not impossibly so: it is believed, and the cluster finds a leader beyond it.
    let term = Term::new(1 << 31);
    cluster.receive(Message { from: n(2), to: n(3), term, body });
    cluster.run(Duration::from_secs(3));
    assert!(cluster.leader().is_some_and(|id| cluster.status(id).term > term));
}

/// A forged snapshot that ended one place before the last index there is was taken at its word. The
/// node, by that snapshot the only voter, elected itself, and its first entry took the last index:
/// the next command was put in the same place again. With debug assertions that was a panic. Half
/// as far was too far as well: a node that had taken it in could not start any more, because a
/// start asks for room in the log.
#[test]
fn a_forged_index_does_not_use_up_all_indexes() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    let term = Term::new(1);
    let alone = Arc::new(ClusterConfig::of_voters([n(3)]));
    for last in [u64::MAX, u64::MAX - 1, u64::MAX / 2] {
        let (at, prev) = (Index::new(last), Index::new(last - 1));
        let [at, prev] = [at, prev].map(|index| Position::new(term, index));
        let snapshot = Body::Snapshot(Snapshot { at, cluster: Arc::clone(&alone) });
        let entries = Entries::from(Entry { at, payload: Payload::Noop });
        let append = Body::Append { prev, entries, commit: at.index };
        for body in [snapshot, append] {
            cluster.receive(Message { from: n(1), to: n(3), term, body });
        }
    }
    let status = cluster.status(n(3));
    assert_eq!((status.dropped_messages, status.installing), (6, None));
    cluster.propose(n(1), &["x"]);
    cluster.settle();
    assert_eq!(cluster.status(n(3)).last, Position::new(term, Index::new(2)));
}

/// A node came back on an empty disk, and with another that lacked the latest entries it elected a
/// leader without them: more faults than Raft can bear. The third node still had the entries,
/// committed. It answered the new leader's question about an early position with its own commit
/// index, which that position did not prove, and was counted for entries that it did not have.
#[test]
fn a_node_whose_committed_entries_are_contradicted_vouches_for_nothing() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    for command in ["a", "b", "c"] {
        cluster.propose(n(1), &[command]);
        cluster.settle();
    }
    cluster.run(Duration::from_millis(100));
    assert_eq!(cluster.status(n(2)).commit, Index::new(4));
    let term = Term::new(9);
    let prev = Position::new(Term::new(1), Index::new(1));
    let probe = Body::Append { prev, entries: Entries::empty(), commit: Index::new(1) };
    let to_n2 = |body| Message { from: n(3), to: n(2), term, body };
    let matched = |cluster: &Cluster| {
        let queued = cluster.network.queued((n(2), n(3))).map(|message| &message.body);
        queued
            .filter_map(|body| match body {
                Body::Appended { matched } => Some(matched.get()),
                _ => None,
            })
            .max()
    };
    cluster.receive(to_n2(probe));
    cluster.persist_everywhere();
    assert_eq!(matched(&cluster), Some(1), "no more than the probe proved");
    let prev = Position::new(Term::new(2), Index::new(2));
    let elsewhere = Body::Append { prev, entries: Entries::empty(), commit: Index::new(2) };
    cluster.receive(to_n2(elsewhere));
    cluster.persist_everywhere();
    assert_eq!(matched(&cluster), Some(1), "another entry is committed there");
    assert_eq!(cluster.status(n(2)).dropped_messages, 1);
    assert_eq!(cluster.status(n(2)).last, Position::new(Term::new(1), Index::new(4)));
}

/// A leader sent its first probe to a follower that did not hear it, cut its log beyond that place,
/// and from then on could neither ask again (it no longer knew the term there) nor send anything
/// else (it waited for the answer). The follower was left behind until the next election.
#[test]
fn a_follower_whose_probe_was_lost_before_the_log_was_cut_gets_a_snapshot() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.isolate(n(1));
    cluster.now = cluster.now + Duration::from_millis(300);
    cluster.time_out(n(2));
    cluster.settle_among(&[n(2), n(3)]);
    assert_eq!(cluster.leader(), Some(n(2)));
    cluster.propose(n(2), &["a", "b"]);
    cluster.settle_among(&[n(2), n(3)]);
    cluster.compact(n(2), 0);
    cluster.heal();
    cluster.run(Duration::from_millis(200));
    assert_eq!(cluster.nodes[&n(1)].applied, cluster.witness.committed());
}

/// The leader of two removes itself. The other has written that, restarts, and finds that it is the
/// only voter: it elects itself at once, although it has just answered a heartbeat. The old leader,
/// which does not know yet, must not answer reads by its clock.
#[test]
fn a_leader_that_is_leaving_relies_on_no_lease_of_a_voter_that_is_left_alone() {
    let mut cluster =
        Cluster::configured(2, |config| config.lease_drift = Some(Duration::from_millis(20)));
    cluster.elect(n(1));
    cluster.run(Duration::from_millis(60));
    cluster.change(n(1), ConfigChange::Remove(n(1)));
    cluster.deliver_kind("Append");
    cluster.isolate(n(1));
    cluster.persist(n(2), usize::MAX);
    cluster.crash(n(2), 0);
    cluster.restart(n(2));
    cluster.settle();
    cluster.time_out(n(2));
    cluster.settle();
    if cluster.status(n(2)).role == RoleKind::Leader {
        cluster.propose(n(2), &["x"]);
        cluster.settle();
    }
    // The witness knows whether an answer misses what was committed.
    cluster.read_by(n(1), ReadMode::Lease);
}

/// The log could not be read back for applying, and was to be read again a little later. Before
/// that a snapshot came, which made the reading needless; but the node still wanted to be woken for
/// it, at a time that had passed, over and over.
#[test]
fn a_log_read_that_a_snapshot_makes_needless_wakes_nobody() {
    let mut cluster = Cluster::configured(3, |config| config.limits.max_cached_bytes = 0);
    cluster.elect(n(1));
    cluster.propose(n(1), &["a"]);
    cluster.settle();
    cluster.run(Duration::from_millis(60));
    cluster.crash(n(3), 0);
    cluster.propose(n(1), &["b"]);
    cluster.settle();
    cluster.compact(n(1), 0);
    // n3 is told what is committed, and cannot read it back.
    cluster.restart(n(3));
    cluster.persist(n(3), usize::MAX);
    cluster.now = cluster.now + Duration::from_millis(50);
    cluster.time_out(n(1));
    cluster.deliver_kind("Heartbeat");
    assert!(!cluster.nodes[&n(3)].log_reads.is_empty());
    cluster.answer_log_read(n(3), 0);
    // The snapshot comes before it would try again.
    cluster.settle();
    assert_eq!(cluster.nodes[&n(3)].applied, cluster.witness.committed());
    cluster.now = cluster.now + Duration::from_millis(60);
    cluster.wake(n(3));
}

/// A follower that had lost its whole log told the leader so, which had cut its own log meanwhile.
/// The leader took the place where its log began for one that both had, went on to believe what it
/// had been told before the damage, and never sent the snapshot that was needed.
#[test]
fn a_follower_that_lost_more_than_the_leader_has_left_gets_a_snapshot() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.propose(n(1), &["a", "b"]);
    cluster.settle();
    cluster.run(Duration::from_millis(60));
    cluster.compact(n(1), 0);
    cluster.crash(n(3), 0);
    cluster.damage(n(3), Index::new(1));
    cluster.restart(n(3));
    cluster.run(Duration::from_millis(300));
    assert_eq!(cluster.nodes[&n(3)].applied, cluster.witness.committed());
    assert!(!cluster.status(n(3)).recovering);
}

/// Of two voters one was recovering, and the other removed itself. The one left does not vote, and
/// the one removed needs its vote: nobody was ever elected again.
#[test]
fn the_last_whole_voter_does_not_leave_one_that_recovers() {
    let mut cluster = Cluster::new(2);
    cluster.elect(n(1));
    cluster.propose(n(1), &["a", "b"]);
    cluster.settle();
    cluster.crash(n(2), 0);
    cluster.damage(n(2), Index::new(2));
    cluster.restart(n(2));
    cluster.persist_everywhere();
    cluster.time_out(n(1));
    cluster.deliver_kind("Heartbeat");
    cluster.deliver_kind("Recover");
    let leave = ConfigChange::Remove(n(1));
    let refused = cluster.change(n(1), leave.clone());
    let why = Rejection::NotCaughtUp { node: n(2), behind: 2 };
    assert_eq!(cluster.outcome(refused), Some(Outcome::Rejected(why)));
    cluster.settle();
    assert!(!cluster.status(n(2)).recovering);
    let accepted = cluster.change(n(1), leave);
    cluster.settle();
    assert!(matches!(cluster.outcome(accepted), Some(Outcome::Committed(_))));
    assert_eq!(cluster.leader(), Some(n(2)));
}
