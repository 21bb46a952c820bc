//! [`Options`]: whose log it is, and how it is kept.

use raft_core::NodeId;

use crate::error::OpenError;
use crate::meta::MAX_DESCRIPTION_BYTES;
use crate::sector::SECTOR_BYTES;

/// Whose log it is, and how it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The node that the log belongs to.
    pub node_id: NodeId,
    /// The cluster that the node belongs to.
    pub cluster_id: u64,
    /// The cluster in words, as its founding members: kept when the log is made, and shown when
    /// somebody opens it for another cluster. At most [`MAX_DESCRIPTION_BYTES`].
    pub description: String,
    /// The size of a segment in bytes: a multiple of 512, from [`Options::MIN_SEGMENT_BYTES`] to
    /// [`Options::MAX_SEGMENT_BYTES`]. A record that needs more gets a larger one.
    pub segment_bytes: u64,
    /// The size in bytes of the file that is kept for the day on which the disk is full (see
    /// [`Room`](crate::Room)): a multiple of 512 from [`Options::MIN_SEGMENT_BYTES`] to
    /// [`Options::MAX_SEGMENT_BYTES`], or 0 for none.
    pub reserve_bytes: u64,
    /// Whether a thread of the log makes segments ahead of use. Without it they are made when
    /// they are needed, which keeps tests deterministic.
    pub background: bool,
    /// A mistake to be made on purpose.
    #[cfg(feature = "planted-repairs")]
    pub planted: Option<crate::planted::Bug>,
}

impl Options {
    /// The smallest segment: 1 KiB.
    pub const MIN_SEGMENT_BYTES: u64 = 1 << 10;
    /// The largest segment: 1 GiB.
    pub const MAX_SEGMENT_BYTES: u64 = 1 << 30;
    /// The size of a segment unless told otherwise: 16 MiB.
    pub const DEFAULT_SEGMENT_BYTES: u64 = 16 << 20;

    /// The size of the reserve unless told otherwise: 16 MiB.
    pub const DEFAULT_RESERVE_BYTES: u64 = 16 << 20;

    /// The usual choices for this node of this cluster.
    pub fn new(node_id: NodeId, cluster_id: u64, description: impl Into<String>) -> Self {
        Self {
            node_id,
            cluster_id,
            description: description.into(),
            segment_bytes: Self::DEFAULT_SEGMENT_BYTES,
            reserve_bytes: Self::DEFAULT_RESERVE_BYTES,
            background: true,
            #[cfg(feature = "planted-repairs")]
            planted: None,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), OpenError> {
        let (min, max) = (Self::MIN_SEGMENT_BYTES, Self::MAX_SEGMENT_BYTES);
        let bad = |sentence| Err(OpenError::BadOption { sentence });
        let is_possible =
            |size: u64| size.is_multiple_of(SECTOR_BYTES as u64) && (min..=max).contains(&size);
        let size = self.segment_bytes;
        if !is_possible(size) {
            return bad(format!(
                "a segment of {size} bytes is not possible: choose a multiple of 512 from {min} \
                 to {max}"
            ));
        }
        let size = self.reserve_bytes;
        if size != 0 && !is_possible(size) {
            return bad(format!(
                "a reserve of {size} bytes is not possible: choose a multiple of 512 from {min} \
                 to {max}, or 0 for none"
            ));
        }
        let length = self.description.len();
        if length > MAX_DESCRIPTION_BYTES {
            return bad(format!(
                "the description of the cluster has {length} bytes: shorten it to \
                 {MAX_DESCRIPTION_BYTES}"
            ));
        }
        Ok(())
    }

    /// The size of a segment in sectors: at most 2^21 if the options are valid.
    pub(crate) fn segment_sectors(&self) -> u32 {
        u32::try_from(self.segment_bytes / SECTOR_BYTES as u64).unwrap_or(u32::MAX)
    }

    /// The size of the reserve in sectors, as above.
    pub(crate) fn reserve_sectors(&self) -> u32 {
        u32::try_from(self.reserve_bytes / SECTOR_BYTES as u64).unwrap_or(u32::MAX)
    }
}
