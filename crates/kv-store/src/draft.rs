//! [`Draft`]: an answer of which values are missing that are on disk.

use kv_proto::RangeReply;

use crate::disk;
use crate::error::StoreError;

/// What a range [found](crate::Store::find). Which pairs they are is settled, and what they are:
/// the values that were not in memory have yet to be read.
///
/// It may be completed on any thread, and does not mind what the store applies meanwhile, nor its
/// end. But as long as it is there, the state file is open, and none of the room is used again that
/// it takes up as it was.
#[derive(Debug)]
#[must_use]
pub struct Draft {
    pub(crate) reply: RangeReply,
    /// Of its keys and values, also of those that are missing.
    pub(crate) size_bytes: usize,
    pub(crate) missing: Vec<Missing>,
    /// Where the missing are.
    pub(crate) file: Option<Box<disk::Reader>>,
}

/// A value that is not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The place of its pair in the answer.
    pub(crate) at: usize,
    /// The number of its record.
    pub(crate) seq: u64,
}

impl Draft {
    /// One without pairs.
    pub(crate) fn of(reply: RangeReply) -> Self {
        Self { reply, size_bytes: 0, missing: Vec::new(), file: None }
    }

    /// How many values have yet to be read. If none, completing it waits for nothing.
    pub fn missing(&self) -> usize {
        self.missing.len()
    }

    /// How many pairs the answer has.
    pub fn pairs(&self) -> usize {
        self.reply.kvs.len()
    }

    /// What its keys and values take in memory when it is complete, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// The answer. Reads what is missing.
    ///
    /// # Errors
    ///
    /// If a value cannot be read any more. Then [`Store::check`](crate::Store::check) tells the
    /// same from now on, and the store must not be used any more.
    pub fn complete(self) -> Result<RangeReply, StoreError> {
        let Self { mut reply, mut missing, file, .. } = self;
        // In the order in which they are in the file: of a block that has several, it is read once.
        missing.sort_unstable_by_key(|missing| missing.seq);
        if let Some(mut file) = file {
            for Missing { at, seq } in missing {
                reply.kvs[at].value = file.read(seq)?;
            }
        }
        Ok(reply)
    }
}
