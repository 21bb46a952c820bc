//! Strangers, and peers that have gone mad: their connection is closed, and nobody else notices.

mod common;

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use common::{
    CLUSTER, Node, PATIENCE, Stranger, append, config, heartbeat, hello, id, listener, pair,
};
use raft_core::Message;
use raft_net_tcp::format;
use wire::frame::{HEADER_BYTES, write_frame};

/// The header of a frame that announces 4 GiB, right in itself.
fn announcing_4_gib() -> Vec<u8> {
    let length = u32::MAX.to_le_bytes();
    let mut header = length.to_vec();
    header.extend(wire::checksum(&length).to_le_bytes());
    header.extend([0; 4]);
    assert_eq!(header.len(), HEADER_BYTES);
    header
}

/// That `one` still hears and is heard, by the connection it had before.
fn check_undisturbed(one: &Node, two: &Node) {
    one.network.send(heartbeat(1, 2, 100));
    assert_eq!(two.wait_message(), heartbeat(1, 2, 100));
    two.network.send(heartbeat(2, 1, 101));
    assert_eq!(one.wait_message(), heartbeat(2, 1, 101));
    for (node, peer) in [(one, two), (two, one)] {
        assert_eq!(node.network.stats().peers[&peer.id].connects, 1);
    }
}

#[test]
fn strangers_are_closed_and_others_are_not_disturbed() {
    let (one, two) = pair(|_| {});
    let mut unknown_protocol = Vec::new();
    let said = (*b"not ours", 1_u32);
    write_frame(&mut unknown_protocol, &said, &[]).expect("a small frame");
    let mut too_long = Vec::new();
    write_frame(&mut too_long, &(), &[&[0; 2000]]).expect("a frame");
    let strangers: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &announcing_4_gib(),
        &[0; 64],
        &unknown_protocol,
        &too_long,
    ];
    for said in strangers {
        let mut stranger = Stranger::call(one.address());
        stranger.write(said);
        stranger.wait_closed();
    }
    drop(Stranger::call(one.address()));
    check_undisturbed(&one, &two);
    assert!(one.network.stats().connections_refused >= 5);
}

/// Node 1 with a peer 2 that the test plays, and with a peer 3 that is well.
fn with_mad_peer() -> (Node, Node, Stranger) {
    let (_nobody, at_2) = listener();
    let ((first, at_1), (third, at_3)) = (listener(), listener());
    let one = Node::start_on(first, config(1, &[(2, at_2), (3, at_3)]));
    let three = Node::start_on(third, config(3, &[(1, at_1)]));
    one.wait_connected(id(3));
    three.wait_connected(id(1));
    let mad = Stranger::call_as(2, &one);
    (one, three, mad)
}

#[test]
fn a_peer_that_sends_no_messages_is_closed() {
    let mut pong = Vec::new();
    format::encode_pong(&mut pong).expect("a pong");
    let mut damaged = Vec::new();
    format::encode_messages(&mut damaged, &[heartbeat(2, 1, 1)]).expect("a message");
    *damaged.last_mut().expect("a frame") ^= 1;
    let mut not_a_packet = Vec::new();
    write_frame(&mut not_a_packet, &77_u32, &[]).expect("a small frame");
    let mut too_much = Vec::new();
    let message = append(2, 1, 1, vec![0; 8 << 20]);
    format::encode_messages(&mut too_much, &[message]).expect("a message");

    let (one, three, mut mad) = with_mad_peer();
    let nonsense = [
        announcing_4_gib(),
        vec![0xFF; 100],
        pong,
        damaged,
        not_a_packet,
        too_much[..HEADER_BYTES].to_vec(),
    ];
    for said in nonsense {
        mad.write(&said);
        mad.wait_closed();
        mad = Stranger::call_as(2, &one);
    }
    one.network.send(heartbeat(1, 3, 1));
    assert_eq!(three.wait_message(), heartbeat(1, 3, 1));
    mad.send(&[heartbeat(2, 1, 9)]);
    assert_eq!(one.wait_message(), heartbeat(2, 1, 9), "the only one told");
}

#[test]
fn messages_in_anothers_name_or_to_another_are_dropped_and_counted() {
    let (one, _three, mut mad) = with_mad_peer();
    let spoofed: [Message; 3] = [heartbeat(3, 1, 1), heartbeat(2, 3, 2), heartbeat(1, 2, 3)];
    mad.send(&spoofed);
    mad.send(&[heartbeat(3, 1, 4), heartbeat(2, 1, 5)]);
    assert_eq!(one.wait_message(), heartbeat(2, 1, 5), "the only one told");
    let stats = one.network.stats().peers[&id(2)];
    assert_eq!((stats.dropped_spoofed, stats.received_messages), (4, 1));
}

#[test]
fn a_greeting_that_trickles_in_is_closed_at_its_deadline() {
    let (_nobody, address) = listener();
    let mut hasty = config(1, &[(2, address)]);
    hasty.timing.handshake_timeout = Duration::from_millis(100);
    let one = Node::start(hasty);
    let mut slow = Stranger::call(one.address());
    let mut trickling = slow.stream.try_clone().expect("a socket");
    let trickle = std::thread::spawn(move || {
        // Ends when the other side has closed the connection.
        for byte in hello(CLUSTER, 2, 1).iter().cycle().take(20) {
            if trickling.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    });
    slow.wait_closed();
    trickle.join().expect("it only writes");
    let stats = one.network.stats();
    assert_eq!((stats.connections_refused, stats.peers[&id(2)].received_bytes), (1, 0));
}

#[test]
fn a_crowd_of_silent_strangers_keeps_no_peer_out() {
    let (_nobody, address) = listener();
    let one = Node::start(config(1, &[(2, address)]));
    let mut crowd: Vec<Stranger> = (0..200).map(|_| Stranger::call(one.address())).collect();
    let mut peer = Stranger::call_as(2, &one);
    peer.send(&[heartbeat(2, 1, 1)]);
    assert_eq!(one.wait_message(), heartbeat(2, 1, 1));
    // All but as many as may be in their greeting have had to go.
    for stranger in &mut crowd[..100] {
        stranger.wait_closed();
    }
    one.network.shutdown();
    for stranger in &mut crowd[100..] {
        stranger.wait_closed();
    }
}

#[test]
fn a_peer_that_reads_nothing_blocks_nobody_and_its_queue_stays_bounded() {
    let (played, address) = listener();
    let mut small = config(1, &[(2, address)]);
    small.limits.max_queued_messages = 50;
    small.limits.max_queued_bytes = 4 << 20;
    small.timing.silence_timeout = PATIENCE * 2;
    let one = Node::start(small);
    let mut deaf = Stranger::accept(&played);
    one.wait_connected(id(2));
    // More than the queue and the buffers of both systems take.
    let command = vec![7; 256 << 10];
    let count: u64 = 400;
    for index in 1..=count {
        one.network.send(append(1, 2, index, command.clone()));
        let stats = one.network.stats().peers[&id(2)];
        assert!(stats.queued_messages <= 50 && stats.queued_bytes <= 4 << 20, "{stats:?}");
    }
    let stats = one.network.stats().peers[&id(2)];
    assert!(stats.dropped_queue_full > 0, "{stats:?}");
    for round in 0..10 {
        one.network.send(heartbeat(1, 2, round));
    }
    let after = one.network.stats().peers[&id(2)];
    assert_eq!(after.dropped_queue_full, stats.dropped_queue_full, "small ones have room");

    // Once it reads, what was not dropped comes in order, and the loss is told.
    let mut indexes = Vec::new();
    let mut heartbeats = 0;
    while heartbeats < 10 {
        for message in deaf.read_messages() {
            match message.body {
                raft_core::Body::Append { prev, .. } => indexes.push(prev.index),
                _ => heartbeats += 1,
            }
        }
    }
    assert!(indexes.is_sorted());
    let dropped = usize::try_from(after.dropped_queue_full).expect("a small number");
    assert_eq!(indexes.len() + dropped, 400);
    one.wait_unreachable(id(2));
}

#[test]
fn a_dialled_stranger_is_given_up_whatever_it_answers() {
    let answers: [&[u8]; 10] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        &announcing_4_gib(),
        &hello(CLUSTER, 2, 1),
        &common::acceptance("two words"),
        &common::old_acceptance(),
        // Half a directory, one of no kind, and something behind it.
        &common::frame((*b"raft-tcp", 2_u32, 1_u32, "", (1_u8, 7_u32))),
        &common::frame((*b"raft-tcp", 2_u32, 1_u32, "", (2_u8, 7_u64, false))),
        &common::frame((*b"raft-tcp", 2_u32, 1_u32, "", (Some(7_u64), false), 0_u8)),
        &common::frame((*b"raft-tcp", 2_u32, 0_u32, 6_u32, "x".repeat(600))),
        &common::frame((*b"raft-tcp", 2_u32, 0_u32, 6_u32, "go away", 0_u8)),
    ];
    for answer in answers {
        let (played, address): (_, SocketAddr) = listener();
        let one = Node::start(config(1, &[(2, address)]));
        let (mut other, _) = Stranger::answer(&played);
        other.write(answer);
        other.wait_closed();
        let _again = Stranger::accept(&played);
        one.wait_connected(id(2));
        assert_eq!(one.network.stats().peers[&id(2)].connects, 1);
    }
}
