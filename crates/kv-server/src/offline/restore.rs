//! `restore`: makes the data directory of one member of a new cluster from a backup.
//!
//! Rules:
//! 1. The snapshot is checked to its end before anything is written.
//! 2. The directory has to be empty, so nothing can be overwritten.
//! 3. Everything is made in a directory of its own, `RESTORING`, and moved up when it is whole:
//!    the file that makes it a log last. If the power goes before, no server starts on what is
//!    there.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use kv_store::snapshot::Restore;
use raft_storage::{FileDisk, LOCK_FILE, META_FILE};

use super::founding::Beginning;
use super::{OfflineError, files, snapshot};
use crate::commands::RestoreOptions;
use crate::recovery::STATE_FILE;
use crate::settings::Founder;

/// Where the files of a restore are until all of them are whole.
const RESTORING: &str = "restoring";

/// Whether a restore into `dir` was begun and not finished: then nothing else may use it.
pub(crate) fn is_unfinished(dir: &Path) -> bool {
    dir.join(RESTORING).exists()
}

/// Restores the snapshot, and prints what was made of it, and how to go on.
///
/// # Errors
///
/// If the flags do not fit together, the directory is not empty, the snapshot is not whole, or the
/// directory cannot be written.
pub fn run(options: RestoreOptions, out: &mut impl Write) -> Result<(), OfflineError> {
    let RestoreOptions { snapshot: file, member, token } = options;
    let Founder { node_id, members, data_dir: dir, .. } = Founder::try_from(member)?;
    refuse_used(&dir)?;
    let (summary, _) = snapshot::check(&file)?;
    let begins = Beginning {
        at: summary.position,
        state_digest: summary.state_digest,
        term: summary.position.term,
    };
    let cluster_id = begins.cluster_id(&members, &token);
    let draft = dir.join(RESTORING);
    FileDisk::create(&draft)?;
    take_in(&file, &draft)?;
    begins.make_log(&draft, node_id, &members, cluster_id)?;
    files::move_all(&draft, &dir, |name| name != META_FILE && name != LOCK_FILE)?;
    files::move_all(&draft, &dir, |name| name == META_FILE)?;
    files::remove(&draft)?;
    files::sync(&dir)?;
    writeln!(
        out,
        "restored {} into {}: {}\n\
         This is node {node_id} of the new cluster {cluster_id:016x}, with the members {members}.",
        file.display(),
        dir.display(),
        snapshot::describe(&summary)
    )?;
    let others: Vec<String> =
        members.iter().filter(|(id, _)| *id != node_id).map(|(id, _)| id.to_string()).collect();
    if !others.is_empty() {
        writeln!(
            out,
            "Do the same for node {} with the same snapshot and --cluster, each with its own \
             --node-id and --data-dir, before you start them.",
            others.join(" and node ")
        )?;
    }
    writeln!(
        out,
        "start it with: kv-server --node-id {node_id} --cluster {members} --data-dir {}",
        dir.display()
    )?;
    Ok(())
}

fn refuse_used(dir: &Path) -> Result<(), OfflineError> {
    if is_unfinished(dir) {
        return Err(OfflineError::Refused(format!(
            "{} holds what a restore left that was interrupted: remove it, and try again",
            dir.display()
        )));
    }
    match fs::read_dir(dir).map(|mut items| items.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(OfflineError::Refused(format!(
            "{} is not empty, and restoring never overwrites anything: give a --data-dir that is \
             empty or not there",
            dir.display()
        ))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(OfflineError::io("read the directory", dir, error)),
    }
}

fn take_in(file: &Path, dir: &Path) -> Result<(), OfflineError> {
    let begun = Restore::begin(&dir.join(STATE_FILE));
    let mut restore = begun.map_err(|source| snapshot::at(file, 0, source))?;
    restore.forget_members();
    let size_bytes = snapshot::for_each_piece(file, |piece| restore.take(piece))?;
    let restored = restore.finish().map_err(|source| snapshot::at(file, size_bytes, source))?;
    Ok(restored.put_in_place()?)
}
