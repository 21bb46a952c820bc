//! Frames: a header of [`HEADER_BYTES`] bytes, then a body.
//!
//! ```text
//! offset  size  what
//!      0     4  length of the body in bytes, little endian
//!      4     4  CRC-32C of the four bytes before
//!      8     4  CRC-32C of the body
//!     12     n  body: metadata (see `codec`), then raw bytes
//! ```
//!
//! The length has a checksum of its own, so that a damaged or a foreign one is noticed at once
//! instead of being waited for, and a limit, so that a hostile one takes no memory.

use std::fmt;
use std::io::{self, Read};

use serde::Serialize;

use crate::checksum;
use crate::codec::{self, CodecError};

/// The size of a frame's header.
pub const HEADER_BYTES: usize = 12;

/// Appends one whole frame to `out`: `metadata`, then the `raw` pieces behind it.
///
/// # Errors
///
/// If the metadata cannot be encoded, or the body would not fit a 32-bit length. `out` is left as
/// it was.
pub fn write_frame(
    out: &mut Vec<u8>,
    metadata: &impl Serialize,
    raw: &[&[u8]],
) -> Result<(), CodecError> {
    write_frame_of(out, metadata, raw.iter().copied())
}

/// As [`write_frame`], for raw pieces that are not side by side: they need not be collected.
///
/// # Errors
///
/// As there.
pub fn write_frame_of<'a>(
    out: &mut Vec<u8>,
    metadata: &impl Serialize,
    raw: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(), CodecError> {
    let start = out.len();
    let body = start + HEADER_BYTES;
    out.resize(body, 0);
    let written = codec::encode(out, metadata).and_then(|()| {
        for piece in raw {
            out.extend_from_slice(piece);
        }
        u32::try_from(out.len() - body).map_err(|_| CodecError::too_long())
    });
    match written {
        Ok(length) => {
            let header = header(length, checksum(&out[body..]));
            out[start..body].copy_from_slice(&header);
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

fn header(length: u32, body_checksum: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let length = length.to_le_bytes();
    header[0..4].copy_from_slice(&length);
    header[4..8].copy_from_slice(&checksum(&length).to_le_bytes());
    header[8..12].copy_from_slice(&body_checksum.to_le_bytes());
    header
}

/// Takes frames off a stream. One buffer serves a connection for its life; it grows with what has
/// arrived, never with what was announced, and gives memory back after a large frame.
#[derive(Debug)]
pub struct FrameReader {
    max_body_bytes: usize,
    buffer: Vec<u8>,
    /// What lies before this has been handed out.
    start: usize,
    /// What lies between `start` and this has arrived; the rest is room.
    end: usize,
    /// The last read used up all the room it had: the next one gets more.
    was_full: bool,
}

/// The buffer of a connection that says little: ten thousand of them take 40 MiB.
const SMALL_BYTES: usize = 4 << 10;

/// The room a busy connection gets for one read.
const BUSY_BYTES: usize = 64 << 10;

impl FrameReader {
    /// A reader for frames whose body has at most `max_body_bytes`.
    pub fn new(max_body_bytes: usize) -> Self {
        Self { max_body_bytes, buffer: Vec::new(), start: 0, end: 0, was_full: false }
    }

    /// Changes the limit for the frames to come, as after a handshake.
    pub fn set_max_body_bytes(&mut self, max_body_bytes: usize) {
        self.max_body_bytes = max_body_bytes;
    }

    /// Reads once from `stream` and keeps what came; returns how many bytes that were, 0 at the
    /// end of the stream.
    ///
    /// # Errors
    ///
    /// What `stream` returned, `WouldBlock` and time-outs among them; nothing read before is lost.
    pub fn fill(&mut self, stream: &mut impl Read) -> io::Result<usize> {
        self.make_room();
        let count = stream.read(&mut self.buffer[self.end..])?;
        self.end += count;
        self.was_full = self.end == self.buffer.len();
        Ok(count)
    }

    /// The body of the next frame, if all of it has arrived.
    ///
    /// # Errors
    ///
    /// If what arrived is no frame, or one beyond the limit. The stream cannot be used further:
    /// there is no telling where the next frame begins.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let Some(header) = self.arrived().first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let (announced, length_checksum, body_checksum) = (word(0), word(4), word(8));
        if checksum(&header[0..4]) != length_checksum {
            return Err(FrameError::NotAFrame);
        }
        let length = announced as usize;
        if length > self.max_body_bytes {
            return Err(FrameError::TooLarge { announced, limit: self.max_body_bytes });
        }
        if self.arrived().len() < HEADER_BYTES + length {
            return Ok(None);
        }
        let body = self.start + HEADER_BYTES..self.start + HEADER_BYTES + length;
        self.start = body.end;
        let body = &self.buffer[body];
        if checksum(body) != body_checksum {
            return Err(FrameError::BadChecksum);
        }
        Ok(Some(body))
    }

    /// Whether a part of a frame is waiting for the rest.
    pub fn has_partial(&self) -> bool {
        self.start < self.end
    }

    /// How much memory the buffer takes now, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.buffer.len()
    }

    fn arrived(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Makes sure that something can be read behind `end`. Twice what was there keeps the work
    /// linear and the memory in step with what has really arrived.
    fn make_room(&mut self) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let is_idle = self.end == 0;
        let size = self.buffer.len();
        if is_idle && size > 2 * BUSY_BYTES {
            self.buffer = vec![0; BUSY_BYTES];
        } else if size == 0 || self.end == size || (self.was_full && size < BUSY_BYTES) {
            self.buffer.resize((2 * size).max(SMALL_BYTES), 0);
        }
    }
}

/// Bytes on a stream that are not a frame of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The length does not match its checksum: not our protocol, or damaged.
    NotAFrame,
    /// The frame is larger than what is accepted here.
    TooLarge {
        /// The length it announced, in bytes.
        announced: u32,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The body does not match its checksum.
    BadChecksum,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFrame => write!(f, "not a frame of this protocol"),
            Self::TooLarge { announced, limit } => {
                write!(f, "a frame of {announced} bytes, above the limit of {limit}")
            }
            Self::BadChecksum => write!(f, "a frame whose checksum does not match"),
        }
    }
}

impl std::error::Error for FrameError {}
