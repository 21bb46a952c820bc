//! [`FileDisk`]: the real directory.

use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Access, Disk, DiskFile};
use crate::error::OpenError;

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A directory of the file system. What it makes can be read by its user alone.
#[derive(Clone, Debug)]
pub struct FileDisk {
    directory: Arc<PathBuf>,
}

impl FileDisk {
    /// The directory at `path`, made durably if it is not there, with those above it.
    ///
    /// # Errors
    ///
    /// If it cannot be made, or something else has that name.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let path = path.into();
        let failed = |error| OpenError::io("make the directory", &path.display(), error);
        create_durably(&path).map_err(failed)?;
        Ok(Self { directory: Arc::new(path) })
    }

    /// The directory at `path`, which has to be there.
    ///
    /// # Errors
    ///
    /// If it is not, or cannot be read.
    pub fn existing(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let path = path.into();
        match fs::read_dir(&path) {
            Ok(_) => Ok(Self { directory: Arc::new(path) }),
            Err(error) => Err(OpenError::io("read the directory", &path.display(), error)),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// A new directory is durable only once the one above it is synced. One that is there may be new
/// as well: whoever made it was perhaps killed before it came to that.
fn create_durably(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if path.is_dir() {
        return match File::open(parent).and_then(|parent| parent.sync_all()) {
            // Who may not read there has made nothing there.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        };
    }
    create_durably(parent)?;
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        // Another node of the same cluster may be making the directory above its own, too.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => Err(error),
        _ => File::open(parent)?.sync_all(),
    }
}

impl Disk for FileDisk {
    type File = File;
    type Lock = File;

    fn directory(&self) -> String {
        self.directory.display().to_string()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for item in fs::read_dir(&*self.directory)? {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = item?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<File> {
        OpenOptions::new().read(true).write(access == Access::Write).open(self.at(name))
    }

    fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FILE_MODE)
            .open(self.at(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.at(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&*self.directory)?.sync_all()
    }

    fn lock(&self, name: &str) -> io::Result<File> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(self.at(name))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn unique_number(&self) -> u64 {
        // The standard library seeds each of these from the operating system.
        RandomState::new().build_hasher().finish()
    }
}

impl DiskFile for File {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        self.read_exact_at(bytes, offset_bytes)
    }

    fn write_at(&self, bytes: &[u8], offset_bytes: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset_bytes)
    }

    #[cfg(target_os = "linux")]
    fn allocate(&self, size_bytes: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        match fallocate(self, FallocateFlags::empty(), 0, size_bytes) {
            // Some file systems cannot tell.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
