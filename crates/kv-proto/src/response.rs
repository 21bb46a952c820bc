//! What a server sends after the handshake: one answer to each request, in any order.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use wire::codec::{self, CodecError};
use wire::frame::write_frame;

use crate::error::Error;
use crate::ids::{LeaseId, Revision};
use crate::reply::{
    BackupPiece, CompactReply, DeleteReply, DigestsReply, DiskState, Header, KeyValue, PutReply,
    RangeReply, Reply, Sending, StatusReply,
};

/// One frame from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The request with this id was done.
    Done {
        /// The request's id.
        id: u64,
        /// Who answered, and when.
        header: Header,
        /// The answer.
        reply: Reply,
    },
    /// The request with this id was not done, or perhaps not.
    Failed {
        /// The request's id.
        id: u64,
        /// Why.
        error: Error,
    },
    /// The server closes the connection: it cannot go on for this reason. Requests that wait for
    /// an answer get none.
    Closing {
        /// Why.
        error: Error,
    },
}

/// What stands before the raw bytes. The order of the variants and fields is the format.
#[derive(Serialize, Deserialize)]
enum Meta<'a> {
    Done { id: u64, header: Header, body: Body<'a> },
    Failed { id: u64, error: Cow<'a, Error> },
    Closing { error: Cow<'a, Error> },
}

/// The raw bytes behind it are the key and the value of each pair, one after the other; then, for
/// a range, the next key. Those behind a piece of a backup are its own.
#[derive(Serialize, Deserialize)]
enum Body<'a> {
    Put {
        prev: Option<Pair>,
    },
    Delete {
        deleted: u64,
        prev: Vec<Pair>,
    },
    Range {
        pairs: Vec<Pair>,
        count: u64,
        more: bool,
        next_key_bytes: Option<u32>,
    },
    Status(Cow<'a, StatusReply>),
    Compact(CompactReply),
    Backup {
        bytes: u32,
        is_last: bool,
        done: u64,
        total: u64,
    },
    Digests(Cow<'a, DigestsReply>),
    /// A status of a node whose disk is not fine.
    Troubled(Cow<'a, StatusReply>, DiskState),
    /// A status of a node that sends snapshots, however its disk is.
    Sending(Box<Underway<'a>>),
}

/// Everything about a node that sends snapshots. It is seldom told, so it does not make the other
/// kinds larger.
#[derive(Serialize, Deserialize)]
struct Underway<'a> {
    status: Cow<'a, StatusReply>,
    disk: DiskState,
    sending: Cow<'a, [Sending]>,
}

/// Everything about a pair but its bytes.
#[derive(Serialize, Deserialize)]
struct Pair {
    key_bytes: u32,
    value_bytes: u32,
    create_revision: Revision,
    mod_revision: Revision,
    version: u64,
    lease: Option<LeaseId>,
}

impl Response {
    /// Appends the frame to `out`.
    ///
    /// # Errors
    ///
    /// If the answer is above the codec's limit, which one within [`Limits`](crate::Limits) never
    /// is; `out` is left as it was.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let mut raw = Vec::new();
        let meta = match self {
            Self::Done { id, header, reply } => {
                Meta::Done { id: *id, header: *header, body: body(reply, &mut raw) }
            }
            Self::Failed { id, error } => Meta::Failed { id: *id, error: Cow::Borrowed(error) },
            Self::Closing { error } => Meta::Closing { error: Cow::Borrowed(error) },
        };
        write_frame(out, &meta, &raw)
    }

    /// Reads an answer from the body of a frame.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`].
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let (meta, raw): (Meta<'static>, _) = codec::decode(body)?;
        let mut raw = Raw(raw);
        let response = match meta {
            Meta::Done { id, header, body } => Self::Done { id, header, reply: raw.reply(body)? },
            Meta::Failed { id, error } => Self::Failed { id, error: error.into_owned() },
            Meta::Closing { error } => Self::Closing { error: error.into_owned() },
        };
        match raw {
            Raw([]) => Ok(response),
            Raw(rest) => Err(Error::malformed(format!("{} bytes behind an answer", rest.len()))),
        }
    }
}

/// The metadata of a reply; its keys and values are added to `raw`.
fn body<'a>(reply: &'a Reply, raw: &mut Vec<&'a [u8]>) -> Body<'a> {
    match reply {
        Reply::Put(put) => Body::Put { prev: put.prev.as_ref().map(|kv| pair(kv, raw)) },
        Reply::Delete(delete) => Body::Delete {
            deleted: delete.deleted,
            prev: delete.prev.iter().map(|kv| pair(kv, raw)).collect(),
        },
        Reply::Range(range) => {
            let pairs = range.kvs.iter().map(|kv| pair(kv, raw)).collect();
            raw.extend(range.next_key.as_deref());
            Body::Range {
                pairs,
                count: range.count,
                more: range.more,
                next_key_bytes: range.next_key.as_deref().map(length),
            }
        }
        Reply::Status(status) => match (&*status.node.sending, status.node.disk) {
            ([], DiskState::Fine) => Body::Status(Cow::Borrowed(status)),
            ([], disk) => Body::Troubled(Cow::Borrowed(status), disk),
            (sending, disk) => {
                let (status, sending) = (Cow::Borrowed(status), Cow::Borrowed(sending));
                Body::Sending(Box::new(Underway { status, disk, sending }))
            }
        },
        Reply::Compact(compact) => Body::Compact(*compact),
        Reply::Backup(piece) => {
            raw.push(&piece.bytes);
            let BackupPiece { ref bytes, is_last, done, total } = *piece;
            Body::Backup { bytes: length(bytes), is_last, done, total }
        }
        Reply::Digests(digests) => Body::Digests(Cow::Borrowed(digests)),
    }
}

fn pair<'a>(kv: &'a KeyValue, raw: &mut Vec<&'a [u8]>) -> Pair {
    raw.extend([&*kv.key, &*kv.value]);
    Pair {
        key_bytes: length(&kv.key),
        value_bytes: length(&kv.value),
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    }
}

/// A length that does not fit makes a body that does not fit either, which is an error there.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// The raw bytes that have not been taken yet.
struct Raw<'a>(&'a [u8]);

impl<'a> Raw<'a> {
    fn reply(&mut self, body: Body<'_>) -> Result<Reply, Error> {
        Ok(match body {
            Body::Put { prev } => {
                Reply::Put(PutReply { prev: prev.map(|pair| self.key_value(&pair)).transpose()? })
            }
            Body::Delete { deleted, prev } => {
                Reply::Delete(DeleteReply { deleted, prev: self.key_values(&prev)? })
            }
            Body::Range { pairs, count, more, next_key_bytes } => Reply::Range(RangeReply {
                kvs: self.key_values(&pairs)?,
                count,
                more,
                next_key: match next_key_bytes {
                    Some(bytes) => Some(self.take(bytes)?.into()),
                    None => None,
                },
            }),
            Body::Status(status) => Reply::Status(status.into_owned()),
            Body::Troubled(_, DiskState::Fine) => {
                return Err(Error::malformed("trouble with a disk that is fine"));
            }
            Body::Troubled(status, disk) => {
                let mut status = status.into_owned();
                status.node.disk = disk;
                Reply::Status(status)
            }
            Body::Sending(underway) if underway.sending.is_empty() => {
                return Err(Error::malformed("snapshots on their way, and none of them"));
            }
            Body::Sending(underway) => {
                let Underway { status, disk, sending } = *underway;
                let mut status = status.into_owned();
                status.node.disk = disk;
                status.node.sending = sending.into_owned();
                Reply::Status(status)
            }
            Body::Compact(compact) => Reply::Compact(compact),
            Body::Backup { bytes, is_last, done, total } => {
                let bytes = self.take(bytes)?.into();
                Reply::Backup(BackupPiece { bytes, is_last, done, total })
            }
            Body::Digests(digests) => Reply::Digests(digests.into_owned()),
        })
    }

    fn key_values(&mut self, pairs: &[Pair]) -> Result<Vec<KeyValue>, Error> {
        pairs.iter().map(|pair| self.key_value(pair)).collect()
    }

    fn key_value(&mut self, pair: &Pair) -> Result<KeyValue, Error> {
        Ok(KeyValue {
            key: self.take(pair.key_bytes)?.into(),
            value: self.take(pair.value_bytes)?.into(),
            create_revision: pair.create_revision,
            mod_revision: pair.mod_revision,
            version: pair.version,
            lease: pair.lease,
        })
    }

    fn take(&mut self, bytes: u32) -> Result<&'a [u8], Error> {
        let (taken, rest) = self
            .0
            .split_at_checked(bytes as usize)
            .ok_or_else(|| Error::malformed("an answer shorter than its keys and values"))?;
        self.0 = rest;
        Ok(taken)
    }
}
