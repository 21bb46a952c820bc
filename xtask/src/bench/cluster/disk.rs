//! What the disk itself can do, at the moment.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use crate::failure::{Context, Failure};

const ROUNDS: usize = 400;
const BLOCK_BYTES: usize = 4096;

/// The median of writing 4 KiB and `fdatasync`, in microseconds, in a file that has been written
/// before: the cheapest durable write there is.
pub(super) fn sync_micros(folder: &Path) -> Result<u64, Failure> {
    let path = folder.join("sync");
    let doing = || format!("cannot measure the disk with {}", path.display());
    let file = OpenOptions::new().create_new(true).write(true).open(&path).context(doing)?;
    let block = [0x5a; BLOCK_BYTES];
    file.write_all_at(&vec![0; ROUNDS * BLOCK_BYTES], 0).context(doing)?;
    file.sync_all().context(doing)?;
    let mut micros = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let began = Instant::now();
        file.write_all_at(&block, (round * BLOCK_BYTES) as u64).context(doing)?;
        file.sync_data().context(doing)?;
        micros.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    drop(file);
    std::fs::remove_file(&path).context(doing)?;
    micros.sort_unstable();
    Ok(micros[ROUNDS / 2])
}
