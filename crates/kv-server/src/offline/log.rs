//! `log inspect` and `log verify`: the log of a node that is stopped.

use std::io::Write;
use std::path::Path;

use raft_storage::inspect::inspect as print;
use raft_storage::{FileDisk, Recovered, Verified};

use super::OfflineError;
use crate::narrate;

/// Prints the log in `dir` for people, record by record.
///
/// # Errors
///
/// If there is no log, it is damaged, or `out` cannot be written.
pub fn inspect(dir: &Path, out: &mut impl Write) -> Result<(), OfflineError> {
    let recovered = print(&FileDisk::existing(dir)?, out)?;
    is_sound(&recovered)
}

/// Reads all of the log in `dir`, and prints one sentence if it is whole.
///
/// # Errors
///
/// If there is no log, it is damaged, or `out` cannot be written. What is intact before the damage
/// is printed all the same.
pub fn verify(dir: &Path, out: &mut impl Write) -> Result<(), OfflineError> {
    let Verified { identity, segments, records, recovered } =
        raft_storage::verify(&FileDisk::existing(dir)?)?;
    let Recovered { start, last, commit, hard_state, torn, damage, .. } = &recovered;
    let (verdict, of_what) = match damage {
        None => ("whole", "it holds"),
        Some(_) => ("DAMAGED", "before the damage it holds"),
    };
    writeln!(
        out,
        "the log of node {} in {} is {verdict}: {of_what} {} after {start} up to {last} \
         (term/index), in {} of {}; term {}, commit {commit}",
        identity.node_id.get(),
        dir.display(),
        narrate::entries(last.index.since(start.index)),
        narrate::counted(records, "record", "records"),
        narrate::counted(segments, "segment", "segments"),
        hard_state.term,
    )?;
    if let Some(torn) = torn {
        writeln!(
            out,
            "a write that a crash cut short lies behind it, at byte {} of {}; nobody was told of \
             it, and the next start removes it",
            torn.offset_bytes, torn.file
        )?;
    }
    is_sound(&recovered)
}

/// Fails if the log is damaged, so that a script can tell.
fn is_sound(recovered: &Recovered) -> Result<(), OfflineError> {
    match &recovered.damage {
        None => Ok(()),
        Some(damage) => Err(OfflineError::Refused(damage.to_string())),
    }
}
