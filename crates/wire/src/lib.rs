//! Frames, checksums and the bounded codec: the one way in which this project turns values into
//! bytes and bytes from outside into values.
//!
//! * [`codec`] turns small metadata into bytes and back, with a limit that is enforced before
//!   anything is allocated. It is the only user of `bincode` in the project.
//! * [`frame`] puts a checksummed header before a body, and takes frames off a stream whose every
//!   byte may be wrong.
//!
//! The rule of every format built on it: **metadata through the codec, keys and values raw behind
//! it.** A large value is never walked byte by byte by a serializer, and its length never decides
//! an allocation before that many bytes have arrived.
//!
//! What this crate does not do: it knows no message of the project, opens no file and no socket,
//! and compresses nothing.

pub mod codec;
pub mod frame;

/// CRC-32C (Castagnoli) of `bytes`, with the processor's instruction where it has one.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// The checksum of what was summed up in `so_far`, followed by `bytes`.
pub fn checksum_append(so_far: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(so_far, bytes)
}
