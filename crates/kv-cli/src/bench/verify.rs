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
}

/// Reads every key linearizably that a write was acknowledged of: `acknowledged` has the highest
/// revision for each. It must have the right value, of that revision or of a later one.
pub(crate) fn read_back(
    acknowledged: &[Revision],
    keys: &Keys,
    client: &mut Client,
) -> Result<Verified, Failure> {
    let mut verified = Verified::default();
    let at_a_time = (BYTES_PER_RANGE / (keys.value_size() + 64)).max(1);
    for (begin, revisions) in (0..).step_by(at_a_time).zip(acknowledged.chunks(at_a_time)) {
        if revisions.iter().all(|revision| *revision == Revision::ZERO) {
            continue;
        }
        let there = read_range(begin, revisions, keys, client)?;
        for (&revision, there) in revisions.iter().zip(there) {
            if revision != Revision::ZERO {
                verified.present += u64::from(there);
                verified.missing += u64::from(!there);
            }
        }
    }
    Ok(verified)
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
