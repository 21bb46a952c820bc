//! What the file of peers may have become: whatever it is, it is refused or understood, and what
//! was understood is written in the same bytes.

use raft_net_tcp::peers_file::{MAX_FILE_BYTES, decode, encode};

/// What is read, as bytes that say the same; `None` if it is refused.
pub(crate) type Decoder = fn(bytes: &[u8]) -> Option<Vec<u8>>;

/// Reads the file.
pub(crate) fn read(bytes: &[u8]) -> Option<Vec<u8>> {
    decode(bytes).ok().map(|peers| encode(&peers))
}

/// Most changes of a good file only break its last checksum: these bytes are tried with one that
/// fits as well.
///
/// # Errors
///
/// What is wrong with the decoder.
pub(crate) fn check(bytes: &[u8], decoder: Decoder) -> Result<(), String> {
    check_one(bytes, decoder)?;
    match bytes.split_last_chunk::<4>() {
        Some((body, _)) => {
            let checksum = wire::checksum(body).to_le_bytes();
            check_one(&[body, &checksum].concat(), decoder)
        }
        None => Ok(()),
    }
}

fn check_one(bytes: &[u8], decoder: Decoder) -> Result<(), String> {
    match decoder(bytes) {
        Some(_) if bytes.len() > MAX_FILE_BYTES => Err("a file beyond the limit".to_owned()),
        Some(again) if again != bytes => {
            Err(format!("it was read as something else: {bytes:02x?} and {again:02x?}"))
        }
        _ => Ok(()),
    }
}
