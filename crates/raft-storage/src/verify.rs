//! [`verify`]: reads all of a log and says whether it is whole. Changes nothing, and needs no lock.

use raft_core::NodeId;

use crate::disk::Disk;
use crate::error::OpenError;
use crate::inspect::InspectError;
use crate::meta::{FILE, Meta};
use crate::record::{EntryMeta, Header};
use crate::recovery::{Collector, Recovered};
use crate::sector::Place;
use crate::segment::SegmentHeader;
use crate::walk::{Visitor, examine};

/// Whose log it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogIdentity {
    /// The node that the log belongs to.
    pub node_id: NodeId,
    /// The cluster that the node belongs to.
    pub cluster_id: u64,
    /// The cluster in words, as its founding members.
    pub description: String,
}

/// What a log was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Whose it is.
    pub identity: LogIdentity,
    /// How many files it has that hold records.
    pub segments: u64,
    /// How many records are whole, before the damage if there is any.
    pub records: u64,
    /// What opening it would report.
    pub recovered: Recovered,
}

/// Whose log is in `disk`; `None` if there is none.
///
/// # Errors
///
/// If the file that says so cannot be read, is damaged, or of another version.
pub fn identity<D: Disk>(disk: &D) -> Result<Option<LogIdentity>, OpenError> {
    Ok(Meta::read(disk)?.map(LogIdentity::from))
}

impl From<Meta> for LogIdentity {
    fn from(meta: Meta) -> Self {
        let Meta { identity, description, .. } = meta;
        Self { node_id: identity.node, cluster_id: identity.cluster, description }
    }
}

/// Reads every record of the log in `disk`, and checks all of it.
///
/// # Errors
///
/// If there is no log, or it cannot be read. Damage is not an error, but a finding:
/// [`Recovered::damage`].
pub fn verify<D: Disk>(disk: &D) -> Result<Verified, InspectError> {
    let meta = Meta::read(disk)?.ok_or_else(|| InspectError::NoLog { file: disk.path(FILE) })?;
    let mut counter = Counter::default();
    let (walked, said) = examine(disk, &meta, &mut counter)?;
    let Counter { collector, segments, records } = counter;
    let recovered = collector.recovered(disk, &walked, said);
    Ok(Verified { identity: meta.into(), segments, records, recovered })
}

#[derive(Default)]
struct Counter {
    collector: Collector,
    segments: u64,
    records: u64,
}

impl Visitor for Counter {
    fn segment(&mut self, header: &SegmentHeader) {
        self.segments += 1;
        self.collector.segment(header);
    }

    fn record(
        &mut self,
        place: Place,
        header: &Header,
        metas: &[EntryMeta],
    ) -> Result<(), &'static str> {
        self.collector.record(place, header, metas)?;
        self.records += 1;
        Ok(())
    }
}
