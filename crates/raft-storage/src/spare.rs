//! Segments made ahead of use, so that no sync pays for allocation.
//!
//! A segment is written full of zeros, synced, given its name, and only then used. Writing zeros
//! is what makes later syncs cheap: on ext4, `fdatasync` of 4 KiB in such a file takes two thirds
//! of the time that it takes at the end of a growing one. Space that was only reserved
//! (`posix_fallocate`) is hardly better than the latter, because its blocks have to be marked as
//! written at their first sync. `examples/sync_cost.rs` measures it. All the same the space is
//! reserved first: on a full disk that fails at once, and nothing is written to be removed again.
//! That is also why nobody has to wait for zeros: whoever needs a segment before it is full of them
//! gets it as it is. What was only reserved reads as zeros.
//!
//! Where there is a segment that is no part of the log any more, it takes another number instead,
//! and nothing is written at all: what it held counts as unwritten from then on (`sector`).
//!
//! The *reserve* is made of zeros as well, under a name of its own, and waits there for the day on
//! which the disk is full. Then it becomes the next segment.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::disk::{Access, Disk, DiskFile};
use crate::room::is_full;
use crate::sector::offset_bytes;
use crate::segment::{file_name, new_file_name};

/// The file of the reserve.
pub(crate) const RESERVE_FILE: &str = "reserve";

/// The file of the reserve until it is ready.
pub(crate) const NEW_RESERVE_FILE: &str = "reserve.tmp";

/// How much is written or read at once. What is written is synced before more is: nobody waits for
/// it, and the syncs of the log itself, on the same disk, would stand behind all of it.
const CHUNK_BYTES: usize = 1 << 20;

/// A segment that is ready for use: durable, under its name, and unwritten.
#[derive(Debug)]
pub(crate) struct Ready<F> {
    pub(crate) number: u32,
    pub(crate) sectors: u32,
    pub(crate) file: F,
}

/// Whether somebody waits for what is being made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hurry(Arc<AtomicBool>);

impl Hurry {
    /// Somebody waits already.
    pub(crate) fn already() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// Somebody waits from now on, or does not any more.
    pub(crate) fn set(&self, waits: bool) {
        self.0.store(waits, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Makes segment `number`, durable and full of zeros, in place of one that was never used. In a
/// hurry, a part of them is only reserved.
pub(crate) fn make<D: Disk>(
    disk: &D,
    number: u32,
    sectors: u32,
    hurry: &Hurry,
) -> io::Result<Ready<D::File>> {
    let begin = |_: &D::File| Ok(());
    let file = make_file(disk, &new_file_name(number), &file_name(number), sectors, hurry, begin)?;
    Ok(Ready { number, sectors, file })
}

/// [`make`] without hurry, with what `begin` writes over the zeros. One that is there is replaced
/// in one step.
pub(crate) fn make_with<D: Disk>(
    disk: &D,
    number: u32,
    sectors: u32,
    begin: impl FnOnce(&D::File) -> io::Result<()>,
) -> io::Result<Ready<D::File>> {
    let (new_name, name) = (new_file_name(number), file_name(number));
    let file = make_file(disk, &new_name, &name, sectors, &Hurry::default(), begin)?;
    Ok(Ready { number, sectors, file })
}

/// Makes segment `number` of segment `old`, which is no part of the log any more, and durable.
pub(crate) fn make_of<D: Disk>(
    disk: &D,
    number: u32,
    sectors: u32,
    old: u32,
) -> io::Result<Ready<D::File>> {
    disk.rename(&file_name(old), &file_name(number))?;
    disk.sync_directory()?;
    let file = disk.open(&file_name(number), Access::Write)?;
    Ok(Ready { number, sectors, file })
}

/// Makes the reserve, as [`make`] does.
pub(crate) fn make_reserve<D: Disk>(disk: &D, sectors: u32, hurry: &Hurry) -> io::Result<D::File> {
    make_file(disk, NEW_RESERVE_FILE, RESERVE_FILE, sectors, hurry, |_| Ok(()))
}

/// The reserve that is there, if it has this size and is full of zeros. One that has not is
/// removed: it is made again.
pub(crate) fn find_reserve<D: Disk>(disk: &D, sectors: u32) -> io::Result<Option<D::File>> {
    if !disk.list()?.iter().any(|name| name == RESERVE_FILE) {
        return Ok(None);
    }
    let file = disk.open(RESERVE_FILE, Access::Write)?;
    if sectors > 0 && file.size_bytes()? == offset_bytes(sectors) && !is_written(&file)? {
        return Ok(Some(file));
    }
    disk.remove(RESERVE_FILE)?;
    Ok(None)
}

/// Whether a file holds anything but zeros.
pub(crate) fn is_written<F: DiskFile>(file: &F) -> io::Result<bool> {
    let size_bytes = file.size_bytes()?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut at = 0;
    while at < size_bytes {
        let now = buffer.len().min(usize::try_from(size_bytes - at).unwrap_or(usize::MAX));
        file.read_at(&mut buffer[..now], at)?;
        if buffer[..now].iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
        at += now as u64;
    }
    Ok(false)
}

/// Makes a file of zeros, with what `begin` writes over them, durable before it has its `name`. If
/// there is no room for it, nothing is left of the attempt.
fn make_file<D: Disk>(
    disk: &D,
    new_name: &str,
    name: &str,
    sectors: u32,
    hurry: &Hurry,
    begin: impl FnOnce(&D::File) -> io::Result<()>,
) -> io::Result<D::File> {
    let file = disk.create(new_name)?;
    let filled = fill(&file, offset_bytes(sectors), hurry).and_then(|()| begin(&file));
    if let Err(error) = filled.and_then(|()| file.sync()) {
        if is_full(&error) {
            // What it has taken is needed more elsewhere.
            disk.remove(new_name)?;
        }
        return Err(error);
    }
    disk.rename(new_name, name)?;
    disk.sync_directory()?;
    Ok(file)
}

fn fill<F: DiskFile>(file: &F, size_bytes: u64, hurry: &Hurry) -> io::Result<()> {
    file.allocate(size_bytes)?;
    // Where the system could not tell, there is room for sure only when it is written.
    let is_reserved = file.size_bytes()? >= size_bytes;
    let zeros = vec![0; CHUNK_BYTES.min(usize::try_from(size_bytes).unwrap_or(usize::MAX))];
    let mut written = 0;
    while written < size_bytes && !(is_reserved && hurry.is_set()) {
        let now = zeros.len().min(usize::try_from(size_bytes - written).unwrap_or(usize::MAX));
        if written > 0 {
            file.sync()?;
        }
        file.write_at(&zeros[..now], written)?;
        written += now as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A file that only counts.
    #[derive(Debug, Default)]
    struct Counts {
        reserved: Cell<u64>,
        written: Cell<usize>,
        unsynced: Cell<usize>,
        most_unsynced: Cell<usize>,
        /// Whether room can be reserved.
        reserves: bool,
        /// In a hurry as soon as so much is written.
        hurry: (usize, Hurry),
    }

    impl DiskFile for Counts {
        fn size_bytes(&self) -> io::Result<u64> {
            Ok(self.reserved.get().max(self.written.get() as u64))
        }

        fn read_at(&self, _bytes: &mut [u8], _offset_bytes: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn write_at(&self, bytes: &[u8], offset_bytes: u64) -> io::Result<()> {
            assert_eq!(offset_bytes, self.written.get() as u64, "one behind the other");
            self.written.set(self.written.get() + bytes.len());
            self.unsynced.set(self.unsynced.get() + bytes.len());
            self.most_unsynced.set(self.most_unsynced.get().max(self.unsynced.get()));
            self.hurry.1.set(self.written.get() >= self.hurry.0);
            Ok(())
        }

        fn allocate(&self, size_bytes: u64) -> io::Result<()> {
            if self.reserves {
                self.reserved.set(size_bytes);
            }
            Ok(())
        }

        fn sync(&self) -> io::Result<()> {
            self.unsynced.set(0);
            Ok(())
        }
    }

    /// A segment of 16 MiB was synced in one go, and the syncs of the log that came meanwhile stood
    /// behind it: with values of 64 KiB, those were among the slowest puts.
    #[test]
    fn zeros_are_synced_a_chunk_at_a_time() {
        for (size_bytes, expected) in [(16 << 20, CHUNK_BYTES), (8192, 8192)] {
            let file = Counts::default();
            fill(&file, size_bytes, &Hurry::default()).expect("it takes all");
            assert_eq!(file.written.get() as u64, size_bytes);
            assert_eq!(file.most_unsynced.get(), expected);
        }
    }

    /// With values of 64 KiB a segment was full sooner than the next one was made, and the log
    /// waited for sixteen syncs in turn on a disk that others were busy with: 230 to 270 ms, in
    /// which a leader in the timing mode fast gave up.
    #[test]
    fn whoever_waits_for_a_segment_does_not_wait_for_its_zeros() {
        for (reserves, expected) in [(true, 3 * CHUNK_BYTES), (false, 16 * CHUNK_BYTES)] {
            let hurry = Hurry::default();
            let file =
                Counts { reserves, hurry: (3 * CHUNK_BYTES, hurry.clone()), ..Counts::default() };
            fill(&file, 16 << 20, &hurry).expect("it takes all");
            assert_eq!(file.written.get(), expected, "reserves: {reserves}");
            assert_eq!(file.size_bytes().expect("it is known"), 16 << 20);
        }
    }
}
