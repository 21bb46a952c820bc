//! [`Disk`]: the only door to the operating system, small enough that a test can be the disk.
//!
//! What the log relies on, and nothing beyond:
//!
//! 1. A sector of 512 bytes is old or new after a crash, never a mixture.
//! 2. What was written to a file before a successful [`DiskFile::sync`] survives a crash, and so
//!    does the file's size.
//! 3. A name that was created, renamed or removed before a successful [`Disk::sync_directory`]
//!    stays so after a crash. Before it, a crash may undo it.
//! 4. A rename is atomic.
//!
//! Everything else may go wrong: writes that were not synced arrive in any order or not at all,
//! and whatever is read may have been changed by the medium.

use std::fmt::Debug;
use std::io;

/// One directory for one log. Clones are the same directory.
pub trait Disk: Clone + Debug + Send + 'static {
    /// An open file.
    type File: DiskFile;
    /// Keeps other processes out until it is dropped.
    type Lock: Debug + Send + 'static;

    /// The directory's name, for messages to people.
    fn directory(&self) -> String;

    /// The names of all files, in any order.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file that exists.
    ///
    /// # Errors
    ///
    /// If it does not exist, or may not be opened so.
    fn open(&self, name: &str, access: Access) -> io::Result<Self::File>;

    /// Makes an empty file that only this user can read; one of the same name is emptied.
    ///
    /// # Errors
    ///
    /// If the directory or the file cannot be written.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Gives a file another name, in place of a file that had it.
    ///
    /// # Errors
    ///
    /// If there is no such file, or the directory cannot be written.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// If there is no such file, or the directory cannot be written.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all names durable.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    fn sync_directory(&self) -> io::Result<()>;

    /// Takes the lock of this name for this process.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if another holds it; others if it cannot be made.
    fn lock(&self, name: &str) -> io::Result<Self::Lock>;

    /// A number that hardly any other call, here or elsewhere, has returned. It tells a log from
    /// an earlier one whose sectors may still lie about on the same medium.
    fn unique_number(&self) -> u64;

    /// The whole name of a file, for messages to people.
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.directory())
    }
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only, as for inspection.
    Read,
    /// Reading and writing.
    Write,
}

/// An open file.
pub trait DiskFile: Debug + Send + 'static {
    /// Its size in bytes.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    fn size_bytes(&self) -> io::Result<u64>;

    /// Fills `bytes` with what lies at `offset_bytes`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if the file ends before; others if the disk refuses.
    fn read_at(&self, bytes: &mut [u8], offset_bytes: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset_bytes`; the file grows where it has to.
    ///
    /// # Errors
    ///
    /// If the disk refuses, is full, or writes only a part.
    fn write_at(&self, bytes: &[u8], offset_bytes: u64) -> io::Result<()>;

    /// Makes sure that there is room for this many bytes, where the system can tell without
    /// writing them. Writing them may fail all the same.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::StorageFull`] if there is no room.
    fn allocate(&self, _size_bytes: u64) -> io::Result<()> {
        Ok(())
    }

    /// Makes everything written to this file durable.
    ///
    /// # Errors
    ///
    /// If the disk refuses. What was written may then be lost, even if a later call succeeds.
    fn sync(&self) -> io::Result<()>;
}
