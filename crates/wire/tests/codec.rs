//! The layout of the codec, byte by byte, and what it makes of bytes that are not its own.
//!
//! The golden bytes are checked twice: with our codec, and with `serde-wincode`, an independent
//! implementation of the same layout. Should the library behind our codec ever have to be
//! replaced, these tests say that the new one reads what the old one wrote.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_wincode::SerdeCompat;
use wire::codec::{self, MAX_METADATA_BYTES};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Integers {
    a: u8,
    b: u16,
    c: u32,
    d: u64,
    e: i8,
    f: i16,
    g: i32,
    h: i64,
    i: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(u64);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Choice {
    Nothing,
    One(u16),
    Two(u8, Newtype),
    Named { key_bytes: u32, more: bool },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Inner {
    id: Newtype,
    name: String,
    choices: Vec<Choice>,
    pair: (u8, Option<u32>),
    fixed: [u8; 3],
}

// Not recursive: `serde-wincode` cannot be compiled for a type that holds itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Nested {
    inner: Inner,
    maybe: Option<Box<Inner>>,
    table: BTreeMap<u16, bool>,
}

fn integers() -> Integers {
    Integers {
        a: 0x12,
        b: 0x1234,
        c: 0x1234_5678,
        d: 0x1234_5678_9abc_def0,
        e: -2,
        f: -2,
        g: -2,
        h: -2,
        i: true,
    }
}

fn nested() -> Nested {
    let choices = vec![
        Choice::Nothing,
        Choice::One(3),
        Choice::Two(4, Newtype(5)),
        Choice::Named { key_bytes: 6, more: true },
    ];
    Nested {
        inner: Inner {
            id: Newtype(1),
            name: "grün".into(),
            choices,
            pair: (1, Some(2)),
            fixed: [1, 2, 3],
        },
        maybe: Some(Box::new(Inner {
            id: Newtype(2),
            name: String::new(),
            choices: Vec::new(),
            pair: (0, None),
            fixed: [9, 8, 7],
        })),
        table: BTreeMap::from([(1, true), (2, false)]),
    }
}

/// The bytes of a text of hexadecimal digits; white space is for people.
fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|c| !c.is_ascii_whitespace()).collect();
    let digit = |c: &u8| (*c as char).to_digit(16).expect("a hexadecimal digit");
    digits
        .chunks(2)
        .map(|pair| u8::try_from(digit(&pair[0]) << 4 | digit(&pair[1])).expect("two digits"))
        .collect()
}

fn encoded(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    codec::encode(&mut out, value).expect("a small value");
    out
}

/// Both codecs write `golden` for `value`, and read it back from there.
fn check_golden<T>(value: &T, golden: &str)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let golden = unhex(golden);
    assert_eq!(encoded(value), golden);
    assert_eq!(&codec::decode_all::<T>(&golden).expect("ours"), value);

    let theirs = <SerdeCompat<T> as wincode::Serialize>::serialize(value).expect("theirs");
    assert_eq!(theirs, golden);
    let read = <SerdeCompat<T> as wincode::Deserialize>::deserialize(&golden).expect("theirs");
    assert_eq!(&read, value);
}

#[test]
fn integers_stand_in_their_own_width_little_endian() {
    check_golden(
        &integers(),
        "12 3412 78563412 f0debc9a78563412 fe feff feffffff feffffffffffffff 01",
    );
}

#[test]
fn options_are_one_byte_and_the_value() {
    check_golden(&None::<u32>, "00");
    check_golden(&Some(7_u32), "01 07000000");
    check_golden(&Some(Some(false)), "01 01 00");
}

#[test]
fn enums_are_four_bytes_and_the_fields() {
    check_golden(&Choice::Nothing, "00000000");
    check_golden(&Choice::One(3), "01000000 0300");
    check_golden(&Choice::Two(4, Newtype(5)), "02000000 04 0500000000000000");
    let named = Choice::Named { key_bytes: 6, more: true };
    check_golden(&named, "03000000 06000000 01");
}

#[test]
fn sequences_strings_and_maps_stand_behind_an_eight_byte_count() {
    check_golden(&vec![1_u16, 2], "0200000000000000 0100 0200");
    check_golden(&Vec::<u64>::new(), "0000000000000000");
    check_golden(&String::from("grün"), "0500000000000000 6772c3bc6e");
    check_golden(&BTreeMap::from([(1_u8, 2_u8)]), "0100000000000000 01 02");
}

#[test]
fn structs_and_tuples_are_their_fields_and_nothing_between() {
    check_golden(&(1_u8, 2_u32, 3_u8), "01 02000000 03");
    check_golden(&[1_u8, 2, 3], "01 02 03");
    check_golden(
        &nested(),
        "0100000000000000
         0500000000000000 6772c3bc6e
         0400000000000000
           00000000
           01000000 0300
           02000000 04 0500000000000000
           03000000 06000000 01
         01 01 02000000
         010203
         01
           0200000000000000
           0000000000000000
           0000000000000000
           00 00
           090807
         0200000000000000 0100 01 0200 00",
    );
}

#[test]
fn every_prefix_of_a_value_is_refused() {
    let bytes = encoded(&nested());
    for length in 0..bytes.len() {
        let result = codec::decode::<Nested>(&bytes[..length]);
        assert!(result.is_err(), "{length} of {} bytes", bytes.len());
    }
}

#[test]
fn bytes_behind_the_value_are_handed_back_or_refused() {
    let mut bytes = encoded(&integers());
    bytes.extend(b"raw");
    let (value, rest) = codec::decode::<Integers>(&bytes).expect("a whole value");
    assert_eq!((value, rest), (integers(), &b"raw"[..]));
    let error = codec::decode_all::<Integers>(&bytes).expect_err("three bytes too many");
    assert!(error.to_string().contains("3 bytes too many"), "{error}");
}

#[test]
fn an_announced_length_beyond_the_limit_is_refused() {
    for length in [MAX_METADATA_BYTES as u64 + 1, 1 << 32, u64::MAX] {
        let announcing = length.to_le_bytes();
        assert!(codec::decode::<String>(&announcing).is_err());
        assert!(codec::decode::<Vec<u8>>(&announcing).is_err());
        assert!(codec::decode::<Vec<u64>>(&announcing).is_err());
        assert!(codec::decode::<BTreeMap<u64, u64>>(&announcing).is_err());
    }
}

#[test]
fn a_value_beyond_the_limit_is_refused_though_all_its_bytes_are_there() {
    let mut bytes = Vec::new();
    let count = MAX_METADATA_BYTES as u64;
    bytes.extend(count.to_le_bytes());
    bytes.resize(bytes.len() + MAX_METADATA_BYTES, 0);
    assert!(codec::decode::<Vec<u8>>(&bytes).is_err());
}

#[test]
fn tags_that_mean_nothing_are_refused() {
    assert!(codec::decode_all::<bool>(&[2]).is_err());
    assert!(codec::decode_all::<Option<u8>>(&[2, 0]).is_err());
    assert!(codec::decode_all::<Choice>(&[4, 0, 0, 0]).is_err());
    let not_utf8 = unhex("0200000000000000 c328");
    assert!(codec::decode_all::<String>(&not_utf8).is_err());
}

fn any_choice() -> impl Strategy<Value = Choice> {
    prop_oneof![
        Just(Choice::Nothing),
        any::<u16>().prop_map(Choice::One),
        any::<(u8, u64)>().prop_map(|(a, b)| Choice::Two(a, Newtype(b))),
        any::<(u32, bool)>().prop_map(|(key_bytes, more)| Choice::Named { key_bytes, more }),
    ]
}

fn any_inner() -> impl Strategy<Value = Inner> {
    let fields = (any::<u64>(), ".{0,20}", vec(any_choice(), 0..8));
    (fields, any::<(u8, Option<u32>)>(), any::<[u8; 3]>()).prop_map(
        |((id, name, choices), pair, fixed)| Inner { id: Newtype(id), name, choices, pair, fixed },
    )
}

fn any_nested() -> impl Strategy<Value = Nested> {
    let table = proptest::collection::btree_map(any::<u16>(), any::<bool>(), 0..5);
    let maybe = option::of(any_inner().prop_map(Box::new));
    (any_inner(), maybe, table).prop_map(|(inner, maybe, table)| Nested { inner, maybe, table })
}

proptest! {
    #[test]
    fn values_come_back_as_they_were_and_both_codecs_agree(value in any_nested()) {
        let bytes = encoded(&value);
        let theirs = <SerdeCompat<Nested> as wincode::Serialize>::serialize(&value);
        prop_assert_eq!(&theirs.expect("theirs"), &bytes);
        prop_assert_eq!(codec::decode_all::<Nested>(&bytes).expect("ours"), value);
    }

    #[test]
    fn any_bytes_are_refused_or_are_the_one_form_of_a_value(
        count in 0..4_u64,
        pieces in vec((0..5_u32, vec(0..3_u8, 0..10)), 0..4),
    ) {
        let mut bytes = count.to_le_bytes().to_vec();
        for (tag, fields) in pieces {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(fields);
        }
        if let Ok((value, rest)) = codec::decode::<Vec<Choice>>(&bytes) {
            prop_assert_eq!(encoded(&value), &bytes[..bytes.len() - rest.len()]);
        }
    }

    #[test]
    fn damaged_values_decode_or_are_refused_and_never_panic(
        value in any_nested(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encoded(&value);
        let at = place.index(bytes.len());
        bytes[at] = byte;
        let _ = codec::decode_all::<Nested>(&bytes);
    }
}
