//! Who is let in, who is not, and what both sides are told about it.

mod common;

use std::time::Duration;

use common::{
    CLUSTER, Node, Stranger, config, frame, heartbeat, hello, id, listener, old_acceptance,
    old_hello, pair, refusal, refusal_in,
};
use raft_net_tcp::{NetEvent, Refusal, RefusalCode};

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
    let (code, sentence) = refused(&hello(0xBAD, 2, 1));
    assert_eq!(code, 2);
    let expected = "n2 is of cluster 0xbad and n1 of cluster 0xc1: start both with the same \
                    members, or correct the address";
    assert_eq!(sentence, expected);
}

#[test]
fn a_call_for_another_node_is_refused() {
    let (code, sentence) = refused(&hello(CLUSTER, 2, 3));
    assert_eq!(code, 3);
    let expected = "n2 called n3, but this is n1: correct the address of n3";
    assert_eq!(sentence, expected);
}

#[test]
fn a_node_that_is_no_peer_is_refused() {
    let (code, sentence) = refused(&hello(CLUSTER, 7, 1));
    assert_eq!(code, 4);
    let expected = "n7 is not among the peers of n1: add it there, or correct its id";
    assert_eq!(sentence, expected);
}

#[test]
fn a_node_that_has_our_own_id_is_refused() {
    let (code, sentence) = refused(&hello(CLUSTER, 1, 1));
    assert_eq!(code, 4);
    let expected = "the caller and the called node are both n1: give each its own id";
    assert_eq!(sentence, expected);
}

#[test]
fn another_version_is_refused_whatever_its_greeting_holds() {
    let (code, sentence) = refused(&frame((*b"raft-tcp", 3_u32, "who knows")));
    assert_eq!(code, 1);
    let expected = "the caller speaks version 3 of the Raft protocol, this node version 2: run \
                    the same release on both";
    assert_eq!(sentence, expected);
}

#[test]
fn a_greeting_that_makes_no_sense_is_refused() {
    let nonsense = [
        frame((*b"raft-tcp", 2_u32, CLUSTER, 2_u64)),
        frame((*b"raft-tcp", 2_u32, CLUSTER, 2_u64, 1_u64, "a\nb", (None::<u64>, false))),
        // No directory at all, half of one, one of no kind, and something behind it.
        frame((*b"raft-tcp", 2_u32, CLUSTER, 2_u64, 1_u64, "")),
        frame((*b"raft-tcp", 2_u32, CLUSTER, 2_u64, 1_u64, "", (1_u8, 7_u32))),
        frame((*b"raft-tcp", 2_u32, CLUSTER, 2_u64, 1_u64, "", (2_u8, 7_u64, false))),
        frame((*b"raft-tcp", 2_u32, CLUSTER, 2_u64, 1_u64, "", (Some(7_u64), 2_u8))),
        frame((*b"raft-tcp", 2_u32, CLUSTER, 2_u64, 1_u64, "", (Some(7_u64), false), 0_u8)),
    ];
    for hello in nonsense {
        assert_eq!(refused(&hello).0, 5, "{hello:02x?}");
    }
}

#[test]
fn the_greeting_of_a_node_is_as_documented() {
    let (played, address) = listener();
    let _one = Node::start(config(1, &[(2, address)]));
    let (_, body) = Stranger::answer(&played);
    let said = wire::codec::decode_all(&body).expect("a greeting");
    let no_directory = (None::<u64>, false);
    assert_eq!(
        (*b"raft-tcp", 2_u32, CLUSTER, 1_u64, 2_u64, "client-1:1".to_owned(), no_directory),
        said
    );
}

#[test]
fn an_earlier_version_is_answered_in_its_own_words() {
    let (_nobody, address) = listener();
    let one = Node::start(config(1, &[(2, address)]));
    let mut caller = Stranger::call(one.address());
    caller.write(&old_hello(2, 1));
    let answer = caller.read_frame().expect("an answer");
    let said = wire::codec::decode_all(&answer).expect("an acceptance of version 1");
    assert_eq!((*b"raft-tcp", 1_u32, 1_u32, "client-1:1".to_owned()), said);
    caller.send(&[heartbeat(2, 1, 5)]);
    assert_eq!(one.wait_message(), heartbeat(2, 1, 5));
}

#[test]
fn a_node_of_an_earlier_version_is_called_again_in_that_one() {
    let (played, address) = listener();
    let one = Node::start(config(1, &[(2, address)]));
    let (mut old, hello) = Stranger::answer(&played);
    assert_eq!(hello[8..12], [2, 0, 0, 0], "the newest first");
    old.write(&refusal(1, 1, "the caller speaks version 2"));
    let (mut old, hello) = Stranger::answer(&played);
    let said = wire::codec::decode_all(&hello).expect("a greeting of version 1");
    assert_eq!((*b"raft-tcp", 1_u32, CLUSTER, 1_u64, 2_u64, "client-1:1".to_owned()), said);
    old.write(&old_acceptance());
    assert_eq!(one.wait_connected(id(2)), Some("old:1".to_owned()));
}

/// It is called twice, and not for ever.
#[test]
fn a_node_that_understands_no_version_is_given_up() {
    let (played, address) = listener();
    let one = Node::start(config(1, &[(2, address)]));
    for version in [2_u8, 1] {
        let (mut other, hello) = Stranger::answer(&played);
        assert_eq!(hello[8..12], [version, 0, 0, 0]);
        other.write(&refusal(1, 1, "that is none of mine"));
    }
    let told = one.wait("a refusal", |event| match event {
        NetEvent::PeerRefused { refusal, .. } => Some(refusal.code),
        _ => None,
    });
    assert_eq!(told, RefusalCode::Version);
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
