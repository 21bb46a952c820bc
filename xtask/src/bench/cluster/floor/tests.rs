use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::*;

const VALUE_BYTES: usize = 256;

fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free")
}

fn files(folder: &Path, name: &str) -> node::Options {
    let path = |what: &str| folder.join(format!("{name}-{what}"));
    node::Options { log: path("log"), state: Some(path("state")) }
}

/// A leader of the two that listen, and where its one client connects.
fn lead(folder: &Path, followers: [&TcpListener; 2]) -> (thread::JoinHandle<()>, SocketAddr) {
    let listener = listener();
    let address = listener.local_addr().expect("it has one");
    let followers = followers.map(|it| it.local_addr().expect("it has one")).to_vec();
    let node = files(folder, "leader");
    let options = leader::Options { node, followers, connections: 1, value_bytes: VALUE_BYTES };
    let run = move || leader::run(&listener, &options).expect("it leads");
    (thread::spawn(run), address)
}

fn begins_with(path: &Path, expected: &[u8]) -> bool {
    std::fs::read(path).expect("the file is there").starts_with(expected)
}

#[test]
fn a_request_is_answered_when_two_files_have_it_and_not_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let doors = [listener(), listener()];
    let (leader, address) = lead(folder.path(), [&doors[0], &doors[1]]);
    // Two followers that say what this test wants.
    let mut followers = doors.map(|door| door.accept().expect("the leader connects").0);
    let mut client = TcpStream::connect(address).expect("the leader listens");
    client.write_all(&[1; frames::request_bytes(VALUE_BYTES)]).expect("it is sent");
    let batches = followers.each_mut().map(|it| frames::read_batch(it).expect("it is passed on"));
    assert_eq!(batches[0], batches[1]);
    let mut answer = [0; frames::ANSWER_BYTES];
    // The leader's own file has it by now, or soon: that is one.
    client.set_read_timeout(Some(Duration::from_millis(50))).expect("any time will do");
    assert!(client.read(&mut answer).is_err(), "one file of three is enough?");
    client.set_read_timeout(None).expect("any time will do");
    let synced = frames::acknowledgement(batches[0].len() as u64);
    followers[1].write_all(&synced).expect("the leader listens");
    client.read_exact(&mut answer).expect("two of three have it");
    drop((client, followers));
    leader.join().expect("it ends with its client and its followers");
    assert!(begins_with(&files(folder.path(), "leader").log, &batches[0]));
}

#[test]
fn every_byte_is_in_six_files_in_the_end() {
    const REQUESTS: usize = 1000;
    let folder = tempfile::tempdir().expect("a folder");
    let doors = [listener(), listener()];
    let (leader, address) = lead(folder.path(), [&doors[0], &doors[1]]);
    let mut number = 0;
    let followers = doors.map(|door| {
        number += 1;
        let options = files(folder.path(), &number.to_string());
        thread::spawn(move || follower::run(&door, &options).expect("it follows"))
    });
    let mut client = TcpStream::connect(address).expect("the leader listens");
    let requests = vec![1; REQUESTS * frames::request_bytes(VALUE_BYTES)];
    client.write_all(&requests).expect("they are sent");
    let mut answers = vec![0; REQUESTS * frames::ANSWER_BYTES];
    client.read_exact(&mut answers).expect("every request has its answer");
    drop(client);
    leader.join().expect("it ends with its client");
    for follower in followers {
        follower.join().expect("it ends with its leader");
    }
    for name in ["leader", "1", "2"] {
        let node::Options { log, state } = files(folder.path(), name);
        for path in [log, state.expect("there is one")] {
            let bytes = std::fs::read(&path).expect("the file is there");
            let written: usize = bytes.iter().map(|it| usize::from(*it == 1)).sum();
            assert!(written >= requests.len(), "{} has {written}", path.display());
        }
    }
}

#[test]
fn the_disk_alone_counts_what_the_slowest_node_synced() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = bare::Options {
        folder: folder.path().to_owned(),
        state: true,
        together: 10,
        value_bytes: VALUE_BYTES,
        seconds: 1,
    };
    let figures = bare::run(&options).expect("the disk works").into_json();
    let done = figures["done"].as_u64().expect("a number");
    assert!(done > 0 && done.is_multiple_of(10), "{figures}");
}
