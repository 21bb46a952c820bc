//! Who is let in, who is not, and what both sides are told about it.

mod common;

use std::time::Duration;

use common::{CLUSTER, Node, Stranger, config, heartbeat, hello, id, listener, pair, refusal};
use raft_net_tcp::{NetEvent, Refusal, RefusalCode};

/// The refusal in the body of an answer, after `docs/format.md`.
fn refusal_in(body: &[u8]) -> (u32, String) {
    let said = wire::codec::decode_all::<([u8; 8], u32, u32, u32, String)>(body);
    let (magic, version, kind, code, sentence) = said.expect("a refusal");
    assert_eq!((&magic, version, kind), (b"raft-tcp", 1, 0));
    (code, sentence)
}

/// Calls node 1, whose only peer is 2, with this greeting, and is refused.
fn refused(hello: &[u8]) -> (u32, String) {
    let (_nobody, address) = listener();
    let one = Node::start(config(1, &[(2, address)]));
    let mut caller = Stranger::call(one.address());
    caller.write(hello);
    let answer = caller.read_frame().expect("an answer");
    caller.wait_closed();
    assert_eq!(one.network.stats().connections_refused, 1);
    refusal_in(&answer)
}

#[test]
fn a_node_of_another_cluster_is_refused() {
    let (code, sentence) = refused(&hello(0xBAD, 2, 1, 1));
    assert_eq!(code, 2);
    let expected = "n2 is of cluster 0xbad and n1 of cluster 0xc1: start both with the same \
                    members, or correct the address";
    assert_eq!(sentence, expected);
}

#[test]
fn a_call_for_another_node_is_refused() {
    let (code, sentence) = refused(&hello(CLUSTER, 2, 3, 1));
    assert_eq!(code, 3);
    let expected = "n2 called n3, but this is n1: correct the address of n3";
    assert_eq!(sentence, expected);
}

#[test]
fn a_node_that_is_no_peer_is_refused() {
    let (code, sentence) = refused(&hello(CLUSTER, 7, 1, 1));
    assert_eq!(code, 4);
    let expected = "n7 is not among the peers of n1: add it there, or correct its id";
    assert_eq!(sentence, expected);
}

#[test]
fn a_node_that_has_our_own_id_is_refused() {
    let (code, sentence) = refused(&hello(CLUSTER, 1, 1, 1));
    assert_eq!(code, 4);
    let expected = "the caller and the called node are both n1: give each its own id";
    assert_eq!(sentence, expected);
}

#[test]
fn another_version_is_refused_whatever_its_greeting_holds() {
    let mut frame = Vec::new();
    let future = (*b"raft-tcp", 2_u32, "who knows");
    wire::frame::write_frame(&mut frame, &future, &[]).expect("a small frame");
    let (code, sentence) = refused(&frame);
    assert_eq!(code, 1);
    let expected = "the caller speaks version 2 of the Raft protocol, this node version 1: run \
                    the same release on both";
    assert_eq!(sentence, expected);
}

#[test]
fn a_greeting_that_makes_no_sense_is_refused() {
    let mut frame = Vec::new();
    let short = (*b"raft-tcp", 1_u32, CLUSTER, 2_u64);
    wire::frame::write_frame(&mut frame, &short, &[]).expect("a small frame");
    assert_eq!(refused(&frame).0, 5);

    let mut frame = Vec::new();
    let forged = (*b"raft-tcp", 1_u32, CLUSTER, 2_u64, 1_u64, "a\nb");
    wire::frame::write_frame(&mut frame, &forged, &[]).expect("a small frame");
    assert_eq!(refused(&frame).0, 5);
}

#[test]
fn the_greeting_of_a_node_is_as_documented() {
    let (played, address) = listener();
    let _one = Node::start(config(1, &[(2, address)]));
    let (_, body) = Stranger::answer(&played);
    let said = wire::codec::decode_all::<([u8; 8], u32, u64, u64, u64, String)>(&body);
    let expected = (*b"raft-tcp", 1, CLUSTER, 1, 2, "client-1:1".to_owned());
    assert_eq!(said.expect("a greeting"), expected);
}

/// What node 1 is told when the node it dials answers this.
fn told_when_answered(answer: &[u8]) -> Refusal {
    let (played, address) = listener();
    let one = Node::start(config(1, &[(2, address)]));
    let (mut other, _) = Stranger::answer(&played);
    other.write(answer);
    one.wait("a refusal", |event| match event {
        NetEvent::PeerRefused { peer, refusal } => {
            assert_eq!(peer, id(2));
            Some(refusal)
        }
        _ => None,
    })
}

#[test]
fn a_refused_node_is_told_why_even_by_another_version() {
    let told = told_when_answered(&refusal(9, 1, "run version 9"));
    assert_eq!((told.code, told.sentence), (RefusalCode::Version, "run version 9".into()));
    let told = told_when_answered(&refusal(1, 77, "the stars are wrong"));
    assert_eq!(told.code, RefusalCode::Other(77));
}

#[test]
fn two_nodes_of_different_clusters_both_notice() {
    let ((first, at_1), (second, at_2)) = (listener(), listener());
    let one = Node::start_on(first, config(1, &[(2, at_2)]));
    let mut other = config(2, &[(1, at_1)]);
    other.cluster_id = 0xBAD;
    let two = Node::start_on(second, other);
    for (node, peer) in [(&one, &two), (&two, &one)] {
        node.wait("a refusal", |event| match event {
            NetEvent::PeerRefused { peer: by, refusal } => {
                assert_eq!((by, refusal.code), (peer.id, RefusalCode::Cluster));
                Some(())
            }
            NetEvent::Connected { .. } => panic!("they are connected"),
            _ => None,
        });
    }
}

#[test]
fn a_call_from_the_peer_ends_a_long_wait() {
    let (played, address) = listener();
    let mut patient = config(1, &[(2, address)]);
    patient.timing.backoff_min = Duration::from_millis(2);
    patient.timing.backoff_max = Duration::from_hours(2);
    let one = Node::start(patient);
    // A refusal makes it wait for an hour or more.
    let (mut other, _) = Stranger::answer(&played);
    other.write(&refusal(1, 4, "you are not on my list"));
    one.wait("a refusal", |event| matches!(event, NetEvent::PeerRefused { .. }).then_some(()));
    let _caller = Stranger::call_as(2, &one);
    let _dialled = Stranger::accept(&played);
    one.wait_connected(id(2));
}

#[test]
fn of_two_connections_of_a_peer_the_newest_counts() {
    let (one, two) = pair(|_| {});
    let mut second = Stranger::call_as(2, &one);
    second.send(&[heartbeat(2, 1, 5)]);
    assert_eq!(one.wait_message(), heartbeat(2, 1, 5));
    // The real peer lost its connection for it, and comes back.
    two.wait_unreachable(id(1));
    second.wait_closed();
    two.wait_connected(id(1));
    two.network.send(heartbeat(2, 1, 6));
    assert_eq!(one.wait_message(), heartbeat(2, 1, 6));
}
