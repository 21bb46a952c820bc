//! Bytes from peers that are none, or are confused: see `target`. The corpus is in `tests/corpus`.
//! And what a disk may have made of the file of peers: see `peers`, and `tests/corpus-peers`.

#[path = "../../../wire/tests/hunt/mod.rs"]
mod hunt;
mod peers;
mod target;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hunt::{corpus, corpus_has, hunt};
use raft_core::{
    Body, ClusterConfig, Entries, Entry, Index, Message, NodeId, Payload, Position, ReadMode,
    Snapshot, Term,
};
use raft_net_tcp::DirectoryId;
use raft_net_tcp::format::{encode_messages, encode_ping};
use raft_net_tcp::peers_file::{self, Peers};
use wire::frame::HEADER_BYTES;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn strings() -> Vec<Vec<u8>> {
    corpus(&folder())
}

fn at(term: u64, index: u64) -> Position {
    Position::new(Term::new(term), Index::new(index))
}

fn messages(bodies: Vec<Body>) -> Vec<u8> {
    let (from, to, term) = (NodeId::new(1), NodeId::new(2), Term::new(3));
    let message = |body| Message { from, to, term, body };
    let messages: Vec<Message> = bodies.into_iter().map(message).collect();
    let mut frame = Vec::new();
    encode_messages(&mut frame, &messages).expect("they can be written");
    frame.split_off(HEADER_BYTES)
}

/// One string for each kind of frame, and one with many messages.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let cluster = Arc::new(ClusterConfig::of_voters([1, 2, 3].map(NodeId::new)));
    let entry = |nth: u64, payload| Entry { at: at(3, 4 + nth), payload };
    let entries = Entries::from(vec![
        entry(0, Payload::Noop),
        entry(1, Payload::Command(b"command".into())),
        entry(2, Payload::Config(Arc::clone(&cluster))),
    ]);
    let append = Body::Append { prev: at(2, 3), entries, commit: Index::new(3) };
    let small = vec![
        Body::Vote { last: at(2, 3) },
        Body::VoteReply { granted: true },
        Body::AppendRejected { prev: Index::new(3), hint: at(1, 2) },
        Body::Heartbeat { commit: Index::new(3), round: 9 },
        Body::ReadIndex { id: 4, mode: ReadMode::Confirmed },
        Body::RecoverReply { id: 5, last: at(2, 3) },
    ];
    let mut ping = Vec::new();
    encode_ping(&mut ping).expect("it can be written");
    vec![
        ("append", messages(vec![append])),
        ("small", messages(small)),
        ("snapshot", messages(vec![Body::Snapshot(Snapshot { at: at(2, 3), cluster })])),
        ("ping", ping.split_off(HEADER_BYTES)),
    ]
}

#[test]
fn the_corpus_has_what_peers_say() {
    assert_eq!(corpus_has(&folder(), &seeds()), Ok(()));
}

#[test]
fn whatever_a_peer_sends_is_refused_or_understood_in_full() {
    assert_eq!(hunt(&strings(), 100_000, |bytes| target::check(bytes, target::read)), None);
}

/// A decoder that does not mind what stands behind the last message.
fn lenient(body: &[u8]) -> Option<Vec<u8>> {
    (0..=body.len()).rev().find_map(|end| target::read(&body[..end]))
}

#[test]
fn a_decoder_that_overlooks_bytes_is_found_out() {
    let found = hunt(&strings(), 100_000, |bytes| target::check(bytes, lenient));
    assert!(found.expect("something is overlooked").why.contains("something else"));
}

fn folder_of_peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus-peers")
}

fn file_of(count: u64) -> Vec<u8> {
    let met = (1..=count).map(|peer| (NodeId::new(peer), DirectoryId::new(peer << 40)));
    peers_file::encode(&Peers { own: DirectoryId::new(7), met: met.collect() })
}

#[test]
fn the_corpus_has_files_of_peers() {
    let seeds = [("none", file_of(0)), ("one", file_of(1)), ("eight", file_of(8))];
    assert_eq!(corpus_has(&folder_of_peers(), &seeds), Ok(()));
}

#[test]
fn whatever_a_disk_makes_of_the_file_it_is_refused_or_understood_in_full() {
    let files = corpus(&folder_of_peers());
    assert_eq!(hunt(&files, 100_000, |bytes| peers::check(bytes, peers::read)), None);
}

/// A decoder that does not mind what stands behind the last peer.
fn generous(bytes: &[u8]) -> Option<Vec<u8>> {
    (0..=bytes.len()).rev().find_map(|end| {
        let checksum = wire::checksum(&bytes[..end]).to_le_bytes();
        peers::read(&[&bytes[..end], &checksum].concat())
    })
}

#[test]
fn a_decoder_of_files_that_overlooks_bytes_is_found_out() {
    let files = corpus(&folder_of_peers());
    let found = hunt(&files, 100_000, |bytes| peers::check(bytes, generous));
    assert!(found.expect("something is overlooked").why.contains("something else"));
}
