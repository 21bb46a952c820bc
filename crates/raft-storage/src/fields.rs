//! Fixed-width little-endian fields at fixed places: the headers are laid out by hand.

/// The 32-bit field at `at`; 0 where `bytes` ends before, which no checked block does.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(field) => u32::from_le_bytes(*field),
        None => 0,
    }
}

/// The 64-bit field at `at`; 0 where `bytes` ends before.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(field) => u64::from_le_bytes(*field),
        None => 0,
    }
}

/// Writes a 32-bit field.
pub(crate) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Writes a 64-bit field.
pub(crate) fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}
