//! Bytes from strangers: see `target`. The corpus is in `tests/corpus`.

#[path = "../../../wire/tests/hunt/mod.rs"]
mod hunt;
mod target;

use std::path::{Path, PathBuf};

use hunt::{corpus, corpus_has, hunt};
use kv_proto::{
    Call, ClientHello, Command, Delete, Error, Header, KeyValue, LeaseId, Limits, Member,
    NodeStatus, PROTOCOL_VERSION, Put, PutReply, Range, RangeReply, Reply, Request, Response,
    Revision, Role, Sending, ServerHello, StatusReply, Welcome,
};
use wire::frame::HEADER_BYTES;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn strings() -> Vec<Vec<u8>> {
    corpus(&folder())
}

/// One string for each kind of frame that looks different from the others.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let command = |command: Command<'_>| {
        let mut bytes = Vec::new();
        command.encode(&mut bytes).expect("a short key");
        bytes
    };
    let put = command(Command::Put(Put::new(b"key", b"value")));
    let delete = command(Command::Delete(Delete { key: b"a", range_end: b"z", prev: true }));
    let pair = KeyValue {
        key: b"key".as_slice().into(),
        value: b"value".as_slice().into(),
        create_revision: Revision::new(5),
        mod_revision: Revision::new(7),
        version: 2,
        lease: Some(LeaseId::new(9)),
    };
    let range = RangeReply {
        kvs: vec![pair.clone(), pair.clone()],
        count: 3,
        more: true,
        next_key: Some(b"next".as_slice().into()),
    };
    let put_reply = Reply::Put(PutReply { prev: Some(pair) });
    vec![
        ("request-write", request(Call::Write(&put))),
        ("request-range", request(Call::Range(Range::new(b"a".to_vec(), b"z".to_vec())))),
        ("request-status", request(Call::Status)),
        ("response-put", done(put_reply)),
        ("response-range", done(Reply::Range(range))),
        ("response-status", done(Reply::Status(status()))),
        ("response-status-sending", done(Reply::Status(sending()))),
        ("response-failed", response(&Response::Failed { id: 7, error: not_leader() })),
        ("hello-client", framed(2, |out| ClientHello::default().write(out).is_ok())),
        ("hello-refused", framed(3, |out| ServerHello::Refused(not_leader()).write(out).is_ok())),
        ("hello-welcome", framed(3, |out| ServerHello::Welcome(welcome()).write(out).is_ok())),
        ("command-put", [vec![4], put].concat()),
        ("command-delete", [vec![4], delete].concat()),
    ]
}

fn framed(kind: u8, write: impl FnOnce(&mut Vec<u8>) -> bool) -> Vec<u8> {
    let mut frame = Vec::new();
    assert!(write(&mut frame), "it can be written");
    [vec![kind], frame.split_off(HEADER_BYTES)].concat()
}

fn request(call: Call<'_>) -> Vec<u8> {
    framed(0, |out| Request { id: 7, timeout_millis: 5000, call }.write(out).is_ok())
}

fn response(response: &Response) -> Vec<u8> {
    framed(1, |out| response.write(out).is_ok())
}

fn done(reply: Reply) -> Vec<u8> {
    response(&Response::Done { id: 7, header: Header::default(), reply })
}

fn not_leader() -> Error {
    Error::NotLeader { leader: 2, client_address: Some("h:2".into()) }
}

fn welcome() -> Welcome {
    let (version, limits, server) = (PROTOCOL_VERSION, Limits::default(), "0.1.0".into());
    Welcome { version, cluster_id: 7, node_id: 1, limits, server }
}

fn status() -> StatusReply {
    let member = Member { id: 2, raft_address: "h:1".into(), client_address: None };
    let node = NodeStatus {
        member: member.clone(),
        role: Role::Leader,
        term: 3,
        leader: Some(2),
        commit_index: 11,
        applied_index: 10,
        last_index: 12,
        state_digest: 13,
        version: "0.1.0".into(),
        disk: kv_proto::DiskState::Full,
        sending: Vec::new(),
    };
    StatusReply { node, members: vec![member] }
}

fn sending() -> StatusReply {
    let mut status = status();
    status.node.sending = vec![Sending { to: 3, pieces: 4, bytes: 5, done: 6, total: 7 }];
    status
}

#[test]
fn the_corpus_has_one_of_each_kind() {
    assert_eq!(corpus_has(&folder(), &seeds()), Ok(()));
}

#[test]
fn whatever_comes_is_refused_or_understood_in_full() {
    assert_eq!(hunt(&strings(), 200_000, |bytes| target::check(bytes, target::decode)), None);
}

/// A decoder that does not mind what stands behind a request.
fn lenient(kind: u8, body: &[u8]) -> Option<Vec<u8>> {
    (0..=body.len()).rev().find_map(|end| target::decode(kind, &body[..end]))
}

#[test]
fn a_decoder_that_overlooks_bytes_is_found_out() {
    let found = hunt(&strings(), 200_000, |bytes| target::check(bytes, lenient));
    assert!(found.expect("something is overlooked").why.contains("something else"));
}

/// A decoder that believes a length which it was told.
fn trusting(kind: u8, body: &[u8]) -> Option<Vec<u8>> {
    if let [.., _, _, _, _, first, second, third, fourth] = *body {
        let length = u32::from_le_bytes([first, second, third, fourth]) as usize;
        let _ = &body[length % 5000..];
    }
    target::decode(kind, body)
}

#[test]
fn a_decoder_that_panics_is_found_out() {
    let found = hunt(&strings(), 200_000, |bytes| target::check(bytes, trusting));
    assert_eq!(found.expect("it panics").why, "it panicked");
}
