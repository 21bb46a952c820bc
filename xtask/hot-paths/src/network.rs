//! raft-net-tcp: an append of 16 entries as a frame, and back.

use std::hint::black_box;

use raft_core::{Body, Index, Message, NodeId, Position};
use raft_net_tcp::format::{Packet, decode, encode_messages};

use crate::samples::{self, TERM};
use crate::stream::Stream;

const ENTRIES: u64 = 16;

/// From the message to the bytes that the socket gets.
pub(crate) fn write_append() -> Box<dyn FnMut()> {
    let messages = [append()];
    let mut unsent = Vec::new();
    Box::new(move || {
        unsent.clear();
        encode_messages(&mut unsent, &messages).expect("it keeps to the limits");
        black_box(&unsent);
    })
}

/// From the bytes of the socket to the message, with its commands where they stay.
pub(crate) fn read_append() -> Box<dyn FnMut()> {
    let mut frame = Vec::new();
    encode_messages(&mut frame, &[append()]).expect("it keeps to the limits");
    let mut stream = Stream::of(frame);
    Box::new(move || {
        let packet = decode(stream.next_body()).expect("it was encoded");
        let Packet::Messages(messages) = &packet else { panic!("{packet:?} came back") };
        let Body::Append { entries, .. } = &messages[0].body else { panic!("{messages:?}") };
        assert_eq!(entries.len() as u64, ENTRIES);
        black_box(packet);
    })
}

fn append() -> Message {
    let prev = Position::new(TERM, Index::new(7));
    let entries = samples::entries(prev.index, ENTRIES);
    let body = Body::Append { prev, entries, commit: prev.index };
    Message { from: NodeId::new(1), to: NodeId::new(2), term: TERM, body }
}
