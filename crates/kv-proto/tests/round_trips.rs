//! What is written is read back the same, and what comes from outside never does worse than an
//! error.

use kv_proto::{
    BackupPiece, BackupRequest, Bytes, Call, ClientHello, Command, Compact, CompactReply,
    Consistency, Delete, DeleteReply, Difference, DigestsReply, Direction, DiskState, Error,
    Header, KeyValue, LeaseChange, LeaseId, Limits, Member, NodeStatus, Outcome, Part, Put,
    PutReply, Range, RangeOptions, RangeReply, Reply, Request, Response, Revision, Role, Sending,
    ServerHello, SortBy, StateDigest, StatusReply, Welcome,
};
use proptest::collection::vec;
use proptest::prelude::*;
use wire::frame::HEADER_BYTES;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn shared() -> impl Strategy<Value = Bytes> {
    bytes().prop_map(Bytes::from)
}

fn revision() -> impl Strategy<Value = Revision> {
    any::<u64>().prop_map(Revision::new)
}

fn lease() -> impl Strategy<Value = LeaseId> {
    any::<u64>().prop_map(LeaseId::new)
}

fn lease_change() -> impl Strategy<Value = LeaseChange> {
    prop_oneof![
        Just(LeaseChange::Detach),
        lease().prop_map(LeaseChange::Attach),
        Just(LeaseChange::Keep),
    ]
}

fn range_options() -> impl Strategy<Value = RangeOptions> {
    let sort_by = prop_oneof![
        Just(SortBy::Key),
        Just(SortBy::Version),
        Just(SortBy::CreateRevision),
        Just(SortBy::ModRevision),
        Just(SortBy::Value),
    ];
    let direction = prop_oneof![Just(Direction::Ascending), Just(Direction::Descending)];
    let consistency = prop_oneof![
        Just(Consistency::Linearizable),
        Just(Consistency::Lease),
        Just(Consistency::Stale),
    ];
    let numbers = (proptest::option::of(revision()), any::<Option<u32>>(), any::<Option<u32>>());
    (numbers, sort_by, direction, any::<(bool, bool)>(), consistency).prop_map(
        |((revision, limit, max_bytes), sort_by, direction, only, consistency)| RangeOptions {
            revision,
            limit,
            max_bytes,
            sort_by,
            direction,
            keys_only: only.0,
            count_only: only.1,
            consistency,
        },
    )
}

fn key_value() -> impl Strategy<Value = KeyValue> {
    let history = (revision(), revision(), any::<u64>());
    (shared(), shared(), history, proptest::option::of(lease())).prop_map(
        |(key, value, (create_revision, mod_revision, version), lease)| KeyValue {
            key,
            value,
            create_revision,
            mod_revision,
            version,
            lease,
        },
    )
}

fn member() -> impl Strategy<Value = Member> {
    (any::<u64>(), ".{0,20}", proptest::option::of(".{0,20}"))
        .prop_map(|(id, raft_address, client_address)| Member { id, raft_address, client_address })
}

fn status() -> impl Strategy<Value = StatusReply> {
    let role = prop_oneof![Just(Role::Follower), Just(Role::Candidate), Just(Role::Leader),];
    let numbers = any::<(u64, Option<u64>, u64, u64, u64, u64)>();
    let disk = prop_oneof![Just(DiskState::Fine), Just(DiskState::Slow), Just(DiskState::Full)];
    let sending = any::<(u64, u64, u64, u64, u64)>()
        .prop_map(|(to, pieces, bytes, done, total)| Sending { to, pieces, bytes, done, total });
    (member(), role, numbers, ".{0,10}", vec(member(), 0..5), disk, vec(sending, 0..3)).prop_map(
        |(member, role, numbers, version, members, disk, sending)| StatusReply {
            node: NodeStatus {
                member,
                role,
                term: numbers.0,
                leader: numbers.1,
                commit_index: numbers.2,
                applied_index: numbers.3,
                last_index: numbers.4,
                state_digest: numbers.5,
                version,
                disk,
                sending,
            },
            members,
        },
    )
}

fn digests() -> impl Strategy<Value = DigestsReply> {
    let digest = || any::<(u64, u64)>().prop_map(|(index, digest)| StateDigest { index, digest });
    let difference = (any::<(u64, bool)>(), vec(any::<u64>(), 0..4))
        .prop_map(|((index, is_outvoted), others)| Difference { index, others, is_outvoted });
    (digest(), vec(digest(), 0..5), proptest::option::of(difference)).prop_map(
        |(applied, checkpoints, difference)| DigestsReply { applied, checkpoints, difference },
    )
}

fn reply() -> impl Strategy<Value = Reply> {
    let range = (vec(key_value(), 0..4), any::<(u64, bool)>(), proptest::option::of(shared()));
    prop_oneof![
        proptest::option::of(key_value()).prop_map(|prev| Reply::Put(PutReply { prev })),
        (any::<u64>(), vec(key_value(), 0..4))
            .prop_map(|(deleted, prev)| Reply::Delete(DeleteReply { deleted, prev })),
        range.prop_map(|(kvs, (count, more), next_key)| Reply::Range(RangeReply {
            kvs,
            count,
            more,
            next_key,
        })),
        status().prop_map(Reply::Status),
        (revision(), any::<u64>()).prop_map(|(compacted, overdue)| {
            Reply::Compact(CompactReply { compacted, overdue })
        }),
        (shared(), any::<(bool, u64, u64)>()).prop_map(|(bytes, (is_last, done, total))| {
            Reply::Backup(BackupPiece { bytes, is_last, done, total })
        }),
        digests().prop_map(Reply::Digests),
    ]
}

fn error() -> impl Strategy<Value = Error> {
    let part = prop_oneof![
        Just(Part::Key),
        Just(Part::RangeEnd),
        Just(Part::Value),
        Just(Part::Request),
        Just(Part::PreviousPairs),
    ];
    let outcome = prop_oneof![Just(Outcome::NotApplied), Just(Outcome::Unknown)];
    prop_oneof![
        ".{0,20}".prop_map(|reason| Error::Internal { reason }),
        (any::<u64>(), proptest::option::of(".{0,20}"))
            .prop_map(|(leader, client_address)| { Error::NotLeader { leader, client_address } }),
        Just(Error::NoLeader),
        (part, any::<(u64, u64)>()).prop_map(|(part, (size_bytes, limit_bytes))| {
            Error::TooLarge { part, size_bytes, limit_bytes }
        }),
        (revision(), revision())
            .prop_map(|(asked, compacted)| Error::Compacted { asked, compacted }),
        (any::<u64>(), outcome)
            .prop_map(|(waited_millis, outcome)| Error::Timeout { waited_millis, outcome }),
        any::<(u64, u64)>().prop_map(|(node, index)| Error::Diverged { node, index }),
        any::<u64>().prop_map(|node| Error::NoSpace { node }),
    ]
}

fn response() -> impl Strategy<Value = Response> {
    let header = (any::<(u64, u64, u64)>(), revision()).prop_map(|(numbers, revision)| Header {
        cluster_id: numbers.0,
        node_id: numbers.1,
        revision,
        term: numbers.2,
    });
    prop_oneof![
        (any::<u64>(), header, reply()).prop_map(|(id, header, reply)| Response::Done {
            id,
            header,
            reply
        }),
        (any::<u64>(), error()).prop_map(|(id, error)| Response::Failed { id, error }),
        error().prop_map(|error| Response::Closing { error }),
    ]
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    // Small integers hit tags and lengths; wide ones announce what is not there.
    let word = prop_oneof![
        (0_u32..20).prop_map(|word| word.to_le_bytes().to_vec()),
        any::<[u8; 8]>().prop_map(|bytes| bytes.to_vec()),
        Just(vec![1]),
        Just(vec![0xff; 8]),
    ];
    vec(word, 0..24).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_put_is_read_back(
        key in bytes(),
        value in proptest::option::of(bytes()),
        lease in lease_change(),
        prev: bool,
    ) {
        let put = Command::Put(Put { key: &key, value: value.as_deref(), lease, prev });
        let mut encoded = Vec::new();
        put.encode(&mut encoded)?;
        prop_assert_eq!(Command::decode(&encoded), Ok(put));
    }

    #[test]
    fn every_delete_is_read_back(key in bytes(), range_end in bytes(), prev: bool) {
        let delete = Command::Delete(Delete { key: &key, range_end: &range_end, prev });
        let mut encoded = Vec::new();
        delete.encode(&mut encoded)?;
        prop_assert_eq!(Command::decode(&encoded), Ok(delete));
    }

    #[test]
    fn every_compaction_is_read_back(number: u64, keeps: bool) {
        let compact =
            if keeps { Compact::Keep(number) } else { Compact::Revision(Revision::new(number)) };
        let mut encoded = Vec::new();
        Command::Compact(compact).encode(&mut encoded)?;
        prop_assert_eq!(Command::decode(&encoded), Ok(Command::Compact(compact)));
        encoded.push(0);
        prop_assert!(Command::decode(&encoded).is_err());
    }

    #[test]
    fn every_request_is_read_back(
        id: u64,
        timeout_millis: u32,
        key in bytes(),
        range_end in bytes(),
        options in range_options(),
    ) {
        let range = Range { key: key.clone(), range_end, options };
        let backup = BackupRequest { piece: id, consistency: options.consistency };
        let plain = [Call::Status, Call::Backup(backup), Call::Digests];
        for call in [Call::Write(&key), Call::Range(range)].into_iter().chain(plain) {
            let request = Request { id, timeout_millis, call };
            let mut frame = Vec::new();
            request.write(&mut frame)?;
            prop_assert_eq!(Request::decode(&frame[HEADER_BYTES..]), Ok(request));
        }
    }

    #[test]
    fn every_response_is_read_back(response in response()) {
        let mut frame = Vec::new();
        response.write(&mut frame)?;
        prop_assert_eq!(Response::decode(&frame[HEADER_BYTES..]), Ok(response));
    }

    #[test]
    fn a_response_that_ends_early_is_an_error(response in response(), keep: prop::sample::Index) {
        let mut frame = Vec::new();
        response.write(&mut frame)?;
        let body = &frame[HEADER_BYTES..];
        prop_assert!(Response::decode(&body[..keep.index(body.len())]).is_err());
    }

    #[test]
    fn no_bytes_do_worse_than_an_error(bytes in prop_oneof![vec(any::<u8>(), 0..200), hostile()]) {
        let _ = Request::decode(&bytes);
        let _ = Response::decode(&bytes);
        let _ = ClientHello::decode(&bytes);
        let _ = ServerHello::decode(&bytes);
        if let Ok(command) = Command::decode(&bytes) {
            let _ = command.validate(&Limits::default());
        }
    }

    /// One command has one form as bytes, so equal logs are equal byte for byte.
    #[test]
    fn bytes_that_are_a_command_are_its_only_form(
        tail in prop_oneof![vec(any::<u8>(), 0..64), hostile()],
    ) {
        let bytes = [vec![1], tail].concat();
        if let Ok(command) = Command::decode(&bytes) {
            let mut again = Vec::new();
            command.encode(&mut again)?;
            prop_assert_eq!(again, bytes);
        }
    }
}

#[test]
fn a_handshake_is_read_back() -> Result<(), Error> {
    let mut frame = Vec::new();
    ClientHello::default().write(&mut frame)?;
    let hello = ClientHello::decode(&frame[HEADER_BYTES..])?;
    assert_eq!(hello.negotiate(), Ok(kv_proto::PROTOCOL_VERSION));

    let welcome = Welcome {
        version: 1,
        cluster_id: 7,
        node_id: 2,
        limits: Limits::default(),
        server: "0.1.0".into(),
    };
    for answer in [ServerHello::Welcome(welcome), ServerHello::Refused(Error::ShuttingDown)] {
        let mut frame = Vec::new();
        answer.write(&mut frame)?;
        assert_eq!(ServerHello::decode(&frame[HEADER_BYTES..]), Ok(answer));
    }
    Ok(())
}

#[test]
fn a_full_reply_fits_a_frame() -> Result<(), Box<dyn std::error::Error>> {
    let limits = Limits::default();
    let pair = KeyValue {
        key: vec![b'k'; 100].into(),
        value: vec![b'v'; 300].into(),
        create_revision: Revision::new(2),
        mod_revision: Revision::new(3),
        version: 2,
        lease: Some(LeaseId::new(5)),
    };
    let response = Response::Done {
        id: 1,
        header: Header::default(),
        reply: Reply::Range(RangeReply {
            kvs: vec![pair; limits.max_reply_pairs as usize],
            count: 1 << 40,
            more: true,
            next_key: Some(vec![b'k'; limits.max_key_bytes as usize].into()),
        }),
    };
    let mut frame = Vec::new();
    response.write(&mut frame)?;
    let body = &frame[HEADER_BYTES..];
    assert!(body.len() <= limits.max_response_frame_bytes());
    assert_eq!(Response::decode(body)?, response);
    Ok(())
}
