//! Believing nothing of a snapshot.

use std::io::Read;

use super::SnapshotError;
use super::piece::{Piece, Totals, read_piece, take_record};
use crate::digest::Digest;
use crate::disk::{Cursor, Position, Record, State};

/// What a snapshot holds, when all of it is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The position of the log that it shows the store at.
    pub position: Position,
    /// The revision of the store there.
    pub revision: u64,
    /// The state digest there.
    pub state_digest: u64,
    /// The versions of keys in it, old ones included.
    pub records: u64,
    /// The members of the cluster, as the log gave them; empty if it never did.
    pub members: Vec<u8>,
}

/// Takes pieces in their order.
#[derive(Debug)]
pub(crate) struct Checker {
    due: u64,
    state: Option<State>,
    /// The least number that the next record may have.
    next_seq: u64,
    digest: Digest,
    records: u64,
    is_done: bool,
}

impl Checker {
    pub(crate) fn new() -> Self {
        Self { due: 0, state: None, next_seq: 0, digest: Digest::EMPTY, records: 0, is_done: false }
    }

    /// The number of the piece that is due.
    pub(crate) fn due(&self) -> u64 {
        self.due
    }

    /// Takes the piece that is due, and hands out its records, if it has any. After an error,
    /// everything is as before.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Vec<u8>, SnapshotError> {
        let damaged = |what| SnapshotError::Damaged { due: self.due, what };
        let mut records = Vec::new();
        match (Piece::decode(self.due, bytes)?, &self.state) {
            _ if self.is_done => return Err(damaged("something follows the end")),
            (Piece::Header(state), None) => self.state = Some(state),
            (Piece::Chunk(chunk), Some(state)) => {
                let (next_seq, digest, count) = self.check_records(state, &chunk)?;
                (self.next_seq, self.digest) = (next_seq, digest);
                self.records += count;
                records = chunk;
            }
            (Piece::End(totals), Some(_)) => {
                if totals != (Totals { records: self.records, digest: self.digest.get() }) {
                    return Err(damaged("what came does not amount to what was sent"));
                }
                self.is_done = true;
            }
            _ => return Err(damaged("it is not of the kind that is due")),
        }
        self.due += 1;
        Ok(records)
    }

    fn check_records(
        &self,
        state: &State,
        chunk: &[u8],
    ) -> Result<(u64, Digest, u64), SnapshotError> {
        let damaged = |what| SnapshotError::Damaged { due: self.due, what };
        let (mut next_seq, mut digest, mut count) = (self.next_seq, self.digest, 0);
        let mut cursor = Cursor(chunk);
        while !cursor.is_empty() {
            let (seq, bytes) = take_record(&mut cursor).ok_or(damaged("a record is cut short"))?;
            if seq < next_seq || seq >= state.mark.next_seq {
                return Err(damaged("its records are not in order"));
            }
            let record = Record::decode(bytes).ok_or(damaged("a record cannot be read"))?;
            if record.modified > state.mark.revision {
                return Err(damaged("a record is of a later revision than the state"));
            }
            next_seq = seq + 1;
            digest.number(seq);
            digest.bytes(bytes);
            count += 1;
        }
        Ok((next_seq, digest, count))
    }

    /// What came, once all of it did.
    pub(crate) fn finish(self) -> Result<(State, Totals), SnapshotError> {
        match self.state {
            Some(state) if self.is_done => {
                Ok((state, Totals { records: self.records, digest: self.digest.get() }))
            }
            _ => Err(SnapshotError::Unfinished { due: self.due }),
        }
    }
}

/// Checks a snapshot piece by piece, without making a store of it.
#[derive(Debug)]
pub struct Verifier(Checker);

impl Default for Verifier {
    fn default() -> Self {
        Self(Checker::new())
    }
}

impl Verifier {
    /// Takes the piece that is due; the first has number 0.
    ///
    /// # Errors
    ///
    /// If it is damaged, or another one. That changes nothing: the right one can still come.
    pub fn take(&mut self, piece: &[u8]) -> Result<(), SnapshotError> {
        self.0.take(piece).map(|_| ())
    }

    /// The number of the piece that is due.
    pub fn due(&self) -> u64 {
        self.0.due()
    }

    /// What all of it is.
    ///
    /// # Errors
    ///
    /// If a piece is missing.
    pub fn finish(self) -> Result<Summary, SnapshotError> {
        let (state, totals) = self.0.finish()?;
        Ok(Summary {
            position: state.mark.position,
            revision: state.mark.revision.get(),
            state_digest: state.mark.digest,
            records: totals.records,
            members: state.members.to_vec(),
        })
    }
}

/// Checks all of a snapshot, as it stands in a file, without making a store of it.
///
/// # Errors
///
/// If it cannot be read, is damaged, or not whole.
pub fn verify(from: &mut impl Read) -> Result<Summary, SnapshotError> {
    let mut verifier = Verifier::default();
    while let Some(piece) = read_piece(from).map_err(SnapshotError::Source)? {
        verifier.take(&piece)?;
    }
    verifier.finish()
}
