//! Whatever is said to a node, by whom and in what numbers, it neither panics nor breaks one of
//! its own rules. (It may well be led astray: a peer that lies consistently is not covered by
//! Raft. So only [`invariants::check`] is asked here, not the witness.)

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use raft_core::{
    Action, Body, Boot, ClusterConfig, Config, ConfigChange, Entries, Entry, Index, Input, LogRead,
    Message, NodeId, Payload, PersistId, Position, Raft, ReadMode, ReadPurpose, RoleKind, Snapshot,
    Term, Ticket, Time, invariants,
};

use crate::cluster::n;

/// Small numbers, near which everything happens, and the ends of the range.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        20 => 0..8_u64,
        1 => Just(u64::MAX),
        1 => Just(u64::MAX - 1),
        1 => Just(u64::MAX / 2),
    ]
}

fn position() -> impl Strategy<Value = Position> {
    (number(), number()).prop_map(|(term, index)| Position::new(Term::new(term), Index::new(index)))
}

fn node() -> impl Strategy<Value = NodeId> {
    prop_oneof![1 => Just(n(1)), 5 => Just(n(2)), 5 => Just(n(3)), 1 => Just(n(9))]
}

fn members() -> impl Strategy<Value = BTreeSet<NodeId>> {
    vec(node(), 0..4).prop_map(|ids| ids.into_iter().collect())
}

fn change() -> impl Strategy<Value = ConfigChange> {
    prop_oneof![
        node().prop_map(ConfigChange::AddLearner),
        node().prop_map(ConfigChange::Promote),
        node().prop_map(ConfigChange::Demote),
        node().prop_map(ConfigChange::Remove),
        (members(), members())
            .prop_map(|(voters, learners)| ConfigChange::Replace { voters, learners }),
    ]
}

fn payload() -> impl Strategy<Value = Payload> {
    let config = (members(), proptest::option::of(members()), members()).prop_map(
        |(voters, outgoing, learners)| {
            Payload::Config(Arc::new(ClusterConfig { voters, outgoing, learners }))
        },
    );
    let command = vec(any::<u8>(), 0..20).prop_map(|bytes| Payload::Command(bytes.into()));
    prop_oneof![8 => command, 1 => Just(Payload::Noop), 1 => config]
}

/// A run of entries after `prev`, well formed more often than not.
fn entries(prev: Position) -> impl Strategy<Value = Entries> {
    let steps = vec((prop_oneof![9 => Just(0_u64), 1 => number()], payload()), 0..4);
    (steps, 0..10_u8, position()).prop_map(move |(steps, odd, stray)| {
        let mut at = prev;
        let entry = |(step, payload)| {
            at = Position::new(
                Term::new(at.term.get().saturating_add(step).max(1)),
                at.index.next(),
            );
            Entry { at: if odd == 0 { stray } else { at }, payload }
        };
        steps.into_iter().map(entry).collect()
    })
}

fn body() -> impl Strategy<Value = Body> {
    let index = || number().prop_map(Index::new);
    let append = position().prop_flat_map(move |prev| {
        (entries(prev), number()).prop_map(move |(entries, commit)| Body::Append {
            prev,
            entries,
            commit: Index::new(commit),
        })
    });
    prop_oneof![
        2 => position().prop_map(|last| Body::PreVote { last }),
        4 => any::<bool>().prop_map(|granted| Body::PreVoteReply { granted }),
        2 => position().prop_map(|last| Body::Vote { last }),
        4 => any::<bool>().prop_map(|granted| Body::VoteReply { granted }),
        8 => append,
        4 => index().prop_map(|matched| Body::Appended { matched }),
        4 => (index(), position()).prop_map(|(prev, hint)| Body::AppendRejected { prev, hint }),
        2 => (index(), number()).prop_map(|(commit, round)| Body::Heartbeat { commit, round }),
        2 => number().prop_map(|round| Body::HeartbeatReply { round }),
        2 => (number(), mode()).prop_map(|(id, mode)| Body::ReadIndex { id, mode }),
        2 => snapshot().prop_map(Body::Snapshot),
        2 => (number(), position()).prop_map(|(id, last)| Body::Recover { id, last }),
        2 => (number(), position()).prop_map(|(id, last)| Body::RecoverReply { id, last }),
        2 => (number(), index()).prop_map(|(id, index)| Body::ReadIndexReply { id, index }),
        2 => position().prop_map(|last| Body::TimeoutNow { last }),
        2 => position().prop_map(|last| Body::TransferVote { last }),
    ]
}

fn mode() -> impl Strategy<Value = ReadMode> {
    prop_oneof![Just(ReadMode::Confirmed), Just(ReadMode::Lease)]
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let cluster = btree_set(node(), 0..4).prop_map(|ids| Arc::new(ClusterConfig::of_voters(ids)));
    (position(), cluster).prop_map(|(at, cluster)| Snapshot { at, cluster })
}

fn message() -> impl Strategy<Value = Message> {
    let to = prop_oneof![20 => Just(n(1)), 1 => node()];
    let term = prop_oneof![40 => 0..3_u64, 3 => number()].prop_map(Term::new);
    (node(), to, term, body()).prop_map(|(from, to, term, body)| Message { from, to, term, body })
}

fn log_read() -> impl Strategy<Value = LogRead> {
    let purpose = prop_oneof![Just(ReadPurpose::Apply), node().prop_map(ReadPurpose::Replicate)];
    (purpose, number(), position().prop_flat_map(entries)).prop_map(|(purpose, first, entries)| {
        LogRead { purpose, first: Index::new(first), entries }
    })
}

fn input() -> impl Strategy<Value = Input> {
    let proposals = vec((number(), vec(any::<u8>(), 0..50)), 0..3);
    prop_oneof![
        6 => Just(Input::Wake),
        20 => message().prop_map(Input::Message),
        4 => proposals.prop_map(|all| Input::Propose(
            all.into_iter().map(|(ticket, bytes)| (Ticket::new(ticket), bytes.into())).collect(),
        )),
        4 => (number(), vec(any::<u8>(), 0..50))
            .prop_map(|(ticket, bytes)| Input::ProposeOne(Ticket::new(ticket), bytes.into())),
        3 => (number(), mode()).prop_map(|(ticket, mode)| Input::Read(Ticket::new(ticket), mode)),
        2 => (number(), 0..5_u64).prop_map(|(upto, keep)| {
            Input::Compact { upto: Index::new(upto), keep }
        }),
        2 => (node(), option::of(position())).prop_map(|(to, arrived)| {
            Input::SnapshotSent { to, arrived }
        }),
        2 => any::<bool>().prop_map(Input::SnapshotInstalled),
        4 => (number(), change()).prop_map(|(ticket, change)| {
            Input::ChangeConfig(Ticket::new(ticket), change)
        }),
        2 => (number(), node()).prop_map(|(ticket, to)| {
            Input::TransferLeadership(Ticket::new(ticket), to)
        }),
        1 => Just(Input::Campaign),
        8 => number().prop_map(|id| Input::Persisted(PersistId::new(id))),
        2 => log_read().prop_map(Input::LogRead),
        1 => node().prop_map(Input::Unreachable),
    ]
}

/// How far the clock goes before an input: often not at all, once in a while to its end.
fn pause() -> impl Strategy<Value = u64> {
    prop_oneof![10 => Just(0), 10 => 0..400_u64, 1 => Just(u64::MAX / 2_000_000)]
}

fn a_node(size: u64) -> Raft {
    let mut config = Config::new(n(1));
    config.limits.max_append_bytes = 100;
    config.limits.max_proposal_bytes = 100;
    config.limits.max_inflight_messages = 2;
    config.limits.max_uncommitted_bytes = 200;
    config.limits.max_pending_reads = 3;
    config.limits.max_cached_bytes = 0;
    let boot = Boot::new(ClusterConfig::of_voters((1..=size).map(n)));
    Raft::restore(config, boot, Time::ZERO).expect("it fits")
}

/// The same node, elected in term 1 by its peers, and how many writes it has given out.
fn a_leader(size: u64) -> (Raft, u64) {
    let mut raft = a_node(size);
    let now = Time::from_millis(400);
    let say = |body| Input::Message(Message { from: n(2), to: n(1), term: Term::new(1), body });
    let inputs = [
        Input::Wake,
        Input::Persisted(PersistId::new(1)),
        say(Body::PreVoteReply { granted: true }),
        Input::Persisted(PersistId::new(2)),
        say(Body::VoteReply { granted: true }),
        Input::Propose(vec![(Ticket::new(1), b"x".as_slice().into())]),
    ];
    let mut actions = Vec::new();
    for input in inputs {
        raft.step(now, input, &mut actions);
    }
    assert_eq!(raft.status().role, RoleKind::Leader);
    let writes = actions.iter().filter(|action| matches!(action, Action::Persist(_))).count();
    (raft, writes as u64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_input_breaks_a_node(
        size in 1..4_u64,
        is_leader: bool,
        inputs in vec((pause(), input()), 1..60),
    ) {
        let (mut raft, mut writes) = if is_leader { a_leader(size) } else { (a_node(size), 0) };
        let (mut millis, mut actions) = (400_u64, Vec::new());
        for (pause, input) in inputs {
            millis = millis.saturating_add(pause);
            let before = raft.clone();
            actions.clear();
            raft.step(Time::from_millis(millis), input, &mut actions);
            prop_assert_eq!(invariants::check(&before, &raft), Ok(()));
            for action in &actions {
                if let Action::Persist(write) = action {
                    writes += 1;
                    prop_assert_eq!(write.id, PersistId::new(writes));
                }
            }
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_actions(inputs in vec((pause(), input()), 1..60)) {
        let (mut one, mut other) = (a_node(3), a_node(3));
        let (mut millis, mut actions, mut others) = (0_u64, Vec::new(), Vec::new());
        for (pause, input) in inputs {
            millis = millis.saturating_add(pause);
            let now = Time::from_millis(millis);
            one.step(now, input.clone(), &mut actions);
            // A copy made on the way is as good as the original.
            other = other.clone();
            other.step(now, input, &mut others);
            prop_assert_eq!(&actions, &others);
            prop_assert_eq!(&one, &other);
        }
    }
}
