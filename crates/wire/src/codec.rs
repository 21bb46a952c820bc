//! The bounded codec: fixed-width little-endian integers, no padding, nothing implied.
//!
//! The layout is bincode's "legacy" one, which `docs/format.md` states in full: integers in their
//! own width, little endian; `bool` and the tag of `Option` one byte; the variant of an enum four
//! bytes; sequences, strings and maps behind an eight-byte count; structs and tuples as their
//! fields, one after the other.

use std::fmt;

use bincode::config::{Configuration, Fixint, Limit, LittleEndian, legacy};
use bincode::serde::{decode_from_slice, encode_into_std_write};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes of metadata that are ever decoded at once: 1 MiB. Raw bytes behind it do not
/// count.
pub const MAX_METADATA_BYTES: usize = 1 << 20;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<MAX_METADATA_BYTES>> =
    legacy().with_limit::<MAX_METADATA_BYTES>();

/// Appends the bytes of `value` to `out`.
///
/// # Errors
///
/// If the value would take more than [`MAX_METADATA_BYTES`], or its type refuses to be
/// serialised. `out` may then have a part of it at its end.
pub fn encode(out: &mut Vec<u8>, value: &impl Serialize) -> Result<(), CodecError> {
    let start = out.len();
    encode_into_std_write(value, out, CONFIG).map_err(|error| CodecError(error.to_string()))?;
    if out.len() - start > MAX_METADATA_BYTES {
        return Err(CodecError(format!("metadata above its limit of {MAX_METADATA_BYTES} bytes")));
    }
    Ok(())
}

/// Takes a value off the front of `bytes`; returns it with what lies behind it.
///
/// # Errors
///
/// If `bytes` ends early, or holds something else. No announced length makes it allocate more
/// than [`MAX_METADATA_BYTES`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), CodecError> {
    let (value, used) =
        decode_from_slice(bytes, CONFIG).map_err(|error| CodecError(error.to_string()))?;
    Ok((value, &bytes[used..]))
}

/// Takes a value that fills `bytes` to the last one.
///
/// # Errors
///
/// As [`decode`], and if something lies behind the value.
pub fn decode_all<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    match decode(bytes)? {
        (value, []) => Ok(value),
        (_, rest) => Err(CodecError(format!("{} bytes too many", rest.len()))),
    }
}

impl CodecError {
    pub(crate) fn too_long() -> Self {
        Self("a body above 4 GiB".into())
    }
}

/// Bytes that are not what they should be, or a value that cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecError(String);

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed metadata: {}", self.0)
    }
}

impl std::error::Error for CodecError {}
