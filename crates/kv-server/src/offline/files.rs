//! Files and directories moved in ways that survive a loss of power, and can be done again.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use super::OfflineError;

/// Moves the files of `from` whose name is `meant` into `to`; directories stay. Both are durable on
/// return.
pub(super) fn move_all(
    from: &Path,
    to: &Path,
    meant: impl Fn(&str) -> bool,
) -> Result<(), OfflineError> {
    let failed = |error| OfflineError::io("read the directory", from, error);
    for item in fs::read_dir(from).map_err(failed)? {
        let item = item.map_err(failed)?;
        let is_file = item.file_type().map_err(failed)?.is_file();
        let name = item.file_name();
        if is_file && name.to_str().is_some_and(&meant) {
            rename(&item.path(), &to.join(name))?;
        }
    }
    sync(to)?;
    sync(from)
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<(), OfflineError> {
    let what = format!("rename {} to", from.display());
    fs::rename(from, to).map_err(|error| OfflineError::io(&what, to, error))
}

/// Copies a file, durably; nothing if it is not there.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), OfflineError> {
    let what = format!("copy {} to", from.display());
    let copied = match fs::copy(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound && !from.exists() => return Ok(()),
        copied => copied.and_then(|_| File::open(to)?.sync_all()),
    };
    copied.map_err(|error| OfflineError::io(&what, to, error))
}

/// Removes a directory with all that is in it, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), OfflineError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(OfflineError::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync(dir: &Path) -> Result<(), OfflineError> {
    let synced = File::open(dir).and_then(|directory| directory.sync_all());
    synced.map_err(|error| OfflineError::io("sync", dir, error))
}
