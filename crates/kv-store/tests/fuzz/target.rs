//! Snapshots that somebody else has made: whatever their pieces are, they are refused or taken, and
//! a piece that is refused changes nothing.

use kv_store::snapshot::{SnapshotError, Verifier};

/// What takes pieces.
pub(crate) trait Decoder: Default {
    /// Takes the piece that is due.
    fn take(&mut self, piece: &[u8]) -> Result<(), SnapshotError>;
    /// The number of the piece that is due.
    fn due(&self) -> u64;
    /// Whether all of it came.
    fn ends_whole(self) -> bool;
}

impl Decoder for Verifier {
    fn take(&mut self, piece: &[u8]) -> Result<(), SnapshotError> {
        Self::take(self, piece)
    }

    fn due(&self) -> u64 {
        Self::due(self)
    }

    fn ends_whole(self) -> bool {
        self.finish().is_ok()
    }
}

/// The pieces that a string stands for: each is a length of two bytes and as many bytes of a piece
/// behind its checksum and its length, which are made to fit. (Those that do not fit are the
/// easy ones.)
pub(crate) fn pieces(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut pieces) = (bytes, Vec::new());
    while let [low, high, behind @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(behind.len());
        let (content, after) = behind.split_at(length);
        pieces.push(sealed(content));
        rest = after;
    }
    pieces
}

/// A piece with this content: with the checksum and the length that it has to have.
pub(crate) fn sealed(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let body = [&length.to_le_bytes()[..], content].concat();
    [&crc32c::crc32c(&body).to_le_bytes()[..], &body].concat()
}

/// # Errors
///
/// What is wrong with the decoder.
pub(crate) fn check<D: Decoder>(bytes: &[u8]) -> Result<(), String> {
    let mut decoder = D::default();
    let mut taken = 0;
    for piece in pieces(bytes) {
        match decoder.take(&piece) {
            Ok(()) => taken += 1,
            Err(_) if decoder.take(&piece).is_ok() => {
                return Err("a piece was refused, and then taken".to_owned());
            }
            Err(_) => {}
        }
        if decoder.due() != taken {
            return Err(format!("{taken} pieces were taken, {} are counted", decoder.due()));
        }
    }
    if decoder.ends_whole() && taken < 2 {
        return Err(format!("a snapshot of {taken} pieces is none"));
    }
    Ok(())
}
