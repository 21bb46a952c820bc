//! A peer whose data directory is another one than before is not taken for the one that it was.

mod common;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use common::{
    Node, Stranger, acceptance, acceptance_with, config, heartbeat, hello_with, id, listener,
    old_acceptance, old_hello, refusal, refusal_in,
};
use raft_core::{Body, ClusterConfig, Position, Snapshot};
use raft_net_tcp::peers_file::{self, Peers};
use raft_net_tcp::{
    Config, Directory, DirectoryId, NetEvent, Network, PEERS_FILE, RefusalCode, SnapshotSource,
    StartError,
};
use tempfile::TempDir;

const MESSAGES: [u8; 8] = *b"raft-tcp";
const SNAPSHOT: [u8; 8] = *b"raft-snp";

/// The directory of node 1, and two that node 2 has one after the other.
const OWN: u64 = 0xA1;
const FIRST: u64 = 0xB1;
const SECOND: u64 = 0xB2;

fn config_in(folder: &Path, peer: SocketAddr) -> Config {
    let (id, path) = (DirectoryId::new(OWN), folder.to_owned());
    let directory = Some(Directory { id, path, rejoins: false });
    Config { directory, ..config(1, &[(2, peer)]) }
}

/// Node 1, whose directory is a new one, and where its peer 2 would be.
fn node_one() -> (Node, TempDir, TcpListener) {
    let folder = TempDir::new().unwrap();
    let (played, address) = listener();
    (Node::start(config_in(folder.path(), address)), folder, played)
}

/// Calls node 1 as node 2 with this directory; returns the answer, and the connection.
fn call(one: &Node, magic: [u8; 8], directory: u64, rejoins: bool) -> (Vec<u8>, Stranger) {
    let mut caller = Stranger::call(one.address());
    caller.write(&hello_with(magic, 2, 1, directory, rejoins));
    (caller.read_frame().expect("an answer"), caller)
}

fn let_in(one: &Node, magic: [u8; 8], directory: u64, rejoins: bool) -> Stranger {
    let (answer, caller) = call(one, magic, directory, rejoins);
    assert_eq!(answer[12..16], [1, 0, 0, 0], "accepted");
    caller
}

fn turned_away(one: &Node, magic: [u8; 8], directory: u64) {
    let (answer, mut caller) = call(one, magic, directory, false);
    let (code, sentence) = refusal_in(&answer);
    assert_eq!(code, 6);
    let expected = "n2 was met with another data directory than the one it has now, and may have \
                    acknowledged there what is not here: give it that directory back, or let it \
                    rejoin";
    assert_eq!(sentence, expected);
    caller.wait_closed();
}

/// What the file in this folder says.
fn noted(folder: &Path) -> Peers {
    peers_file::decode(&std::fs::read(folder.join(PEERS_FILE)).unwrap()).unwrap()
}

fn peers(met: &[(u64, u64)]) -> Peers {
    let met = met.iter().map(|(peer, directory)| (id(*peer), DirectoryId::new(*directory)));
    Peers { own: DirectoryId::new(OWN), met: met.collect() }
}

#[test]
fn whom_a_node_answers_it_has_written_down() {
    let (one, folder, _played) = node_one();
    assert!(!folder.path().join(PEERS_FILE).exists());
    let _caller = let_in(&one, MESSAGES, FIRST, false);
    assert_eq!(noted(folder.path()), peers(&[(2, FIRST)]));
}

#[test]
fn a_caller_with_another_directory_is_refused_and_the_one_that_was_met_is_not_disturbed() {
    let (one, folder, _played) = node_one();
    let mut first = let_in(&one, MESSAGES, FIRST, false);
    let _snapshot = let_in(&one, SNAPSHOT, FIRST, false);
    turned_away(&one, MESSAGES, SECOND);
    turned_away(&one, SNAPSHOT, SECOND);
    first.send(&[heartbeat(2, 1, 5)]);
    assert_eq!(one.wait_message(), heartbeat(2, 1, 5));
    assert_eq!(noted(folder.path()), peers(&[(2, FIRST)]));
}

#[test]
fn what_was_written_down_outlives_the_node() {
    let (one, folder, played) = node_one();
    let _caller = let_in(&one, MESSAGES, FIRST, false);
    one.network.shutdown();
    let again = Node::start(config_in(folder.path(), played.local_addr().unwrap()));
    turned_away(&again, MESSAGES, SECOND);
    let _caller = let_in(&again, MESSAGES, FIRST, false);
}

/// The old directory may come back, on a machine that was thought to be gone.
#[test]
fn who_rejoins_takes_the_place_of_the_directory_before_which_is_refused_from_then_on() {
    let (one, folder, _played) = node_one();
    let mut first = let_in(&one, MESSAGES, FIRST, false);
    let _second = let_in(&one, MESSAGES, SECOND, true);
    first.wait_closed();
    assert_eq!(noted(folder.path()), peers(&[(2, SECOND)]));
    turned_away(&one, MESSAGES, FIRST);
    turned_away(&one, SNAPSHOT, FIRST);
    // And once more.
    let _third = let_in(&one, MESSAGES, FIRST + SECOND, true);
    turned_away(&one, MESSAGES, SECOND);
}

#[test]
fn a_called_peer_with_another_directory_hears_nothing() {
    let (one, folder, played) = node_one();
    let (mut first, _) = Stranger::answer(&played);
    first.write(&acceptance_with(MESSAGES, FIRST, false));
    one.wait_connected(id(2));
    assert_eq!(noted(folder.path()), peers(&[(2, FIRST)]));
    drop(first);
    let (mut second, _) = Stranger::answer(&played);
    second.write(&acceptance_with(MESSAGES, SECOND, false));
    assert_eq!(second.read_frame(), None, "closed without a word");
    let (mut first, _) = Stranger::answer(&played);
    first.write(&acceptance_with(MESSAGES, FIRST, false));
    one.wait_connected(id(2));
    drop(first);
    let (mut second, _) = Stranger::answer(&played);
    second.write(&acceptance_with(MESSAGES, SECOND, true));
    one.wait_connected(id(2));
    assert_eq!(noted(folder.path()), peers(&[(2, SECOND)]));
}

/// A snapshot that nobody will ever see.
struct Nothing;

impl SnapshotSource for Nothing {
    fn piece(&mut self, number: u64) -> Result<Option<Vec<u8>>, String> {
        Ok((number == 0).then(|| vec![7; 100]))
    }
}

#[test]
fn a_called_peer_with_another_directory_gets_no_snapshot() {
    let (one, _folder, played) = node_one();
    let (mut first, _) = Stranger::answer(&played);
    first.write(&acceptance_with(MESSAGES, FIRST, false));
    one.wait_connected(id(2));
    let (at, cluster) = (Position::ORIGIN, Arc::new(ClusterConfig::of_voters([id(1), id(2)])));
    let message = common::message(1, 2, Body::Snapshot(Snapshot { at, cluster }));
    one.network.snapshots().send(message, Nothing);
    let (mut second, hello) = Stranger::answer(&played);
    assert_eq!(hello[..8], SNAPSHOT);
    second.write(&acceptance_with(SNAPSHOT, SECOND, false));
    assert_eq!(second.read_frame(), None, "closed without a word");
    one.wait("what became of it", |event| match event {
        NetEvent::SnapshotSent { to, arrived } => {
            assert_eq!((to, arrived), (id(2), None));
            Some(())
        }
        _ => None,
    });
}

#[test]
fn a_node_says_which_directory_it_has_to_whom_it_calls_and_to_who_calls_it() {
    let (one, _folder, played) = node_one();
    let own = (Some(OWN), false);
    let (_, hello) = Stranger::answer(&played);
    let said = wire::codec::decode_all(&hello).unwrap();
    assert_eq!((MESSAGES, 2_u32, 0xC1_u64, 1_u64, 2_u64, "client-1:1".to_owned(), own), said);
    let (answer, _) = call(&one, MESSAGES, FIRST, false);
    let said = wire::codec::decode_all(&answer).unwrap();
    assert_eq!((MESSAGES, 2_u32, 1_u32, "client-1:1".to_owned(), own), said);
}

/// Its owner has to stop, and must not miss it.
#[test]
fn a_node_that_is_refused_for_its_directory_is_told_each_time() {
    let (one, _folder, played) = node_one();
    for _ in 0..3 {
        let (mut other, _) = Stranger::answer(&played);
        other.write(&refusal(2, 6, "you are not the one you were"));
        one.wait("a refusal", |event| match event {
            NetEvent::PeerRefused { refusal, .. } => {
                assert_eq!(refusal.code, RefusalCode::Directory);
                Some(())
            }
            _ => None,
        });
    }
}

/// While not all nodes run this release, and for programs that keep no directories apart.
#[test]
fn who_tells_of_no_directory_is_let_in_and_forgets_nobody() {
    let (one, folder, played) = node_one();
    let _first = let_in(&one, MESSAGES, FIRST, false);
    let mut old = Stranger::call(one.address());
    old.write(&old_hello(2, 1));
    assert_eq!(old.read_frame().expect("an answer")[12..16], [1, 0, 0, 0]);
    let (mut called, _) = Stranger::answer(&played);
    called.write(&refusal(1, 1, "version 2 is none of mine"));
    let (mut called, _) = Stranger::answer(&played);
    called.write(&old_acceptance());
    one.wait_connected(id(2));
    drop(called);
    let (mut silent, _) = Stranger::answer(&played);
    silent.write(&acceptance("played:1"));
    one.wait_connected(id(2));
    assert_eq!(noted(folder.path()), peers(&[(2, FIRST)]));
    turned_away(&one, MESSAGES, SECOND);
}

#[test]
fn whom_a_node_cannot_write_down_it_does_not_let_in() {
    let (one, folder, _played) = node_one();
    let moved = folder.path().with_extension("moved");
    std::fs::rename(folder.path(), &moved).unwrap();
    let (answer, _) = call(&one, MESSAGES, FIRST, false);
    let (code, sentence) = refusal_in(&answer);
    assert_eq!(code, 7);
    assert!(sentence.contains("cannot write down that it met n2"), "{sentence}");
    std::fs::rename(&moved, folder.path()).unwrap();
    let _caller = let_in(&one, MESSAGES, SECOND, false);
    assert_eq!(noted(folder.path()), peers(&[(2, SECOND)]), "it never met the first");
}

/// Starts node 1 where the file of peers has these bytes; it refuses.
fn refused_with(bytes: &[u8]) -> StartError {
    let folder = TempDir::new().unwrap();
    let (_nobody, address) = listener();
    std::fs::write(folder.path().join(PEERS_FILE), bytes).unwrap();
    Network::start(config_in(folder.path(), address), |_| {}).expect_err("it is refused")
}

#[test]
fn a_file_that_is_damaged_or_of_another_directory_is_not_believed() {
    let good = peers_file::encode(&peers(&[(2, FIRST)]));
    let mut flipped = good.clone();
    flipped[30] ^= 1;
    let endless = vec![0; 10 * peers_file::MAX_FILE_BYTES];
    for damaged in [&good[..good.len() - 1], &flipped, &[], &endless] {
        let error = refused_with(damaged);
        let said = error.to_string();
        assert!(matches!(error, StartError::PeersDamaged { .. }), "{said}");
        assert!(said.contains("peers is damaged") && said.contains("remove it"), "{said}");
    }
    let mut other = peers(&[(2, FIRST)]);
    other.own = DirectoryId::new(OWN + 1);
    let said = refused_with(&peers_file::encode(&other)).to_string();
    assert!(said.contains("belongs to another data directory"), "{said}");
}
