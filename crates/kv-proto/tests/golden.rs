//! The bytes of one of each, as they were released: what is in a log or said by an older program
//! must mean the same for ever. A test that fails here found a change of the format.

use kv_proto::{
    BackupPiece, BackupRequest, Call, ClientHello, Command, Compact, CompactReply, Consistency,
    Delete, DeleteReply, Difference, DigestsReply, DiskState, Error, Header, KeyValue, LeaseChange,
    LeaseId, Limits, Member, NodeStatus, Put, PutReply, Range, RangeReply, Reply, Request,
    Response, Revision, Role, Sending, ServerHello, StateDigest, StatusReply, Welcome,
};
use wire::frame::HEADER_BYTES;

#[track_caller]
fn expect(bytes: &[u8], golden: &str) {
    let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let golden: String = golden.split_whitespace().collect();
    assert_eq!(hex, golden);
}

fn command(command: Command<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    command.encode(&mut bytes).expect("the key is short");
    bytes
}

fn request(call: Call<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    let request = Request { id: 258, timeout_millis: 5_000, call };
    request.write(&mut frame).expect("the request is short");
    frame.split_off(HEADER_BYTES)
}

fn response(response: &Response) -> Vec<u8> {
    let mut frame = Vec::new();
    response.write(&mut frame).expect("the answer is short");
    frame.split_off(HEADER_BYTES)
}

fn done(reply: Reply) -> Vec<u8> {
    response(&Response::Done {
        id: 258,
        header: Header { cluster_id: 0xc1, node_id: 2, revision: Revision::new(9), term: 3 },
        reply,
    })
}

fn pair() -> KeyValue {
    KeyValue {
        key: b"k".as_slice().into(),
        value: b"va".as_slice().into(),
        create_revision: Revision::new(5),
        mod_revision: Revision::new(7),
        version: 2,
        lease: Some(LeaseId::new(77)),
    }
}

#[test]
fn commands() {
    expect(&command(Command::Put(Put::new(b"k", b"va"))), "0100000000010000000000000000006b7661");
    let keep =
        Put { key: b"k", value: None, lease: LeaseChange::Attach(LeaseId::new(77)), prev: true };
    expect(&command(Command::Put(keep)), "01000000000100000001010000004d00000000000000016b");
    let delete = Delete { key: b"a", range_end: b"c", prev: true };
    expect(&command(Command::Delete(delete)), "010100000001000000016163");
    let compact = Compact::Revision(Revision::new(9));
    expect(&command(Command::Compact(compact)), "0102000000000000000900000000000000");
    expect(&command(Command::Compact(Compact::Keep(9))), "0102000000010000000900000000000000");
}

#[test]
fn handshakes() {
    let mut frame = Vec::new();
    ClientHello::default().write(&mut frame).expect("a hello is short");
    expect(&frame[HEADER_BYTES..], "6b762d70726f746f01000300");
    let welcome = ServerHello::Welcome(Welcome {
        version: 1,
        cluster_id: 0xc1,
        node_id: 2,
        limits: Limits::default(),
        server: "0.1.0".into(),
    });
    let mut frame = Vec::new();
    welcome.write(&mut frame).expect("a hello is short");
    expect(
        &frame[HEADER_BYTES..],
        "000000000100c100000000000000020000000000000000100000000010000000 \
         18000000400010270000000400000500000000000000302e312e30",
    );
    let mut frame = Vec::new();
    ServerHello::Refused(Error::ShuttingDown).write(&mut frame).expect("a hello is short");
    expect(&frame[HEADER_BYTES..], "010000000e000000");
}

#[test]
fn requests() {
    expect(
        &request(Call::Write(b"(a command)")),
        "02010000000000008813000000000000286120636f6d6d616e6429",
    );
    let mut range = Range::new(b"a".to_vec(), b"c".to_vec());
    range.options.revision = Some(Revision::new(6));
    range.options.limit = Some(10);
    range.options.keys_only = true;
    range.options.consistency = Consistency::Stale;
    expect(
        &request(Call::Range(range)),
        "0201000000000000881300000100000001000000010600000000000000010a00 \
         00000000000000000000000100020000006163",
    );
    expect(&request(Call::Status), "02010000000000008813000002000000");
    let backup = BackupRequest { piece: 3, consistency: Consistency::Stale };
    expect(
        &request(Call::Backup(backup)),
        "02010000000000008813000003000000030000000000000002000000",
    );
    expect(&request(Call::Digests), "02010000000000008813000004000000");
}

#[test]
fn replies_to_writes() {
    expect(
        &done(Reply::Put(PutReply { prev: None })),
        "000000000201000000000000c100000000000000020000000000000009000000 \
         0000000003000000000000000000000000",
    );
    let put = PutReply { prev: Some(pair()) };
    expect(
        &done(Reply::Put(put)),
        "000000000201000000000000c100000000000000020000000000000009000000 \
         0000000003000000000000000000000001010000000200000005000000000000 \
         0007000000000000000200000000000000014d000000000000006b7661",
    );
    let delete = DeleteReply { deleted: 1, prev: vec![pair()] };
    expect(
        &done(Reply::Delete(delete)),
        "000000000201000000000000c100000000000000020000000000000009000000 \
         0000000003000000000000000100000001000000000000000100000000000000 \
         0100000002000000050000000000000007000000000000000200000000000000 \
         014d000000000000006b7661",
    );
}

#[test]
fn replies_to_reads() {
    let range = RangeReply {
        kvs: vec![pair()],
        count: 2,
        more: true,
        next_key: Some(b"l".as_slice().into()),
    };
    expect(
        &done(Reply::Range(range)),
        "000000000201000000000000c100000000000000020000000000000009000000 \
         0000000003000000000000000200000001000000000000000100000002000000 \
         050000000000000007000000000000000200000000000000014d000000000000 \
         0002000000000000000101010000006b76616c",
    );
    let member = Member { id: 2, raft_address: "h:1".into(), client_address: Some("h:2".into()) };
    let mut status = StatusReply {
        node: NodeStatus {
            member: member.clone(),
            role: Role::Leader,
            term: 3,
            leader: Some(2),
            commit_index: 11,
            applied_index: 10,
            last_index: 12,
            state_digest: 0xd1,
            version: "0.1.0".into(),
            disk: DiskState::Fine,
            sending: Vec::new(),
        },
        members: vec![member],
    };
    expect(
        &done(Reply::Status(status.clone())),
        "000000000201000000000000c100000000000000020000000000000009000000 \
         0000000003000000000000000300000002000000000000000300000000000000 \
         683a31010300000000000000683a320200000003000000000000000102000000 \
         000000000b000000000000000a000000000000000c00000000000000d1000000 \
         000000000500000000000000302e312e30010000000000000002000000000000 \
         000300000000000000683a31010300000000000000683a32",
    );
    // The same of a node whose disk is full, to a client of version 2 and to one of version 1.
    status.node.disk = DiskState::Full;
    let full = done(Reply::Status(status.clone()));
    assert_eq!(full[44..48], 7_u32.to_le_bytes());
    assert_eq!(full[full.len() - 4..], 2_u32.to_le_bytes());
    let older = Reply::Status(status.clone()).for_version(1);
    let with_full_disk = status.clone();
    status.node.disk = DiskState::Fine;
    assert_eq!(older, Reply::Status(status.clone()));
    // One that sends a snapshot, and the same to a client of version 2.
    status = with_full_disk;
    status.node.sending = vec![Sending { to: 3, pieces: 4, bytes: 5, done: 6, total: 7 }];
    let sends = done(Reply::Status(status.clone()));
    assert_eq!(sends[44..48], 8_u32.to_le_bytes());
    expect(
        &sends[sends.len() - 52..],
        "020000000100000000000000 0300000000000000 0400000000000000 0500000000000000 \
         0600000000000000 0700000000000000",
    );
    assert_eq!(done(Reply::Status(status).for_version(2)), full);
}

#[test]
fn replies_of_version_2() {
    let header = "000000000201000000000000c100000000000000020000000000000009000000\
                  000000000300000000000000";
    let expect_body = |reply, golden: &str| expect(&done(reply), &format!("{header}{golden}"));
    let compacted = Revision::new(8);
    expect_body(
        Reply::Compact(CompactReply { compacted, overdue: 7 }),
        "0400000008000000000000000700000000000000",
    );
    let bytes = b"piece".as_slice().into();
    expect_body(
        Reply::Backup(BackupPiece { bytes, is_last: true, done: 3, total: 4 }),
        "0500000005000000010300000000000000040000000000000070 69656365",
    );
    let digest = |index| StateDigest { index, digest: 0xd1 };
    let difference = Some(Difference { index: 64, others: vec![1, 2], is_outvoted: true });
    expect_body(
        Reply::Digests(DigestsReply {
            applied: digest(70),
            checkpoints: vec![digest(64)],
            difference,
        }),
        "060000004600000000000000d10000000000000001000000000000004000000000000000 \
         d100000000000000014000000000000000020000000000000001000000000000000200000000000000 01",
    );
}

#[test]
fn errors() {
    let failed = Response::Failed {
        id: 258,
        error: Error::NotLeader { leader: 2, client_address: Some("h:2".into()) },
    };
    expect(
        &response(&failed),
        "0100000002010000000000000100000002000000000000000103000000000000 \
         00683a32",
    );
    let diverged = Response::Failed { id: 258, error: Error::Diverged { node: 3, index: 64 } };
    expect(
        &response(&diverged),
        "01000000020100000000000012000000030000000000000040 00000000000000",
    );
    let no_space = Response::Failed { id: 258, error: Error::NoSpace { node: 3 } };
    expect(&response(&no_space), "01000000020100000000000013000000 0300000000000000");
    let closing = Response::Closing { error: Error::malformed("x") };
    expect(&response(&closing), "020000000b000000010000000000000078");
}
