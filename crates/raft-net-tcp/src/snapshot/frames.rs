//! What is said on the connection of a snapshot, behind the greeting. `docs/format.md`,
//! "Snapshots between nodes", states every byte.

use raft_core::{Body, Message};
use serde::{Deserialize, Serialize};
use wire::codec::{self, CodecError};
use wire::frame::write_frame;

use crate::format::FormatError;
use crate::mirror::{self, ReadMessage, WireMessage};

/// What the metadata of a piece takes in the body of its frame.
pub(crate) const PIECE_OVERHEAD_BYTES: usize = 4 + 8;

/// The most that an offer takes: the members of any cluster fit.
pub(crate) const MAX_OFFER_BYTES: usize = 64 << 10;

/// The most that an answer takes.
pub(crate) const MAX_ANSWER_BYTES: usize = 1024;

/// The longest sentence of a refusal.
const MAX_SENTENCE_BYTES: usize = 512;

/// From the sender. The order of the variants is their number.
#[derive(Debug, Serialize, Deserialize)]
enum WireSaid<M> {
    Offer { id: u64, message: M },
    Piece { number: u64 },
    End { pieces: u64 },
}

/// The same, with the bytes that stand behind the metadata.
#[derive(Debug)]
pub(crate) enum Said<'a> {
    /// A snapshot of this name could be sent, which belongs to this message.
    Offer { id: u64, message: Message },
    /// A piece.
    Piece { number: u64, bytes: &'a [u8] },
    /// There are so many pieces.
    End { pieces: u64 },
}

/// From the receiver. The order of the variants is their number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// This piece is due: all before it were taken in. Said again, it asks for patience.
    Next { piece: u64 },
    /// The snapshot has served its purpose.
    Done,
    /// The snapshot is of no use here.
    Refused { sentence: String },
}

pub(crate) fn offer(out: &mut Vec<u8>, id: u64, message: &Message) -> Result<(), FormatError> {
    mirror::check(message)?;
    let message = WireMessage::of(message);
    Ok(write_frame(out, &WireSaid::Offer { id, message }, &[])?)
}

pub(crate) fn piece(out: &mut Vec<u8>, number: u64, bytes: &[u8]) -> Result<(), FormatError> {
    Ok(write_frame(out, &WireSaid::<()>::Piece { number }, &[bytes])?)
}

pub(crate) fn end(out: &mut Vec<u8>, pieces: u64) -> Result<(), FormatError> {
    Ok(write_frame(out, &WireSaid::<()>::End { pieces }, &[])?)
}

pub(crate) fn read_said(body: &[u8]) -> Result<Said<'_>, FormatError> {
    let (said, mut rest) = codec::decode::<WireSaid<ReadMessage>>(body)?;
    let said = match said {
        WireSaid::Piece { number } => return Ok(Said::Piece { number, bytes: rest }),
        WireSaid::End { pieces } => Said::End { pieces },
        WireSaid::Offer { id, message } => Said::Offer { id, message: message.read(&mut rest)? },
    };
    match (&said, rest.len()) {
        (Said::Offer { message, .. }, _) if !matches!(message.body, Body::Snapshot(_)) => {
            Err(FormatError::NotASnapshot)
        }
        (_, 0) => Ok(said),
        (_, count) => Err(FormatError::BytesLeftOver { count }),
    }
}

pub(crate) fn answer(answer: &Answer) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    write_frame(&mut out, answer, &[])?;
    Ok(out)
}

/// A refusal with this sentence, or as much of it as fits.
pub(crate) fn refusal(sentence: &str) -> Answer {
    let mut end = sentence.len().min(MAX_SENTENCE_BYTES);
    while !sentence.is_char_boundary(end) {
        end -= 1;
    }
    Answer::Refused { sentence: sentence[..end].to_owned() }
}

pub(crate) fn read_answer(body: &[u8]) -> Result<Answer, FormatError> {
    Ok(codec::decode_all(body)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use raft_core::{ClusterConfig, Index, NodeId, Position, Snapshot, Term};

    use super::*;

    fn message(body: Body) -> Message {
        Message { from: NodeId::new(1), to: NodeId::new(2), term: Term::new(3), body }
    }

    fn snapshot() -> Message {
        let cluster = ClusterConfig::of_voters([1, 2, 3].map(NodeId::new));
        let at = Position::new(Term::new(2), Index::new(40));
        message(Body::Snapshot(Snapshot { at, cluster: Arc::new(cluster) }))
    }

    /// The body of the one frame in `frame`.
    fn body(frame: &[u8]) -> &[u8] {
        &frame[wire::frame::HEADER_BYTES..]
    }

    #[test]
    fn what_is_said_comes_back() {
        let mut out = Vec::new();
        offer(&mut out, 9, &snapshot()).expect("small");
        let said = read_said(body(&out)).expect("ours");
        assert!(matches!(said, Said::Offer { id: 9, message } if message == snapshot()));
        out.clear();
        piece(&mut out, 7, b"bytes").expect("small");
        assert_eq!(body(&out).len(), PIECE_OVERHEAD_BYTES + 5);
        let said = read_said(body(&out)).expect("ours");
        assert!(matches!(said, Said::Piece { number: 7, bytes: b"bytes" }));
        out.clear();
        end(&mut out, 8).expect("small");
        assert!(matches!(read_said(body(&out)).expect("ours"), Said::End { pieces: 8 }));
        for said in [Answer::Next { piece: 4 }, Answer::Done, refusal("no room")] {
            let frame = answer(&said).expect("small");
            assert_eq!(read_answer(body(&frame)), Ok(said));
        }
    }

    #[test]
    fn what_is_no_snapshot_and_what_is_cut_short_is_refused() {
        let mut out = Vec::new();
        offer(&mut out, 9, &message(Body::VoteReply { granted: true })).expect("small");
        assert!(matches!(read_said(body(&out)), Err(FormatError::NotASnapshot)));
        out.clear();
        offer(&mut out, 9, &snapshot()).expect("small");
        for cut in 0..body(&out).len() {
            assert!(read_said(&body(&out)[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_refusal_of_any_length_fits_the_answer() {
        let long = "é".repeat(2000);
        let frame = answer(&refusal(&long)).expect("small");
        assert!(body(&frame).len() <= MAX_ANSWER_BYTES);
    }
}
