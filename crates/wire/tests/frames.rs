//! Whatever a stream holds, and however it is cut into reads: frames come out whole and in order,
//! or the damage is noticed; and memory grows with what has arrived, never with what was announced.

use std::io::{self, Read};

use proptest::collection::vec;
use proptest::prelude::*;
use wire::checksum;
use wire::frame::{FrameError, FrameReader, HEADER_BYTES, write_frame};

/// The limit on bodies used throughout, in bytes.
const LIMIT_BYTES: usize = 64 << 10;

/// The most a reader may hold: one frame of the largest size, and as much again read ahead.
const MOST_HELD_BYTES: usize = 4 * (LIMIT_BYTES + HEADER_BYTES);

/// A stream that gives its bytes in pieces of the sizes asked for, over and over.
struct Pieces<'a> {
    bytes: &'a [u8],
    sizes: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl<'a> Pieces<'a> {
    fn new(bytes: &'a [u8], sizes: &'a [usize]) -> Self {
        Self { bytes, sizes: sizes.iter().cycle() }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes.next().copied().unwrap_or(1);
        let count = size.min(room.len()).min(self.bytes.len());
        let (now, later) = self.bytes.split_at(count);
        room[..count].copy_from_slice(now);
        self.bytes = later;
        Ok(count)
    }
}

/// Everything a reader makes of a stream: the bodies, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    bodies: Vec<Vec<u8>>,
    error: Option<FrameError>,
    partial: bool,
    most_held_bytes: usize,
}

fn take_all(bytes: &[u8], sizes: &[usize]) -> Taken {
    let mut stream = Pieces::new(bytes, sizes);
    let mut reader = FrameReader::new(LIMIT_BYTES);
    let mut taken = Taken { bodies: Vec::new(), error: None, partial: false, most_held_bytes: 0 };
    loop {
        let count = reader.fill(&mut stream).expect("a stream in memory");
        taken.most_held_bytes = taken.most_held_bytes.max(reader.held_bytes());
        loop {
            match reader.next_frame() {
                Ok(Some(body)) => taken.bodies.push(body.to_vec()),
                Ok(None) => break,
                Err(error) => {
                    taken.error = Some(error);
                    return taken;
                }
            }
        }
        if count == 0 {
            taken.partial = reader.has_partial();
            return taken;
        }
    }
}

/// A frame whose body is exactly `body`: the metadata is empty.
fn frame(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(&mut out, &(), &[body]).expect("a small frame");
    out
}

/// A header that is right in itself, whatever follows it.
fn announcing(length: u32) -> Vec<u8> {
    let mut header = length.to_le_bytes().to_vec();
    header.extend(checksum(&length.to_le_bytes()).to_le_bytes());
    header.extend([0; 4]);
    header
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_never_panic_and_never_take_more_memory_than_the_limit(
        bodies in vec(vec(any::<u8>(), 0..3_000), 0..4),
        announced in prop_oneof![1..=u32::MAX, 1..=64_u32 << 10],
        bytes in vec(any::<u8>(), 0..2 * LIMIT_BYTES),
        sizes in vec(1..5_000_usize, 1..8),
    ) {
        let mut stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
        stream.extend(announcing(announced));
        stream.extend(bytes);
        let taken = take_all(&stream, &sizes);
        prop_assert_eq!(taken.bodies, bodies);
        prop_assert!(taken.most_held_bytes <= MOST_HELD_BYTES);
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_the_stream_is_cut(
        bodies in vec(vec(any::<u8>(), 0..3_000), 0..20),
        sizes in vec(1..9_000_usize, 1..8),
    ) {
        let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
        let taken = take_all(&stream, &sizes);
        prop_assert_eq!(taken.error, None);
        prop_assert!(!taken.partial);
        prop_assert_eq!(taken.bodies, bodies);
    }

    #[test]
    fn good_frames_before_garbage_are_handed_out_and_the_garbage_is_not(
        bodies in vec(vec(any::<u8>(), 0..300), 1..5),
        garbage in vec(any::<u8>(), HEADER_BYTES..200),
        sizes in vec(1..400_usize, 1..8),
    ) {
        let mut stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
        stream.extend(garbage);
        let taken = take_all(&stream, &sizes);
        prop_assert_eq!(taken.bodies, bodies);
        prop_assert!(taken.error.is_some());
    }

    #[test]
    fn a_stream_cut_anywhere_gives_the_frames_before_the_cut(
        bodies in vec(vec(any::<u8>(), 0..300), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let frames: Vec<Vec<u8>> = bodies.iter().map(|body| frame(body)).collect();
        let stream = frames.concat();
        let cut = cut.index(stream.len());
        let mut whole = 0;
        let complete = frames
            .iter()
            .take_while(|frame| {
                whole += frame.len();
                whole <= cut
            })
            .count();
        let taken = take_all(&stream[..cut], &[700]);
        prop_assert_eq!(taken.error, None);
        prop_assert_eq!(&taken.bodies, &bodies[..complete]);
        let bytes_before: usize = frames[..complete].iter().map(Vec::len).sum();
        prop_assert_eq!(taken.partial, bytes_before < cut);
    }
}

#[test]
fn a_bit_flipped_anywhere_in_a_frame_is_noticed() {
    let good = frame(b"put colour green");
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let taken = take_all(&bad, &[1 << 20]);
        let expected = match bit / 8 {
            0..8 => FrameError::NotAFrame,
            _ => FrameError::BadChecksum,
        };
        assert_eq!(taken.error, Some(expected), "bit {bit}");
        assert!(taken.bodies.is_empty(), "bit {bit}");
    }
}

#[test]
fn a_frame_that_announces_4_gib_is_refused_at_its_header() {
    let taken = take_all(&announcing(u32::MAX), &[1 << 20]);
    let expected = FrameError::TooLarge { announced: u32::MAX, limit: LIMIT_BYTES };
    assert_eq!(taken.error, Some(expected));
    assert!(taken.most_held_bytes <= 8 << 10, "no memory for it");
}

#[test]
fn the_limit_is_exact() {
    let largest = vec![7; LIMIT_BYTES];
    assert_eq!(take_all(&frame(&largest), &[1 << 20]).bodies, [largest]);

    let one_more = take_all(&frame(&vec![7; LIMIT_BYTES + 1]), &[1 << 20]);
    assert!(matches!(one_more.error, Some(FrameError::TooLarge { .. })));
}

#[test]
fn a_large_announcement_takes_memory_only_as_the_bytes_arrive() {
    let mut stream = announcing(u32::try_from(LIMIT_BYTES).expect("it fits"));
    stream.extend([0; 1000]);
    let taken = take_all(&stream, &[100]);
    assert!(taken.partial && taken.error.is_none());
    assert!(taken.most_held_bytes <= 8 << 10);
}

#[test]
fn memory_is_given_back_after_a_large_frame() {
    let limit = 4 << 20;
    let large = frame(&vec![1; limit]);
    let small = frame(b"small");
    let mut reader = FrameReader::new(limit);
    let mut stream = Read::chain(&large[..], &small[..]);
    // Room is made for more than what arrived of the large frame, so the small one may be read
    // together with its end; what counts is the state once everything has been handed out.
    loop {
        let count = reader.fill(&mut stream).expect("a stream in memory");
        while reader.next_frame().expect("good frames").is_some() {}
        if count == 0 {
            break;
        }
    }
    assert!(reader.held_bytes() <= 128 << 10, "{}", reader.held_bytes());
}

#[test]
fn metadata_stands_before_the_raw_pieces() {
    let mut out = vec![0xEE];
    write_frame(&mut out, &(7_u16, true), &[b"key", b"", b"value"]).expect("a small frame");
    assert_eq!(out[0], 0xEE, "what was there before stays");
    let taken = take_all(&out[1..], &[1 << 20]);
    assert_eq!(taken.bodies, [b"\x07\x00\x01keyvalue"]);
}

#[test]
fn metadata_beyond_its_limit_is_refused_and_leaves_the_buffer_as_it_was() {
    let mut out = vec![0xEE];
    let too_much = vec![0_u64; wire::codec::MAX_METADATA_BYTES / 8];
    let error = write_frame(&mut out, &too_much, &[]).expect_err("8 bytes too many");
    assert!(error.to_string().contains("1048576"), "{error}");
    assert_eq!(out, [0xEE]);
}
