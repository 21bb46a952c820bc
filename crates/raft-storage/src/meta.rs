//! The `meta` file: whose log this is, and where it begins.
//!
//! ```text
//! offset  size  what
//!      0     8  "RAFTLOG" and a zero
//!      8     4  version of the format: 1
//!     12     4  CRC-32C of the 12 bytes before
//!     16     8  id of the log: random, another one each time a log is made
//!     24     8  id of the cluster
//!     32     8  id of the node
//!     40     4  number of the first segment that is kept
//!     44     4  length of the text in bytes, at most 65536
//!     48     n  how the cluster was described when it was founded: UTF-8, for people
//!   48+n     4  CRC-32C of everything before
//! ```
//!
//! The file is never changed, only replaced: a new one is written beside it, synced, and renamed.
//! The version has a checksum of its own, so that a later version may change all that follows.

use raft_core::NodeId;

use crate::disk::{Access, Disk, DiskFile};
use crate::error::{IoError, OpenError};
use crate::fields::{put_u32, put_u64, u32_at, u64_at};
use crate::segment::VERSION;

/// The file that says whose log a directory holds: without it, there is none.
pub const FILE: &str = "meta";

/// The name under which a new one is written.
pub(crate) const NEW_FILE: &str = "meta.tmp";

/// The longest description of a cluster: 64 KiB.
pub const MAX_DESCRIPTION_BYTES: usize = 64 << 10;

const MAGIC: u64 = u64::from_le_bytes(*b"RAFTLOG\0");
const FIXED_BYTES: usize = 48;
const CHECKSUM_BYTES: usize = 4;

/// Which log it is, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) log: u64,
    pub(crate) cluster: u64,
    pub(crate) node: NodeId,
}

/// Whose log this is, and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) identity: Identity,
    pub(crate) first_segment: u32,
    pub(crate) description: String,
}

impl Meta {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; FIXED_BYTES];
        put_u64(&mut out, 0, MAGIC);
        put_u32(&mut out, 8, VERSION);
        let checksum = wire::checksum(&out[..12]);
        put_u32(&mut out, 12, checksum);
        put_u64(&mut out, 16, self.identity.log);
        put_u64(&mut out, 24, self.identity.cluster);
        put_u64(&mut out, 32, self.identity.node.get());
        put_u32(&mut out, 40, self.first_segment);
        // `Options::validate` holds the text to its limit.
        put_u32(&mut out, 44, u32::try_from(self.description.len()).unwrap_or(u32::MAX));
        out.extend_from_slice(self.description.as_bytes());
        let checksum = wire::checksum(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, MetaFault> {
        let damaged = |rule| Err(MetaFault::Damaged(rule));
        if bytes.len() < FIXED_BYTES + CHECKSUM_BYTES {
            return damaged("it is too short");
        }
        if u64_at(bytes, 0) != MAGIC || wire::checksum(&bytes[..12]) != u32_at(bytes, 12) {
            return damaged("its beginning does not match its checksum");
        }
        match u32_at(bytes, 8) {
            VERSION => {}
            other => return Err(MetaFault::OtherVersion(other)),
        }
        let (body, checksum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
        if wire::checksum(body) != u32_at(checksum, 0) {
            return damaged("its checksum does not match");
        }
        let text = &body[FIXED_BYTES..];
        match std::str::from_utf8(text) {
            Ok(description) if text.len() == u32_at(bytes, 44) as usize => Ok(Self {
                identity: Identity {
                    log: u64_at(bytes, 16),
                    cluster: u64_at(bytes, 24),
                    node: NodeId::new(u64_at(bytes, 32)),
                },
                first_segment: u32_at(bytes, 40),
                description: description.to_owned(),
            }),
            _ => damaged("its text is not what it says"),
        }
    }

    /// Reads the file; `None` if there is none.
    pub(crate) fn read<D: Disk>(disk: &D) -> Result<Option<Self>, OpenError> {
        let path = disk.path(FILE);
        let failed = |error| OpenError::io("read", &path, error);
        if !disk.list().map_err(failed)?.iter().any(|name| name == FILE) {
            return Ok(None);
        }
        let file = disk.open(FILE, Access::Read).map_err(failed)?;
        let size_bytes = file.size_bytes().map_err(failed)?;
        let limit_bytes = FIXED_BYTES + MAX_DESCRIPTION_BYTES + CHECKSUM_BYTES;
        let size_bytes = match usize::try_from(size_bytes) {
            Ok(size_bytes) if size_bytes <= limit_bytes => size_bytes,
            _ => return Err(OpenError::DamagedMeta { file: path, rule: "it is too long" }),
        };
        let mut bytes = vec![0; size_bytes];
        file.read_at(&mut bytes, 0).map_err(failed)?;
        match Self::decode(&bytes) {
            Ok(meta) => Ok(Some(meta)),
            Err(MetaFault::Damaged(rule)) => Err(OpenError::DamagedMeta { file: path, rule }),
            Err(MetaFault::OtherVersion(version)) => {
                Err(OpenError::OtherVersion { file: path, version })
            }
        }
    }

    /// Puts this in the place of the file that is there; durable on return.
    pub(crate) fn replace<D: Disk>(&self, disk: &D) -> Result<(), IoError> {
        self.prepare(disk)?;
        Self::put_in_place(disk)
    }

    /// Writes this beside the file that is there, which stays as it is.
    pub(crate) fn prepare<D: Disk>(&self, disk: &D) -> Result<(), IoError> {
        let written = disk.create(NEW_FILE).and_then(|file| {
            file.write_at(&self.encode(), 0)?;
            file.sync()
        });
        written.map_err(|error| IoError::new("write", &disk.path(NEW_FILE), error))
    }

    /// Puts what was prepared in the place of the file that is there; durable on return.
    pub(crate) fn put_in_place<D: Disk>(disk: &D) -> Result<(), IoError> {
        let renamed = disk.rename(NEW_FILE, FILE).and_then(|()| disk.sync_directory());
        renamed.map_err(|error| IoError::new("write", &disk.path(FILE), error))
    }
}

/// Why bytes are not a meta file of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MetaFault {
    Damaged(&'static str),
    OtherVersion(u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        Meta {
            identity: Identity { log: 1, cluster: 2, node: NodeId::new(3) },
            first_segment: 4,
            description: "1=here:1,3=there:3".into(),
        }
    }

    #[test]
    fn a_meta_file_comes_back_as_it_was_written() {
        assert_eq!(Meta::decode(&meta().encode()), Ok(meta()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_meta_file_is_damage() {
        let good = meta().encode();
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Meta::decode(&bytes), Err(MetaFault::Damaged(_))), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(matches!(Meta::decode(&good[..len]), Err(MetaFault::Damaged(_))), "{len}");
        }
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut bytes = meta().encode();
        put_u32(&mut bytes, 8, 2);
        let checksum = wire::checksum(&bytes[..12]);
        put_u32(&mut bytes, 12, checksum);
        assert_eq!(Meta::decode(&bytes), Err(MetaFault::OtherVersion(2)));
    }
}
