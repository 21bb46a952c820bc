//! [`Damage`]: what is wrong with a log, in one sentence.

use std::fmt;

pub use crate::sector::BadSector;

/// A part of the log that no crash can explain: the medium, or somebody, changed it.
///
/// Entries that this node has acknowledged may be among what is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file, with its directory.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset_bytes: u64,
    /// What is wrong there.
    pub fault: Fault,
}

/// What can be wrong with a place of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A sector that is neither what was written there nor unwritten.
    Sector(BadSector),
    /// Intact sectors that do not make a record which can stand here.
    Record {
        /// Which rule is broken.
        rule: &'static str,
    },
    /// An intact first sector that does not make a segment which can stand here.
    Segment {
        /// Which rule is broken.
        rule: &'static str,
    },
    /// A record is gone that was durable: a later one says so.
    Lost {
        /// The number of the record that is gone.
        record: u64,
        /// The number of the record that proves it.
        witness: u64,
    },
    /// The log ends too early: the witness file says that a later record was durable.
    CutShort {
        /// The last record there is.
        last: u64,
        /// The record that was durable.
        durable: u64,
    },
    /// Something was written behind the end of the log, where nothing can have been.
    BehindTheEnd,
    /// Segments never change their size, and this is not a size they have.
    WrongSize {
        /// Its size in bytes.
        size_bytes: u64,
    },
    /// The file is not there, though a later one is, or the witness file says that it was.
    MissingFile,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sector(bad) => bad.fmt(f),
            Self::Record { rule } => write!(f, "the record here cannot be ours: {rule}"),
            Self::Segment { rule } => write!(f, "the segment here cannot be ours: {rule}"),
            Self::Lost { record, witness } => write!(
                f,
                "record {record} was durable and is gone; record {witness}, written later, is \
                 still there"
            ),
            Self::CutShort { last, durable } => write!(
                f,
                "the log ends after record {last}, and the witness file says that record \
                 {durable} was durable"
            ),
            Self::BehindTheEnd => write!(f, "something was written behind the end of the log"),
            Self::WrongSize { size_bytes } => {
                write!(f, "a size of {size_bytes} bytes, which no segment of this log has")
            }
            Self::MissingFile => write!(f, "the file is missing"),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged at byte {}: {}", self.file, self.offset_bytes, self.fault)
    }
}

impl std::error::Error for Damage {}
