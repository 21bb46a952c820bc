//! `snapshot verify`: a backup in a file, believed only after all of it was checked.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Write};
use std::path::Path;

use kv_store::snapshot::{SnapshotError, Summary, Verifier, read_piece};

use super::OfflineError;

/// Checks the snapshot in `file`, and prints what it holds if it is whole.
///
/// # Errors
///
/// If it cannot be read, is damaged, or not whole.
pub fn verify(file: &Path, out: &mut impl Write) -> Result<(), OfflineError> {
    let (summary, size_bytes) = check(file)?;
    writeln!(out, "{} is whole, {size_bytes} bytes: {}", file.display(), describe(&summary))?;
    Ok(())
}

/// What a snapshot holds, in a line.
pub(crate) fn describe(summary: &Summary) -> String {
    let Summary { position, revision, state_digest, records, .. } = summary;
    format!(
        "revision {revision}, index {} of term {}, {records} records, digest {state_digest:016x}",
        position.index, position.term
    )
}

/// Checks all of the snapshot in `file`; returns what it holds, and its size in bytes.
pub(crate) fn check(file: &Path) -> Result<(Summary, u64), OfflineError> {
    let mut verifier = Verifier::default();
    let size_bytes = for_each_piece(file, |piece| verifier.take(piece))?;
    let summary = verifier.finish().map_err(|source| at(file, size_bytes, source))?;
    Ok((summary, size_bytes))
}

/// Reads the pieces in `file` one after the other; returns how many bytes they are.
pub(crate) fn for_each_piece(
    file: &Path,
    mut take: impl FnMut(&[u8]) -> Result<(), SnapshotError>,
) -> Result<u64, OfflineError> {
    let opened = File::open(file).map_err(|error| OfflineError::io("read", file, error))?;
    let mut from = BufReader::new(opened);
    let mut offset_bytes = 0;
    loop {
        let read = read_piece(&mut from).map_err(SnapshotError::Source);
        let Some(piece) = read.map_err(|source| at(file, offset_bytes, source))? else {
            return Ok(offset_bytes);
        };
        take(&piece).map_err(|source| at(file, offset_bytes, source))?;
        offset_bytes += piece.len() as u64;
    }
}

pub(crate) fn at(file: &Path, offset_bytes: u64, source: SnapshotError) -> OfflineError {
    OfflineError::Snapshot { file: file.display().to_string(), offset_bytes, source }
}

/// What is wrong with a snapshot in a file. Nobody can fetch a piece of it again.
pub(crate) fn explain(
    f: &mut fmt::Formatter<'_>,
    file: &str,
    offset_bytes: u64,
    error: &SnapshotError,
) -> fmt::Result {
    match error {
        SnapshotError::Damaged { due: 0, what } => {
            write!(f, "{file} is no snapshot, or damaged at its beginning: {what}; {OTHER}")
        }
        SnapshotError::Damaged { due, what } => {
            write!(f, "{file} is damaged at byte {offset_bytes}, in piece {due}: {what}; {OTHER}")
        }
        SnapshotError::OutOfOrder { due, came } => write!(
            f,
            "{file} is damaged at byte {offset_bytes}: piece {came} stands where piece {due} \
             belongs; {OTHER}"
        ),
        SnapshotError::Unfinished { due } => write!(
            f,
            "{file} ends at byte {offset_bytes}, before piece {due}: it is not whole; {OTHER}"
        ),
        SnapshotError::Source(error) => match error.kind() {
            // What was read makes no sense, from the first byte on or later.
            ErrorKind::InvalidData if offset_bytes == 0 => {
                write!(f, "{file} is no snapshot, or damaged at its beginning: {error}; {OTHER}")
            }
            ErrorKind::InvalidData => {
                write!(f, "{file} is damaged at byte {offset_bytes}: {error}; {OTHER}")
            }
            ErrorKind::UnexpectedEof => write!(
                f,
                "{file} ends within the piece at byte {offset_bytes}: it is not whole; {OTHER}"
            ),
            _ => write!(f, "{file} cannot be read at byte {offset_bytes}: {error}; {OTHER}"),
        },
        SnapshotError::TooNew { .. } | SnapshotError::NoRoom { .. } | SnapshotError::Store(_) => {
            write!(f, "{file}: {error}")
        }
    }
}

const OTHER: &str = "use another backup";
