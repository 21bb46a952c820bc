//! Messages as bytes: one golden frame body for each kind of message, and what is made of bytes
//! that are none.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use raft_core::{
    Body, ClusterConfig, Entries, Entry, Index, Message, NodeId, Payload, Position, ReadMode,
    Snapshot, Term,
};
use raft_net_tcp::format::{
    self, FRAME_OVERHEAD_BYTES, FormatError, MAX_ENTRIES_PER_MESSAGE, MAX_MESSAGES_PER_FRAME,
    Packet,
};
use wire::frame::HEADER_BYTES;

fn at(term: u64, index: u64) -> Position {
    Position::new(Term::new(term), Index::new(index))
}

/// A message from n1 to n2 in term 3.
fn message(body: Body) -> Message {
    Message { from: NodeId::new(1), to: NodeId::new(2), term: Term::new(3), body }
}

fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId::new).collect()
}

/// The body of the frame with these messages.
fn body_of(messages: &[Message]) -> Vec<u8> {
    let mut frame = Vec::new();
    format::encode_messages(&mut frame, messages).expect("messages that can be written");
    frame.split_off(HEADER_BYTES)
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let value = |c: char| c.to_digit(16).expect("a hexadecimal digit");
    digits
        .chunks(2)
        .map(|pair| u8::try_from(value(pair[0]) << 4 | value(pair[1])).expect("two digits"))
        .collect()
}

/// One message stands in a frame as `golden` behind the packet's kind, the count of messages, and
/// the message's sender, receiver and term.
fn check_golden(body: Body, golden: &str) {
    let message = message(body);
    let mut expected = unhex(
        "00000000 0100000000000000
         0100000000000000 0200000000000000 0300000000000000",
    );
    expected.extend(unhex(golden));
    let written = body_of(std::slice::from_ref(&message));
    assert_eq!(written, expected, "{written:02x?}");
    assert_eq!(format::decode(&expected), Ok(Packet::Messages(vec![message])));
}

#[test]
fn golden_elections() {
    let last = at(2, 9);
    check_golden(Body::PreVote { last }, "00000000 0200000000000000 0900000000000000");
    check_golden(Body::PreVoteReply { granted: true }, "01000000 01");
    check_golden(Body::Vote { last }, "02000000 0200000000000000 0900000000000000");
    check_golden(Body::VoteReply { granted: false }, "03000000 00");
}

#[test]
fn golden_append_with_every_kind_of_entry() {
    let config =
        ClusterConfig { voters: ids(&[1, 2]), outgoing: Some(ids(&[1])), learners: ids(&[]) };
    let entries = [
        Payload::Noop,
        Payload::Command(b"put".into()),
        Payload::Config(Arc::new(config)),
        Payload::Command(b"".into()),
        Payload::Command(b"del".into()),
    ];
    let entries: Entries = entries
        .into_iter()
        .zip(10..)
        .map(|(payload, index)| Entry { at: at(3, index), payload })
        .collect();
    check_golden(
        Body::Append { prev: at(2, 9), entries, commit: Index::new(8) },
        "04000000
           0200000000000000 0900000000000000
           0800000000000000
           0500000000000000
             0300000000000000 00000000
             0300000000000000 01000000 03000000
             0300000000000000 02000000
               0200000000000000 0100000000000000 0200000000000000
               01 0100000000000000 0100000000000000
               0000000000000000
             0300000000000000 01000000 00000000
             0300000000000000 01000000 03000000
         707574
         64656c",
    );
}

#[test]
fn golden_whole_frame_as_in_the_document() {
    let entry = Entry { at: at(3, 10), payload: Payload::Command(b"put".into()) };
    let append = message(Body::Append {
        prev: at(2, 9),
        entries: Entries::from(vec![entry]),
        commit: Index::new(8),
    });
    let mut frame = Vec::new();
    format::encode_messages(&mut frame, &[append]).expect("a message that can be written");
    let expected = unhex(
        "5b000000 c24fc39e ccd9686c
         00000000 0100000000000000
         0100000000000000 0200000000000000
         0300000000000000
         04000000
         0200000000000000 0900000000000000
         0800000000000000
         0100000000000000
         0300000000000000 01000000 03000000
         707574",
    );
    assert_eq!(frame, expected, "{frame:02x?}");
}

#[test]
fn golden_append_without_entries() {
    check_golden(
        Body::Append { prev: at(0, 0), entries: Entries::empty(), commit: Index::ZERO },
        "04000000
           0000000000000000 0000000000000000
           0000000000000000
           0000000000000000",
    );
}

#[test]
fn golden_answers_and_heartbeats() {
    let matched = Index::new(0x1122_3344_5566_7788);
    check_golden(Body::Appended { matched }, "05000000 8877665544332211");
    check_golden(
        Body::AppendRejected { prev: Index::new(9), hint: at(1, 5) },
        "06000000 0900000000000000 0100000000000000 0500000000000000",
    );
    check_golden(
        Body::Heartbeat { commit: Index::new(8), round: 70 },
        "07000000 0800000000000000 4600000000000000",
    );
    check_golden(Body::HeartbeatReply { round: 70 }, "08000000 4600000000000000");
}

#[test]
fn golden_read_index() {
    check_golden(Body::ReadIndex { id: 7, mode: ReadMode::Confirmed }, "09000000 0700000000000000");
    check_golden(
        Body::ReadIndexReply { id: 7, index: Index::new(8) },
        "0a000000 0700000000000000 0800000000000000",
    );
}

#[test]
fn golden_handing_over_leadership() {
    let last = at(2, 9);
    check_golden(Body::TimeoutNow { last }, "0b000000 0200000000000000 0900000000000000");
    check_golden(Body::TransferVote { last }, "0c000000 0200000000000000 0900000000000000");
}

#[test]
fn golden_snapshot() {
    let cluster =
        ClusterConfig { voters: ids(&[1, 2]), outgoing: Some(ids(&[3])), learners: ids(&[4]) };
    check_golden(
        Body::Snapshot(Snapshot { at: at(2, 9), cluster: Arc::new(cluster) }),
        "0d000000 0200000000000000 0900000000000000 \
         0200000000000000 0100000000000000 0200000000000000 \
         01 0100000000000000 0300000000000000 \
         0100000000000000 0400000000000000",
    );
}

#[test]
fn golden_recovery() {
    let last = at(2, 9);
    check_golden(
        Body::Recover { id: 7, last },
        "0e000000 0700000000000000 0200000000000000 0900000000000000",
    );
    check_golden(
        Body::RecoverReply { id: 7, last },
        "0f000000 0700000000000000 0200000000000000 0900000000000000",
    );
}

#[test]
fn golden_read_index_by_lease() {
    check_golden(Body::ReadIndex { id: 7, mode: ReadMode::Lease }, "10000000 0700000000000000");
}

#[test]
fn golden_ping_and_pong() {
    let mut out = Vec::new();
    format::encode_ping(&mut out).expect("a ping");
    let pong = out.len();
    format::encode_pong(&mut out).expect("a pong");
    assert_eq!(out[HEADER_BYTES..pong], unhex("01000000"));
    assert_eq!(out[pong + HEADER_BYTES..], unhex("02000000"));
    assert_eq!(format::decode(&unhex("01000000")), Ok(Packet::Ping));
    assert_eq!(format::decode(&unhex("02000000")), Ok(Packet::Pong));
}

fn append(prev: Position, entries: Vec<Entry>) -> Message {
    message(Body::Append { prev, entries: Entries::from(entries), commit: Index::ZERO })
}

fn noop(index: u64) -> Entry {
    Entry { at: at(3, index), payload: Payload::Noop }
}

#[test]
fn entries_that_do_not_follow_are_not_written() {
    let mut out = vec![0xEE];
    let gap = append(at(1, 4), vec![noop(5), noop(7)]);
    let expected =
        FormatError::EntriesNotConsecutive { expected: Index::new(6), found: Index::new(7) };
    assert_eq!(format::encode_messages(&mut out, &[gap]), Err(expected));
    let beyond = append(at(1, u64::MAX), vec![noop(0)]);
    let result = format::encode_messages(&mut out, &[beyond]);
    assert_eq!(result, Err(FormatError::IndexOverflow));
    assert_eq!(out, [0xEE], "the buffer is as it was");
}

#[test]
fn the_limits_on_entries_and_messages_are_exact() {
    let most = u64::try_from(MAX_ENTRIES_PER_MESSAGE).expect("it fits");
    let full = append(at(1, 0), (1..=most).map(noop).collect());
    let body = body_of(std::slice::from_ref(&full));
    assert_eq!(format::decode(&body), Ok(Packet::Messages(vec![full])));

    let mut out = Vec::new();
    let one_more = append(at(1, 0), (1..=most + 1).map(noop).collect());
    let result = format::encode_messages(&mut out, &[one_more]);
    assert!(matches!(result, Err(FormatError::TooManyEntries { .. })));

    let small = message(Body::ReadIndex { id: 1, mode: ReadMode::Confirmed });
    let crowd = vec![small; MAX_MESSAGES_PER_FRAME + 1];
    body_of(&crowd[1..]);
    let result = format::encode_messages(&mut out, &crowd);
    assert!(matches!(result, Err(FormatError::TooManyMessages { .. })));
}

#[test]
fn a_frame_beyond_the_limits_is_refused_though_it_is_well_formed() {
    let small = message(Body::ReadIndex { id: 1, mode: ReadMode::Confirmed });
    let mut body = body_of(&vec![small; MAX_MESSAGES_PER_FRAME]);
    let one = body_of(&[message(Body::ReadIndex { id: 1, mode: ReadMode::Confirmed })]);
    body.extend(&one[FRAME_OVERHEAD_BYTES..]);
    let count = MAX_MESSAGES_PER_FRAME + 1;
    body[4..12].copy_from_slice(&(count as u64).to_le_bytes());
    assert_eq!(format::decode(&body), Err(FormatError::TooManyMessages { count }));
}

#[test]
fn commands_must_be_there_to_the_last_byte_and_nothing_behind_them() {
    let entry = Entry { at: at(3, 1), payload: Payload::Command(b"abc".into()) };
    let body = body_of(&[append(at(0, 0), vec![entry])]);
    let missing = FormatError::BytesMissing { announced: 3, left: 2 };
    assert_eq!(format::decode(&body[..body.len() - 1]), Err(missing));
    let longer = [&body[..], b"d"].concat();
    assert_eq!(format::decode(&longer), Err(FormatError::BytesLeftOver { count: 1 }));
}

#[test]
fn a_command_that_announces_4_gib_takes_no_memory() {
    let entry = Entry { at: at(3, 1), payload: Payload::Command(b"".into()) };
    let mut body = body_of(&[append(at(0, 0), vec![entry])]);
    let length = body.len();
    body[length - 4..].copy_from_slice(&[0xFF; 4]);
    let missing = FormatError::BytesMissing { announced: u32::MAX, left: 0 };
    assert_eq!(format::decode(&body), Err(missing));
}

#[test]
fn members_out_of_order_and_indexes_without_end_are_refused() {
    let config = ClusterConfig::of_voters(ids(&[1, 2]));
    let entry = Entry { at: at(3, 1), payload: Payload::Config(Arc::new(config)) };
    let mut body = body_of(&[append(at(0, 0), vec![entry])]);
    let second = body.len() - 17;
    body[second..second + 8].copy_from_slice(&1_u64.to_le_bytes());
    assert_eq!(format::decode(&body), Err(FormatError::MembersNotInOrder));

    let mut body = body_of(&[append(at(0, 0), vec![noop(1)])]);
    let prev_index = FRAME_OVERHEAD_BYTES + 24 + 4 + 8;
    body[prev_index..prev_index + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(format::decode(&body), Err(FormatError::IndexOverflow));
}

fn any_position() -> impl Strategy<Value = Position> {
    any::<(u64, u64)>().prop_map(|(term, index)| at(term, index))
}

fn any_config() -> impl Strategy<Value = ClusterConfig> {
    let set = || btree_set(any::<u64>().prop_map(NodeId::new), 0..5);
    (set(), option::of(set()), set()).prop_map(|(voters, outgoing, learners)| ClusterConfig {
        voters,
        outgoing,
        learners,
    })
}

fn any_payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        Just(Payload::Noop),
        vec(any::<u8>(), 0..100).prop_map(|bytes| Payload::Command(bytes.into())),
        any_config().prop_map(|config| Payload::Config(Arc::new(config))),
    ]
}

fn any_append() -> impl Strategy<Value = Body> {
    let entries = vec((any::<u64>(), any_payload()), 0..10);
    let prev = (any::<u64>(), 0..u64::MAX - 10);
    (prev, any::<u64>(), entries).prop_map(|((term, index), commit, entries)| Body::Append {
        prev: at(term, index),
        commit: Index::new(commit),
        entries: entries
            .into_iter()
            .zip(index + 1..)
            .map(|((term, payload), index)| Entry { at: at(term, index), payload })
            .collect(),
    })
}

fn any_body() -> impl Strategy<Value = Body> {
    let index = || any::<u64>().prop_map(Index::new);
    prop_oneof![
        any_position().prop_map(|last| Body::PreVote { last }),
        any::<bool>().prop_map(|granted| Body::PreVoteReply { granted }),
        any_position().prop_map(|last| Body::Vote { last }),
        any::<bool>().prop_map(|granted| Body::VoteReply { granted }),
        any_append(),
        index().prop_map(|matched| Body::Appended { matched }),
        (index(), any_position()).prop_map(|(prev, hint)| Body::AppendRejected { prev, hint }),
        (index(), any::<u64>()).prop_map(|(commit, round)| Body::Heartbeat { commit, round }),
        any::<u64>().prop_map(|round| Body::HeartbeatReply { round }),
        (any::<u64>(), any::<bool>()).prop_map(|(id, by_lease)| {
            let mode = if by_lease { ReadMode::Lease } else { ReadMode::Confirmed };
            Body::ReadIndex { id, mode }
        }),
        (any::<u64>(), index()).prop_map(|(id, index)| Body::ReadIndexReply { id, index }),
        any_position().prop_map(|last| Body::TimeoutNow { last }),
        any_position().prop_map(|last| Body::TransferVote { last }),
        (any_position(), any_config()).prop_map(|(at, config)| {
            Body::Snapshot(Snapshot { at, cluster: Arc::new(config) })
        }),
        (any::<u64>(), any_position()).prop_map(|(id, last)| Body::Recover { id, last }),
        (any::<u64>(), any_position()).prop_map(|(id, last)| Body::RecoverReply { id, last }),
    ]
}

fn any_message() -> impl Strategy<Value = Message> {
    (any::<[u64; 3]>(), any_body()).prop_map(|([from, to, term], body)| Message {
        from: NodeId::new(from),
        to: NodeId::new(to),
        term: Term::new(term),
        body,
    })
}

proptest! {
    #[test]
    fn messages_come_back_as_they_were(messages in vec(any_message(), 0..8)) {
        let body = body_of(&messages);
        let bytes: usize = messages.iter().map(format::message_bytes).sum();
        prop_assert_eq!(body.len(), FRAME_OVERHEAD_BYTES + bytes);
        prop_assert_eq!(format::decode(&body), Ok(Packet::Messages(messages)));
    }

    #[test]
    fn every_prefix_of_a_body_is_refused(messages in vec(any_message(), 1..4)) {
        let body = body_of(&messages);
        for length in 0..body.len() {
            prop_assert!(format::decode(&body[..length]).is_err());
        }
    }

    #[test]
    fn a_damaged_body_is_refused_or_is_the_one_form_of_other_messages(
        messages in vec(any_message(), 1..4),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut body = body_of(&messages);
        for (place, byte) in damage {
            let at = place.index(body.len());
            body[at] = byte;
        }
        if let Ok(Packet::Messages(read)) = format::decode(&body) {
            prop_assert_eq!(body_of(&read), body);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read_and_never_panic(
        kind in 0..4_u32,
        count in 0..3_u64,
        body_kind in 0..12_u32,
        bytes in vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..200),
    ) {
        let _ = format::decode(&bytes);
        let mut likely = kind.to_le_bytes().to_vec();
        likely.extend(count.to_le_bytes());
        likely.extend([0; 24]);
        likely.extend(body_kind.to_le_bytes());
        likely.extend(bytes);
        if let Ok(Packet::Messages(read)) = format::decode(&likely) {
            prop_assert_eq!(body_of(&read), likely);
        }
    }
}
