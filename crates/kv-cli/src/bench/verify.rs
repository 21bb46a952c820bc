//! Reads acknowledged writes back.

use kv_client::Client;
use kv_client::kv_proto::{Range, Revision};

use crate::bench::keys::Keys;
use crate::failure::Failure;

/// About so many bytes of keys and values are asked for at a time.
const BYTES_PER_RANGE: usize = 512 << 10;

/// What came of reading back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Verified {
    /// Keys that hold what was acknowledged.
    pub(crate) present: u64,
    /// Keys that do not. Anything but 0 is a loss of data.
    pub(crate) missing: u64,
    /// Keys of which it could not be found out.
    pub(crate) unread: u64,
}

/// Reads every key linearizably that a write was acknowledged of: `acknowledged` has the highest
/// revision for each. It must have the right value, of that revision or of a later one.
///
/// If the store does not answer any more, what is left is unread, and the second part says why.
pub(crate) fn read_back(
    acknowledged: &[Revision],
    keys: &Keys,
    client: &mut Client,
) -> (Verified, Option<Failure>) {
    let mut verified = Verified::default();
    let mut failure = None;
    let at_a_time = (BYTES_PER_RANGE / (keys.value_size() + 64)).max(1);
    for (begin, revisions) in (0..).step_by(at_a_time).zip(acknowledged.chunks(at_a_time)) {
        let written = revisions.iter().filter(|revision| **revision != Revision::ZERO).count();
        if written == 0 {
            continue;
        }
        if failure.is_some() {
            verified.unread += written as u64;
            continue;
        }
        match read_range(begin, revisions, keys, client) {
            Ok(there) => verified.count(revisions, &there),
            Err(why) => {
                verified.unread += written as u64;
                failure = Some(why);
            }
        }
    }
    (verified, failure)
}

impl Verified {
    fn count(&mut self, revisions: &[Revision], there: &[bool]) {
        for (&revision, &there) in revisions.iter().zip(there) {
            if revision != Revision::ZERO {
                self.present += u64::from(there);
                self.missing += u64::from(!there);
            }
        }
    }
}

/// Which of the keys from number `begin` on hold what they should.
fn read_range(
    begin: u64,
    revisions: &[Revision],
    keys: &Keys,
    client: &mut Client,
) -> Result<Vec<bool>, Failure> {
    let mut there = vec![false; revisions.len()];
    let mut value = Vec::new();
    let numbers = begin..begin + revisions.len() as u64;
    let mut wanted = numbers.clone().map(|index| keys.key(index)).zip(0_usize..);
    let mut next = wanted.next();
    for page in client.pages(Range::new(keys.key(numbers.start), keys.end(numbers.end))) {
        for pair in page?.reply.kvs {
            // Both are in the order of the keys: whatever lies before this one is not there.
            while next.as_ref().is_some_and(|(key, _)| **key < *pair.key) {
                next = wanted.next();
            }
            let Some((key, place)) = &next else { break };
            if **key == *pair.key {
                keys.write_value(begin + *place as u64, &mut value);
                there[*place] = pair.mod_revision >= revisions[*place] && *pair.value == *value;
            }
        }
    }
    Ok(there)
}
