//! What is refused before a store is ever asked, and what the refusals say.

use kv_proto::{
    ClientHello, Command, Delete, Error, ExitCode, LeaseChange, LeaseId, Limits, Outcome, Part,
    Put, Range, Revision,
};

fn limits() -> Limits {
    Limits::default()
}

fn one_of_each() -> Vec<Error> {
    vec![
        Error::Internal { reason: "two answers to one ticket".into() },
        Error::NotLeader { leader: 2, client_address: Some("127.0.0.1:9081".into()) },
        Error::NoLeader,
        Error::Busy,
        Error::TooLarge { part: Part::Value, size_bytes: 2_000_000, limit_bytes: 1_048_576 },
        Error::EmptyKey,
        Error::FutureRevision { asked: Revision::new(9), current: Revision::new(4) },
        Error::Compacted { asked: Revision::new(3), compacted: Revision::new(8) },
        Error::KeyNotFound,
        Error::LeaseNotFound { lease: LeaseId::new(77) },
        Error::InvalidOptions { reason: "a limit of 0 returns nothing: leave it out".into() },
        Error::malformed("7 bytes too many"),
        Error::UnsupportedVersion { server_min: 1, server_max: 3 },
        Error::TooManyInFlight { limit: 1024 },
        Error::ShuttingDown,
        Error::Overwritten,
        Error::LeadershipLost,
        Error::Timeout { waited_millis: 5000, outcome: Outcome::Unknown },
        Error::Diverged { node: 3, index: 4096 },
        Error::NoSpace { node: 3 },
    ]
}

#[test]
fn an_empty_key_is_refused() {
    let put = Command::Put(Put::new(b"", b"v"));
    assert_eq!(put.validate(&limits()), Err(Error::EmptyKey));
    let delete = Command::Delete(Delete::key(b""));
    assert_eq!(delete.validate(&limits()), Err(Error::EmptyKey));
    assert_eq!(Range::key(b"").validate(&limits()), Err(Error::EmptyKey));
}

#[test]
fn an_empty_prefix_means_every_key() {
    let range = Range::prefix(b"");
    assert_eq!(range.validate(&limits()), Ok(()));
    let span = range.span().expect("every key has a span");
    assert!(span.contains(b"\0") && span.contains(b"\xff\xff"));
}

#[test]
fn the_largest_key_and_value_pass_and_one_byte_more_does_not() {
    let key = vec![b'k'; 4_097];
    let value = vec![b'v'; (1 << 20) + 1];
    let check = |key: &[u8], value: &[u8]| Command::Put(Put::new(key, value)).validate(&limits());
    assert_eq!(check(&key[1..], &value[1..]), Ok(()));
    let key_error = check(&key, b"").expect_err("the key is too large");
    assert_eq!(
        key_error.to_string(),
        "a key of 4097 bytes is above the limit of 4096: use a shorter one"
    );
    let value_error = check(b"k", &value).expect_err("the value is too large");
    assert_eq!(
        value_error.to_string(),
        "a value of 1048577 bytes is above the limit of 1048576: store it in several parts"
    );
}

#[test]
fn the_successor_of_the_longest_key_can_end_a_range() {
    let longest = vec![b'k'; 4_096];
    let successor = [longest.clone(), vec![0]].concat();
    let range = Range::new(longest, successor);
    assert_eq!(range.validate(&limits()), Ok(()));
}

#[test]
fn a_range_limited_to_nothing_is_refused() {
    let mut range = Range::key(b"k");
    range.options.limit = Some(0);
    assert!(matches!(range.validate(&limits()), Err(Error::InvalidOptions { .. })));
}

#[test]
fn a_put_that_keeps_the_value_and_brings_one_is_refused() {
    let put = Command::Put(Put { key: b"k", value: None, lease: LeaseChange::Keep, prev: false });
    let mut bytes = Vec::new();
    put.encode(&mut bytes).expect("the key is short");
    assert_eq!(Command::decode(&bytes), Ok(put));
    bytes.extend_from_slice(b"value");
    assert!(matches!(Command::decode(&bytes), Err(Error::InvalidOptions { .. })));
}

#[test]
fn a_stranger_and_a_newer_client_are_told_why() {
    let mut frame = Vec::new();
    ClientHello::default().write(&mut frame).expect("a hello is short");
    let body = &mut frame[wire::frame::HEADER_BYTES..];
    body[0] ^= 1;
    assert!(matches!(ClientHello::decode(body), Err(Error::Malformed { .. })));
    let mut newer = ClientHello::default();
    (newer.min_version, newer.max_version) = (4, 9);
    assert!(matches!(newer.negotiate(), Err(Error::UnsupportedVersion { .. })));
    (newer.min_version, newer.max_version) = (3, 9);
    assert_eq!(newer.negotiate(), Ok(3), "the newest that both know");
    let mut older = ClientHello::default();
    older.max_version = 1;
    assert_eq!(older.negotiate(), Ok(1), "a client from before goes on working");
    let mut upside_down = ClientHello::default();
    (upside_down.min_version, upside_down.max_version) = (9, 0);
    assert!(upside_down.negotiate().is_err());
}

#[test]
fn the_code_of_an_error_is_its_tag_on_the_wire() {
    for (expected, error) in (0..).zip(one_of_each()) {
        assert_eq!(error.code(), expected, "{error:?}");
        let mut bytes = Vec::new();
        wire::codec::encode(&mut bytes, &error).expect("an error is short");
        assert_eq!(bytes[..4], error.code().to_le_bytes(), "{error:?}");
    }
}

/// A client of version 1 cannot read an error that came later, and would believe that the server
/// speaks another protocol.
#[test]
fn an_older_client_is_told_only_what_it_knows() {
    for error in one_of_each() {
        let told = error.clone().for_version(1);
        assert!(told.code() <= 17, "{error:?} becomes {told:?}");
        assert_eq!((told.is_temporary(), told.outcome()), (error.is_temporary(), error.outcome()));
        assert_eq!(error.clone().for_version(2), error);
    }
}

#[test]
fn every_error_is_one_sentence() {
    for error in one_of_each() {
        let sentence = error.to_string();
        assert!(sentence.len() > 30, "too short to help: {sentence}");
        assert!(!sentence.contains('\n'), "more than a line: {sentence}");
        assert!(!sentence.contains("  "), "a gap: {sentence}");
        assert!(!sentence.ends_with('.'), "it is put into others: {sentence}");
    }
}

#[test]
fn a_redirect_names_the_leader_and_its_address() {
    assert_eq!(
        one_of_each()[1].to_string(),
        "only the leader takes writes: send them to node 2 at 127.0.0.1:9081"
    );
}

#[test]
fn outcomes_and_exit_codes_agree_with_the_table() {
    let unknown = [0, 16, 17];
    let not_found = [8, 9];
    let unavailable = [1, 2, 3, 13, 14, 15, 18, 19];
    for error in one_of_each() {
        let code = error.code();
        let expected = if unknown.contains(&code) {
            ExitCode::Unknown
        } else if not_found.contains(&code) {
            ExitCode::NotFound
        } else if unavailable.contains(&code) {
            ExitCode::Unavailable
        } else {
            ExitCode::Usage
        };
        assert_eq!(ExitCode::of(&error), expected, "{error}");
    }
    let timeout = Error::Timeout { waited_millis: 5, outcome: Outcome::NotApplied };
    assert_eq!(ExitCode::of(&timeout).code(), 4);
}
