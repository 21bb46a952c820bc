//! A version of a key, as bytes.

use kv_proto::{LeaseId, Revision};

use super::bytes::{Cursor, put_bytes, put_number};

/// Everything there is to know of one change of one key. What a record was cut from, or what it
/// is to be written to, is somebody else's matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// The revision that made the change.
    pub(crate) modified: Revision,
    /// Its place among the changes of that revision, from 0.
    pub(crate) sub: u32,
    pub(crate) key: &'a [u8],
    /// What was put; `None` if the key was deleted.
    pub(crate) put: Option<PutRecord<'a>>,
}

/// What a key that exists carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PutRecord<'a> {
    pub(crate) created: Revision,
    pub(crate) version: u64,
    pub(crate) lease: Option<LeaseId>,
    pub(crate) value: &'a [u8],
}

/// The first byte of a record.
const DELETED: u8 = 0;
const PUT: u8 = 1;
const PUT_WITH_LEASE: u8 = 2;

impl<'a> Record<'a> {
    /// Adds its bytes. `docs/format.md` describes them.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self.put {
            None => DELETED,
            Some(PutRecord { lease: None, .. }) => PUT,
            Some(PutRecord { lease: Some(_), .. }) => PUT_WITH_LEASE,
        });
        put_number(self.modified.get(), out);
        put_number(u64::from(self.sub), out);
        put_bytes(self.key, out);
        if let Some(put) = &self.put {
            put_number(put.created.get(), out);
            put_number(put.version, out);
            if let Some(lease) = put.lease {
                put_number(lease.get(), out);
            }
            out.extend_from_slice(put.value);
        }
    }

    /// About how many bytes it takes in the file.
    pub(crate) fn weight(&self) -> u64 {
        weight((self.key.len() + self.put.map_or(0, |put| put.value.len())) as u64)
    }

    /// The record that `bytes` are, from the first to the last of them; `None` if they are not one.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor(bytes);
        let kind = cursor.byte()?;
        let modified = Revision::new(cursor.number()?);
        let sub = cursor.number_u32()?;
        let key = cursor.bytes().filter(|key| !key.is_empty())?;
        let put = match kind {
            DELETED if cursor.is_empty() => None,
            PUT | PUT_WITH_LEASE => Some(PutRecord {
                created: Revision::new(cursor.number()?),
                version: cursor.number()?,
                lease: match kind {
                    PUT_WITH_LEASE => Some(LeaseId::new(cursor.number()?)),
                    _ => None,
                },
                value: cursor.0,
            }),
            _ => return None,
        };
        Some(Self { modified, sub, key, put })
    }
}

/// About how many bytes a record takes: by it, the space that the dead take is judged. It need not
/// be exact, but the same at the birth of a record and at its death.
/// `size_bytes` are those of key and value.
pub(crate) const fn weight(size_bytes: u64) -> u64 {
    const USUAL_OVERHEAD_BYTES: u64 = 18;
    size_bytes + USUAL_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Record<'static>> {
        let plain = PutRecord {
            created: Revision::new(3),
            version: 1,
            lease: None,
            value: b"a value of some length",
        };
        let put =
            |put| Record { modified: Revision::new(300), sub: 0, key: b"key", put: Some(put) };
        vec![
            put(plain),
            put(PutRecord { value: b"", ..plain }),
            put(PutRecord { lease: Some(LeaseId::new(0)), ..plain }),
            put(PutRecord { lease: Some(LeaseId::new(u64::MAX)), version: u64::MAX, ..plain }),
            Record { modified: Revision::new(u64::MAX), sub: u32::MAX, key: &[0], put: None },
        ]
    }

    #[test]
    fn every_kind_of_record_comes_back() {
        for record in samples() {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert_eq!(Record::decode(&bytes), Some(record));
        }
    }

    #[test]
    fn the_bytes_are_what_the_document_says() {
        let mut bytes = Vec::new();
        samples()[0].encode(&mut bytes);
        assert_eq!(bytes, b"\x01\xac\x02\x00\x03key\x03\x01a value of some length");
        bytes.clear();
        Record { modified: Revision::new(2), sub: 1, key: b"k", put: None }.encode(&mut bytes);
        assert_eq!(bytes, [0, 2, 1, 1, b'k']);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for record in samples() {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            let value_bytes = record.put.map_or(0, |put| put.value.len());
            for cut in 0..bytes.len() - value_bytes {
                assert_eq!(Record::decode(&bytes[..cut]), None, "{record:?} cut at {cut}");
            }
            bytes[0] = 3;
            assert_eq!(Record::decode(&bytes), None);
        }
        assert_eq!(Record::decode(&[0, 2, 1, 1, b'k', b'?']), None, "something follows");
        assert_eq!(Record::decode(&[0, 2, 1, 0]), None, "an empty key");
    }
}
