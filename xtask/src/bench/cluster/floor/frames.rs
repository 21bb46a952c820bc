//! How many bytes are sent: those of our own nodes, for keys as `kv-cli bench` has them.

use std::io::{self, Read};

/// A request beside its value: frame, metadata and key.
const REQUEST_OVERHEAD_BYTES: usize = 59;

/// What answers one.
pub(super) const ANSWER_BYTES: usize = 61;

/// The longest value.
pub(super) const MAX_VALUE_BYTES: usize = 1 << 20;

/// What stands before the requests that are passed on together.
pub(super) const HEADER_BYTES: usize = 72;

/// What tells the leader how far a follower's file goes.
const ACKNOWLEDGED_BYTES: usize = 60;

/// The longest batch, with room to spare: a leader passes on a MiB, and what one client sent.
const MAX_BATCH_BYTES: u64 = 4 << 20;

/// A number at the start of both.
const NUMBER_BYTES: usize = 8;

/// A request with a value of so many bytes.
pub(super) const fn request_bytes(value_bytes: usize) -> usize {
    REQUEST_OVERHEAD_BYTES + value_bytes
}

/// Puts into a batch, which begins with room for its header, how long it is.
pub(super) fn seal(batch: &mut [u8]) {
    let body = (batch.len() - HEADER_BYTES) as u64;
    batch[..NUMBER_BYTES].copy_from_slice(&body.to_le_bytes());
}

/// The next batch, header included.
pub(super) fn read_batch(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header)?;
    let body = number(&header);
    if body > MAX_BATCH_BYTES {
        return Err(io::Error::other(format!("a batch of {body} bytes is too long")));
    }
    let mut batch = Vec::with_capacity(HEADER_BYTES + usize::try_from(body).unwrap_or(0));
    batch.extend_from_slice(&header);
    let read = stream.take(body).read_to_end(&mut batch)?;
    if read as u64 == body { Ok(batch) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// All bytes up to `position` are synced.
pub(super) fn acknowledgement(position: u64) -> [u8; ACKNOWLEDGED_BYTES] {
    let mut frame = [0; ACKNOWLEDGED_BYTES];
    frame[..NUMBER_BYTES].copy_from_slice(&position.to_le_bytes());
    frame
}

/// The position of the next acknowledgement.
pub(super) fn read_acknowledgement(stream: &mut impl Read) -> io::Result<u64> {
    let mut frame = [0; ACKNOWLEDGED_BYTES];
    stream.read_exact(&mut frame)?;
    Ok(number(&frame))
}

fn number(frame: &[u8]) -> u64 {
    let digits = frame.iter().take(NUMBER_BYTES).rev();
    digits.fold(0, |number, digit| number << 8 | u64::from(*digit))
}
