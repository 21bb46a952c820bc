//! A turn of very many proposals leaves in pieces: no message, no write and no batch in memory is
//! larger than a message may be.

use raft_core::{
    Action, Body, Boot, ClusterConfig, Command, Config, Entries, Entry, Input, Limits, Message,
    NodeId, Outcome, Raft, RoleKind, Ticket, Time, Write,
};

const COMMANDS: u64 = 100;
/// Each command counts 132 bytes, so seven of them fit.
const COMMAND_BYTES: usize = 100;
const MAX_APPEND_BYTES: usize = 1000;
const IN_A_BATCH: usize = 7;

fn step(raft: &mut Raft, input: Input) -> Vec<Action> {
    let mut out = Vec::new();
    let before = raft.clone();
    raft.step(Time::ZERO, input, &mut out);
    raft_core::invariants::check(&before, raft).expect("the invariants hold");
    out
}

fn writes(actions: &[Action]) -> Vec<Write> {
    let write = |action: &Action| match action {
        Action::Persist(write) => Some(write.clone()),
        _ => None,
    };
    actions.iter().filter_map(write).collect()
}

fn leader_of(ids: &[NodeId]) -> Raft {
    let limits = Limits { max_append_bytes: MAX_APPEND_BYTES, ..Limits::default() };
    let config = Config { limits, ..Config::new(ids[0]) };
    let boot = Boot::new(ClusterConfig::of_voters(ids.iter().copied()));
    let mut raft = Raft::restore(config, boot, Time::ZERO).expect("the configuration fits");
    let mut inputs = vec![Input::Wake, Input::Campaign];
    inputs.reverse();
    while let Some(input) = inputs.pop() {
        for action in step(&mut raft, input) {
            match action {
                Action::Persist(write) => inputs.insert(0, Input::Persisted(write.id)),
                Action::Send(Message { from, to, term, body }) => {
                    let body = match body {
                        Body::PreVote { .. } => Body::PreVoteReply { granted: true },
                        Body::Vote { .. } => Body::VoteReply { granted: true },
                        Body::Append { entries, .. } => {
                            let last = entries.last_position().expect("the first entry of a term");
                            Body::Appended { matched: last.index }
                        }
                        other => panic!("{other:?} was not expected"),
                    };
                    inputs.push(Input::Message(Message { from: to, to: from, term, body }));
                }
                _ => {}
            }
        }
    }
    assert_eq!(raft.status().role, RoleKind::Leader);
    raft
}

fn proposals() -> Input {
    let command = Command::from([7; COMMAND_BYTES]);
    let proposal = |number| (Ticket::new(number), command.clone());
    Input::Propose((0..COMMANDS).map(proposal).collect())
}

/// All of them in order, in pieces that are as large as they may be.
fn assert_cut_well<'a>(pieces: impl Iterator<Item = &'a Entries>) {
    let pieces: Vec<_> = pieces.collect();
    assert_eq!(pieces.len(), 15);
    let (last, full) = pieces.split_last().expect("there are some");
    assert!(full.iter().all(|piece| piece.len() == IN_A_BATCH), "{full:?}");
    assert_eq!(last.len(), 2);
    assert!(pieces.iter().all(|piece| piece.size_bytes() <= MAX_APPEND_BYTES));
    let indexes = pieces.iter().flat_map(|piece| piece.iter().map(|entry| entry.at.index.get()));
    assert!(indexes.eq(2..COMMANDS + 2));
}

#[test]
fn a_huge_turn_is_cut_into_writes_that_are_durable_one_by_one() {
    let mut raft = leader_of(&[NodeId::new(1)]);
    let writes = writes(&step(&mut raft, proposals()));
    assert_cut_well(writes.iter().map(|write| &write.entries));
    let mut tickets = Vec::new();
    for write in writes {
        let committed = step(&mut raft, Input::Persisted(write.id));
        let before = tickets.len();
        tickets.extend(committed.iter().filter_map(|action| match action {
            Action::Resolved(ticket, Outcome::Committed(_)) => Some(ticket.get()),
            _ => None,
        }));
        assert_eq!(tickets.len() - before, write.entries.len(), "each write commits what it has");
    }
    assert!(tickets.into_iter().eq(0..COMMANDS));
}

#[test]
fn a_huge_turn_is_cut_into_messages_that_share_the_batches_of_the_writes() {
    let mut raft = leader_of(&[1, 2].map(NodeId::new));
    let actions = step(&mut raft, proposals());
    let sent: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Send(Message { body: Body::Append { entries, .. }, .. }) => Some(entries),
            _ => None,
        })
        .collect();
    assert_cut_well(sent.iter().copied());
    let written = writes(&actions);
    let is_same = |(sent, written): (&&Entries, &Write)| {
        std::ptr::eq::<[Entry]>(&raw const sent[..], &raw const written.entries[..])
    };
    assert!(sent.iter().zip(&written).all(is_same), "nothing was copied");
}
