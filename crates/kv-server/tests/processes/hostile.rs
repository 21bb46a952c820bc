//! Bytes from strangers: a clear error or a closed connection, and the others are unaffected.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use kv_client::{Client, Options};
use kv_proto::{Call, Error, Limits, Part, Request, Response};
use wire::frame::write_frame;

use crate::node::Cluster;
use crate::stranger::Stranger;

fn assert_serves(cluster: &Cluster) {
    let mut client = cluster.client();
    client.put(b"still", b"serving").unwrap();
    assert!(client.get(b"still").unwrap().reply.is_some());
}

/// A frame's header that announces 4 GiB, with the right checksum.
fn huge_header() -> Vec<u8> {
    let length = u32::MAX.to_le_bytes();
    let mut header = length.to_vec();
    header.extend_from_slice(&wire::checksum(&length).to_le_bytes());
    header.extend_from_slice(&[0; 4]);
    header
}

#[test]
fn garbage_on_either_port_is_answered_by_hanging_up() {
    let cluster = Cluster::start(1);
    let garbage: [&[u8]; 4] = [b"GET / HTTP/1.1\r\n\r\n", &[0; 64], &[0xff; 4096], &huge_header()];
    for address in [cluster.client_address(1), cluster.raft_address(1)] {
        for bytes in garbage {
            let mut stranger = Stranger::connect(&address);
            stranger.say(bytes);
            stranger.assert_hung_up(&format!("{address} took {bytes:?}"));
        }
    }
    assert_serves(&cluster);
}

#[test]
fn a_frame_of_4_gib_is_refused_with_the_limit() {
    let cluster = Cluster::start(1);
    let mut stranger = Stranger::greeted(&cluster.client_address(1));
    stranger.say(&huge_header());
    let Response::Closing { error } = Response::decode(&stranger.hear().unwrap()).unwrap() else {
        panic!("another answer");
    };
    let limit_bytes = u64::from(Limits::default().max_request_bytes);
    let size_bytes = u64::from(u32::MAX);
    assert_eq!(error, Error::TooLarge { part: Part::Request, size_bytes, limit_bytes });
    stranger.assert_hung_up("it went on");
    assert_serves(&cluster);
}

#[test]
fn a_frame_that_is_no_request_is_answered_and_closed() {
    let cluster = Cluster::start(1);
    let mut stranger = Stranger::greeted(&cluster.client_address(1));
    let mut frame = Vec::new();
    write_frame(&mut frame, &(), &[&[0xff; 40]]).unwrap();
    stranger.say(&frame);
    let answer = Response::decode(&stranger.hear().unwrap()).unwrap();
    assert!(matches!(answer, Response::Closing { error: Error::Malformed { .. } }), "{answer:?}");
    stranger.assert_hung_up("it went on");
    assert_serves(&cluster);
}

#[test]
fn a_command_beyond_a_limit_is_refused_and_the_connection_goes_on() {
    let cluster = Cluster::start(1);
    cluster.leader();
    let mut stranger = Stranger::greeted(&cluster.client_address(1));
    let limits = Limits::default();
    let value = vec![b'v'; limits.max_value_bytes as usize + 1];
    let long_key = vec![b'k'; limits.max_key_bytes as usize + 1];
    let cases: [(&[u8], &[u8], Error); 3] = [
        (b"key", &value, too_large(Part::Value, value.len(), limits.max_value_bytes)),
        (&long_key, b"", too_large(Part::Key, long_key.len(), limits.max_key_bytes)),
        (b"", b"value", Error::EmptyKey),
    ];
    for (id, (key, value, expected)) in (1..).zip(cases) {
        let answer = stranger.put(id, key, value);
        let refused = Response::Failed { id, error: expected };
        assert_eq!(answer, refused);
    }
    let largest = vec![b'v'; limits.max_value_bytes as usize];
    let longest = vec![b'k'; limits.max_key_bytes as usize];
    let answer = stranger.put(9, &longest, &largest);
    assert!(matches!(answer, Response::Done { id: 9, .. }), "{answer:?}");
}

fn too_large(part: Part, size: usize, limit: u32) -> Error {
    Error::TooLarge { part, size_bytes: size as u64, limit_bytes: u64::from(limit) }
}

/// A client sends far more than it may have in flight, and reads nothing until everything is sent
/// that fits. The server stops reading it instead of hoarding, serves others in the meantime, and
/// answers every request once the client reads.
#[test]
fn a_client_that_floods_and_does_not_read_slows_only_itself() {
    let cluster = Cluster::start(1);
    let mut flood = Stranger::greeted(&cluster.client_address(1));
    let requests = 20_000;
    let mut frames = Vec::new();
    for id in 0..requests {
        Request { id, timeout_millis: 30_000, call: Call::Status }.write(&mut frames).unwrap();
    }
    let mut writer = flood.second_hand();
    let sender = std::thread::spawn(move || writer.write_all(&frames));
    assert_serves(&cluster);
    let mut answered = vec![false; usize::try_from(requests).unwrap()];
    for _ in 0..requests {
        let Response::Done { id, .. } = Response::decode(&flood.hear().unwrap()).unwrap() else {
            panic!("a status that fails");
        };
        let seen = std::mem::replace(&mut answered[usize::try_from(id).unwrap()], true);
        assert!(!seen, "request {id} was answered twice");
    }
    sender.join().unwrap().unwrap();
}

#[test]
fn many_idle_connections_disturb_nobody() {
    let cluster = Cluster::start(1);
    let address = cluster.client_address(1);
    let idle: Vec<_> = (0..200).map(|_| Stranger::greeted(&address)).collect();
    let silent: Vec<_> = (0..200).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let options = Options { timeout: Duration::from_secs(10) };
    let mut client = Client::new([address], options).unwrap();
    for number in 0..100_u32 {
        client.put(&number.to_le_bytes(), b"value").unwrap();
    }
    drop((idle, silent));
}
